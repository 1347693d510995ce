"""Shops whose users' activities are of several kinds, with known shares, for the tests of kinds."""

from __future__ import annotations

import numpy as np

from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.kind_scoring import KindPopulation

KINDS = ("purchase", "cart", "view")
SHARES, CONCENTRATION = np.array([0.1, 0.25, 0.65]), 4.0
RESTORING = Truth(half_life=20, half_life_spread=0.8, interest=0.25, interest_shape=1.2, coupling=0.4, restoration=0.6)
FADING = Truth(half_life=20, half_life_spread=0.8, interest=0.25, interest_shape=1.2, coupling=0.4, restoration=0.0)


def drawn_counts(n: np.ndarray, concentration: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts (user, kind) of so many activities of users with these concentrations (user, kind)."""
    shares = np.array([rng.dirichlet(own) for own in concentration])
    return np.array([rng.multinomial(k, own) for k, own in zip(n, shares, strict=True)], dtype=np.int64)


def shares_of(draws: int, *, concentration: np.ndarray = CONCENTRATION * SHARES) -> KindPopulation:
    """A posterior without uncertainty: every draw is the truth."""
    return KindPopulation(
        concentration=np.tile(concentration, (draws, 1, 1)),
        kinds=KINDS[: len(concentration)],
        groups=(),
        activity="event",
        acquisition=False,
    )
