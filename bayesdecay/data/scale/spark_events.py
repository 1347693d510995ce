"""A log on Apache Spark: checked once, by one aggregate over it, and left where it is.

In: a Spark frame, or the address of Parquet files. Out: :class:`SparkEvents`, a frame with the columns ``user``,
``time`` (whole microseconds since 1970, in the log's own zone) and, if told, ``kind`` and further ones by their names.
What is refused is :data:`~bayesdecay.data.quality.QUALITY_RULES`; rows of a cluster have no numbers, so an example of
the values stands in their place.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from bayesdecay.data.asked import known_columns, known_kinds
from bayesdecay.data.card import card
from bayesdecay.data.inspection import clock_now
from bayesdecay.data.quality import QUALITY_RULES, span_text
from bayesdecay.data.scale.dialects import DIALECTS
from bayesdecay.data.scale.spark_times import read_spark_time
from bayesdecay.data.source import Columns
from bayesdecay.errors import DataError, MissingExtraError
from bayesdecay.names import AMOUNT, KIND, TIME, USER
from bayesdecay.units import cutoff_instant

__all__ = ["SparkEvents", "is_spark_frame", "read_spark"]

_SPARK = DIALECTS["spark"]
_EPOCH = pd.Timestamp(0)
_MICROSECOND = pd.Timedelta(microseconds=1)


# No slots: the kinds are looked up when first asked for, and kept.
@dataclass(frozen=True, kw_only=True, eq=False)
class SparkEvents:
    """A log on Spark that was checked.

    Attributes
    ----------
    frame
        Spark frame with our columns; ``time`` in microseconds since 1970.
    columns
        Names of these columns.
    n_rows
        Events.
    span
        First and last event.
    last_past
        Last event that is not of the future; None if there is none.
    timezone
        Zone of the times, if it was told.
    now
        The clock when the log was read; later events are of the future.
    """

    frame: Any
    columns: tuple[str, ...]
    n_rows: int
    span: tuple[pd.Timestamp, pd.Timestamp]
    last_past: pd.Timestamp | None
    timezone: str | None
    now: pd.Timestamp

    def __len__(self) -> int:
        """Count the events."""
        return self.n_rows

    @property
    def end(self) -> pd.Timestamp:
        """End of the log: the last instant of the last event's day, events of the future left aside.

        Raises
        ------
        DataError
            If all events are of the future.
        """
        if self.last_past is None:
            raise DataError(f"events: every event is later than now ({self.now}); say at which cutoff you look at them")
        return cutoff_instant(self.last_past.normalize())

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """List the kinds of events there are, by a pass over the log; none if it was read without them."""
        if KIND not in self.columns:
            return ()
        return tuple(sorted(row[0] for row in self.frame.select(KIND).distinct().collect()))

    def known_kinds(self, kinds: Sequence[str]) -> tuple[str, ...]:
        """Let kinds pass that are in the log; see :func:`~bayesdecay.data.asked.known_kinds`."""
        return known_kinds(kinds, self.kinds)

    def known_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Let columns pass that were read; see :func:`~bayesdecay.data.asked.known_columns`."""
        return known_columns(columns, self.columns)

    def _repr_html_(self) -> str:
        """Show the log in a notebook, without a further pass over it."""
        facts: dict[str, object] = {
            "source": "Apache Spark",
            "events": f"{self.n_rows:,}",
            "span": span_text(*self.span),
            "time zone": self.timezone or "as in the log (UTC if its times are instants)",
            "columns": ", ".join(self.columns),
        }
        return card("Events", facts)


def is_spark_frame(source: Any) -> bool:
    """Tell a Spark frame by where its class is from; pyspark is not loaded for that."""
    return hasattr(source, "mapInArrow") and any(
        kind.__module__.startswith("pyspark.") for kind in type(source).__mro__
    )


def read_spark(
    source: Any,
    wanted: Columns,
    *,
    kinds: Sequence[str] | None,
    timezone: str | None,
    time_unit: str | None,
    now: pd.Timestamp | None,
) -> SparkEvents:
    """Check a log on Spark; the arguments are those of :func:`~bayesdecay.data.events.read_events`.

    Raises
    ------
    DataError
        If rows break a rule, there are none, or the files cannot be read.
    ValueError
        If a column is not there, or an argument cannot be.
    TypeError
        If the source is neither a Spark frame nor an address.
    MissingExtraError
        If pyspark is not installed.
    """
    if AMOUNT in wanted.roles:
        raise ValueError("amount= is for features, which are not computed on Spark; leave it out")
    frame = source if is_spark_frame(source) else _opened(source)
    wanted.choose(frame.columns)
    types = dict(frame.dtypes)
    name = {role: _SPARK.identifier(own) for role, own in wanted.roles.items()}
    zone = frame.sparkSession.conf.get("spark.sql.session.timeZone")
    reading = read_spark_time(wanted.roles[TIME], types[wanted.roles[TIME]], timezone, time_unit, zone)
    values = {USER: name[USER], TIME: reading.value} | ({KIND: f"CAST({name[KIND]} AS STRING)"} if KIND in name else {})
    refused = {
        ("missing_user", USER): _missing(name[USER], types[wanted.roles[USER]]),
        ("missing_time", TIME): reading.missing,
        ("unreadable_time", TIME): reading.unreadable,
    }
    if KIND in values:
        refused["missing_kind", KIND] = _missing(values[KIND], "string")
        if kinds is not None:
            among = ", ".join(map(_SPARK.text, kinds)) or "NULL"
            refused["unknown_kind", KIND] = f"NOT coalesce({values[KIND]} IN ({among}), false)"
            refused["unknown_kind", KIND] += f" AND NOT {refused['missing_kind', KIND]}"
    clock = clock_now(timezone, reading.aware) if now is None else now
    found = _count(frame, reading.value, refused, name, clock)
    if not found["n_rows"]:
        raise DataError("events: the Spark frame holds no rows; expected at least one row")
    _refuse(found, refused, wanted.roles)
    values |= {own: _SPARK.identifier(own) for own in wanted.extra}
    return SparkEvents(
        frame=frame.selectExpr(*(f"{value} AS {_SPARK.identifier(own)}" for own, value in values.items())),
        columns=tuple(values),
        n_rows=found["n_rows"],
        span=(_EPOCH + found["first"] * _MICROSECOND, _EPOCH + found["last"] * _MICROSECOND),
        last_past=None if found["last_past"] is None else _EPOCH + found["last_past"] * _MICROSECOND,
        timezone=timezone,
        now=clock,
    )


def _opened(source: Any) -> Any:
    """Scan Parquet files with the running session, or start one."""
    paths = [source] if isinstance(source, str | os.PathLike) else source
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str | os.PathLike) for path in paths):
        raise TypeError(
            f"engine='spark' takes a Spark frame or the address of Parquet files, not {type(source).__name__}; "
            "make a frame of it with spark.createDataFrame"
        )
    if importlib.util.find_spec("pyspark") is None:
        raise MissingExtraError("pyspark is not installed; install bayesdecay[spark], or use engine='duckdb'")
    # Without it the workers take the first python3 of the path, whatever is installed there.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.errors import AnalysisException
    from pyspark.sql import SparkSession

    try:
        return SparkSession.builder.getOrCreate().read.parquet(*map(str, paths))
    except AnalysisException as error:
        raise DataError(f"events: {', '.join(map(str, paths))} cannot be read by Spark as Parquet: {error}") from error


def _missing(column: str, kind: str) -> str:
    """Write the condition that an id or a kind is missing."""
    if kind.startswith(("string", "varchar", "char")):
        return f"({column} IS NULL OR trim({column}) = '')"
    return f"({column} IS NULL OR isnan({column}))" if kind in ("float", "double") else f"{column} IS NULL"


def _count(
    frame: Any, time: str, refused: Mapping[tuple[str, str], str], name: Mapping[str, str], clock: pd.Timestamp
) -> dict[str, Any]:
    """Count everything in one pass, with an example of what is refused."""
    past = (clock - _EPOCH) // _MICROSECOND
    asked = {
        "n_rows": "count(*)",
        "first": f"min({time})",
        "last": f"max({time})",
        "last_past": f"max(CASE WHEN {time} <= {past} THEN {time} END)",
    }
    for (rule, role), condition in refused.items():
        asked[rule] = f"count_if({condition})"
        asked[f"{rule}_such"] = f"min(CASE WHEN {condition} THEN CAST({name[role]} AS STRING) END)"
    return dict(frame.selectExpr(*(f"{value} AS {key}" for key, value in asked.items())).first().asDict())


def _refuse(found: Mapping[str, Any], refused: Mapping[tuple[str, str], str], roles: Mapping[str, str]) -> None:
    """Raise one error that tells all the rules that were broken."""
    told = []
    for rule, role in refused:
        if found[rule]:
            such = "" if rule.startswith("missing") else f" (such as {found[f'{rule}_such']!r})"
            words = QUALITY_RULES[rule]
            told.append(f"column {roles[role]!r} has {found[rule]:,} {words.what}{such}; {words.remedy}")
    if told:
        raise DataError("events: " + "\n".join(told))
