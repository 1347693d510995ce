r"""From a log to its history: reduce it at a cutoff.

In: a checked log (:class:`~bayesdecay.data.events.Events`). Out: :class:`History`, for user u the activities
:math:`0 < t_1 < \dots < t_n \le T` since the acquisition at 0, and their sum :math:`\sum_j t_j`, which is all that the
likelihood of the decay model needs. Rows after the cutoff are never seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bayesdecay.data.activities import (
    check_activity,
    clock_end,
    events_and_days_sql,
    group_and_covariates,
    known_at_sql,
    seen_sql,
    visits_sql,
)
from bayesdecay.data.block import Block
from bayesdecay.data.events import Date, Events
from bayesdecay.data.history_file import HistoryFile, write_parts
from bayesdecay.data.record import HISTORY_COLUMNS, History
from bayesdecay.data.reduction import reduced
from bayesdecay.data.scale.spark_events import SparkEvents
from bayesdecay.data.scale.spark_history import SparkHistory, summarize_on_spark
from bayesdecay.data.sql import fetch, lossless
from bayesdecay.errors import DataError
from bayesdecay.names import GROUP, TIME, USER, WEIGHT
from bayesdecay.units import MICROSECONDS_PER_DAY, Duration, cutoff_instant, days

__all__ = ["Block", "History", "HistoryFile", "SparkHistory", "summarize", "summarize_to"]

# A shop may well have been without an event for a while before the cutoff; less than this needs no word.
_SILENCE = pd.Timedelta(days=30)
# To put the events of a day together first took 1.4 s of 10 million of them where a day had 4.5, and 3.4 s where it had
# one; to sort them as they are took 1.6 s.
_CROWDED = 3.0


class _Asked(TypedDict, total=False):
    at: Date | None
    activity: str
    session_gap: Duration
    kinds: Sequence[str] | None
    group: str | None
    covariates: Sequence[str]


@overload
def summarize(log: Events, **asked: Unpack[_Asked]) -> History: ...
@overload
def summarize(log: SparkEvents, **asked: Unpack[_Asked]) -> SparkHistory: ...
def summarize(
    log: Events | SparkEvents,
    *,
    at: Date | None = None,
    activity: str = "day",
    session_gap: Duration = "30min",
    kinds: Sequence[str] | None = None,
    group: str | None = None,
    covariates: Sequence[str] = (),
) -> History | SparkHistory:
    """Reduce a log to one row a user, in DuckDB, with only the result in memory; on Spark if the log is there.

    Parameters
    ----------
    log
        What :func:`~bayesdecay.data.events.read_events` gives.
    at
        Cutoff; rows after it are not seen, and a user whose first activity is after it is not in the history. A date
        without a time of day means the end of that day. Default: the end of the log (:attr:`Events.end`).
    activity
        What counts once: a calendar ``"day"`` with events, a ``"session"``, or an ``"event"`` (a distinct instant).
        For days every length is in whole days, from midnight to midnight.
    session_gap
        A silence longer than this ends a session; above zero.
    kinds
        Count events of these kinds only.
    group
        Column of the log by which users are pooled, as text; its value at the acquisition.
    covariates
        Columns of numbers, their value at the acquisition.

    Returns
    -------
    History or SparkHistory
        The latter of a log on Spark. Where rows of the first instant differ in the group or a covariate, the smallest
        value counts.

    Raises
    ------
    DataError
        If no event lies before the cutoff, or a user's group or covariate is missing or not a number.
    ValueError
        If a kind, a column or the unit of activity is not known, the name of a covariate is taken, or a session's gap
        is zero.

    Warns
    -----
    UserWarning
        If the cutoff is far beyond the last event: the time between counts as silence that was seen.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayesdecay.data.events import read_events
    >>> frame = pd.DataFrame({"user": ["a", "a"], "time": pd.to_datetime(["2024-01-01 09:30", "2024-01-04 18:00"])})
    >>> history = summarize(read_events(frame), at="2024-01-08")
    >>> history.table["T"].to_pylist(), history.table["n"].to_pylist(), history.table["sum_times"].to_pylist()
    ([7.0], [1], [3.0])
    """
    terms = _terms(log, at, activity, session_gap, kinds, group, covariates)
    if isinstance(log, SparkEvents):
        return summarize_on_spark(log, **terms)
    parts = list(_reduction(log, **terms))
    return parts[0].over(pa.concat_tables([part.table for part in parts]))


def summarize_to(
    path: str | Path,
    log: Events,
    *,
    at: Date | None = None,
    activity: str = "day",
    session_gap: Duration = "30min",
    kinds: Sequence[str] | None = None,
    group: str | None = None,
    covariates: Sequence[str] = (),
) -> HistoryFile:
    """Reduce a log to a Parquet file, as :func:`summarize` does, without ever holding the whole history in memory.

    Parameters
    ----------
    path
        File to write, whole or not at all. The other arguments, errors and warnings are those of :func:`summarize`.

    Returns
    -------
    HistoryFile
        To be scored from where it lies; :meth:`History.from_parquet` reads it whole.
    """
    if isinstance(log, SparkEvents):
        raise TypeError("summarize_to writes what is reduced here; of a log on Spark write summarize(log).frame")
    return write_parts(_reduction(log, **_terms(log, at, activity, session_gap, kinds, group, covariates)), path)


def _terms(
    log: Events | SparkEvents,
    at: Date | None,
    activity: str,
    session_gap: Duration,
    kinds: Sequence[str] | None,
    group: str | None,
    covariates: Sequence[str],
) -> dict[str, Any]:
    """Check what is asked of a log, and give what describes its history."""
    if not isinstance(log, Events | SparkEvents):
        raise TypeError(f"summarize takes a log that read_events has checked, not {type(log).__name__}")
    cutoff = log.end if at is None else cutoff_instant(at)
    _warn_of_unseen_silence(log, cutoff)
    unit, gap = check_activity(activity), days(session_gap)
    if unit == "session" and round(gap * MICROSECONDS_PER_DAY) == 0:
        raise ValueError(f"session_gap {session_gap!r} lets no session go on; to count instants take activity='event'")
    _check_extra_columns(log, group, covariates)
    return {
        "at": cutoff,
        "activity": unit,
        "session_gap": gap,
        "kinds": None if kinds is None else log.known_kinds(kinds),
        "group": group,
        "covariates": tuple(covariates),
    }


def _reduction(log: Events, **terms: Any) -> Iterator[History]:
    """Give the history in parts, the users in order; at least one."""
    cutoff, unit, group = terms["at"], terms["activity"], terms["group"]
    pause = round(terms["session_gap"] * MICROSECONDS_PER_DAY) if unit == "session" else 0
    seen = seen_sql(cutoff, terms["kinds"])
    known = _known(log, seen, group_and_covariates(group, terms["covariates"]), group)
    visits = log.query(visits_sql(seen, unit, crowded=unit == "day" and _crowded(log, seen)))
    tables = _with_known(_tables(visits, pause, clock_end(cutoff, unit)), known)
    first = next(tables, None)
    if first is None:
        raise DataError(f"no event up to the cutoff {cutoff}; the log starts at {log.span[0]}, choose a later cutoff")
    head = History(table=first, **terms)
    return chain([head], map(head.over, tables))


def _crowded(log: Events, seen: str) -> bool:
    """Whether a user's active day has so many events that it pays to put them together before they are sorted."""
    events, active = log.query(events_and_days_sql(seen)).fetchall()[0]
    return bool(events > _CROWDED * active)


def _tables(visits: duckdb.DuckDBPyRelation, gap: int, end: int) -> Iterator[pa.Table]:
    """Reduce the visits that a query gives, as they come."""
    for table in reduced(visits.to_arrow_reader(), gap=gap, end=end):
        yield lossless(table, visits)


def _known(log: Events, seen: str, extra: dict[str, str], group: str | None) -> pa.Table | None:
    """Look up what is known of the users at their acquisition, a row a user in order; None if nothing is wanted."""
    if not extra:
        return None
    known = fetch(log.query(known_at_sql(seen, extra, "first")))
    for name in extra:
        _refuse_missing(known, name, group if name == GROUP else name)
    return known.drop_columns([USER])


def _with_known(tables: Iterable[pa.Table], known: pa.Table | None) -> Iterator[pa.Table]:
    """Put what is known of the users beside them; both are sorted and hold the same users."""
    start = 0
    for table in tables:
        if known is not None:
            for name in known.column_names:
                table = table.append_column(name, known[name].slice(start, len(table)))
        start += len(table)
        yield table


def _warn_of_unseen_silence(log: Events | SparkEvents, cutoff: pd.Timestamp) -> None:
    """Warn of a cutoff beyond the log's last event by more than 30 days and a tenth of its span."""
    first, last = log.span
    if cutoff - last > max(_SILENCE, (last - first) / 10):
        warnings.warn(
            f"the cutoff {cutoff:%Y-%m-%d} is {(cutoff - last).days:,} days after the log's last event, on "
            f"{last:%Y-%m-%d}, and everybody counts as silent in between; if the log was not kept for so long, "
            f"take at='{last:%Y-%m-%d}'",
            UserWarning,
            stacklevel=4,
        )


def _check_extra_columns(log: Events | SparkEvents, group: str | None, covariates: Sequence[str]) -> None:
    """Check the names of the group and the covariates."""
    if isinstance(covariates, str):
        raise TypeError(f"covariates is a list of column names; write [{covariates!r}]")
    log.known_columns([*covariates, *([] if group is None else [group])])
    # SQL does not tell capitals.
    taken = {name.lower(): name for name in (*HISTORY_COLUMNS, GROUP, TIME, WEIGHT, "_opened", "_began", "_ended")}
    for name in covariates:
        if name.lower() in taken:
            own = taken[name.lower()]
            raise ValueError(f"covariate {name!r} has the name of a history's own column {own!r}; rename it in the log")
    if len({name.lower() for name in covariates}) < len(covariates):
        raise ValueError(f"covariates name a column twice: {', '.join(covariates)}; give each one once")


def _refuse_missing(table: pa.Table, name: str, column: str | None) -> None:
    """Refuse a group or covariate that is not known at the acquisition of every user."""
    missing = table.filter(pc.is_null(table[name]))[USER]
    if len(missing):
        what = "missing" if name == GROUP else "missing or not a finite number"
        raise DataError(
            f"column {column!r} is {what} at the acquisition of {len(missing)} users (such as {missing[0].as_py()!r}); "
            "fill it in the log, or leave it out"
        )
