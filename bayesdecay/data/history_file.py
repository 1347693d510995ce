"""Histories in Parquet files that need not fit into memory: written part by part, read block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bayesdecay.data.block import Block
from bayesdecay.data.record import History
from bayesdecay.errors import DataError
from bayesdecay.files import replacing

__all__ = ["HistoryFile", "write_parts"]

# Users that are written, and read, at a time.
_USERS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFile:
    """A history in a Parquet file, read a part at a time; what scores users takes it in place of a :class:`History`.

    Attributes
    ----------
    path
        The file.
    head
        The history without its rows: cutoff, unit of activity, columns.
    users
        How many rows there are.
    """

    path: Path
    head: History
    users: int

    @classmethod
    def open(cls, path: str | Path) -> HistoryFile:
        """Look at a file that ``History.to_parquet`` or ``summarize_to`` wrote, without reading its rows.

        Raises
        ------
        FileNotFoundError
            If nothing is there.
        DataError
            If the file does not describe a history.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"no history at {path}")
        try:
            with pq.ParquetFile(path) as file:
                head, users = History.of_file(file.schema_arrow.empty_table(), path), file.metadata.num_rows
        except pa.ArrowInvalid as error:
            raise DataError(f"{path} cannot be read as a history in Parquet: {error}") from error
        return cls(path=Path(path), head=head, users=users)

    def __len__(self) -> int:
        """Count the users."""
        return self.users

    @property
    def at(self) -> pd.Timestamp:
        """The cutoff."""
        return self.head.at

    @property
    def activity(self) -> str:
        """The unit of activity."""
        return self.head.activity

    def parts(self, size: int = _USERS) -> Iterator[History]:
        """Read the users in order, ``size`` at a time; one part without users if there are none."""
        waiting, rows = [self.head.table], 0
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(size):
                waiting.append(History.of_file(pa.Table.from_batches([batch]), self.path).table)
                rows += batch.num_rows
                while rows >= size:
                    table = pa.concat_tables(waiting)
                    yield self.head.over(table.slice(0, size))
                    waiting, rows = [table.slice(size)], rows - size
        if rows or not self.users:
            yield self.head.over(pa.concat_tables(waiting))

    def blocks(self, size: int = 50_000) -> Iterator[Block]:
        """Go through the users in order, ``size`` at a time, as :meth:`History.blocks` does."""
        for part in self.parts(max(size, _USERS // size * size)):
            yield from part.blocks(size)


def write_parts(parts: Iterable[History], path: str | Path) -> HistoryFile:
    """Write a history part by part, the first of which describes it; nothing half-written is left behind."""
    parts = iter(parts)
    first = next(parts).for_file()
    with replacing(path) as unfinished, pq.ParquetWriter(unfinished, first.schema) as writer:
        writer.write_table(first, row_group_size=_USERS)
        for part in parts:
            writer.write_table(part.for_file(), row_group_size=_USERS)
    return HistoryFile.open(path)
