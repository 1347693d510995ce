"""Many users from few: a history's users repeated with jitter, so that no two rows are equal."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bayesdecay import History, names
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["repeated"]

# Lifetimes are stretched by up to a fifth either way, and each user is watched for up to a week more.
STRETCH, MORE = 0.2, 7.0


def repeated(history: History, users: int, *, random_seed: int = 1) -> History:
    """Repeat the users of a history, with times stretched and T lengthened at random, up to ``users`` of them.

    Notes
    -----
    All of a user's times are stretched alike, so they keep their order and stay before T. Ids are 1, 2, 3, ...
    """
    rng = np.random.default_rng(random_seed)
    table = history.table.take(pa.array(np.arange(users) % len(history))).combine_chunks()
    n = table[names.N].to_numpy()
    stretch = np.exp(rng.uniform(-STRETCH, STRETCH, users))
    flat = table[names.TIMES].combine_chunks().flatten().to_numpy()
    times = np.rint(flat * np.repeat(stretch, n)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(n)])
    T = table[names.T].to_numpy() * stretch + rng.uniform(0.0, MORE, users)
    last = np.where(n > 0, np.append(times, 0)[np.maximum(offsets[1:] - 1, 0)], 0)
    sums = np.diff(np.concatenate([[0.0], np.cumsum(times / MICROSECONDS_PER_DAY)])[offsets])
    first = (history.at.to_datetime64() - (T * MICROSECONDS_PER_DAY).astype("timedelta64[us]")).astype("datetime64[us]")
    columns = {
        names.USER: pa.array(np.arange(1, users + 1)),
        names.N: pa.array(n),
        names.FIRST: pa.array(first),
        names.LAST: pa.array(first + last.astype("timedelta64[us]")),
        names.LAST_EVENT: pa.array(first + last.astype("timedelta64[us]")),
        names.T: pa.array(T),
        names.SUM_TIMES: pa.array(sums),
        names.TIMES: pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(times)),
    }
    return history.over(pa.table(columns))
