"""The reduction as plain SQL text, to be run in a warehouse that no one would copy a log out of.

In: the names of a table and its columns. Out: a SELECT that gives a row a user; unloaded to Parquet it is read by
:func:`~bayesdecay.data.scale.unloaded.read_history`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from bayesdecay.data.activities import check_activity, clock_end
from bayesdecay.data.asked import listed
from bayesdecay.data.events import Date
from bayesdecay.data.record import HISTORY_COLUMNS, described
from bayesdecay.data.scale.dialects import DIALECTS, Dialect, dialect_named
from bayesdecay.data.scale.reduction import INSTANT, REFUSED_ROWS, reduction_sql
from bayesdecay.data.times import check_timezone
from bayesdecay.names import GROUP, TIME, USER
from bayesdecay.units import MICROSECONDS_PER_DAY, Duration, cutoff_instant, days

__all__ = ["DESCRIPTION", "DIALECTS", "warehouse_sql"]

# The column that tells what the rows are: files that a warehouse writes carry no metadata of ours.
DESCRIPTION = "description"


def warehouse_sql(  # noqa: PLR0913 - what a table and a history can tell; most have a default
    dialect: str,
    *,
    table: str | Sequence[str],
    at: Date,
    user: str = USER,
    time: str = TIME,
    activity: str = "day",
    session_gap: Duration = "30min",
    kind: str | None = None,
    kinds: Sequence[str] | None = None,
    group: str | None = None,
    covariates: Sequence[str] = (),
    timezone: str | None = None,
) -> str:
    """Write the SELECT that reduces a log in a warehouse to a row a user.

    Parameters
    ----------
    dialect
        ``"snowflake"``, ``"bigquery"``, ``"postgres"`` (14 or later), ``"duckdb"`` or ``"spark"``.
    table
        Name of the table, its parts between dots, ``"shop.events"``; as a list if a part has a dot in it. Names are
        quoted: write them as the warehouse keeps them (Snowflake: in capitals unless they were made in quotes).
    at
        Cutoff, in the clock of the times. A date without a time of day means the end of that day.
    user, time, kind
        Names of the columns; ``kind`` is needed for ``kinds`` alone.
    activity, session_gap, kinds, group, covariates
        As in :func:`~bayesdecay.data.history.summarize`.
    timezone
        Zone of the log, if the times are points in time with a zone (BigQuery's TIMESTAMP, Snowflake's TIMESTAMP_LTZ
        and TIMESTAMP_TZ, PostgreSQL's timestamptz). Times without one (DATETIME, TIMESTAMP_NTZ, timestamp, dates) are
        taken as they are.

    Returns
    -------
    str
        The columns of a :class:`~bayesdecay.data.record.History`, ``refused_rows`` (rows of a user without a time or
        a kind: :func:`~bayesdecay.data.scale.unloaded.read_history` refuses them) and ``description``.

    Raises
    ------
    ValueError
        If an argument cannot be.

    Examples
    --------
    >>> sql = warehouse_sql("bigquery", table="shop.events", user="customer", time="ordered", at="2024-06-30")
    >>> print(sql[:60])
    WITH seen AS (
      SELECT `customer` AS `user`, UNIX_MICROS(TIME
    """
    words, unit, cutoff = dialect_named(dialect), check_activity(activity), cutoff_instant(at)
    gap = days(session_gap)
    check_timezone(timezone)
    chosen = _chosen_kinds(kind, kinds)
    extra = {} if group is None else {GROUP: f"CAST({words.identifier(group)} AS {words.string})"}
    extra |= {name: words.number(words.identifier(name)) for name in _covariates(covariates)}
    description = described(
        at=cutoff, activity=unit, session_gap=gap, group=group, covariates=tuple(covariates), kinds=chosen
    )
    return reduction_sql(
        words,
        _seen(words, table, (user, time, kind), timezone, cutoff, chosen, extra),
        activity=unit,
        gap=_microseconds(unit, gap, session_gap),
        end=clock_end(cutoff, unit),
        extra={own: f"c{place}" for place, own in enumerate(extra)},
        more={REFUSED_ROWS: "SUM(placed.refused_rows)", DESCRIPTION: words.text(json.dumps(description))},
    )


def _seen(
    words: Dialect,
    table: str | Sequence[str],
    names: tuple[str, str, str | None],
    timezone: str | None,
    cutoff: pd.Timestamp,
    kinds: Sequence[str] | None,
    extra: dict[str, str],
) -> str:
    """Select the rows up to the cutoff, and those that nothing can be said of."""
    user, time, kind = names
    column = words.identifier(time)
    instant = words.instant(column) if timezone is None else words.instant_in(column, words.text(timezone))
    end = (cutoff - pd.Timestamp(0)) // pd.Timedelta(microseconds=1)
    refused, only = f"{column} IS NULL", f"({instant} <= {end} OR {column} IS NULL)"
    if kinds is not None and kind is not None:
        own = words.identifier(kind)
        refused += f" OR {own} IS NULL"
        among = ", ".join(map(words.text, kinds))
        only += f"\n    AND (CAST({own} AS {words.string}) IN ({among}) OR {own} IS NULL)"
    values = "".join(f", {value} AS c{place}" for place, value in enumerate(extra.values()))
    parts = table.split(".") if isinstance(table, str) else list(table)
    return (
        f"  SELECT {words.identifier(user)} AS {words.identifier(USER)}, {instant} AS {INSTANT},\n"
        f"    CASE WHEN {refused} THEN 1 ELSE 0 END AS {REFUSED_ROWS}{values}\n"
        f"  FROM {words.identifier(*parts)}\n  WHERE {only}"
    )


def _chosen_kinds(kind: str | None, kinds: Sequence[str] | None) -> tuple[str, ...] | None:
    """Check that kinds come with their column."""
    if kinds is None:
        return None
    if kind is None:
        raise ValueError("kinds= tells which events count; name the column that holds their kind too: kind='...'")
    chosen = tuple(dict.fromkeys(map(str, listed("kinds", kinds))))
    if not chosen:
        raise ValueError("kinds is empty; name the kinds that count, or leave it out to count all")
    return chosen


def _covariates(covariates: Sequence[str]) -> Sequence[str]:
    """Check the names of covariates; SQL does not tell capitals."""
    taken = {name.lower() for name in (*HISTORY_COLUMNS, GROUP, REFUSED_ROWS, DESCRIPTION)}
    for name in listed("covariates", covariates):
        if name.lower() in taken:
            raise ValueError(f"covariate {name!r} has the name of another column of the result; rename it in the table")
        taken.add(name.lower())
    return covariates


def _microseconds(activity: str, gap: float, given: Duration) -> int:
    """Length of a session's gap [microseconds]."""
    length = round(gap * MICROSECONDS_PER_DAY)
    if activity == "session" and length == 0:
        raise ValueError(f"session_gap {given!r} lets no session go on; to count instants take activity='event'")
    return length
