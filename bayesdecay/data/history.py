r"""From a log to its history: reduce it at a cutoff, and put histories of parts together.

In: a checked log (:class:`~bayesdecay.data.events.Events`). Out: :class:`History`, for user u the activities
:math:`0 < t_1 < \dots < t_n \le T` since the acquisition at 0, and their sum :math:`\sum_j t_j`, which is all that the
likelihood of the decay model needs. Rows after the cutoff are never seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TypedDict, Unpack, overload

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bayesdecay.data.activities import (
    activities_sql,
    check_activity,
    clock_end,
    combined_sql,
    group_and_covariates,
    history_sql,
    known_at_sql,
    seen_sql,
)
from bayesdecay.data.block import Block
from bayesdecay.data.events import Date, Events
from bayesdecay.data.record import HISTORY_COLUMNS, History
from bayesdecay.data.scale.spark_events import SparkEvents
from bayesdecay.data.scale.spark_history import SparkHistory, summarize_on_spark
from bayesdecay.data.sql import connect, fetch, identifier
from bayesdecay.errors import DataError
from bayesdecay.names import FIRST, GROUP, TIME, USER, WEIGHT
from bayesdecay.units import MICROSECONDS_PER_DAY, Duration, cutoff_instant, days

__all__ = ["Block", "History", "SparkHistory", "combine", "summarize"]

# A shop may well have been without an event for a while before the cutoff; less than this needs no word.
_SILENCE = pd.Timedelta(days=30)


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
    if not isinstance(log, Events | SparkEvents):
        raise TypeError(f"summarize takes a log that read_events has checked, not {type(log).__name__}")
    cutoff = log.end if at is None else cutoff_instant(at)
    _warn_of_unseen_silence(log, cutoff)
    unit, gap = check_activity(activity), days(session_gap)
    if unit == "session" and round(gap * MICROSECONDS_PER_DAY) == 0:
        raise ValueError(f"session_gap {session_gap!r} lets no session go on; to count instants take activity='event'")
    counted = None if kinds is None else log.known_kinds(kinds)
    extra = _extra_columns(log, group, covariates)
    if isinstance(log, SparkEvents):
        return summarize_on_spark(
            log, at=cutoff, activity=unit, session_gap=gap, kinds=counted, group=group, covariates=covariates
        )
    seen = seen_sql(cutoff, counted)
    query = activities_sql(seen, unit, round(gap * MICROSECONDS_PER_DAY))
    if extra:
        user = identifier(USER)
        query = f"SELECT * FROM ({query}) JOIN ({known_at_sql(seen, extra, 'first')}) USING ({user})"
    table = fetch(log.query(history_sql(query, clock_end(cutoff, unit), tuple(extra))))
    if not table.num_rows:
        raise DataError(f"no event up to the cutoff {cutoff}; the log starts at {log.span[0]}, choose a later cutoff")
    for name in extra:
        _refuse_missing(table, name, group if name == GROUP else name)
    return History(
        table=table,
        at=cutoff,
        activity=unit,
        session_gap=gap,
        group=group,
        covariates=tuple(covariates),
        kinds=counted,
    )


def combine(earlier: History, later: History) -> History:
    """Put the histories of two parts of a log together, exactly as if the whole had been summarized.

    The parts are either different users at the same cutoff, or the same log split in time: everything up to
    ``earlier.at``, and everything after it.

    Parameters
    ----------
    earlier, later
        Histories of one unit of activity, one group and the same covariates.

    Returns
    -------
    History
        At the later cutoff. Users of the later part who were acquired in the earlier one keep that acquisition, with
        its group and covariates.

    Raises
    ------
    ValueError
        If the two do not fit together.
    """
    for what in ("activity", "session_gap", "group", "covariates", "kinds"):
        mine, other = getattr(earlier, what), getattr(later, what)
        if mine != other:
            raise ValueError(f"histories of different {what} cannot be combined: {mine!r} and {other!r}")
    if earlier.table[USER].type != later.table[USER].type:
        raise ValueError(f"the users' ids differ in type: {earlier.table[USER].type} and {later.table[USER].type}")
    extra = tuple(earlier.table.column_names[len(HISTORY_COLUMNS) :])
    gap = round(earlier.session_gap * MICROSECONDS_PER_DAY) if earlier.activity == "session" else 0
    end = clock_end(later.at, later.activity)
    with connect() as connection:
        connection.register("earlier", earlier.table)
        connection.register("later", later.table)
        _refuse_overlap(connection, earlier, later)
        table = fetch(connection.sql(history_sql(combined_sql(gap, extra), end, extra)))
    return later.over(table)


def _refuse_overlap(connection: duckdb.DuckDBPyConnection, earlier: History, later: History) -> None:
    """Refuse halves that are neither of different users nor one after the other."""
    if earlier.at == later.at:
        user = identifier(USER)
        both = connection.sql(f"SELECT count(*) FROM earlier JOIN later USING ({user})").fetchall()[0][0]
        if both:
            raise ValueError(
                f"{both} users are in both histories of the cutoff {later.at}; "
                "give different users, or split the log in time and summarize the earlier half at its own end"
            )
        return
    if earlier.at > later.at:
        raise ValueError(f"the earlier history's cutoff {earlier.at} is after the later one's {later.at}; swap the two")
    begin = pc.min(later.table[FIRST]).as_py()
    # On the clock of days the cutoff's own day may be split: its halves are one activity.
    boundary = earlier.at.normalize() if earlier.activity == "day" else earlier.at + pd.Timedelta(microseconds=1)
    if begin is not None and begin < boundary:
        raise ValueError(
            f"the later history starts at {begin}, before the cutoff {earlier.at} of the earlier one; "
            "give it only the events after that cutoff, or summarize different users at the same cutoff"
        )


def _warn_of_unseen_silence(log: Events | SparkEvents, cutoff: pd.Timestamp) -> None:
    """Warn of a cutoff beyond the log's last event by more than 30 days and a tenth of its span."""
    first, last = log.span
    if cutoff - last > max(_SILENCE, (last - first) / 10):
        warnings.warn(
            f"the cutoff {cutoff:%Y-%m-%d} is {(cutoff - last).days:,} days after the log's last event, on "
            f"{last:%Y-%m-%d}, and everybody counts as silent in between; if the log was not kept for so long, "
            f"take at='{last:%Y-%m-%d}'",
            UserWarning,
            stacklevel=3,
        )


def _extra_columns(log: Events | SparkEvents, group: str | None, covariates: Sequence[str]) -> dict[str, str]:
    """Check the names of the group and the covariates, and give their expressions."""
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
    return group_and_covariates(group, covariates)


def _refuse_missing(table: pa.Table, name: str, column: str | None) -> None:
    """Refuse a group or covariate that is not known at the acquisition of every user."""
    missing = table.filter(pc.is_null(table[name]))[USER]
    if len(missing):
        what = "missing" if name == GROUP else "missing or not a finite number"
        raise DataError(
            f"column {column!r} is {what} at the acquisition of {len(missing)} users (such as {missing[0].as_py()!r}); "
            "fill it in the log, or leave it out"
        )
