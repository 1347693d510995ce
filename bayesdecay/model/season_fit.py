r"""Season and restlessness of a shop together, learned from more than a year of its weeks.

In: activities seen and expected by period. Out: weighted points of the four numbers that the pace of all is ruled by,
and at each the posterior of the level at the cutoff and of the year ahead, from which both are drawn together.

.. math::

    y_p \sim \mathrm{Poisson}(\Lambda_p e^{\theta_p}),\quad \theta_p = m_p + e_p + s_p - \tfrac12
    (\sigma_{season}^2 + \sigma_{holiday}^2)

with the level :math:`m` and weeks of their own :math:`e` as in :mod:`bayesdecay.model.pace_fit`, and the season s of
:mod:`bayesdecay.model.season`, whose factor has mean one. The paths are integrated out by Laplace's method, the five
parameters by importance sampling, in rounds that go from the prior to the posterior by degrees.

References
----------
Rasmussen, C. E. and Williams, C. K. I. (2006). *Gaussian Processes for Machine Learning*. MIT Press, algorithm 3.1.
Cappé, O., Douc, R., Guillin, A., Marin, J.-M. and Robert, C. P. (2008). Adaptive importance sampling in general mixture
classes. https://doi.org/10.1007/s11222-008-9059-x
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, cho_factor, cho_solve
from scipy.special import logsumexp
from scipy.stats import multivariate_t, norm

from bayesdecay.model.prior import Prior
from bayesdecay.model.season import AHEAD, Alike

__all__ = ["PARAMETERS", "Season", "Weeks", "fit_season", "weighted_points"]

Floats = NDArray[np.float64]

PARAMETERS = ("sigma_walk", "sigma_week", "sigma_season", "share_recurring", "sigma_holiday")
# Points of a round and of the last one; weights are tempered until so many points count, and then comes the last round.
_POINTS, _LAST, _ENOUGH, _ROUNDS = 250, 600, 60.0, 10
# The first round looks this many prior standard deviations around, and no point lies further out than the reach.
_FIRST, _REACH, _MOST_VARIANCE = 1.5, 4.0, 9.0
# Proposals are that much wider than what was found so far, and have the tails of a t distribution: a proposal that is
# too wide costs points, one that is too narrow misses some of the posterior.
_WIDER, _LEAST_SPREAD, _FREEDOM = 1.2, 0.02, 5.0
# Points of less than a millionth of the greatest weight are no matter.
_LOG_LEAST = -14.0
_ITERATIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weeks:
    """What was seen and expected (period,), and how alike the periods and the year ahead are."""

    seen: Floats
    expected: Floats
    alike: Alike

    def posterior(self, point: Floats) -> _Found:
        """Laplace's method at one point."""
        size = self.seen.size
        prior = self.alike.season(point, size)
        # A season's factor has mean one.
        offset = -0.5 * np.diag(prior)
        prior, expected = prior + self.alike.pace(point, size), self.expected * np.exp(offset)
        # From above, where seen is more than expected, Newton's steps go down to the mode without overshooting.
        theta = np.log((self.seen + 0.5) / (expected + 0.5))
        for _ in range(_ITERATIONS):
            mean = expected * np.exp(theta)
            root = np.sqrt(mean)
            inner = cho_factor(np.eye(size) + root[:, None] * prior * root, lower=True, check_finite=False)
            wanted = mean * theta + self.seen - mean
            slope = wanted - root * cho_solve(inner, root * (prior @ wanted), check_finite=False)
            step = prior @ slope - theta
            theta = theta + step
            if np.abs(step).max() < 1e-6:
                break
        log_det = np.log(np.diag(inner[0])).sum()
        evidence = float(self.seen @ (theta + offset) - expected @ np.exp(theta) - 0.5 * slope @ theta - log_det)
        return _Found(evidence=evidence, slope=slope, root=root, inner=inner)

    def ahead(self, point: Floats) -> tuple[Floats, Floats]:
        """Mean (place,) and covariance (place, place) of the level after the cutoff and the year ahead.

        Of the logarithms of their factors, whose prior mean is one.
        """
        size, found = self.seen.size, self.posterior(point)
        season, pace = self.alike.season(point), self.alike.pace(point)
        # What is shared but the season is the same in all weeks ahead.
        cross = np.concatenate([pace[:size, size : size + 1], season[:size, size:]], axis=1)
        prior = block_diag(pace[size, size], season[size:, size:])
        held = found.root[:, None] * cross
        mean = cross.T @ found.slope
        mean[1:] -= 0.5 * np.diag(season)[size:]
        return mean, prior - held.T @ cho_solve(found.inner, held, check_finite=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """Posterior of the periods' paces at one point: ``slope`` and ``root`` (period,) of the likelihood at the mode."""

    evidence: float
    slope: Floats
    root: Floats
    inner: tuple[Floats, bool]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Season:
    """Weighted points (point, parameter) of :data:`PARAMETERS`, and what is needed to draw at one."""

    points: Floats
    weight: Floats
    weeks: Weeks

    def draw(self, size: int, rng: np.random.Generator) -> dict[str, Floats]:
        """Draw the parameters (draw,), the level's mean and what is in doubt of it, and the season (draw, week)."""
        chosen = rng.choice(self.weight.size, size=size, p=self.weight)
        mean, doubt = np.empty((2, size, 1 + AHEAD))
        for point in np.unique(chosen):
            rows = np.flatnonzero(chosen == point)
            mean[rows], covariance = self.weeks.ahead(self.points[point])
            doubt[rows] = _normal(covariance, rows.size, rng)
            doubt[rows, 0] -= 0.5 * covariance[0, 0]
        found = {"log_level": mean[:, 0], "log_level_doubt": doubt[:, 0], "log_season": (mean + doubt)[:, 1:]}
        return dict(zip(PARAMETERS, self.points[chosen].T, strict=True)) | found


def fit_season(weeks: Weeks, priors: Mapping[str, Prior]) -> Season:
    """Weigh points of the parameters by their priors and what the log shows."""
    frozen = [priors[name].frozen() for name in PARAMETERS]

    def points(z: Floats) -> Floats:
        return np.column_stack([one.ppf(norm.cdf(own)) for one, own in zip(frozen, z.T, strict=True)])

    def log_density(z: Floats) -> Floats:
        found = np.full(len(z), -np.inf)
        for i, point in enumerate(points(z)):
            # Beyond, a week's factor would have a logarithm of more than ten, and be out of reach of arithmetic.
            if np.abs(z[i]).max() < _REACH and weeks.alike.season(point).max() < _MOST_VARIANCE:
                found[i] = weeks.posterior(point).evidence - 0.5 * z[i] @ z[i]
        return found

    z, log_weight = weighted_points(log_density, len(PARAMETERS))
    some = log_weight > log_weight.max() + _LOG_LEAST
    weight = np.exp(log_weight[some] - log_weight.max())
    return Season(points=points(z[some]), weight=weight / weight.sum(), weeks=weeks)


def weighted_points(log_density: Callable[[Floats], Floats], size: int) -> tuple[Floats, Floats]:
    """Points (point, size) and the logarithms of their weights, by rounds of importance sampling.

    Each round proposes what the one before it found; all points count in the end, as draws of the mixture of rounds.
    """
    rng = np.random.default_rng(0)  # what is learned is no matter of chance
    rounds = [_Proposal(mean=np.zeros(size), covariance=_FIRST**2 * np.eye(size), points=_POINTS)]
    z = rounds[0].draw(rng)
    density = log_density(z)
    while True:
        log_weight = density - logsumexp([one.log_density(z) for one in rounds], axis=0)
        temper = _tempered(log_weight)
        weight = np.exp(temper * (log_weight - log_weight.max()))
        weight /= weight.sum()
        if rounds[-1].points == _LAST:
            return z, log_weight
        mean = weight @ z
        covariance = _WIDER**2 * ((z - mean).T * weight @ (z - mean)) + _LEAST_SPREAD**2 * np.eye(size)
        ready = temper == 1.0 or len(rounds) == _ROUNDS
        rounds.append(_Proposal(mean=mean, covariance=covariance, points=_LAST if ready else _POINTS))
        new = rounds[-1].draw(rng)
        z, density = np.concatenate([z, new]), np.concatenate([density, log_density(new)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Proposal:
    """So many points from a t distribution, whose tails are heavy enough for any posterior."""

    mean: Floats
    covariance: Floats
    points: int

    def draw(self, rng: np.random.Generator) -> Floats:
        law = multivariate_t(self.mean, self._shape, df=_FREEDOM)
        return np.asarray(law.rvs(self.points, random_state=rng))

    def log_density(self, z: Floats) -> Floats:
        """Logarithm of the density times the number of points."""
        return np.asarray(multivariate_t(self.mean, self._shape, df=_FREEDOM).logpdf(z) + np.log(self.points))

    @property
    def _shape(self) -> Floats:
        return self.covariance * (_FREEDOM - 2.0) / _FREEDOM


def _tempered(log_weight: Floats) -> float:
    """Power of the weights, at most one, at which enough points count."""

    def counting(temper: float) -> float:
        weight = np.exp(temper * (log_weight - log_weight.max()))
        return float(weight.sum() ** 2 / np.square(weight).sum())

    if counting(1.0) >= _ENOUGH:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if counting(middle) >= _ENOUGH else (low, middle)
    return low


def _normal(covariance: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Draws (draw, place) with this covariance, which may be all but singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(rng.standard_normal((size, values.size)) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T)
