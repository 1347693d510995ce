"""The inspection of a log: one aggregate pass over it finds what is refused and what is counted.

Rows are listed, in a second pass, only for a rule that was broken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from bayesdecay.data.quality import SHOWN_ROWS, refusal
from bayesdecay.data.source import Columns, Source
from bayesdecay.data.sql import identifier, instant, text, texts
from bayesdecay.data.times import TimeReading, is_number, read_time
from bayesdecay.errors import DataError, unknown_name
from bayesdecay.names import AMOUNT, KIND, TIME, USER

__all__ = ["Inspection", "clock_now", "inspect_log"]

# A whole number as it would be written, and within 64 bits; "007" and "+7" are names.
_WHOLE_NUMBER = r"0|-?[1-9]\d{0,17}"
_SAY_NOTHING = ("missing_time", "missing_kind")
_FARTHEST_ZONE = pd.Timedelta(hours=14)  # Kiribati: naive times may be of any zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the inspection found; attributes as in :class:`~bayesdecay.data.events.Events`."""

    select: str
    columns: tuple[str, ...]
    n_rows: int
    span: tuple[pd.Timestamp, pd.Timestamp]
    now: pd.Timestamp
    counts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How one column is read: its value in SQL, and the conditions of the rules that its rows may break."""

    name: str
    value: str
    refused: Mapping[str, str]
    counted: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """Offsets from UTC that times in text tell: in how many rows, how many different ones, the commonest [seconds]."""

    told: int
    different: int
    usual: int


def inspect_log(
    source: Source,
    wanted: Columns,
    *,
    kinds: Sequence[str] | None,
    timezone: str | None,
    time_unit: str | None,
    now: pd.Timestamp | None,
) -> Inspection:
    """Check a log against every rule.

    Parameters
    ----------
    source, wanted
        The log and its columns.
    kinds
        The kinds that may occur, any if None.
    timezone, time_unit
        As in :func:`~bayesdecay.data.events.read_events`.
    now
        The clock; None for the real one.

    Raises
    ------
    DataError
        If a rule is broken; all of them are told at once.
    """
    read, clock = _read(source, wanted, kinds=kinds, timezone=timezone, time_unit=time_unit, now=now)
    found = _count(source, read)
    if not found["n_rows"]:
        raise DataError(f"events: {source.label} holds no rows; expected at least one row")
    _refuse(source, read, found, kinds)
    if source.is_csv and not found["names"]:
        read[USER] = replace(read[USER], value=f"{read[USER].value}::BIGINT")
    values = {role: column.value for role, column in read.items()}
    values |= {name: _comparable(source, name) for name in wanted.extra}
    selected = ", ".join(f"{value} AS {identifier(name)}" for name, value in values.items())
    return Inspection(
        select=f"SELECT {selected} FROM {source.table}",
        columns=tuple(values),
        n_rows=found["n_rows"],
        span=(pd.Timestamp(found["first"]), pd.Timestamp(found["last"])),
        now=clock,
        counts={rule: found[rule] for column in read.values() for rule in column.counted},
    )


def _read(
    source: Source,
    wanted: Columns,
    *,
    kinds: Sequence[str] | None,
    timezone: str | None,
    time_unit: str | None,
    now: pd.Timestamp | None,
) -> tuple[dict[str, Column], pd.Timestamp]:
    """Find the way to read every column, and the clock's now in the zone of the times."""
    name = wanted.roles[TIME]
    _refuse_plain_numbers(source, name, time_unit)
    reading = read_time(identifier(name), source.types[name], timezone, time_unit)
    offsets = _offsets(source, reading)
    clock = clock_now(timezone, reading.aware or offsets.told > 0) if now is None else now
    read = {USER: _user(source, wanted.roles[USER]), TIME: _time(name, reading, offsets, timezone, clock)}
    if KIND in wanted.roles:
        read[KIND] = _kind(wanted.roles[KIND], kinds)
    if AMOUNT in wanted.roles:
        read[AMOUNT] = _amount(source, wanted.roles[AMOUNT])
    return read, clock


def _comparable(source: Source, name: str) -> str:
    """Read a column as it is; an ENUM sorts by its making, and becomes text."""
    column = identifier(name)
    return f"{column}::VARCHAR" if source.types[name].startswith("ENUM") else column


def _user(source: Source, name: str) -> Column:
    """Read the ids, in their own type."""
    value, kind = _comparable(source, name), source.types[name]
    missing = f"{value} IS NULL"
    if kind == "VARCHAR" or kind.startswith("ENUM"):
        missing = f"({missing} OR trim({value}) = '')"
    elif kind in ("FLOAT", "DOUBLE"):
        missing = f"({missing} OR isnan({value}))"
    return Column(name=name, value=value, refused={"missing_user": missing}, counted={})


def _time(name: str, reading: TimeReading, offsets: Offsets, timezone: str | None, now: pd.Timestamp) -> Column:
    """Read the times."""
    value = reading.value
    refused = {"missing_time": reading.missing, "unreadable_time": reading.unreadable}
    if offsets.told:
        readable = f"NOT ({reading.missing}) AND NOT ({reading.unreadable})"
        refused["missing_zone"] = f"{readable} AND ({reading.offset}) IS NULL"
    elif reading.naive is not None:
        value = reading.naive
    if offsets.different > 1 and timezone is None:
        refused["mixed_zones"] = f"({reading.offset}) <> {offsets.usual}"
    return Column(name=name, value=value, refused=refused, counted={"future": f"({value}) > {instant(now)}"})


def _kind(name: str, kinds: Sequence[str] | None) -> Column:
    """Read the kinds, as text."""
    value = f"{identifier(name)}::VARCHAR"
    missing = f"({value} IS NULL OR trim({value}) = '')"
    refused = {"missing_kind": missing}
    if kinds is not None:
        refused["unknown_kind"] = f"NOT {missing} AND {value} NOT IN ({texts(kinds) or 'NULL::VARCHAR'})"
    return Column(name=name, value=value, refused=refused, counted={})


def _amount(source: Source, name: str) -> Column:
    """Read the amounts, as numbers; NaN is a missing one."""
    column, kind = identifier(name), source.types[name]
    if not is_number(kind) and kind != "VARCHAR":
        raise DataError(f"events: column {name!r} of amounts holds {kind}; expected numbers")
    number = f"TRY_CAST({column} AS DOUBLE)"
    missing = f"({column} IS NULL OR coalesce(isnan({number}), false))"
    if kind == "VARCHAR":
        missing = f"({missing} OR trim({column}) = '')"
    return Column(
        name=name,
        value=f"CASE WHEN isfinite({number}) THEN {number} END",
        refused={"unreadable_amount": f"NOT {missing} AND NOT coalesce(isfinite({number}), false)"},
        counted={"zero_amount": f"{number} = 0", "negative_amount": f"{number} < 0", "missing_amount": missing},
    )


def clock_now(timezone: str | None, aware: bool) -> pd.Timestamp:
    """Read the clock, in the zone of the times; where that is not known, in the zone that is farthest ahead."""
    utc = pd.Timestamp.now("UTC")
    if timezone is not None:
        return utc.tz_convert(timezone).tz_localize(None)
    return utc.tz_localize(None) + (pd.Timedelta(0) if aware else _FARTHEST_ZONE)


def _offsets(source: Source, reading: TimeReading) -> Offsets:
    """Look which offsets the times tell; a pass of its own, and only over text."""
    if reading.offset is None:
        return Offsets(told=0, different=0, usual=0)
    query = f"""SELECT count(o), count(DISTINCT o), coalesce(mode(o), 0)
                FROM (SELECT {reading.offset} AS o FROM {source.table})"""
    told, different, usual = source.run(query).fetchall()[0]
    return Offsets(told=told, different=different, usual=usual)


def _count(source: Source, read: Mapping[str, Column]) -> dict[str, Any]:
    """Count everything in one pass."""
    time = read[TIME].value
    asked = {"n_rows": "count(*)", "first": f"min({time})", "last": f"max({time})"}
    for column in read.values():
        asked |= {rule: f"count_if({condition})" for rule, condition in {**column.refused, **column.counted}.items()}
    if source.is_csv:
        asked["names"] = f"count_if(NOT regexp_full_match({read[USER].value}, {text(_WHOLE_NUMBER)}))"
    relation = source.run(f"SELECT {', '.join(asked.values())} FROM {source.table}")
    return dict(zip(asked, relation.fetchall()[0], strict=True))


def _refuse(source: Source, read: Mapping[str, Column], found: Mapping[str, Any], kinds: Sequence[str] | None) -> None:
    """Raise one error that tells all the rules that were broken."""
    told = []
    for role, column in read.items():
        for rule, condition in column.refused.items():
            if not found[rule]:
                continue
            rows = _rows(source, column.name, condition)
            shown = () if role == USER or rule in _SAY_NOTHING else [value for _, value in rows]
            told.append(refusal(rule, column.name, found[rule], [row for row, _ in rows], shown))
            if rule == "unknown_kind":
                told[-1] += f" ({unknown_name('kind', rows[0][1], kinds or ())})"
    if told:
        raise DataError("events: " + "\n".join(told))


def _rows(source: Source, name: str, condition: str) -> list[tuple[int, str]]:
    """List the first rows, counted from 0, that meet a condition, and what the column says there."""
    query = f"""
        SELECT bayesdecay_row, {identifier(name)}::VARCHAR
        FROM (SELECT row_number() OVER () - 1 AS bayesdecay_row, * FROM {source.table})
        WHERE {condition} ORDER BY bayesdecay_row LIMIT {SHOWN_ROWS}"""
    return source.run(query).fetchall()


def _refuse_plain_numbers(source: Source, name: str, time_unit: str | None) -> None:
    """Refuse numbers for times without their unit."""
    if time_unit is not None or not is_number(source.types[name]):
        return
    count = source.run(f"SELECT count(*) FROM {source.table}").fetchall()[0][0]
    rows = _rows(source, name, "true")
    if rows:
        told = refusal("numeric_time", name, count, [row for row, _ in rows], [value for _, value in rows])
        raise DataError(f"events: {told}")
