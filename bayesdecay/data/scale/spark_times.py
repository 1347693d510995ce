"""Points in time as Spark holds them, read as whole microseconds since 1970 on the log's own clock.

In: a column and its Spark type. Out: :class:`SparkTime`, SQL of the instants and of what is wrong. Nothing here depends
on the session's time zone; where a type's meaning does, the zone must be told.
"""

from __future__ import annotations

from dataclasses import dataclass

from bayesdecay.data.scale.dialects import DIALECTS
from bayesdecay.data.times import TIME_UNITS
from bayesdecay.errors import DataError, unknown_name

__all__ = ["SparkTime", "read_spark_time"]

_SPARK = DIALECTS["spark"]
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double")
_TEXTS = ("string", "varchar", "char")
_UTC = ("UTC", "Etc/UTC", "GMT", "Z", "+00:00")
# Only year-month-day: '03/04/2024' is a day in March in one country and in April in the next. An offset would be
# dropped without a word.
_ISO = r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?)?$"
_YEARS_1_TO_9999 = "BETWEEN -62135596800000000 AND 253402300799999999"


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkTime:
    """SQL that reads a column of times.

    Attributes
    ----------
    value
        Microseconds since 1970 (BIGINT), NULL where they cannot be read.
    missing, unreadable
        Conditions.
    aware
        Whether the column itself says which instant it means.
    """

    value: str
    missing: str
    unreadable: str
    aware: bool


def read_spark_time(name: str, kind: str, timezone: str | None, time_unit: str | None, session_zone: str) -> SparkTime:
    """Find the way to read a column.

    Parameters
    ----------
    name
        The user's name of the column.
    kind
        Its Spark type.
    timezone
        Zone to which instants are converted, UTC if None; other times are taken to be in it already.
    time_unit
        Unit of numbers since 1970.
    session_zone
        Zone of the Spark session, in which it shows instants.

    Raises
    ------
    DataError
        If the type holds no points in time, or does not tell what they mean.
    ValueError
        If ``time_unit`` is not known, or is given for times that are not numbers.
    """
    if time_unit is not None and time_unit not in TIME_UNITS:
        raise unknown_name("time_unit", time_unit, TIME_UNITS)
    column = _SPARK.identifier(name)
    if kind in _NUMBERS or kind.startswith("decimal"):
        return _numbers(name, kind, timezone, time_unit)
    if time_unit is not None:
        raise ValueError(f"time_unit={time_unit!r} is for times that are numbers, and these are {kind}; leave it out")
    if kind in ("timestamp_ntz", "date"):
        return _sure(column, _SPARK.instant(column), aware=False)
    if kind.startswith(_TEXTS):
        return _texts(column)
    if kind != "timestamp":
        raise DataError(
            f"events: the column of times holds {kind}; "
            "expected timestamps, dates, ISO 8601 text, or numbers with time_unit="
        )
    if timezone is None and session_zone not in _UTC:
        raise DataError(
            f"events: column {name!r} holds instants, and the session shows them in {session_zone}; say in which zone "
            f"the days of the log are: timezone={session_zone!r}, or timezone='UTC'"
        )
    return _sure(column, _SPARK.instant_in(column, _SPARK.text(timezone or "UTC")), aware=True)


def _sure(column: str, value: str, *, aware: bool) -> SparkTime:
    """Read a type of which every value is a point in time."""
    return SparkTime(value=value, missing=f"{column} IS NULL", unreadable="false", aware=aware)


def _texts(column: str) -> SparkTime:
    """Read ISO 8601 text without an offset."""
    read = f"CASE WHEN trim({column}) RLIKE {_SPARK.text(_ISO)} THEN try_cast(trim({column}) AS TIMESTAMP_NTZ) END"
    missing = f"({column} IS NULL OR trim({column}) = '')"
    value = _SPARK.instant(f"({read})")
    return SparkTime(value=value, missing=missing, unreadable=f"(NOT {missing} AND ({read}) IS NULL)", aware=False)


def _numbers(name: str, kind: str, timezone: str | None, time_unit: str | None) -> SparkTime:
    """Read numbers since 1970 UTC."""
    if time_unit is None:
        raise DataError(
            f"events: column {name!r} holds {kind}, and numbers alone do not tell their unit; "
            "say what they count since 1970: time_unit='s', 'ms', 'us', 'ns' or 'd'"
        )
    times, per = TIME_UNITS[time_unit]
    column = _SPARK.identifier(name)
    missing = f"({column} IS NULL OR isnan({column}))" if kind in ("float", "double") else f"{column} IS NULL"
    if kind in ("float", "double"):
        scaled = f"round(CAST({column} AS DOUBLE) * {times} / {per})"
    else:  # rounded down: the last instant of a day must not become the next day's
        scaled = f"floor(CAST({column} AS DECIMAL(38, 9)) * {times} / {per})"
    micros = f"CASE WHEN {scaled} {_YEARS_1_TO_9999} THEN CAST({scaled} AS BIGINT) END"
    value = _SPARK.instant_in(f"timestamp_micros({micros})", _SPARK.text(timezone or "UTC"))
    return SparkTime(value=value, missing=missing, unreadable=f"(NOT {missing} AND ({micros}) IS NULL)", aware=True)
