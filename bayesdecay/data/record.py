"""The history itself: one row a user, as the log stood at a cutoff; read, cut into blocks, saved.

How a log becomes one is told in :mod:`bayesdecay.data.history`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bayesdecay.data.block import Block
from bayesdecay.data.card import card
from bayesdecay.data.ids import Ids, as_ids, positions
from bayesdecay.data.sql import connect, fetch, identifier, plain
from bayesdecay.errors import DataError
from bayesdecay.files import replacing
from bayesdecay.names import FIRST, GROUP, LAST, LAST_EVENT, SUM_TIMES, TIMES, USER, WEIGHT, N, T
from bayesdecay.units import cutoff_instant

__all__ = ["HISTORY_COLUMNS", "History", "as_described", "described"]

HISTORY_COLUMNS = (USER, N, FIRST, LAST, LAST_EVENT, T, SUM_TIMES, TIMES)
_METADATA = b"bayesdecay"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One row a user, as the log stood at the cutoff.

    Attributes
    ----------
    table
        Rows sorted by user: ``user`` (its own type), ``n`` activities after the acquisition, ``first`` and ``last``
        activity, ``last_event`` (a session goes on after its start), ``T`` [days], ``sum_times`` [days since the
        acquisition], ``times`` (lists, rising [microseconds since the acquisition]), then ``group`` and the covariates
        if asked for.
    at
        The cutoff: the last instant that was seen.
    activity
        ``"day"``, ``"session"`` or ``"event"``.
    session_gap
        Silence that ends a session [days].
    group
        Column of the log that ``table["group"]`` was read from.
    covariates
        Names of the covariates, known at the acquisition.
    kinds
        The kinds of events that count, all if None.
    """

    table: pa.Table
    at: pd.Timestamp
    activity: str
    session_gap: float
    group: str | None = None
    covariates: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check that the table has the columns."""
        grouped = () if self.group is None else (GROUP,)
        expected = (*HISTORY_COLUMNS, *grouped, *self.covariates)
        if tuple(self.table.column_names) != expected:
            raise ValueError(f"a history's columns are {', '.join(expected)}; got {', '.join(self.table.column_names)}")

    def __len__(self) -> int:
        """Count the users."""
        return int(self.table.num_rows)

    def blocks(self, size: int = 50_000) -> Iterator[Block]:
        """Go through the users in order, ``size`` at a time, in memory that does not grow with their number.

        No users at all are one empty block, so that what is made of blocks has its columns.
        """
        for start in range(0, max(len(self), 1), size):
            yield Block.from_table(self.table.slice(start, size), self.covariates)

    def distinct(self) -> tuple[Block, np.ndarray]:
        """Merge users with equal statistics: a block of the different rows, and how many users share each.

        Returns
        -------
        tuple of Block and numpy.ndarray
            ``user`` is the first of those that share the row; weights are float64[row] and sum to the number of users.
        """
        keys = self._keys
        carried = [N, FIRST, LAST, LAST_EVENT, SUM_TIMES]
        query = f"""
            SELECT min({identifier(USER)}) AS {identifier(USER)}, count(*)::DOUBLE AS {identifier(WEIGHT)},
                   {", ".join(f"min({identifier(c)}) AS {identifier(c)}" for c in carried)},
                   {", ".join(map(identifier, keys))}
            FROM history GROUP BY {", ".join(map(identifier, keys))} ORDER BY 1"""
        with connect() as connection:
            connection.register("history", self.table)
            merged = fetch(connection.sql(query))
        return Block.from_table(merged, self.covariates), merged[WEIGHT].to_numpy()

    def alike(self) -> np.ndarray:
        """Row of the first user with equal statistics, of each user: int64[row]."""
        with connect() as connection:
            connection.register("history", self.table.select(self._keys).append_column("row", [np.arange(len(self))]))
            first = f"min(row) OVER (PARTITION BY {', '.join(map(identifier, self._keys))})"
            found = fetch(connection.sql(f"SELECT {first} AS first FROM history ORDER BY row"))
        return found["first"].to_numpy()

    @property
    def _keys(self) -> list[str]:
        """Columns that all that is said of a user rests on."""
        return [T, TIMES, *self.table.column_names[len(HISTORY_COLUMNS) :]]

    def select(self, users: Ids) -> History:
        """Keep some users, in the order given.

        Raises
        ------
        ValueError
            If a user is not in the history.
        """
        rows = positions(users, self.table[USER])
        if (rows < 0).any():
            strangers = as_ids(users, self.table[USER].type).filter(pa.array(rows < 0))
            raise ValueError(
                f"{len(strangers)} users are not in the history (such as {strangers[0].as_py()!r}); "
                f"it holds the users with an activity up to {self.at}"
            )
        return self.over(self.table.take(pa.array(rows)))

    def acquired_from(self, date: str | dt.date) -> History:
        """Keep the users first seen on or after a date; a log that begins in the middle needs it for the fit.

        Where a log begins later than the shop, the users first seen early in it are mostly old customers: their true
        acquisition is unknown, and being seen at all selects the active ones. Leave out the users of a run-in, and
        learn from those who come after it; then score everybody.

        Parameters
        ----------
        date
            First day that counts, or an instant. :func:`~bayesdecay.model.run_in.run_in_table` tells how many old
            customers are left after a run-in of which length.

        Raises
        ------
        ValueError
            If it cannot be read as a date, or carries a time zone.
        DataError
            If nobody was first seen since.

        Examples
        --------
        >>> decay = DecayModel().fit(history.acquired_from("2024-03-01"))  # doctest: +SKIP
        >>> decay.score(history)  # doctest: +SKIP
        """
        cutoff_instant(date)  # refuses what is no date
        kept = pc.greater_equal(self.table[FIRST], pa.scalar(pd.Timestamp(date).to_pydatetime(), pa.timestamp("us")))
        if not pc.any(kept).as_py():
            latest = pc.max(self.table[FIRST]).as_py()
            raise DataError(f"no user was first seen on or after {date}; the last was on {latest}; go back")
        return self.over(self.table.filter(kept))

    def to_pandas(self) -> pd.DataFrame:
        """Copy the table to pandas."""
        return self.table.to_pandas()

    def to_parquet(self, path: str | Path) -> Path:
        """Write the history, its description in the file's metadata; nothing half-written is left behind."""
        with replacing(path) as unfinished:
            pq.write_table(self.for_file(), unfinished)
        return Path(path)

    def for_file(self) -> pa.Table:
        """Return the table as it is written to a file: with the history's description in its metadata."""
        description = described(
            at=self.at,
            activity=self.activity,
            session_gap=self.session_gap,
            group=self.group,
            covariates=self.covariates,
            kinds=self.kinds,
        )
        return self.table.replace_schema_metadata({_METADATA: json.dumps(description)})

    @classmethod
    def from_parquet(cls, path: str | Path) -> History:
        """Read a history that :meth:`to_parquet` wrote.

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
            table = pq.read_table(path)
        except pa.ArrowInvalid as error:
            raise DataError(f"{path} cannot be read as a history in Parquet: {error}") from error
        return cls.of_file(table, path)

    @classmethod
    def of_file(cls, table: pa.Table, path: str | Path) -> History:
        """Make a history of rows of a file, described by their metadata."""
        metadata = table.schema.metadata or {}
        if _METADATA not in metadata:
            raise DataError(f"{path} is not a history; write one with History.to_parquet, or read_events and summarize")
        told = as_described(json.loads(metadata[_METADATA]))
        return cls(table=plain(table.replace_schema_metadata(None)), **told)

    def over(self, table: pa.Table) -> History:
        """Make a history of other rows with the same description."""
        return History(
            table=table,
            at=self.at,
            activity=self.activity,
            session_gap=self.session_gap,
            group=self.group,
            covariates=self.covariates,
            kinds=self.kinds,
        )

    def _repr_html_(self) -> str:
        """Show the history in a notebook."""
        n = self.table[N]
        facts: dict[str, object] = {
            "users": f"{len(self):,}",
            "cutoff (last instant seen)": self.at,
            "activity": self.activity if self.kinds is None else f"{self.activity} of {', '.join(self.kinds)}",
            "activities after the acquisition": f"{pc.sum(n).as_py() or 0:,}",
            "users with none": f"{pc.sum(pc.equal(n, 0)).as_py() or 0:,}",
            "first acquisition": pc.min(self.table[FIRST]).as_py() or "-",
        }
        more = {"group": self.group, "covariates": ", ".join(self.covariates)}
        return card("History", facts | {name: value for name, value in more.items() if value})


def described(
    *,
    at: pd.Timestamp,
    activity: str,
    session_gap: float,
    group: str | None,
    covariates: tuple[str, ...],
    kinds: tuple[str, ...] | None,
) -> dict[str, Any]:
    """Describe a history in what JSON knows; see :class:`History`."""
    return {
        "at": at.isoformat(),
        "activity": activity,
        "session_gap": session_gap,
        "group": group,
        "covariates": covariates,
        "kinds": kinds,
    }


def as_described(told: Mapping[str, Any]) -> dict[str, Any]:
    """Take the arguments of :class:`History`, but for the table, from what :func:`described` gave."""
    return {
        "at": pd.Timestamp(told["at"]),
        "activity": told["activity"],
        "session_gap": told["session_gap"],
        "group": told["group"],
        "covariates": tuple(told["covariates"]),
        "kinds": None if told["kinds"] is None else tuple(told["kinds"]),
    }
