"""What differs between the SQL of engines: quoting, types, instants and lists; a table, one row an engine.

An instant is a whole number of microseconds since 1970, in the log's own zone, wherever sums or differences are made of
it: these are exact everywhere, while timestamps and intervals are each engine's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bayesdecay.errors import unknown_name

__all__ = ["DIALECTS", "Dialect", "dialect_named"]

_EPOCH = "TIMESTAMP_NTZ '1970-01-01 00:00:00'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    r"""How an engine writes what the reduction needs.

    Attributes
    ----------
    quote
        The character around names.
    backslash
        Whether a backslash in a text value escapes what follows, as in ``'it\'s'``.
    string, double, exact
        Types: text, a number of 64 bits, a whole number of 38 digits.
    number
        SQL of a value as ``double``, NULL where it is none, if the engine can tell that.
    instant
        SQL of a column of times, whose own clock counts, as an instant.
    instant_in
        The same of a column of points in time with a zone, on the clock of another zone, given as a text value.
    stamp
        SQL of an instant as a timestamp without a zone.
    gather
        SQL of all values of a column above zero as a list, rising.
    """

    quote: str = '"'
    backslash: bool = False
    string: str
    double: str
    exact: str
    number: Callable[[str], str]
    instant: Callable[[str], str]
    instant_in: Callable[[str, str], str]
    stamp: Callable[[str], str]
    gather: Callable[[str], str]

    def identifier(self, *parts: str) -> str:
        """Quote a name, part by part.

        Raises
        ------
        ValueError
            If a name is empty or holds a character that no such name can hold.
        """
        for part in parts:
            if not part or not part.isprintable() or (self.quote == "`" and set(part) & {"`", "\\"}):
                raise ValueError(f"{part!r} cannot be the name of a table or column here; check its spelling")
        return ".".join(self.quote + part.replace(self.quote, self.quote * 2) + self.quote for part in parts)

    def text(self, value: str) -> str:
        """Quote a text value."""
        if not self.backslash:
            return "'" + value.replace("'", "''") + "'"
        for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
            value = value.replace(plain, escaped)
        return f"'{value}'"


def _spark_instant(time: str) -> str:
    """Put it together by its parts: every shorter way goes through the session's zone, and trips over its gaps."""
    local = f"CAST({time} AS TIMESTAMP_NTZ)"
    parts = {
        f"unix_date(CAST({local} AS DATE))": 86_400_000_000,
        f"hour({local})": 3_600_000_000,
        f"minute({local})": 60_000_000,
        f"extract(SECOND FROM {local}) * 1000000": 1,
    }
    return "(" + " + ".join(f"CAST({part} AS BIGINT) * {length}" for part, length in parts.items()) + ")"


def _filtered(list_of: str) -> Callable[[str], str]:
    """Gather by a filtered aggregate."""
    return lambda x: f"{list_of}({x} ORDER BY {x}) FILTER (WHERE {x} > 0)"


def _positive(x: str) -> str:
    """Let NULL stand for zero; these aggregates leave NULL out."""
    return f"CASE WHEN {x} > 0 THEN {x} END"


DIALECTS: Mapping[str, Dialect] = {
    "duckdb": Dialect(
        string="VARCHAR",
        double="DOUBLE",
        exact="DECIMAL(38, 0)",
        number=lambda value: f"TRY_CAST({value} AS DOUBLE)",
        instant=lambda time: f"epoch_us(CAST({time} AS TIMESTAMP))",
        instant_in=lambda time, zone: f"epoch_us(timezone({zone}, CAST({time} AS TIMESTAMPTZ)))",
        stamp=lambda x: f"make_timestamp({x})",
        gather=_filtered("list"),
    ),
    "postgres": Dialect(
        string="TEXT",
        double="DOUBLE PRECISION",
        exact="NUMERIC",
        number=lambda value: f"CAST({value} AS DOUBLE PRECISION)",
        instant=lambda time: f"CAST(EXTRACT(EPOCH FROM CAST({time} AS TIMESTAMP)) * 1000000 AS BIGINT)",
        instant_in=lambda time, zone: (
            f"CAST(EXTRACT(EPOCH FROM CAST({time} AS TIMESTAMPTZ) AT TIME ZONE {zone}) * 1000000 AS BIGINT)"
        ),
        stamp=lambda x: f"(TIMESTAMP '1970-01-01 00:00:00' + {x} * INTERVAL '1 microsecond')",
        gather=_filtered("array_agg"),
    ),
    "snowflake": Dialect(
        backslash=True,
        string="VARCHAR",
        double="DOUBLE",
        exact="NUMBER(38, 0)",
        number=lambda value: f"TRY_TO_DOUBLE(CAST({value} AS VARCHAR))",
        instant=lambda time: f"DATE_PART(EPOCH_MICROSECOND, CAST({time} AS TIMESTAMP_NTZ))",
        instant_in=lambda time, zone: (
            f"DATE_PART(EPOCH_MICROSECOND, CAST(CONVERT_TIMEZONE({zone}, {time}) AS TIMESTAMP_NTZ))"
        ),
        stamp=lambda x: f"TO_TIMESTAMP_NTZ({x}, 6)",
        gather=lambda x: f"ARRAY_AGG({_positive(x)}) WITHIN GROUP (ORDER BY {x})",
    ),
    "bigquery": Dialect(
        quote="`",
        backslash=True,
        string="STRING",
        double="FLOAT64",
        exact="BIGNUMERIC",
        number=lambda value: f"SAFE_CAST({value} AS FLOAT64)",
        instant=lambda time: f"UNIX_MICROS(TIMESTAMP(CAST({time} AS DATETIME)))",
        instant_in=lambda time, zone: f"UNIX_MICROS(TIMESTAMP(DATETIME({time}, {zone})))",
        stamp=lambda x: f"DATETIME(TIMESTAMP_MICROS({x}))",
        gather=lambda x: f"ARRAY_AGG({_positive(x)} IGNORE NULLS ORDER BY {x})",
    ),
    "spark": Dialect(
        quote="`",
        backslash=True,
        string="STRING",
        double="DOUBLE",
        exact="DECIMAL(38, 0)",
        number=lambda value: f"try_cast({value} AS DOUBLE)",
        instant=_spark_instant,
        # What comes out of from_utc_timestamp has the zone's clock on the scale of UTC.
        instant_in=lambda time, zone: f"unix_micros(from_utc_timestamp(CAST({time} AS TIMESTAMP), {zone}))",
        stamp=lambda x: f"({_EPOCH} + {x} * INTERVAL '0.000001' SECOND)",
        gather=lambda x: f"sort_array(collect_list({_positive(x)}))",
    ),
}


def dialect_named(name: str) -> Dialect:
    """Let the name of a known engine pass.

    Raises
    ------
    ValueError
        If it is not known.
    """
    if name not in DIALECTS:
        raise unknown_name("dialect", name, DIALECTS)
    return DIALECTS[name]
