"""A lapsed user's interest as the reactivation model takes it: uncertain, on the log scale.

In: a decay fit and snapshots. Out: the few values of each user's log interest that a fit learns from, and how they move
together; and draws of it, to score with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesdecay.data.history import History
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.interest_slices import CHANCES, LEAST_INTEREST, log_expected_interest
from bayesdecay.model.population import Population
from bayesdecay.model.scoring import interest_draws
from bayesdecay.model.shared_interest import SharedInterest

__all__ = ["KnownInterest", "log_interest_draws"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownInterest:
    """What is known of the log interest of some rows: ``level`` (row, j), values of ``chance`` (j,).

    ``moves`` (row, direction, j) is how they move with what all users share, None where that is not asked.
    """

    level: Floats
    chance: Floats
    moves: Floats | None = None
    shared: SharedInterest | None = None

    @classmethod
    def of(cls, population: Population, snapshots: Snapshots, shared: SharedInterest | None = None) -> KnownInterest:
        """Take what all the draws of a population tell of the users of snapshots.

        With what a fit knows of all users together, the moves are along its directions; there are none if it was
        another population that the fit learned from.
        """
        own = shared if shared is not None and shared.is_of(population) else SharedInterest.learn(population, snapshots)
        level, moves = own.levels(population, snapshots)
        if shared is not None and own is not shared:
            moves = np.zeros((len(level), shared.size.size, level.shape[1]))
        return cls(level=level, chance=CHANCES, moves=moves, shared=shared or own)

    @classmethod
    def expected(cls, population: Population, snapshots: Snapshots) -> KnownInterest:
        """Take each user's expected interest as known."""
        return cls.certain(log_expected_interest(population, snapshots.histories.values()))

    @classmethod
    def certain(cls, level: Floats) -> KnownInterest:
        """Take one value (row, 1) of each row's log interest as known."""
        return cls(level=level, chance=np.ones(1))

    def rows(self, kept: Any) -> KnownInterest:
        """Keep some rows."""
        return replace(self, level=self.level[kept], moves=None if self.moves is None else self.moves[kept])

    def alone(self) -> KnownInterest:
        """Leave aside what all users share."""
        return replace(self, moves=None, shared=None)


def log_interest_draws(population: Population, histories: Iterable[History], random_seed: int | None) -> Floats:
    """Draws (row, sample) of the log interest of each user of some histories, at its cutoff."""
    parts = [interest_draws(population, history, random_seed=random_seed) for history in histories]
    return np.log(np.maximum(np.concatenate(parts), LEAST_INTEREST))
