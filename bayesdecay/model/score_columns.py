"""Columns of the score table: each number with the ends of its interval.

In: draws of a block of users. Out: columns by name, an array (row,) each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayesdecay import curves, names
from bayesdecay.model.block_draws import UserDraws
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.scores import ScoreOptions

__all__ = ["score_columns", "with_bounds"]

Floats = NDArray[np.float64]


def score_columns(draws: UserDraws, options: ScoreOptions) -> dict[str, Floats]:
    """Columns of the score table but the user."""
    interest, rate = draws.interest, draws.rate
    # The grid stands for a continuum: a draw lies anywhere within its cell, not just on the node.
    cell = draws.spacing * (draws.spare[0] - 0.5)
    half_life = curves.half_life(rate * np.exp(cell), draws.shoulder)
    never = np.exp(-interest * curves.lasting(rate, draws.shoulder))
    found = {
        **with_bounds(names.INTEREST, interest.mean(axis=1), interest, options),
        **with_bounds(names.HALF_LIFE, interval_ends(half_life, (0.5,))[0], half_life, options),
        **with_bounds(names.P_NEVER, draws.p_never, never, options),
    }
    for label, length in options.silences.items():
        later = curves.interest_after(interest, rate, length, draws.shoulder)
        found |= with_bounds(f"{names.INTEREST}_after_{label}", later.mean(axis=1), later, options)
    if options.floor is not None:
        found[names.P_BELOW_FLOOR] = np.mean(interest < options.floor, axis=1)
    if options.windows:
        found |= _horizon_columns(draws, options)
    return found


def with_bounds(name: str, point: Floats, samples: Floats, options: ScoreOptions) -> dict[str, Floats]:
    """Return a column and the two ends of its interval, from samples (row, sample)."""
    ends = interval_ends(samples, options.tails, whole=name.startswith(names.ACTIVITIES))
    return dict(zip((name, *names.bounds(name)), (point, *ends), strict=True))


def _horizon_columns(draws: UserDraws, options: ScoreOptions) -> dict[str, Floats]:
    chance = draws.chance.max(axis=2)  # within the longest horizon
    returns = draws.spare[1] < chance
    found: dict[str, Floats] = {}
    for h, label in enumerate(options.windows):
        own = draws.chance[:, :, h]
        found |= with_bounds(names.per_horizon(names.P_RETURN, label), draws.p_return[:, h], own, options)
        count = draws.activities[:, :, h]
        # Weighting the forced first return by its chance spares the mean most of the noise of rare returns.
        mean = np.mean(chance * count, axis=1)
        found |= with_bounds(names.per_horizon(names.ACTIVITIES, label), mean, np.where(returns, count, 0.0), options)
    return found
