"""Time: durations in words ("60d"), the cutoff, and the unit that everything inside is measured in.

Inside the package a length of time is a float of **days** and a rate is per day. A point in time is a
naive timestamp in the log's own time zone.
"""

from __future__ import annotations

import datetime as dt
import numbers
import re
from collections.abc import Iterable, Mapping, Set
from typing import cast

import pandas as pd

__all__ = [
    "MICROSECONDS_PER_DAY",
    "Duration",
    "Durations",
    "cutoff_instant",
    "days",
    "duration_label",
    "durations",
]

MICROSECONDS_PER_DAY = 86_400_000_000
_DAYS_PER = {"s": 1 / 86_400, "min": 1 / 1_440, "h": 1 / 24, "d": 1.0, "w": 7.0}

type Duration = str | int | float | dt.timedelta
type Durations = Duration | Iterable[Duration] | Mapping[str, Duration]


def days(duration: Duration) -> float:
    """Length of a duration [days]: ``"60d"``, ``"12h"``, ``"30min"``, ``"2w"``, a timedelta or a number of days.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If it cannot be read, is negative or is not finite.
    """
    if isinstance(duration, dt.timedelta):
        length = duration / dt.timedelta(days=1)
    elif isinstance(duration, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d|w)\s*", duration)
        if match is None:
            raise ValueError(f"duration {duration!r} cannot be read; write a number and s, min, h, d or w, as in '60d'")
        length = float(match[1]) * _DAYS_PER[match[2]]
    elif isinstance(duration, numbers.Real) and not isinstance(duration, bool):
        length = float(duration)
    else:
        raise TypeError(f"a duration is text such as '60d', a timedelta or a number of days, not {duration!r}")
    if not 0 <= length < float("inf"):
        raise ValueError(f"duration {duration!r} must be finite and not negative")
    return length


def duration_label(duration: Duration) -> str:
    """Short name of a duration for column names, in days where it is whole: ``"30d"``, ``"12h"``."""
    length = days(duration)
    for unit in ("d", "h", "min", "s"):
        amount = length / _DAYS_PER[unit]
        if abs(amount - round(amount)) < 1e-9:
            return f"{round(amount)}{unit}"
    return f"{length:g}d"


def durations(given: Durations, *, zero: bool = False) -> dict[str, float]:
    """Labels and lengths [days] of one or several distinct durations above zero, in the order given.

    A mapping brings labels of its own; otherwise they are :func:`duration_label`'s. ``zero`` lets zero pass.

    Raises
    ------
    TypeError
        If it is none of these; a set has no order.
    ValueError
        If none is given, one is zero, two are equal, or one is no duration.
    """
    if isinstance(given, Mapping):
        lengths = {label: days(item) for label, item in given.items()}
        wrong = [label for label in lengths if not isinstance(label, str) or not label]
        if wrong:
            raise TypeError(f"the label of a duration is text such as '30d', not {wrong[0]!r}")
        items = list(given.values())
    else:
        several = isinstance(given, Iterable) and not isinstance(given, str | bytes | Set)
        items = list(cast("Iterable[Duration]", given)) if several else [cast("Duration", given)]
        lengths = {duration_label(item): days(item) for item in items}
    if not items or len(lengths) < len(items) or (not zero and min(lengths.values()) == 0):
        raise ValueError(f"expected one or several different durations{'' if zero else ' above zero'}, got {given!r}")
    return lengths


def cutoff_instant(at: str | dt.date | pd.Timestamp) -> pd.Timestamp:
    """Last instant that a cutoff lets be seen; a date without a time of day means the end of that day.

    Raises
    ------
    ValueError
        If it cannot be read as a date, or carries a time zone (times are in the log's own zone).
    """
    try:
        instant = pd.Timestamp(at)
    except (TypeError, ValueError) as error:
        raise ValueError(f"cutoff {at!r} cannot be read as a date; write it as '1997-09-30'") from error
    if instant is pd.NaT:
        raise ValueError("the cutoff is missing; give a date such as '1997-09-30'")
    if instant.tzinfo is not None:
        raise ValueError(f"cutoff {at!r} carries a time zone; give it without one, in the time zone of the log")
    if instant == instant.normalize():
        return instant + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    return instant
