"""Points in time as logs write them, read in SQL: timestamps, dates, text with and without offsets, numbers.

In: a column of any type. Out: :class:`TimeReading`, SQL that gives a naive TIMESTAMP in the log's zone (microseconds),
and conditions that tell which rows cannot be read.
"""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass

from bayesdecay.data.sql import text
from bayesdecay.errors import DataError, unknown_name
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["TIME_UNITS", "TimeReading", "check_timezone", "is_number", "read_time"]

# Microseconds per unit, as numerator and denominator so that whole numbers stay whole.
TIME_UNITS = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000), "d": (MICROSECONDS_PER_DAY, 1)}
_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_INTEGERS = (*_SIGNED, *(f"U{kind}" for kind in _SIGNED))
_NAIVE = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "DATE")
_ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
_NANOSECONDS = {"TIMESTAMP_NS": False, "TIMESTAMPTZ_NS": True, "TIMESTAMP_NS WITH TIME ZONE": True}
_YEARS_1_TO_9999 = "BETWEEN -62135596800000000 AND 253402300799999999"
_OFFSET = r"Z|UTC|[+-]\d{2}(?::?\d{2})?"
# Only year-month-day: '03/04/2024' is a day in March in one country and in April in the next.
_ISO = rf"\d{{4}}-\d{{1,2}}-\d{{1,2}}([ T]\d{{1,2}}:\d{{2}}(:\d{{2}}(\.\d+)?)?( ?({_OFFSET}))?)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeReading:
    """SQL that reads a column of times.

    Attributes
    ----------
    value
        The naive TIMESTAMP, NULL where it cannot be read.
    missing, unreadable
        Conditions.
    offset
        Offset from UTC [seconds] that a text gives, NULL where it gives none; None for other types.
    naive
        A cheaper value for a text whose rows all give no offset.
    aware
        Whether the column itself says which instant it means: zoned timestamps and numbers since 1970 do.
    """

    value: str
    missing: str
    unreadable: str
    offset: str | None = None
    naive: str | None = None
    aware: bool = False


def is_number(kind: str) -> bool:
    """Tell whether a DuckDB type holds numbers."""
    return kind in (*_INTEGERS, "FLOAT", "DOUBLE") or (kind.startswith("DECIMAL(") and kind.endswith(")"))


def check_timezone(timezone: str | None) -> str | None:
    """Let a known time zone pass."""
    if timezone is not None and timezone not in zoneinfo.available_timezones():
        near = unknown_name("timezone", timezone, zoneinfo.available_timezones())
        # The list of all 600 zones would bury the hint.
        raise ValueError(str(near).split("choose from")[0] + "give a name such as 'Europe/Berlin' or 'UTC'")
    return timezone


def read_time(column: str, kind: str, timezone: str | None, time_unit: str | None) -> TimeReading:
    """Find the way to read a column.

    Parameters
    ----------
    column
        SQL of the column.
    kind
        Its DuckDB type.
    timezone
        Zone to which instants are converted, UTC if None; naive times are taken to be in it already.
    time_unit
        Unit of numbers since 1970.

    Raises
    ------
    DataError
        If the type holds no points in time.
    ValueError
        If ``time_unit`` is not known, or is given for times that are not numbers.
    """
    if time_unit is not None and time_unit not in TIME_UNITS:
        raise unknown_name("time_unit", time_unit, TIME_UNITS)
    zone = text(timezone or "UTC")
    if is_number(kind) or (kind == "VARCHAR" and time_unit is not None):
        return _numbers(column, kind, zone, time_unit or "us")
    if time_unit is not None:
        raise ValueError(f"time_unit={time_unit!r} is for times that are numbers, and these are {kind}; leave it out")
    if kind == "VARCHAR":
        return _texts(column, zone)
    if kind in _ZONED:
        return _stamps(column, f"timezone({zone}, {column}::TIMESTAMPTZ)", aware=True)
    if kind in _NANOSECONDS:
        return _nanoseconds(column, zone, aware=_NANOSECONDS[kind])
    if kind in _NAIVE:
        return _stamps(column, f"{column}::TIMESTAMP", aware=False)
    raise DataError(
        f"events: the column of times holds {kind}; "
        "expected timestamps, dates, ISO 8601 text, or numbers with time_unit="
    )


def _stamps(column: str, value: str, *, aware: bool) -> TimeReading:
    """Read timestamps and dates."""
    return TimeReading(
        value=f"CASE WHEN isfinite({column}) THEN {value} END",
        missing=f"{column} IS NULL",
        unreadable=f"{column} IS NOT NULL AND NOT isfinite({column})",
        aware=aware,
    )


def _nanoseconds(column: str, zone: str, *, aware: bool) -> TimeReading:
    """Read nanoseconds, down to the microsecond: a cast would round the last instant of a day up into the next."""
    naive = f"make_timestamp(({_down(f'epoch_ns({column})')})::BIGINT)"
    infinite = f"abs(epoch_ns({column})::HUGEINT) >= 9223372036854775806"
    value = f"timezone({zone}, timezone('UTC', {naive}))" if aware else naive
    return TimeReading(
        value=f"CASE WHEN NOT {infinite} THEN {value} END",
        missing=f"{column} IS NULL",
        unreadable=f"coalesce({infinite}, false)",
        aware=aware,
    )


def _down(nanoseconds: str) -> str:
    """Microseconds of nanoseconds, rounded down before 1970 too, where SQL's division rounds up."""
    whole = f"{nanoseconds}::HUGEINT"
    return f"({whole} - (({whole} % 1000) + 1000) % 1000) // 1000"


def _texts(column: str, zone: str) -> TimeReading:
    """Read ISO 8601 text; an offset from UTC is honoured, which a plain cast would silently drop."""
    trimmed = f"trim({column})"
    naive = f"TRY_CAST({trimmed} AS TIMESTAMP)"
    utc = f"timezone('UTC', TRY_CAST({trimmed} AS TIMESTAMPTZ))"
    is_iso = f"regexp_full_match({trimmed}, {text(_ISO)})"
    has_offset = f"regexp_matches({trimmed}, {text(rf':[0-9.]+ ?({_OFFSET})$')})"
    local = f"CASE WHEN {has_offset} THEN timezone({zone}, TRY_CAST({trimmed} AS TIMESTAMPTZ)) ELSE {naive} END"
    value = f"CASE WHEN {is_iso} THEN {local} END"
    missing = f"({column} IS NULL OR {trimmed} = '')"
    return TimeReading(
        value=value,
        missing=missing,
        unreadable=f"NOT {missing} AND ({value}) IS NULL",
        offset=f"CASE WHEN {is_iso} AND {has_offset} THEN (epoch({naive}) - epoch({utc}))::BIGINT END",
        naive=naive,
    )


def _numbers(column: str, kind: str, zone: str, time_unit: str) -> TimeReading:
    """Read numbers since 1970 UTC."""
    times, per = TIME_UNITS[time_unit]
    if kind in _INTEGERS:
        number, missing = f"({column}::HUGEINT * {times})" if per == 1 else _down(column), f"{column} IS NULL"
    else:
        cast = f"TRY_CAST({column} AS DOUBLE)"
        number = f"({cast} * {times} / {per})"
        missing = f"({column} IS NULL OR coalesce(isnan({cast}), false))"
    if kind == "VARCHAR":
        missing = f"({missing} OR trim({column}) = '')"
    instant = f"timezone('UTC', make_timestamp(TRY_CAST(round({number}) AS BIGINT)))"
    value = f"CASE WHEN {number} {_YEARS_1_TO_9999} THEN timezone({zone}, {instant}) END"
    return TimeReading(
        value=value,
        missing=missing,
        unreadable=f"NOT {missing} AND ({value}) IS NULL",
        aware=True,
    )
