"""What the user knows of the calendar: seasons, weekdays, holidays and days off, as factors on everybody's interest.

In: factors by date, range of dates, weekday or month. Out: :class:`Calendar`, a factor a day. A file of them is read by
:func:`~bayesdecay.data.calendar_file.read_calendar`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Calendar"]

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FIRST_HALF = ("january", "february", "march", "april", "may", "june")
_MONTHS = (*_FIRST_HALF, "july", "august", "september", "october", "november", "december")
_EVERY_YEAR = re.compile(r"(\d\d)-(\d\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Factors on everybody's intensity of activity; where several are in force on a day they multiply.

    Parameters
    ----------
    factors : mapping of str to float
        From when it holds to the factor, zero (closed) or above: a weekday (``"saturday"``), a month
        (``"december"``), a date (``"1997-12-26"``) or both ends of a range (``"1997-11-24/1997-12-24"``); without a
        year for every year (``"12-26"``, ``"11-24/12-24"``, ``"12-27/01-06"``).
    known : mapping of str to str, optional
        Since which date a factor is known, such as that of a closure which nobody foresaw: forecasts from earlier
        cutoffs are made without it. What is not named here was always known.

    Raises
    ------
    ValueError
        If a key or date cannot be read, a range ends before it begins, or a factor is negative or not finite.

    Examples
    --------
    >>> calendar = Calendar(factors={"saturday": 1.5, "12-24/12-26": 0.0})
    >>> calendar.daily(pd.Timestamp("2024-12-21"), 5).tolist()
    [1.5, 1.0, 1.0, 0.0, 0.0]
    """

    factors: Mapping[str, float] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        if strange := [when for when in self.known if when not in self.factors]:
            raise ValueError(f"calendar: {strange[0]!r} is said to be known, but has no factor; give it one in factors")
        for when, day in self.known.items():
            if isinstance(_day(day, day), int):
                raise ValueError(
                    f"calendar: from when {when!r} is known must have a year, as in 2020-03-11, got {day!r}"
                )
        probe = pd.date_range("2000-01-01", periods=2)
        for when, factor in self.factors.items():
            if not (math.isfinite(factor) and factor >= 0.0):
                raise ValueError(f"calendar: the factor of {when!r} must be finite and not negative, got {factor!r}")
            _holds(when, probe)

    def known_at(self, at: pd.Timestamp) -> Calendar:
        """Leave out what nobody could know at an instant; forecasts from then must not have it."""
        late = {when for when, day in self.known.items() if pd.Timestamp(day) > at}
        kept = {when: factor for when, factor in self.factors.items() if when not in late}
        return Calendar(factors=kept, known={when: day for when, day in self.known.items() if when in kept})

    def daily(self, start: pd.Timestamp, size: int) -> NDArray[np.float64]:
        """Factor of each of so many days from the day of ``start`` on (day,)."""
        days = pd.date_range(start.normalize(), periods=size)
        found = np.ones(size)
        for when, factor in self.factors.items():
            found[_holds(when, days)] *= factor
        return found


def _holds(when: str, days: pd.DatetimeIndex) -> NDArray[np.bool_]:
    """On which days a key of a calendar is in force."""
    key = when.strip().lower()
    if key in _WEEKDAYS:
        return np.asarray(days.day_of_week == _WEEKDAYS.index(key))
    if key in _MONTHS:
        return np.asarray(days.month == _MONTHS.index(key) + 1)
    first, _, last = key.partition("/")
    begin, end = _day(first, when), _day(last or first, when)
    if isinstance(begin, int) and isinstance(end, int):
        place = np.asarray(100 * days.month + days.day)
        inside = (place >= begin, place <= end)
        return inside[0] & inside[1] if begin <= end else inside[0] | inside[1]
    if isinstance(begin, int) or isinstance(end, int):
        raise ValueError(f"calendar: {when!r} has a year at one end only; give it to both, or to none for every year")
    if end < begin:
        raise ValueError(f"calendar: {when!r} ends before it begins")
    return np.asarray((days >= begin) & (days <= end))


def _day(text: str, when: str) -> pd.Timestamp | int:
    """A date, or month and day as one number where it is of every year."""
    every = _EVERY_YEAR.fullmatch(text.strip())
    try:
        found = pd.Timestamp(f"2000-{text.strip()}" if every else text.strip())
    except ValueError:
        found = pd.NaT
    if found is pd.NaT or found != found.normalize():
        raise ValueError(
            f"calendar: {when!r} cannot be read; write a weekday ('saturday'), a month ('december'), a date "
            "('1997-12-24', or '12-24' for every year) or two of these with '/' between"
        )
    return 100 * found.month + found.day if every else found
