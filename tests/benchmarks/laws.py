r"""Laws of fading beside the exponential one, each fitted by maximum likelihood in plain numpy.

In: gaps of users' activities. Out: parameters, and draws of what each user does next. With effective age V, all have
the intensity :math:`I_0\, f(V; r)` that the product's model has with :math:`f = e^{-rV}`, and the same hierarchy: log r
normal, :math:`I_0` gamma with a mean that moves with log r. The shape s is one for all users, out of a few.

============  =======================================  =================================================
exponential   :math:`e^{-rV}`
floor         :math:`(1-s)\,e^{-rV} + s`               decay to a part s that lasts
power         :math:`(1 + V/s)^{-rs}`                  s [days]
stretched     :math:`e^{-(rV)^s}`
regulars      exponential                              and some users whose interest does not fade
============  =======================================  =================================================

The restoration, which moves V, is fixed at the value of a few that is most likely, law by law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import expit, gamma, gammainc, gammaln, logsumexp

from bayesdecay.data.block import Block
from bayesdecay.model import grid as grids
from bayesdecay.model.grid import Grid
from bayesdecay.model.reference import gaps

__all__ = ["LAWS", "Fitted", "Law", "fit_law"]

Floats = NDArray[np.float64]

RESTORATIONS = (0.0, 0.5, 0.8, 1.0)
_TINY = 1e-12
# Weak priors, centre and width, of mu_r, log sigma_r, mu_I, kappa, log alpha, and of the regulars' log-odds and shift:
# a maximum without them may lie where users do not differ at all.
_PRIOR = np.array([(-3.8, 1.65), (0.0, 0.5), (-2.6, 1.5), (0.0, 1.0), (0.0, 1.0), (-1.5, 1.5), (1.0, 0.5)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A law: ``level`` f(V, r, s), and its integral ``between`` two ages."""

    name: str
    shapes: tuple[float, ...]
    level: Callable[[Floats, float | Floats, float], Floats]
    between: Callable[[Floats, Floats, float, float], Floats]
    regulars: bool = False


def _power_between(a: Floats, b: Floats, rate: float, s: float) -> Floats:
    slope = 1.0 - rate * s
    if abs(slope) < 1e-9:
        return np.asarray(s * np.log((s + b) / (s + a)))
    return np.asarray(s / slope * ((1 + b / s) ** slope - (1 + a / s) ** slope))


def _stretched_between(a: Floats, b: Floats, rate: float, s: float) -> Floats:
    whole = gamma(1 / s) / (rate * s)
    return np.asarray(whole * (gammainc(1 / s, (rate * b) ** s) - gammainc(1 / s, (rate * a) ** s)))


def _exponential(V: Floats, rate: float | Floats, s: float) -> Floats:
    return np.exp(-rate * V)


def _exponential_between(a: Floats, b: Floats, rate: float, s: float) -> Floats:
    return np.asarray(np.exp(-rate * a) * -np.expm1(-rate * (b - a)) / rate)


LAWS = (
    Law(name="exponential", shapes=(1.0,), level=_exponential, between=_exponential_between),
    Law(
        name="floor",
        shapes=(0.01, 0.03, 0.1, 0.3),
        level=lambda V, rate, s: (1 - s) * np.exp(-rate * V) + s,
        between=lambda a, b, rate, s: (1 - s) * _exponential_between(a, b, rate, s) + s * (b - a),
    ),
    Law(
        name="power",
        shapes=(7.0, 30.0, 90.0),
        level=lambda V, rate, s: (1 + V / s) ** (-rate * s),
        between=_power_between,
    ),
    Law(
        name="stretched",
        shapes=(0.3, 0.5, 0.7),
        level=lambda V, rate, s: np.exp(-((rate * V) ** s)),
        between=_stretched_between,
    ),
    Law(name="regulars", shapes=(1.0,), level=_exponential, between=_exponential_between, regulars=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A law at its most likely parameters, for the users of ``block``.

    ``log_weight`` and ``log_beta`` (rate,) of the population; ``share`` (row, rate) and the inverse scale B of the
    gamma, ``inverse`` (row, rate), are the users' own posteriors.
    """

    law: Law
    shape: float
    restoration: float
    alpha: float
    grid: Grid
    log_weight: Floats
    log_beta: Floats
    share: Floats
    inverse: Floats
    block: Block

    def logliks(self, block: Block) -> Floats:
        """Log-likelihood of each user (row,), of these or of the same at a later cutoff."""
        log_level, exposure = _statistics(self.law, self.shape, self.restoration, block, self.grid)
        return np.asarray(
            logsumexp(_terms(block, log_level, exposure, self.log_weight, self.log_beta, self.alpha), axis=1)
        )

    def counts(self, length: float, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw each user's number of activities within ``length`` [days] after the cutoff (row, draw)."""
        block, rows = self.block, np.arange(len(self.block))[:, None]
        level = rng.random((len(block), draws))
        term = np.minimum(
            (np.cumsum(self.share, axis=1)[:, None, :] < level[..., None]).sum(axis=2), self.share.shape[1] - 1
        )
        interest = rng.standard_gamma(self.alpha + block.n[:, None], (len(block), draws)) / self.inverse[rows, term]
        rate = self.grid.all_rates[term]
        last = np.repeat(block.last[:, None], draws, axis=1)
        now, end = np.repeat(block.T[:, None], draws, axis=1), block.T[:, None] + length
        found = np.zeros((len(block), draws), dtype=np.int64)
        going = now < end
        while going.any():
            # Interest only falls while nothing happens: propose at its present level, keep as often as it is left.
            level_now = interest[going] * self._level(now[going] - self.restoration * last[going], rate[going])
            after = now[going] + rng.exponential(1.0, level_now.size) / np.maximum(level_now, _TINY)
            level_then = interest[going] * self._level(after - self.restoration * last[going], rate[going])
            kept = (rng.random(after.size) * level_now < level_then) & (after <= np.broadcast_to(end, now.shape)[going])
            now[going] = after
            last[going] = np.where(kept, after, last[going])
            found[going] += kept
            going &= now < end
        return found

    def _level(self, V: Floats, rate: Floats) -> Floats:
        return self.law.level(V, rate, self.shape)


def fit_law(law: Law, block: Block, longest: float) -> Fitted:
    """Fit a law at each of its shapes and restorations, and take the most likely."""
    found = [_fit(law, shape, rho, block, longest) for shape in law.shapes for rho in RESTORATIONS]
    return max(found, key=lambda fitted: fitted.logliks(block).sum())


def _fit(law: Law, shape: float, rho: float, block: Block, longest: float) -> Fitted:
    grid = Grid.covering(longest, 1.0, n_rates=40, regulars=law.regulars)
    log_level, exposure = _statistics(law, shape, rho, block, grid)

    def population(x: Floats) -> tuple[Floats, Floats, float]:
        (mu, log_sigma, mu_i, kappa), alpha = x[:4], float(np.exp(x[4]))
        log_rates, shape_of = np.log(grid.rates), {"alpha": alpha, "kappa": kappa, "sigma_r": np.exp(log_sigma)}
        log_weight = grids.log_weights(log_rates, mu, shape_of["sigma_r"])
        log_beta = grids.log_beta(log_rates, (mu, mu_i), shape_of)
        if law.regulars:
            log_weight, log_beta = grids.with_regulars(log_weight, log_beta, alpha, (expit(x[5]), mu_i, x[6]))
        return log_weight, log_beta, alpha

    def loss(x: Floats) -> float:
        centre, width = _PRIOR[: x.size].T
        term = _terms(block, log_level, exposure, *population(x))
        return float((((x - centre) / width) ** 2).sum() / 2 - logsumexp(term, axis=1).sum())

    start = _PRIOR[: 7 if law.regulars else 5, 0]
    found = optimize.minimize(loss, start, method="BFGS", options={"gtol": 0.05, "maxiter": 150}).x
    log_weight, log_beta, alpha = population(found)
    term = _terms(block, log_level, exposure, log_weight, log_beta, alpha)
    return Fitted(
        law=law,
        shape=shape,
        restoration=rho,
        alpha=alpha,
        grid=grid,
        log_weight=log_weight,
        log_beta=log_beta,
        share=np.exp(term - logsumexp(term, axis=1, keepdims=True)),
        inverse=np.exp(log_beta) + exposure,
        block=block,
    )


def _terms(
    block: Block, log_level: Floats, exposure: Floats, log_weight: Floats, log_beta: Floats, alpha: float
) -> Floats:
    """Logarithms of the terms (row, rate) of each user's marginal likelihood."""
    n = block.n.astype(float)[:, None]
    term = log_weight + alpha * log_beta + log_level - (alpha + n) * np.logaddexp(log_beta, np.log(exposure))
    return np.asarray(term + gammaln(alpha + n) - gammaln(alpha))


def _statistics(law: Law, shape: float, rho: float, block: Block, grid: Grid) -> tuple[Floats, Floats]:
    """Sum of the logarithms of f at each user's activities, and the integral of f, (row, rate)."""
    _, start, end = gaps(block)
    open_gap = block.offsets[1:] + np.arange(len(block))
    begins = np.concatenate([[0], open_gap[:-1] + 1])
    log_level, exposure = np.empty((2, len(block), grid.all_rates.size))
    for k, rate in enumerate(grid.all_rates):
        own = np.log(np.maximum(law.level(end - rho * start, rate, shape), 1e-300))
        own[open_gap] = 0.0
        log_level[:, k] = np.add.reduceat(own, begins)
        between = law.between((1 - rho) * start, end - rho * start, rate, shape)
        exposure[:, k] = np.maximum(np.add.reduceat(between, begins), 1e-5)
    return log_level, exposure
