r"""From sorted visits to the rows of a history, in numpy, a part of the users at a time.

In: a stream of visits, a visit being what surely is one activity: when it began and when it ended, sorted by user and
time (see :func:`~bayesdecay.data.activities.visits_sql`). Out: tables of whole users with the columns of a history.

A visit opens an activity if it began more than a gap after the end of the one before; else it goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bayesdecay.data.ids import storage
from bayesdecay.names import FIRST, LAST, LAST_EVENT, SUM_TIMES, TIMES, USER, N, T
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["history_columns", "reduced"]

Integers = NDArray[np.int64]

# Visits in one table: 24 MB of them, and few enough tables.
_ROWS = 1_000_000
_LOW_BITS = 24


def reduced(visits: Iterable[pa.RecordBatch], *, gap: int, end: int) -> Iterator[pa.Table]:
    """Reduce a stream of visits, in memory that is that of a million of them, or of the longest user.

    Parameters
    ----------
    visits
        Columns ``user``, ``began`` and, where that differs, ``ended``: dates or timestamps in microseconds.
    gap
        Silence after which a visit opens an activity [microseconds].
    end
        End of the observation [microseconds since 1970].
    """
    for table, starts in _whole_users(visits):
        began = _microseconds(table["began"])
        ended = _microseconds(table["ended"]) if "ended" in table.column_names else began
        opens = np.concatenate([[True], began[1:] - ended[:-1] > gap])
        opens[starts] = True
        yield history_columns(
            table[USER].combine_chunks().take(pa.array(starts)),
            opened=began[opens],
            counts=np.add.reduceat(opens, starts, dtype=np.int64),
            last_event=ended[np.append(starts[1:], len(ended)) - 1],
            end=end,
        )


def history_columns(users: pa.Array, *, opened: Integers, counts: Integers, last_event: Integers, end: int) -> pa.Table:
    """Put the columns of a history together.

    All sums are of integers and are divided once, so that they do not depend on the order of the additions.

    Parameters
    ----------
    users
        Ids, Arrow array[user].
    opened
        When the activities of all users began, one user after the other, rising [microseconds since 1970].
    counts
        Activities of each user, the first among them, int64[user]; none is 0.
    last_event
        Last event of each user [microseconds since 1970].
    end
        End of the observation [microseconds since 1970].
    """
    begin = np.cumsum(counts) - counts
    first = opened[begin]
    since = opened - np.repeat(first, counts)
    later = np.ones(len(since), dtype=bool)
    later[begin] = False
    offsets = np.concatenate([[0], np.cumsum(counts - 1)]).astype(np.int32)
    return pa.table(
        {
            USER: users,
            N: counts - 1,
            FIRST: _instants(first),
            LAST: _instants(opened[begin + counts - 1]),
            LAST_EVENT: _instants(last_event),
            T: (end - first) / MICROSECONDS_PER_DAY,
            SUM_TIMES: _sums(since, begin) / MICROSECONDS_PER_DAY,
            TIMES: pa.ListArray.from_arrays(pa.array(offsets), pa.array(since[later])),
        }
    )


def _whole_users(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table, Integers]]:
    """Gather batches into tables that cut no user, with the first row of each user in them."""
    waiting: list[pa.RecordBatch] = []
    rows, wanted = 0, _ROWS
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows < wanted:
            continue
        table = pa.Table.from_batches(waiting).combine_chunks()
        starts = _starts(table[USER])
        cut = int(starts[-1])
        if cut:
            yield table.slice(0, cut), starts[:-1]
        waiting = table.slice(cut).to_batches()
        rows -= cut
        # Of a user who fills a table twice as much is gathered before the next look, so that none is looked at often.
        wanted = max(_ROWS, 2 * rows)
    if rows:
        table = pa.Table.from_batches(waiting).combine_chunks()
        yield table, _starts(table[USER])


def _starts(users: pa.ChunkedArray) -> Integers:
    """First row of each user."""
    ids = storage(users.combine_chunks())
    changed = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate([[True], changed]))


def _microseconds(column: pa.ChunkedArray) -> Integers:
    """Dates or timestamps as microseconds since 1970."""
    if pa.types.is_date32(column.type):
        days: Integers = column.combine_chunks().view(pa.int32()).to_numpy().astype(np.int64)
        return days * MICROSECONDS_PER_DAY
    found: Integers = column.combine_chunks().view(pa.int64()).to_numpy()
    return found


def _instants(microseconds: Integers) -> pa.Array:
    return pa.array(microseconds).view(pa.timestamp("us"))


def _sums(values: Integers, begin: Integers) -> NDArray[np.float64]:
    """Sum of each user's values, rounded once: the sum of years of a bot's clicks does not fit into 64 bits."""
    high = np.add.reduceat(values >> _LOW_BITS, begin)
    low = np.add.reduceat(values & (2**_LOW_BITS - 1), begin)
    found: NDArray[np.float64] = high * 2.0**_LOW_BITS + low
    return found
