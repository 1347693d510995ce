"""A history as it stood earlier: the same users with what came after an earlier cutoff taken away, without the log.

A history holds the times of all activities, so a later one contains every earlier one but for a detail: of a user who
went on afterwards, ``last_event`` is taken to be the last activity that was seen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay.data.activities import clock_end
from bayesdecay.data.record import History
from bayesdecay.errors import DataError
from bayesdecay.names import FIRST, LAST, LAST_EVENT, SUM_TIMES, TIMES, N, T
from bayesdecay.units import MICROSECONDS_PER_DAY, cutoff_instant

__all__ = ["as_of"]


def as_of(history: History, at: str | dt.date | pd.Timestamp) -> History:
    """Go back to an earlier cutoff; users acquired after it are left out.

    Parameters
    ----------
    history
        As the log stood later.
    at
        The earlier cutoff; a date without a time of day means the end of that day. Where days are counted, a cutoff
        within a day counts as the end of it.

    Raises
    ------
    ValueError
        If the cutoff is later than the history's.
    DataError
        If nobody was acquired by then.
    """
    cutoff = cutoff_instant(at)
    if cutoff > history.at:
        raise ValueError(f"the history ends at {history.at}; it cannot be looked at as of {cutoff}, which is later")
    end = clock_end(cutoff, history.activity)
    table = history.table.filter(pa.array(_microseconds(history.table, FIRST) <= end))
    if not len(table):
        raise DataError(f"no user of the history was acquired up to {cutoff}; take a later cutoff")
    first, last_event = _microseconds(table, FIRST), _microseconds(table, LAST_EVENT)
    lists = table[TIMES].combine_chunks()
    since, user = lists.flatten().to_numpy(), np.repeat(np.arange(len(table)), lists.value_lengths().to_numpy())
    kept = since + first[user] <= end
    since, user = since[kept], user[kept]
    n = np.bincount(user, minlength=len(table))
    offsets = np.concatenate([[0], np.cumsum(n)])
    last = np.where(n > 0, np.append(since, 0)[offsets[1:] - 1], 0) + first
    sums = np.bincount(user, weights=since, minlength=len(table)) / MICROSECONDS_PER_DAY
    columns = {
        N: pa.array(n),
        LAST: pa.array(last).view(pa.timestamp("us")),
        LAST_EVENT: pa.array(np.where(n < table[N].to_numpy(), last, last_event)).view(pa.timestamp("us")),
        T: pa.array((end - first) / MICROSECONDS_PER_DAY),
        SUM_TIMES: pa.array(sums),
        TIMES: pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(since)),
    }
    return History(
        table=_replaced(table, columns),
        at=cutoff,
        activity=history.activity,
        session_gap=history.session_gap,
        group=history.group,
        covariates=history.covariates,
        kinds=history.kinds,
    )


def _replaced(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Put other values into some columns."""
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def _microseconds(table: pa.Table, name: str) -> np.ndarray:
    """Instants as microseconds since 1970."""
    found: np.ndarray = table[name].combine_chunks().view(pa.int64()).to_numpy()
    return found
