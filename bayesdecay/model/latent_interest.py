"""A lapsed user's interest as the reactivation model takes it: uncertain, on the log scale.

In: a population and the users' histories. Out: draws of each user's log interest, and the few values that stand for
them in the likelihood.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bayesdecay.data.history import History
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.population import Population
from bayesdecay.model.scoring import interest_draws

__all__ = ["log_interest_draws", "log_mean", "shared_log_interest", "slices"]

Floats = NDArray[np.float64]

# Slices of a user's log interest; on CDNOW 8 give the coefficients of 32 within a tenth of their posterior sd.
_SLICES = 8
# An interest below this [activities per day] is none; its logarithm must stay finite.
_LEAST_INTEREST = 1e-12


def log_interest_draws(population: Population, histories: Iterable[History], random_seed: int | None) -> Floats:
    """Draws (row, sample) of the log interest of each user of some histories, at its cutoff."""
    parts = [interest_draws(population, history, random_seed=random_seed) for history in histories]
    return np.log(np.maximum(np.concatenate(parts), _LEAST_INTEREST))


def shared_log_interest(population: Population, snapshots: Snapshots, random_seed: int | None) -> Floats:
    """Draws (row, sample) of the log interest of each snapshot, the same ones for users with equal histories.

    Enough to learn from, where each user's posterior counts, and not which draw goes with which; on CDNOW it leaves one
    in six snapshots to work on.
    """
    alike = [np.unique(history.alike(), return_inverse=True) for history in snapshots.histories.values()]
    distinct = [
        history.over(history.table.take(pa.array(first)))
        for history, (first, _) in zip(snapshots.histories.values(), alike, strict=True)
    ]
    found = log_interest_draws(population, distinct, random_seed)
    starts = np.cumsum([0, *(len(history) for history in distinct)])
    return found[np.concatenate([start + index for start, (_, index) in zip(starts[:-1], alike, strict=True)])]


def slices(log_interest: Floats) -> Floats:
    """Means (row, slice) of equally probable slices of each user's draws (row, sample)."""
    parts = np.array_split(np.sort(log_interest, axis=1), _SLICES, axis=1)
    return np.stack([part.mean(axis=1) for part in parts], axis=1)


def log_mean(log_interest: Floats) -> Floats:
    """Logarithm (row, 1) of the mean of each user's interest, from draws (row, sample) of its logarithm."""
    return np.asarray(np.log(np.exp(log_interest).mean(axis=1, keepdims=True)))
