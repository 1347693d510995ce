r"""Whether interest fades exponentially or by a power law, and by which, where the user leaves it to the log.

In: a model's density on a grid without a shoulder, with the place of its mode. Out: the most likely shoulder, if any.

The shoulder :math:`\tau` bends every user's statistics, so it is not sampled with the other parameters. For a given one
these are integrated out by Laplace's method,

.. math::

    \log p(y \mid \tau) \approx \log p(y, \hat\theta_\tau \mid \tau)
        + \tfrac12 \log\lvert\Sigma_\tau\rvert + \text{const} .

At the first :math:`\tau` the mode is searched for anew: begun at the exponential law's, the search got lost on half a
year of CDNOW, whose users the two laws tell apart by different things. The density of :math:`\log\tau` is then
followed uphill in factors of two, and the vertex of the parabola through the best three is taken. The Bayes factor of
the power law, its :math:`\tau` integrated out under that parabola, against the exponential law decides: the exponential
law is left on strong evidence alone, 20 to 1. What is drawn is drawn at one law; with less evidence than that, a power
law's rates and half-lives would claim to be known better than they are.

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

__all__ = ["BENT_BY", "STRONG", "Shoulder", "most_likely"]

# What bends the coordinates of a decay model's posterior.
BENT_BY = "rho"
# Factors of two from the prior's median that are looked at, at most.
_MOST_STEPS = 10
# Kass and Raftery: 20 to 1 is strong evidence.
STRONG = math.log(20.0)
# A shoulder of fewer time units of the log could not be told from a rate that is faster than they are.
_LEAST_UNITS = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shoulder:
    """The most likely shoulder [days], infinite where that is none.

    ``log_sd`` is the standard deviation of the logarithm of a power law's shoulder, ``log_factor`` the logarithm of the
    Bayes factor of the power law against the exponential one, and ``log_evidence`` that of the data by either law, at
    even odds.
    """

    days: float
    log_sd: float
    log_factor: float
    log_evidence: float


def most_likely(
    density: Density, whitening: Whitening, data: FitData, grid: Grid, prior: Prior
) -> tuple[Shoulder, Whitening]:
    """Find the shoulder, and coordinates at it; the density is left with the data of the grid at that shoulder."""
    start, least = float(prior.frozen().median()), _LEAST_UNITS * FASTEST / float(grid.rates[-1])
    exponential = whitening.refined(density).log_evidence(density)
    places: dict[int, Whitening] = {}
    heights: dict[int, float] = {}

    def height(step: int) -> float:
        days = start * 2.0**step
        if step not in heights and days >= least:
            near = min(places, key=lambda other: abs(other - step), default=None)
            density.set_data(data.arrays(replace(grid, shoulder=days)))
            begun = Whitening.of(density, bent_by=BENT_BY) if near is None else places[near]
            places[step] = begun.refined(density)
            # The prior is that of the logarithm.
            told = float(prior.frozen().logpdf(days)) + math.log(days)
            heights[step] = places[step].log_evidence(density) + told
        return heights.get(step, -math.inf)

    best = _summit(height, math.ceil(max(0.0, math.log2(least / start))))
    shift, sd = _parabola(*(height(best + step) for step in (-1, 0, 1)))
    sd *= math.log(2.0)
    log_factor = height(best) + 0.5 * math.log(2.0 * math.pi) + math.log(sd) - exponential
    strong = log_factor > STRONG
    days = start * 2.0 ** (best + shift) if strong else EXPONENTIAL
    density.set_data(data.arrays(replace(grid, shoulder=days)))
    either = exponential + float(np.logaddexp(0.0, log_factor)) - math.log(2.0)
    found = Shoulder(days=days, log_sd=sd, log_factor=log_factor, log_evidence=either)
    return found, places[best].refined(density) if strong else whitening


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
