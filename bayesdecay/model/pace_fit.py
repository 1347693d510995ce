r"""How restless the shop is: what all users share, learned from activities seen and expected in its past weeks.

In: :class:`~bayesdecay.model.pace.Pace`. Out: draws of how far the pace of all wanders, and where it stands at the
cutoff; :mod:`bayesdecay.model.shocks` makes paths of them.

.. math::

    y_p \sim \mathrm{Poisson}(\Lambda_p e^{\theta_p}),\quad \theta_p = m_p + e_p,\quad
    m_p - m_{p-1} \sim \mathrm{Normal}(0, \sigma_{walk}^2 \ell),\quad
    e_p \sim \mathrm{Normal}(0, \sigma_{week}^2/\ell)

with periods of :math:`\ell` weeks: a level that walks, and weeks of their own. The level's mean over the log, weighted
by what was expected, is zero: a constant factor is no shock but the population's, and the fit has taken it up. The
latent paths are integrated out by Laplace's method, as good as exact where a period has a handful of activities, and
the two standard deviations on a grid.

References
----------
Rasmussen, C. E. and Williams, C. K. I. (2006). *Gaussian Processes for Machine Learning*. MIT Press, algorithm 3.1.
Harvey, A. C. (1990). https://doi.org/10.1017/CBO9781107049994 (local level models).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import norm

from bayesdecay import names
from bayesdecay.model.pace import MORE_THAN_A_YEAR, Pace
from bayesdecay.model.prior import Prior
from bayesdecay.model.season import Alike
from bayesdecay.model.season_fit import Season, Weeks, fit_season
from bayesdecay.model.shocks import SEED

__all__ = ["PaceFit", "draw_shocks", "fit_pace"]

Floats = NDArray[np.float64]

_WEEK = 7.0
# Values of each standard deviation, up to so many prior standard deviations from its median: what the data say may lie
# far out in the prior's tail.
_POINTS, _REACH = 21, 3.5
_ITERATIONS = 60
# Periods of which less was expected are left out: they are about the log's first few users, not about all. In one log
# of 2,224 users some 15 had a first row weeks before the others, and none after it for weeks.
_LEAST_OF_BUSIEST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaceFit:
    """Posterior of the shop's restlessness on a grid.

    ``walk`` and ``week`` (cell,): the standard deviations, a week; ``weight`` (cell,) of the posterior; ``level`` and
    ``spread`` (cell,): mean and standard deviation of the logarithm of the pace at the cutoff, given these.
    """

    walk: Floats
    week: Floats
    weight: Floats
    level: Floats
    spread: Floats


def fit_pace(pace: Pace, priors: Mapping[str, Prior]) -> PaceFit | Season:
    """Weigh the standard deviations by their priors and what the log shows; a season too, where it is long enough."""
    (walk, walk_prior), (week, week_prior) = (_points(priors[name]) for name in ("sigma_walk", "sigma_week"))
    walk, week = (grid.ravel() for grid in np.meshgrid(walk, week, indexing="ij"))
    some = np.flatnonzero(pace.expected > _LEAST_OF_BUSIEST * pace.expected.max(initial=0.0))
    if not some.size:  # nobody was there long enough to be expected: the priors
        nothing, weight = np.zeros(walk.size), np.outer(walk_prior, week_prior).ravel()
        return PaceFit(walk=walk, week=week, weight=weight / weight.sum(), level=nothing, spread=nothing)
    seen, expected, weeks = pace.seen[some], pace.expected[some], pace.length / _WEEK
    if pace.response is not None and weeks * (pace.seen.size - some[0]) >= MORE_THAN_A_YEAR:
        alike = Alike.of(pace.seen.size - 1 - some, round(weeks), expected, pace.response, day=pace.day)
        return fit_season(Weeks(seen=seen, expected=expected, alike=alike), priors)
    unit = weeks * _centred_walk(1.0 + some.astype(np.float64), expected)
    covariance = np.square(walk)[:, None, None] * unit
    noise = np.square(week)[:, None] / weeks * np.ones(seen.size)
    loglik, level, spread = _laplace(covariance, noise, seen, expected)
    weight = np.log(np.outer(walk_prior, week_prior).ravel()) + loglik
    weight = np.exp(weight - weight.max())
    return PaceFit(walk=walk, week=week, weight=weight / weight.sum(), level=level, spread=spread)


def draw_shocks(found: PaceFit | Season, sizes: tuple[int, int], rng: np.random.Generator) -> xr.Dataset:
    """Draw standard deviations and the level at the cutoff, as many as a posterior of ``sizes`` (chain, draw) has.

    With them, where one was learned, the logarithm of the season's factor in each week of the year ahead.
    """
    if isinstance(found, Season):
        flat = found.draw(sizes[0] * sizes[1], rng)
        values = {name: value.reshape(*sizes, *value.shape[1:]) for name, value in flat.items()}
    else:
        values = _drawn(found, sizes, rng)
    dims = (names.CHAIN, names.DRAW, names.WEEK_AHEAD)
    drawn = xr.Dataset({name: (dims[: value.ndim], value) for name, value in values.items()})
    return drawn.assign_attrs({SEED: int(rng.integers(2**31))})


def _drawn(found: PaceFit, sizes: tuple[int, int], rng: np.random.Generator) -> dict[str, Floats]:
    cell = rng.choice(found.weight.size, size=sizes, p=found.weight)
    level = found.level[cell] + found.spread[cell] * rng.standard_normal(sizes)
    return {"sigma_walk": found.walk[cell], "sigma_week": found.week[cell], "log_level": level}


def _points(prior: Prior) -> tuple[Floats, Floats]:
    """Values of a parameter, and their prior probabilities."""
    z = np.linspace(-_REACH, _REACH, _POINTS)
    weight = norm.pdf(z)
    return prior.frozen().ppf(norm.cdf(z)), weight / weight.sum()


def _centred_walk(place: Floats, expected: Floats) -> Floats:
    """Covariance of a walk's levels at some periods (period, period), less their mean weighted by ``expected``."""
    walk = np.minimum.outer(place, place)
    share = expected / expected.sum()
    centring = np.eye(expected.size) - share
    return np.asarray(centring @ walk @ centring.T)


def _laplace(covariance: Floats, noise: Floats, seen: Floats, expected: Floats) -> tuple[Floats, Floats, Floats]:
    """Log of the evidence, and mean and standard deviation of the last level, of each cell of the grid.

    ``covariance`` (cell, period, period) of the levels, ``noise`` (cell, period) variance of what is a period's own.
    """
    prior = covariance + noise[:, :, None] * np.eye(seen.size)
    # From above, where seen is more than expected, Newton's steps go down to the mode without overshooting.
    theta = np.broadcast_to(np.log((seen + 0.5) / (expected + 0.5)), noise.shape).copy()
    for _ in range(_ITERATIONS):
        mean = expected * np.exp(theta)
        root = np.sqrt(mean)
        inner = np.eye(seen.size) + root[:, :, None] * prior * root[:, None, :]
        wanted = mean * theta + seen - mean
        solved = np.linalg.solve(inner, (root * np.einsum("cpq,cq->cp", prior, wanted))[..., None])[..., 0]
        slope = wanted - root * solved
        step = np.einsum("cpq,cq->cp", prior, slope) - theta
        theta = theta + step
        if np.abs(step).max() < 1e-8:
            break
    _, log_det = np.linalg.slogdet(inner)
    evidence = (seen * theta - expected * np.exp(theta) - 0.5 * slope * theta).sum(axis=1) - 0.5 * log_det
    last = covariance[:, -1, :]
    held = np.linalg.solve(inner, (root * last)[..., None])[..., 0]
    variance = covariance[:, -1, -1] - (root * last * held).sum(axis=1)
    return evidence, (last * slope).sum(axis=1), np.sqrt(np.maximum(variance, 0.0))
