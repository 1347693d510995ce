"""Events: the door by which a log comes in, checked once.

In: a file, table or relation with the user's own column names. Out: :class:`Events`, a query with the columns
``user``, ``time`` (naive, in the log's own zone, microseconds) and, if told, ``kind``, ``amount`` and further columns
under their own names. What is refused and what is kept is :data:`~bayesdecay.data.quality.QUALITY_RULES`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import pandas as pd

from bayesdecay.data.activities import crowded_days_sql
from bayesdecay.data.asked import known_columns, known_kinds, listed
from bayesdecay.data.card import card
from bayesdecay.data.inspection import Inspection, inspect_log
from bayesdecay.data.quality import CROWDED, DataQuality, span_text
from bayesdecay.data.resources import Resources
from bayesdecay.data.scale.spark_events import is_spark_frame, read_spark
from bayesdecay.data.source import Columns, Source, open_source
from bayesdecay.data.sql import identifier, instant
from bayesdecay.data.times import check_timezone
from bayesdecay.errors import DataError, unknown_name
from bayesdecay.names import AMOUNT, KIND, TIME, USER
from bayesdecay.units import cutoff_instant

__all__ = ["Date", "Events", "read_events"]

Date = str | dt.date  # pandas' Timestamp is a date
_ENGINES = ("duckdb", "spark")


# No slots: the costlier facts are computed when first asked for, and kept.
@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """A log that was checked; it stays where it is and is read by queries.

    Attributes
    ----------
    source
        Where the log is.
    select
        The query that gives its columns under our names.
    columns
        Names of these columns.
    n_rows
        Events.
    span
        First and last event.
    timezone
        Zone of the times, if it was told.
    now
        The clock when the log was read; later events are of the future.
    counts
        Rows that were kept and counted while reading, by rule.
    """

    source: Source
    select: str
    columns: tuple[str, ...]
    n_rows: int
    span: tuple[pd.Timestamp, pd.Timestamp]
    timezone: str | None
    now: pd.Timestamp
    counts: Mapping[str, int]

    def __len__(self) -> int:
        """Count the events."""
        return self.n_rows

    def query(self, sql: str) -> duckdb.DuckDBPyRelation:
        """Run SQL in which ``{log}`` stands for the log; nothing is computed before the result is fetched."""
        return self.source.run(sql.replace("{log}", f"({self.select})"))

    @cached_property
    def n_users(self) -> int:
        """Count the different users."""
        return int(self._scalar(f"count(DISTINCT {identifier(USER)})"))

    @cached_property
    def end(self) -> pd.Timestamp:
        """End of the log: the last instant of the last event's day, events of the future left aside.

        Raises
        ------
        DataError
            If all events are of the future.
        """
        last = self.span[1]
        if last > self.now:
            last = self._scalar(f"max({identifier(TIME)}) FILTER (WHERE {identifier(TIME)} <= {instant(self.now)})")
        if last is None:
            raise DataError(f"events: every event is later than now ({self.now}); say at which cutoff you look at them")
        return cutoff_instant(pd.Timestamp(last).normalize())

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """List the kinds of events there are; none if the log was read without them."""
        if KIND not in self.columns:
            return ()
        kind = identifier(KIND)
        return tuple(row[0] for row in self.query(f"SELECT DISTINCT {kind} FROM {{log}} ORDER BY 1").fetchall())

    @cached_property
    def quality(self) -> DataQuality:
        """What was kept and counted; duplicates and crowded days take a pass over the log of their own each."""
        columns = ", ".join(map(identifier, self.columns))
        different = self._scalar("count(*)", f"(SELECT DISTINCT {columns} FROM {{log}})")
        crowded = self.query(crowded_days_sql(CROWDED)).fetchall()
        return DataQuality(
            n_rows=self.n_rows,
            n_users=self.n_users,
            first=self.span[0],
            last=self.span[1],
            counts={
                "duplicates": self.n_rows - int(different),
                "crowded_day": int(sum(rows for *_, rows in crowded)),
                **self.counts,
            },
            crowds={user: (most, day) for user, most, day, _ in crowded},
        )

    def known_kinds(self, kinds: Sequence[str]) -> tuple[str, ...]:
        """Let kinds pass that are in the log, in order and each once.

        Raises
        ------
        ValueError
            If one is not in the log, none is given, or the log was read without kinds.
        """
        return known_kinds(kinds, self.kinds)

    def known_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Let columns pass that were read.

        Raises
        ------
        ValueError
            If one was not read.
        """
        return known_columns(columns, self.columns)

    def _scalar(self, expression: str, table: str = "{log}") -> Any:
        """Fetch one value."""
        return self.query(f"SELECT {expression} FROM {table}").fetchall()[0][0]

    def _repr_html_(self) -> str:
        """Show the log in a notebook, without a further pass over it."""
        facts: dict[str, object] = {
            "source": self.source.label,
            "events": f"{self.n_rows:,}",
            "span": span_text(*self.span),
            "time zone": self.timezone or "as in the log (UTC if its times told an offset)",
            "columns": ", ".join(self.columns),
        }
        return card("Events", facts | {rule.replace("_", " "): f"{n:,}" for rule, n in self.counts.items() if n})


def read_events(  # noqa: PLR0913 - what a log can tell; all but the source are keywords with a default
    source: Any,
    *,
    user: str = USER,
    time: str = TIME,
    kind: str | None = None,
    amount: str | None = None,
    columns: Sequence[str] = (),
    kinds: Sequence[str] | None = None,
    timezone: str | None = None,
    time_unit: str | None = None,
    now: Date | None = None,
    resources: Resources | None = None,
    engine: str = "duckdb",
) -> Events | Any:
    """Read and check an event log.

    Parameters
    ----------
    source
        Path, glob or list of paths of Parquet or CSV files (scanned, never loaded whole); pandas or polars frame,
        Arrow table or anything that exports an Arrow stream; DuckDB relation (its connection must stay open); Spark
        frame.
    user, time, kind, amount
        Your names of the columns. Ids keep their type; in CSV they are whole numbers if every one is written like one
        ("007" is not), else text. Kinds become text, amounts numbers.
    columns
        Further columns to keep, for groups, covariates and features.
    kinds
        All the kinds of events that may occur; any other is refused.
    timezone
        Zone of the log, as in ``"Europe/Berlin"``. Times that tell their offset are converted to it (to UTC if it is
        not given); times that do not are taken to be in it.
    time_unit
        Unit of times that are numbers since 1970: ``"s"``, ``"ms"``, ``"us"``, ``"ns"`` or ``"d"``.
    now
        Point in time [in the log's zone] after which events are of the future; default the clock's.
    resources
        Memory, folder to spill to and threads of all that is asked of this log, and whether progress is shown.
    engine
        ``"duckdb"``, here; or ``"spark"``, on the cluster of the running Spark session or of one that is started, where
        the source is the address of Parquet files. A Spark frame goes to Spark by itself. There instants (TIMESTAMP)
        need ``timezone`` unless the session is in UTC, and text with an offset from UTC is refused.

    Returns
    -------
    Events or SparkEvents
        The latter from Spark: :func:`~bayesdecay.data.history.summarize` takes both.

    Raises
    ------
    DataError
        If a row breaks a rule of :data:`~bayesdecay.data.quality.QUALITY_RULES`, or there are no rows.
    FileNotFoundError
        If no file is there.
    ValueError
        If a column is not there, or an argument cannot be.
    TypeError
        If the source is of a kind that is not known.
    MissingExtraError
        If Spark is asked for and not installed.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"who": [7, 7], "when": ["2024-01-01", "2024-02-01 10:30"]})
    >>> log = read_events(frame, user="who", time="when")
    >>> log.n_rows, str(log.end)
    (2, '2024-02-01 23:59:59.999999')
    """
    if kinds is not None and kind is None:
        raise ValueError("kinds= tells which kinds may occur; name the column that holds them too: kind='...'")
    check_timezone(timezone)
    named = {USER: user, TIME: time, KIND: kind, AMOUNT: amount}
    roles = {role: name for role, name in named.items() if name is not None}
    wanted = Columns(roles=roles, extra=_extra(roles, columns))
    allowed = None if kinds is None else tuple(map(str, listed("kinds", kinds)))
    if engine not in _ENGINES:
        raise unknown_name("engine", engine, _ENGINES)
    if engine == "spark" or is_spark_frame(source):
        return read_spark(source, wanted, kinds=allowed, timezone=timezone, time_unit=time_unit, now=_clock(now))
    opened = open_source(source, wanted, zoned=timezone is not None, resources=resources)
    try:
        told = inspect_log(opened, wanted, kinds=allowed, timezone=timezone, time_unit=time_unit, now=_clock(now))
    except duckdb.Error as error:
        raise DataError(f"events: {opened.label} cannot be read: {error}") from error
    return _events(opened, told, timezone)


def _events(source: Source, told: Inspection, timezone: str | None) -> Events:
    """Make the log of what its inspection told."""
    return Events(
        source=source,
        select=told.select,
        columns=told.columns,
        n_rows=told.n_rows,
        span=told.span,
        timezone=timezone,
        now=told.now,
        counts=told.counts,
    )


def _extra(roles: Mapping[str, str], columns: Sequence[str]) -> tuple[str, ...]:
    """Check that further columns do not take a name twice; SQL does not tell capitals."""
    taken = {role.lower(): f"the log's own column {role!r}" for role in roles}
    for column in listed("columns", columns):
        if column.lower() in taken:
            raise ValueError(f"column {column!r} has the name of {taken[column.lower()]}; rename it in the log")
        taken[column.lower()] = f"another column, {column!r}"
    return tuple(columns)


def _clock(now: Date | None) -> pd.Timestamp | None:
    """Read the point in time that the user gives as now."""
    return None if now is None else cutoff_instant(now)
