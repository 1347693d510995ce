"""Folds for cross-validation: several snapshots of one user are not independent, and stay together.

In: snapshots. Out: the fold of each row. A model that has seen a user at one cutoff knows something of the same user
at another, and would be judged too well by it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesdecay.data.snapshots import Snapshots
from bayesdecay.names import USER

__all__ = ["folds"]


def folds(snapshots: Snapshots, k: int = 5, *, random_seed: int | None = None) -> np.ndarray:
    """Deal the users of snapshots into folds by chance.

    Parameters
    ----------
    snapshots
        At one or several cutoffs.
    k
        How many folds.
    random_seed
        The same seed and the same users give the same folds, whatever the order of the rows.

    Returns
    -------
    numpy.ndarray
        int64[row], from 0 to k - 1, the same in all rows of a user. The numbers of users in two folds differ by 1 at
        most, those of rows by the rows of one user at most.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or fewer users than folds.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayesdecay.data.events import read_events
    >>> from bayesdecay.data.snapshots import snapshots
    >>> log = read_events(pd.DataFrame({"user": [1, 2, 3, 4], "time": pd.Timestamp("2024-01-01")}))
    >>> taken = snapshots(log, cutoffs=["2024-01-10", "2024-01-20"], horizon="5d", lapsed_after=None,
    ...                   observed_until="2024-01-25")
    >>> folds(taken, k=2, random_seed=1).tolist()
    [1, 1, 0, 0, 1, 1, 0, 0]
    """
    row, users = pd.factorize(snapshots.table[USER], sort=True)
    if not 2 <= k <= len(users):
        raise ValueError(
            f"{k} folds of {len(users)} users cannot be: expected at least 2 folds and a user in each; "
            "choose another k, or take more snapshots"
        )
    chance = np.random.default_rng(random_seed).random(len(users))
    # Dealt in turn from those with most rows to those with fewest, so that rows are shared out evenly as well.
    order = np.lexsort((chance, -np.bincount(row)))
    fold = np.empty(len(users), dtype=np.int64)
    fold[order] = np.arange(len(users)) % k
    return fold[row]
