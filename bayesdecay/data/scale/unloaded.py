"""Histories from files: those that were written here, and those that a warehouse or a cluster unloaded.

In: Parquet files. Out: :class:`~bayesdecay.data.record.History`. Warehouses have types of their own when they write:
whole numbers as decimals, lists as JSON text, times with a zone; here they become those of a history again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from bayesdecay.data.record import HISTORY_COLUMNS, History, as_described
from bayesdecay.data.scale.reduction import REFUSED_ROWS
from bayesdecay.data.scale.warehouse import DESCRIPTION
from bayesdecay.data.sql import connect, fetch, identifier, text
from bayesdecay.errors import DataError
from bayesdecay.names import FIRST, GROUP, LAST, LAST_EVENT, SUM_TIMES, TIMES, USER, N, T

__all__ = ["read_history"]

_TYPES = {
    N: "BIGINT",
    **dict.fromkeys((FIRST, LAST, LAST_EVENT), "TIMESTAMP"),
    **dict.fromkeys((T, SUM_TIMES), "DOUBLE"),
    TIMES: "BIGINT[]",
}
_WRITERS = "History.to_parquet, or what the SELECT of warehouse_sql gives"


def read_history(path: str | Path) -> History:
    """Read a history from Parquet.

    Parameters
    ----------
    path
        A file that :meth:`~bayesdecay.data.record.History.to_parquet` or ``bayesdecay summarize`` wrote; or a file,
        folder or pattern of files with the result of a :func:`~bayesdecay.data.scale.warehouse.warehouse_sql`, all
        columns under their names.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    DataError
        If it is no history, parts of several, or made of rows that cannot be used.
    """
    one = Path(path)
    if one.is_file() and b"bayesdecay" in (_metadata(one) or {}):
        return History.from_parquet(one)
    pattern = str(one / "**" / "*.parquet") if one.is_dir() else str(path)
    with connect() as connection:
        try:
            connection.execute(f"CREATE VIEW unloaded AS SELECT * FROM read_parquet({text(pattern)})")
            types = {row[0]: row[1] for row in connection.execute("DESCRIBE unloaded").fetchall()}
            if DESCRIPTION not in types:
                raise DataError(f"{path} is not a history; expected a file of {_WRITERS}")
            return _read(connection, types, path)
        except duckdb.Error as error:
            if isinstance(error, duckdb.IOException) and not one.exists() and "No files found" in str(error):
                raise FileNotFoundError(f"no history at {path}") from error
            reason = str(error).partition("\n")[0]  # what follows shows our own query
            raise DataError(f"{path} cannot be read as a history in Parquet: {reason}") from error


def _metadata(path: Path) -> dict[bytes, bytes] | None:
    """Metadata of a file; none if it is no Parquet."""
    try:
        found: dict[bytes, bytes] | None = pq.read_schema(path).metadata
    except (OSError, ValueError):  # what pyarrow raises for it
        return None
    return found


def _read(connection: duckdb.DuckDBPyConnection, types: dict[str, str], path: str | Path) -> History:
    """Check what was unloaded, and bring it to the types of a history."""
    told = connection.execute(f"SELECT DISTINCT {DESCRIPTION} FROM unloaded LIMIT 2").fetchall()
    if len(told) != 1:
        raise DataError(f"{path} holds {'rows of several histories' if told else 'no rows'}; expected those of one")
    description: dict[str, Any] = as_described(json.loads(told[0][0]))
    extra = (*(() if description["group"] is None else (GROUP,)), *description["covariates"])
    missing = [name for name in (*HISTORY_COLUMNS, *extra) if name not in types]
    if missing:
        raise DataError(f"{path} has no column {', '.join(map(repr, missing))}; unload all that the SELECT gives")
    _refuse_rows(connection, types, path)
    values = {USER: _user(types[USER])} | {name: _cast(name, types[name], kind) for name, kind in _TYPES.items()}
    values |= {GROUP: f"{identifier(GROUP)}::VARCHAR"} if GROUP in extra else {}
    values |= {name: f"{identifier(name)}::DOUBLE" for name in description["covariates"]}
    selected = ", ".join(f"{value} AS {identifier(name)}" for name, value in values.items())
    table = fetch(connection.sql(f"SELECT {selected} FROM unloaded ORDER BY 1"))
    for name in extra:
        bad = f"{identifier(name)} IS NULL" + ("" if name == GROUP else f" OR NOT isfinite({identifier(name)}::DOUBLE)")
        found = connection.execute(f"SELECT count(*), min({identifier(USER)}) FROM unloaded WHERE {bad}").fetchall()[0]
        if found[0]:
            column = description["group"] if name == GROUP else name
            raise DataError(
                f"column {column!r} is missing or not a finite number at the acquisition of {found[0]:,} users "
                f"(such as {found[1]!r}); fill it in the table, or leave it out"
            )
    return History(table=table, **description)


def _refuse_rows(connection: duckdb.DuckDBPyConnection, types: dict[str, str], path: str | Path) -> None:
    """Refuse rows of nobody, users that are there twice, and users with rows that cannot be used."""
    user = identifier(USER)
    blank = f" OR trim({user}) = ''" if types[USER] == "VARCHAR" else ""
    nobody, n_rows, n_users = connection.execute(
        f"SELECT count_if({user} IS NULL{blank}), count({user}), count(DISTINCT {user}) FROM unloaded"
    ).fetchall()[0]
    if nobody:
        raise DataError(f"{path}: the log has rows without a user; drop them in the table, or give them a user's id")
    if n_users < n_rows:
        raise DataError(f"{path} holds {n_rows - n_users:,} users twice; are the files of two unloads in one place?")
    if REFUSED_ROWS in types:
        rows, users = connection.execute(
            f"SELECT sum({REFUSED_ROWS}), count_if({REFUSED_ROWS} > 0) FROM unloaded"
        ).fetchall()[0]
        if rows:
            raise DataError(
                f"{path}: {int(rows):,} rows of {users:,} users have no time, or no kind; drop them in the table, or "
                "fill them in"
            )


def _user(kind: str) -> str:
    """Read ids; whole numbers that were written as decimals are whole numbers."""
    return f"{identifier(USER)}::BIGINT" if kind.startswith("DECIMAL") and kind.endswith(",0)") else identifier(USER)


def _cast(name: str, kind: str, wanted: str) -> str:
    """Read a column as its own type."""
    column = identifier(name)
    if wanted == "TIMESTAMP" and "TIME ZONE" in kind:
        return f"timezone('UTC', {column})"
    if wanted == "BIGINT[]":
        # A list without items is unloaded as none by some.
        return f"coalesce({column}::BIGINT[], [])"
    return f"{column}::{wanted}"
