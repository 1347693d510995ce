"""Ids of users that are brought along, such as of those who opted out, compared in the log's own type.

In: a file of ids, or ids as they were written, and a log. Out: those of them that are users of the log, as the log has
them. Everything is read as text and then put into the type of the log's ids: "17" is 17 where ids are numbers, and
"007" is another user than "7" where they are text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from bayesdecay.data.events import Events
from bayesdecay.data.ids import positions
from bayesdecay.data.source import Columns, open_source
from bayesdecay.data.sql import connect, fetch, identifier, text
from bayesdecay.errors import DataError
from bayesdecay.names import USER

__all__ = ["KnownIds", "ids_in_file", "ids_of_log"]

_TABLES = (".csv", ".tsv", ".parquet", ".pq", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst")
# Put into a whole number, "17.5" would be somebody's 18.
_WHOLE = r"\s*[+-]?\d+(\.0*)?\s*"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIds:
    """Which ids of a list are users of a log: ``users`` as the log has them; ``strangers``, as written, are none."""

    users: tuple[object, ...]
    strangers: tuple[str, ...]


def ids_in_file(path: Path, column: str) -> tuple[str, ...]:
    """Read ids as text: a column of a CSV or Parquet file; of any other file each line is one.

    Raises
    ------
    OSError
        If the file is not there.
    ValueError
        If the column is not there, or the file cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    if path.stat().st_size == 0:  # nobody opted out
        return ()
    if not path.name.lower().endswith(_TABLES):
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is no text in UTF-8; write it as such, one id a line") from error
        return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    opened = open_source(path, Columns(roles={USER: column}, extra=()))
    name = identifier(column)
    asked = f"SELECT DISTINCT {name}::VARCHAR FROM {opened.table} WHERE trim({name}::VARCHAR) <> '' ORDER BY 1"
    try:
        return tuple(row[0] for row in opened.run(asked).fetchall())
    except duckdb.Error as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def ids_of_log(log: Events, ids: Sequence[str]) -> KnownIds:
    """Find the users of a log in a list of ids, whether or not they are seen at the cutoff.

    Parameters
    ----------
    log : Events
        The log.
    ids : sequence of str
        Ids as they were written, each once.
    """
    own = fetch(log.query(f"SELECT DISTINCT {identifier(USER)} FROM {{log}}"))[USER]
    kind = log.query(f"SELECT {identifier(USER)} FROM {{log}} LIMIT 0").types[0]
    whole = f"CASE WHEN regexp_full_match(id, {text(_WHOLE)}) THEN id END" if pa.types.is_integer(own.type) else "id"
    with connect() as connection:
        connection.register("brought", pa.table({"id": pa.array(ids, pa.string())}))
        cast = fetch(connection.sql(f"SELECT TRY_CAST({whole} AS {kind}) AS id FROM brought"))["id"]
    rows = positions(cast, own)
    # What cannot be an id of this type at all is null, and a user's id is never missing.
    found = own.take(pa.array(sorted(set(rows[rows >= 0].tolist())), pa.int64()))
    strangers = tuple(one for one, row in zip(ids, rows.tolist(), strict=True) if row < 0)
    return KnownIds(users=tuple(found.to_pandas().tolist()), strangers=strangers)
