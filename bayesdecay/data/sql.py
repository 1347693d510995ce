"""DuckDB in one place: the private connection, quoting, and results as Arrow without loss of type."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
import pandas as pd
import pyarrow as pa

from bayesdecay.data.resources import Resources

__all__ = ["connect", "fetch", "identifier", "instant", "lossless", "plain", "text", "texts"]


def connect(resources: Resources | None = None) -> duckdb.DuckDBPyConnection:
    """Open a private in-memory database that spills to disk."""
    connection = (resources or Resources()).open()
    # A misspelt view must not pick up a Python variable of that name.
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET arrow_lossless_conversion = true")  # a UUID stays one
    return connection


def fetch(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """Run a query; UUIDs stay UUIDs even on a user's connection that would turn them into text."""
    return lossless(relation.to_arrow_table(), relation)


def lossless(table: pa.Table, relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """Give some of a query's rows the types that its columns have."""
    table = plain(table)
    lost = [
        name
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if str(kind) == "UUID" and name in table.column_names and table.schema.field(name).type != pa.uuid()
    ]
    if not lost:
        return table
    casts = ", ".join(f"{identifier(name)}::UUID AS {identifier(name)}" for name in lost)
    with connect() as connection:
        connection.register("lossy", table)
        return plain(connection.sql(f"SELECT * REPLACE ({casts}) FROM lossy").to_arrow_table())


def plain(table: pa.Table) -> pa.Table:
    """Undo what DuckDB and Parquet do to types on the way.

    Lists get the one name for their items, of which the three libraries have three; booleans are booleans again, which
    the setting that keeps UUIDs turns into bytes.
    """
    for place, field in enumerate(table.schema):
        column = table[place]
        if pa.types.is_list(field.type):
            table = table.set_column(place, field.name, column.cast(pa.list_(field.type.value_type)))
        elif isinstance(field.type, pa.Bool8Type):
            table = table.set_column(place, field.name, column.cast(pa.bool_()))
    return table


def identifier(name: str) -> str:
    """Quote the name of a column or view."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Quote a text value."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Quote several text values for ``IN (...)``."""
    return ", ".join(text(value) for value in values)


def instant(at: pd.Timestamp) -> str:
    """Write a naive point in time as a literal."""
    return f"TIMESTAMP '{at.isoformat(sep=' ', timespec='microseconds')}'"
