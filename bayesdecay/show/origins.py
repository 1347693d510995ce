"""Rolling origins: the cutoffs from which a check forecasts as if it were then.

In: a log, a horizon, how many are wanted. Out: cutoffs, the earliest first.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Iterable, Sequence

import pandas as pd

from bayesdecay.data.events import Date, Events
from bayesdecay.data.sql import identifier, texts
from bayesdecay.errors import DataError
from bayesdecay.names import KIND, TIME
from bayesdecay.units import cutoff_instant, duration_label

__all__ = ["MOST_ORIGINS", "Origins", "origins_of", "overlapping"]

Origins = int | Date | Iterable[Date]
"""How many origins at most, or which."""

MOST_ORIGINS = 6
# So much of the log, at least, lies before the earliest origin: a model must have something to learn from.
_LEARNED = 1 / 3


def origins_of(
    log: Events,
    length: float,
    *,
    asked: Origins = MOST_ORIGINS,
    until: Date | None = None,
    kinds: Sequence[str] | None = None,
) -> list[pd.Timestamp]:
    """Choose the origins, or check those that were chosen.

    Parameters
    ----------
    log : Events
        The log.
    length : float
        The horizon [days].
    asked : int, date or several dates
        How many at most, spread evenly over the last two thirds of the log so that what they are judged on does not
        overlap; or which.
    until : date, optional
        Last instant of the log that may be looked at; its end unless told.
    kinds : sequence of str, optional
        The kinds of events that count: the log begins with the first of them.

    Raises
    ------
    DataError
        If the log is not longer than the horizon, or goes on for less than a horizon after an origin that was chosen.
    ValueError
        If none is asked for, or one is no date.
    """
    begin, end = _begin(log, kinds), log.end if until is None else cutoff_instant(until)
    latest, whole = end - pd.Timedelta(days=length), (end - begin) / pd.Timedelta(days=1)
    if latest <= begin:
        raise DataError(
            f"the log goes from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, {math.ceil(whole):,} days, so no forecast of "
            f"{duration_label(length)} can be checked on it; take a shorter horizon"
        )
    if not isinstance(asked, int):
        return _chosen(asked, begin, latest, length)
    if asked < 1:
        raise ValueError(f"origins must be at least 1, got {asked}")
    room = (1.0 - _LEARNED) * whole - length
    if room < 0:
        return [latest]
    number = min(asked, 1 + math.floor(room / length))
    # Whole days apart, so that each is the end of a day where the log's end is one.
    step = max(length, math.floor(room / max(number - 1, 1)))
    return [latest - pd.Timedelta(days=step * i) for i in reversed(range(number))]


def overlapping(origins: Iterable[pd.Timestamp], length: float) -> bool:
    """Whether what some of the origins are judged on overlaps."""
    ordered = sorted(origins)
    apart = [(later - one) / pd.Timedelta(days=1) for one, later in itertools.pairwise(ordered)]
    return any(days < length - 1e-6 for days in apart)


def _begin(log: Events, kinds: Sequence[str] | None) -> pd.Timestamp:
    """Find the first event that counts."""
    if kinds is None:
        return log.span[0]
    counted = f"{identifier(KIND)} IN ({texts(log.known_kinds(kinds))})"
    return pd.Timestamp(log.query(f"SELECT min({identifier(TIME)}) FROM {{log}} WHERE {counted}").fetchall()[0][0])


def _chosen(
    asked: Date | Iterable[Date], begin: pd.Timestamp, latest: pd.Timestamp, length: float
) -> list[pd.Timestamp]:
    given = [asked] if isinstance(asked, str | dt.date) else list(asked)
    found = sorted({cutoff_instant(one) for one in given})
    if not found or len(found) < len(given):
        raise ValueError(f"origins: expected one or several different dates, got {given!r}")
    wrong = [one for one in found if one > latest + pd.Timedelta(milliseconds=1) or one <= begin]
    if wrong:
        raise DataError(
            f"origins: {', '.join(f'{one:%Y-%m-%d}' for one in wrong)} cannot be judged; the log must begin before an "
            f"origin, on {begin:%Y-%m-%d}, and go on for {duration_label(length)} after it, so choose origins up to "
            f"{latest:%Y-%m-%d}"
        )
    return found
