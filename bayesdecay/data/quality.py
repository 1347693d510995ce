"""Every bad thing in a log has one answer: it is refused, or it is kept and counted.

:data:`QUALITY_RULES` is the table of them. What is refused raises a :class:`~bayesdecay.errors.DataError` that names
the column, how many rows, the first of them (counted from 0) and the remedy; what is kept is told by
:class:`DataQuality`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from bayesdecay.data.card import card

__all__ = [
    "CROWDED",
    "QUALITY_RULES",
    "REFUSED",
    "SHOWN_ROWS",
    "DataQuality",
    "Rule",
    "refusal",
    "rules_table",
    "span_text",
]

REFUSED, COUNTED = "refused", "kept and counted"
# A row every minute for 16 hours: more than anybody clicks.
CROWDED = 1_000
SHOWN_ROWS = 5  # enough to find the pattern in the file, few enough for one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One bad thing and its one answer.

    Attributes
    ----------
    answer
        ``"refused"`` or ``"kept and counted"``.
    what
        What the rows are, as it reads after their number.
    remedy
        What to do about a refusal, or what a kept row does.
    """

    answer: str
    what: str
    remedy: str


QUALITY_RULES: Mapping[str, Rule] = {
    "missing_user": Rule(
        answer=REFUSED,
        what="missing values (empty, blank or NaN)",
        remedy="drop these rows, or give them a user's id",
    ),
    "missing_time": Rule(answer=REFUSED, what="missing values", remedy="drop these rows, or fill in their time"),
    "unreadable_time": Rule(
        answer=REFUSED,
        what="values that are not a point in time",
        remedy="write times as '2024-01-31 14:05:00' (ISO 8601) or parse them before; numbers need time_unit=",
    ),
    "numeric_time": Rule(
        answer=REFUSED,
        what="numbers, and numbers alone do not tell their unit",
        remedy="say what they count since 1970: time_unit='s', 'ms', 'us', 'ns' or 'd'",
    ),
    "mixed_zones": Rule(
        answer=REFUSED,
        what="times with another offset from UTC than the rest",
        remedy="give timezone='Europe/Berlin' or the like, and all are converted to it",
    ),
    "missing_zone": Rule(
        answer=REFUSED,
        what="times without an offset from UTC, while the rest have one",
        remedy="add the offset to them, or take it off all",
    ),
    "mixed_types": Rule(
        answer=REFUSED,
        what="values of another type than the rest",
        remedy="bring the column to one type before",
    ),
    "missing_kind": Rule(
        answer=REFUSED,
        what="missing values (empty or blank)",
        remedy="drop these rows, or name their kind, as in 'unknown'",
    ),
    "unknown_kind": Rule(
        answer=REFUSED,
        what="values that are not among kinds=",
        remedy="correct them, or add them to kinds=",
    ),
    "unreadable_amount": Rule(
        answer=REFUSED,
        what="values that are not finite numbers",
        remedy="write amounts as 1234.5, without currency and thousands separator",
    ),
    "duplicates": Rule(
        answer=COUNTED,
        what="rows equal to another one in every column read",
        remedy="kept; several events at one instant are one activity",
    ),
    "future": Rule(
        answer=COUNTED,
        what="rows later than the clock's now",
        remedy="kept; they lie after the default cutoff and are not seen there",
    ),
    "crowded_day": Rule(
        answer=COUNTED,
        what="rows of users with more than 1,000 of them on that day (machines?)",
        remedy="kept; by activity='day' such a day counts once, else leave these users out or they outweigh all others",
    ),
    "zero_amount": Rule(answer=COUNTED, what="rows with an amount of zero", remedy="kept; they count as events"),
    "negative_amount": Rule(
        answer=COUNTED,
        what="rows with a negative amount (returned goods?)",
        remedy="kept; they count as events: drop them before if they are none",
    ),
    "missing_amount": Rule(
        answer=COUNTED,
        what="rows without an amount",
        remedy="kept; they count as events, and in no sum of amounts",
    ),
}


def rules_table() -> pd.DataFrame:
    """Give :data:`QUALITY_RULES` as a table."""
    rows = [(name, rule.answer, rule.what, rule.remedy) for name, rule in QUALITY_RULES.items()]
    return pd.DataFrame(rows, columns=["rule", "answer", "what", "remedy"])


def refusal(rule: str, column: str, count: int, rows: Sequence[int], values: Sequence[object] = ()) -> str:
    """Write one refusal: ``column 'time' has 3 missing values (rows 4, 9, 17); drop ...``.

    Parameters
    ----------
    rule
        Name in :data:`QUALITY_RULES`.
    column
        The user's name of the column.
    count
        How many rows are refused.
    rows
        The first of them, counted from 0.
    values
        Their values, where they help to see what is wrong.
    """
    shown = [str(row) for row in rows]
    if values:
        shown = [f"{row}: {value!r}" for row, value in zip(shown, values, strict=True)]
    more = ", ..." if count > len(shown) else ""
    told = QUALITY_RULES[rule]
    return f"column {column!r} has {count:,} {told.what} (rows {', '.join(shown)}{more}); {told.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """What is in a log that was accepted; print it.

    Attributes
    ----------
    n_rows, n_users
        Events and different users.
    first, last
        First and last event.
    counts
        Rows by rule, of the rules that keep and count; only those that apply to the columns read.
    crowds
        Users with such days as the rule ``crowded_day`` counts, the busiest first: rows and date of the busiest day.
    """

    n_rows: int
    n_users: int
    first: pd.Timestamp
    last: pd.Timestamp
    counts: Mapping[str, int]
    crowds: Mapping[object, tuple[int, dt.date]] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Give the counts as a table: rule, rows, share of all rows, what they are and what happens to them."""
        rows = [
            (name, count, count / self.n_rows, QUALITY_RULES[name].what, QUALITY_RULES[name].remedy)
            for name, count in self.counts.items()
        ]
        return pd.DataFrame(rows, columns=["rule", "rows", "share", "what", "answer"])

    def facts(self) -> dict[str, str]:
        """Give everything as pairs of text."""
        told = {"events": f"{self.n_rows:,}", "users": f"{self.n_users:,}", "span": span_text(self.first, self.last)}
        for name, count in self.counts.items():
            happens = f" ({_share(count / self.n_rows)}) {QUALITY_RULES[name].remedy}" if count else ""
            told[QUALITY_RULES[name].what] = f"{count:,}{happens}"
        if self.crowds:
            busiest = [f"{user!r} ({n:,} on {day})" for user, (n, day) in list(self.crowds.items())[:SHOWN_ROWS]]
            more = f" and {len(self.crowds) - SHOWN_ROWS:,} more" if len(self.crowds) > SHOWN_ROWS else ""
            told["users with such days, and their busiest"] = f"{', '.join(busiest)}{more}"
        return told

    def __str__(self) -> str:
        """Write the summary, a line a fact."""
        facts = self.facts()
        width = max(map(len, facts))
        return "\n".join(f"{what:<{width}}  {text}" for what, text in facts.items())

    def _repr_html_(self) -> str:
        """Show the summary in a notebook."""
        return card("Data quality", self.facts())


def span_text(first: pd.Timestamp, last: pd.Timestamp) -> str:
    """Write the first and the last instant, to the second, or the days where no event has a time of day."""
    dates = first == first.normalize() and last == last.normalize()
    start, end = (f"{when:%Y-%m-%d}" if dates else f"{when:%Y-%m-%d %H:%M:%S}" for when in (first, last))
    length = (last.normalize() - first.normalize()).days + 1
    return f"{start} to {end} ({length:,} day{'s' if length > 1 else ''})"


def _share(share: float) -> str:
    """Write a share above zero."""
    return f"{share:.1%}" if share >= 0.001 else "below 0.1%"
