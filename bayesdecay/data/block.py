"""Blocks: some users of a history as numpy arrays [days], which is what the models compute with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bayesdecay.names import FIRST, GROUP, LAST, SUM_TIMES, TIMES, USER, N, T
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["Block"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Some users of a history as numpy arrays; what the models compute with.

    Attributes
    ----------
    user
        The users' own ids, Arrow array[user].
    n
        Activities after the acquisition, int64[user].
    T
        From the acquisition to the cutoff [days], float64[user].
    last
        The last activity [days since the acquisition], float64[user]; 0 where ``n`` is 0.
    sum_times
        Sum of the activity times [days since the acquisition], float64[user].
    times
        The activity times of all users one after the other [days since each user's acquisition], float64[activity].
    offsets
        User u's times are ``times[offsets[u]:offsets[u + 1]]``, int64[user + 1].
    group
        Text[user], or None.
    covariates
        Values at the acquisition by name, each float64[user].
    """

    user: pa.Array
    n: np.ndarray
    T: np.ndarray
    last: np.ndarray
    sum_times: np.ndarray
    times: np.ndarray
    offsets: np.ndarray
    group: np.ndarray | None
    covariates: dict[str, np.ndarray]

    def __len__(self) -> int:
        """Count the users."""
        return len(self.n)

    def take(self, rows: np.ndarray) -> Block:
        """Take some rows, in the order given."""
        n = self.n[rows]
        offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
        places = np.repeat(self.offsets[rows] - offsets[:-1], n) + np.arange(offsets[-1])
        return Block(
            user=self.user.take(pa.array(rows)),
            n=n,
            T=self.T[rows],
            last=self.last[rows],
            sum_times=self.sum_times[rows],
            times=self.times[places],
            offsets=offsets,
            group=None if self.group is None else self.group[rows],
            covariates={name: values[rows] for name, values in self.covariates.items()},
        )

    @classmethod
    def from_table(cls, table: pa.Table, covariates: Sequence[str] = ()) -> Block:
        """Make a block of some rows of a history's table."""
        table = table.combine_chunks()
        lists = _array(table, TIMES)
        lasting = pc.subtract(_array(table, LAST).cast("int64"), _array(table, FIRST).cast("int64"))
        has_group = GROUP in table.column_names
        return cls(
            user=_array(table, USER),
            n=_numpy(table, N),
            T=_numpy(table, T),
            last=lasting.to_numpy(zero_copy_only=False) / MICROSECONDS_PER_DAY,
            sum_times=_numpy(table, SUM_TIMES),
            times=lists.flatten().to_numpy(zero_copy_only=False) / MICROSECONDS_PER_DAY,
            offsets=np.concatenate([[0], np.cumsum(_numpy(table, N))]).astype(np.int64),
            group=_array(table, GROUP).to_numpy(zero_copy_only=False) if has_group else None,
            covariates={name: _numpy(table, name) for name in covariates},
        )


def _array(table: pa.Table, name: str) -> pa.Array:
    """Take a column as one array."""
    return table[name].combine_chunks()


def _numpy(table: pa.Table, name: str) -> np.ndarray:
    """Take a column as a numpy array."""
    return _array(table, name).to_numpy(zero_copy_only=False)
