"""Where a log comes from: files, tables in memory, or a DuckDB relation, all behind one door to SQL.

Files are scanned by DuckDB and never loaded whole; tables in memory are read in place; a relation is asked on the
connection it belongs to, where nothing is created.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from bayesdecay.data.frames import arrow_columns
from bayesdecay.data.resources import Resources
from bayesdecay.data.sql import connect, text
from bayesdecay.errors import DataError, unknown_name

__all__ = ["Columns", "Source", "open_source"]

_SOURCE = "bayesdecay_source"
_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst")
_Query = Callable[[str], duckdb.DuckDBPyRelation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of the source are what, by the user's own names."""

    roles: dict[str, str]  # our name -> the user's name
    extra: tuple[str, ...]

    def choose(self, known: Sequence[str]) -> list[str]:
        """Check the names against those that are there.

        Raises
        ------
        ValueError
            If one is not there, with the nearest that is.
        """
        for role, name in self.roles.items():
            if name not in known:
                raise unknown_name(f"column for {role}=", name, known)
        for name in self.extra:
            if name not in known:
                raise unknown_name("column", name, known)
        return list(dict.fromkeys([*self.roles.values(), *self.extra]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A log that SQL can be run on.

    Attributes
    ----------
    run
        Runs SQL that names the source as ``table``.
    table
        Name of the source in that SQL.
    types
        DuckDB type of every wanted column.
    is_csv
        Whether everything came as text.
    label
        What to call it in messages.
    """

    run: _Query
    table: str
    types: dict[str, str]
    is_csv: bool = False
    label: str


def open_source(source: Any, columns: Columns, *, zoned: bool = False, resources: Resources | None = None) -> Source:
    """Open a log.

    Parameters
    ----------
    source
        Path, glob or list of paths of Parquet or CSV files; pandas, polars or Arrow table; DuckDB relation.
    columns
        The columns wanted.
    zoned
        Whether times of different offsets may be brought to one zone.
    resources
        What its queries may use.

    Raises
    ------
    ValueError
        If resources are given for a relation, whose connection is the user's.
    FileNotFoundError
        If no file is there.
    TypeError
        If it is none of these.
    """
    if isinstance(source, duckdb.DuckDBPyRelation):
        if resources is not None:
            raise ValueError("a DuckDB relation is read on your own connection; set memory_limit and the like there")
        types = dict(zip(source.columns, map(str, source.types), strict=True))
        wanted = columns.choose(list(types))
        # Only its own connection knows the tables of a relation; nothing is created there.
        run = _asking(lambda sql: source.query(_SOURCE, sql))
        return Source(run=run, table=_SOURCE, types={name: types[name] for name in wanted}, label="the DuckDB relation")
    if isinstance(source, str | os.PathLike):
        return _open_files([Path(source)], columns, resources)
    if isinstance(source, list | tuple) and source and all(isinstance(path, str | os.PathLike) for path in source):
        return _open_files([Path(path) for path in source], columns, resources)
    table = arrow_columns(source, columns.choose, zoned)
    if table is None:
        raise TypeError(
            f"events come as a path, a pandas, polars or Arrow table, or a DuckDB relation, not {type(source).__name__}"
        )
    return _open_arrow(table, resources)


def _asking(ask: Callable[[str], duckdb.DuckDBPyRelation | None]) -> _Query:
    """Run queries; a statement that gives no table is none."""

    def run(sql: str) -> duckdb.DuckDBPyRelation:
        relation = ask(sql)
        if relation is None:
            raise TypeError(f"expected a query that gives a table, got {sql!r}")
        return relation

    return run


def _open_arrow(table: pa.Table, resources: Resources | None) -> Source:
    """Put an Arrow table behind a private connection, without copying it."""
    connection = connect(resources)
    connection.register(_SOURCE, table)
    return Source(run=_asking(connection.sql), table=_SOURCE, types=_types(connection, _SOURCE), label="the table")


def _open_files(paths: Sequence[Path], columns: Columns, resources: Resources | None) -> Source:
    """Put files behind a private connection as a view."""
    files = [file for path in paths for file in _matches(path)]
    names = "[" + ", ".join(text(_literal(file)) for file in files) + "]"
    is_csv = _is_csv(files)
    label = str(paths[0]) if len(paths) == 1 else f"{len(files)} files"
    if all(Path(file).stat().st_size == 0 for file in files):
        raise DataError(f"{label} is empty; expected at least one row")
    connection = connect(resources)
    try:
        if is_csv:
            reader = _csv_reader(connection, names, columns)
        else:
            reader = f"read_parquet({names})"
            columns.choose(list(_types(connection, reader)))
        connection.execute(f"CREATE VIEW {_SOURCE} AS SELECT * FROM {reader}")
        types = _types(connection, _SOURCE)
    except duckdb.Error as error:
        raise DataError(f"events: {label} cannot be read as {'CSV' if is_csv else 'Parquet'}: {error}") from error
    types = {name: types[name] for name in columns.choose(list(types))}
    return Source(run=_asking(connection.sql), table=_SOURCE, types=types, is_csv=is_csv, label=label)


def _matches(path: Path) -> list[str]:
    """List the files of a path or pattern, in the order of their names."""
    path = path.expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name its files by a pattern, as in '{path / '*.parquet'}'")
    if path.exists():
        return [str(path)]
    found = sorted(file for file in glob.glob(str(path), recursive=True) if Path(file).is_file())  # noqa: PTH207
    if not found:
        raise FileNotFoundError(f"no file matches '{path}' (looked in {Path.cwd()}); check the path, or the pattern")
    return found


def _literal(file: str) -> str:
    """Write a file's name so that DuckDB does not take its brackets for a pattern."""
    return glob.escape(file) if set(file) & set("[*?") else file


def _is_csv(files: Sequence[str]) -> bool:
    """Tell CSV from Parquet by the files' names."""
    for formats, is_csv in ((_PARQUET, False), (_CSV, True)):
        if all(file.lower().endswith(formats) for file in files):
            return is_csv
    names = ", ".join(sorted({Path(file).name for file in files})[:5])
    raise ValueError(f"expected files of one format, named .parquet or .csv, got {names}")


def _csv_reader(connection: duckdb.DuckDBPyConnection, names: str, columns: Columns) -> str:
    """Read CSV as text: "007" is another user than "7", and what does not parse must be found by its row."""
    options = "header = true, union_by_name = true"
    as_text = f"read_csv({names}, {options}, all_varchar = true)"
    known = _types(connection, as_text)
    columns.choose(list(known))
    if not columns.extra:
        return as_text
    # Types of the columns that we do not know are told by the whole file, not by its first rows.
    types = ", ".join(f"{text(name)}: 'VARCHAR'" for name in dict.fromkeys(columns.roles.values()))
    return f"read_csv({names}, {options}, sample_size = -1, types = {{{types}}})"


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """List the columns of a table and their types."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
