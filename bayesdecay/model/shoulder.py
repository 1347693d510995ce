r"""Whether interest fades exponentially or by a power law, and by which, where the user leaves it to the log.

In: a model's density on a grid without a shoulder, with the place of its mode. Out: the most likely shoulder, if any.

The shoulder :math:`\tau` bends every user's statistics, so it is not sampled with the other parameters. For a given one
these are integrated out by Laplace's method,

.. math::

    \log p(y \mid \tau) \approx \log p(y, \hat\theta_\tau \mid \tau)
        + \tfrac12 \log\lvert\Sigma_\tau\rvert + \text{const} .

The density of :math:`\log\tau` is followed uphill in factors of two, and the vertex of the parabola through the best
three is taken. The power law, its :math:`\tau` integrated out under that parabola, has as much prior mass as the
exponential law; the likelier one is taken, and the odds and the width are told beside it. All else is drawn at it.

References
----------
Kass, R. E. and Raftery, A. E. (1995). Bayes factors. *J. Am. Stat. Assoc.* 90(430), 773-795.
https://doi.org/10.1080/01621459.1995.10476572
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bayesdecay.curves import EXPONENTIAL
from bayesdecay.model.density import Density
from bayesdecay.model.design import FitData
from bayesdecay.model.grid import FASTEST, Grid
from bayesdecay.model.prior import Prior
from bayesdecay.model.whitening import Whitening

__all__ = ["Shoulder", "most_likely"]

# Factors of two from the prior's median that are looked at, at most.
_MOST_STEPS = 10
# A shoulder of fewer time units of the log could not be told from a rate that is faster than they are.
_LEAST_UNITS = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shoulder:
    """The most likely shoulder [days], infinite where that is none.

    ``log_sd`` is the standard deviation of the logarithm of a power law's shoulder, and ``log_odds`` the logarithm of
    the odds of the power law against the exponential one, both with the same prior mass.
    """

    days: float
    log_sd: float
    log_odds: float


def most_likely(
    density: Density, whitening: Whitening, data: FitData, grid: Grid, prior: Prior
) -> tuple[Shoulder, Whitening]:
    """Find the shoulder, and coordinates at it; the density is left with the data of the grid at that shoulder."""
    start, least = float(prior.frozen().median()), _LEAST_UNITS * FASTEST / float(grid.rates[-1])
    exponential = whitening.log_evidence(density)
    places: dict[int, Whitening] = {}
    heights: dict[int, float] = {}

    def height(step: int) -> float:
        days = start * 2.0**step
        if step not in heights and days >= least:
            near = min(places, key=lambda other: abs(other - step), default=None)
            density.set_data(data.arrays(replace(grid, shoulder=days)))
            places[step] = (whitening if near is None else places[near]).refined(density)
            # The prior is that of the logarithm.
            told = float(prior.frozen().logpdf(days)) + math.log(days)
            heights[step] = places[step].log_evidence(density) + told
        return heights.get(step, -math.inf)

    best = _summit(height, math.ceil(max(0.0, math.log2(least / start))))
    shift, sd = _parabola(*(height(best + step) for step in (-1, 0, 1)))
    sd *= math.log(2.0)
    log_odds = height(best) + 0.5 * math.log(2.0 * math.pi) + math.log(sd) - exponential
    days, before = (start * 2.0 ** (best + shift), places[best]) if log_odds > 0.0 else (EXPONENTIAL, whitening)
    density.set_data(data.arrays(replace(grid, shoulder=days)))
    found = Shoulder(days=days, log_sd=sd, log_odds=log_odds)
    return found, before.refined(density) if log_odds > 0.0 else whitening


def _summit(height: Callable[[int], float], first: int) -> int:
    """Step that is no lower than both its neighbours, uphill from the first."""
    best = first
    while abs(best - first) < _MOST_STEPS:
        upwards = max((best - 1, best + 1), key=height)
        if height(upwards) <= height(best):
            break
        best = upwards
    return best


def _parabola(before: float, at: float, after: float) -> tuple[float, float]:
    """Vertex of the parabola through heights at -1, 0 and 1, within half a step, and its standard deviation.

    Where there is nothing before, at the least shoulder there is, it is taken to fall on both sides alike.
    """
    before = before if math.isfinite(before) else after
    curvature = max(2.0 * at - before - after, 0.1)
    return float(np.clip((after - before) / (2.0 * curvature), -0.5, 0.5)), 1.0 / math.sqrt(curvature)
