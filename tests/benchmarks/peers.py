r"""Pareto/NBD by maximum likelihood, made by hand: a classic beside BG/NBD, which the package has.

A customer is x, t_x, T: repeat activities, time of the last one, time observed, all since the acquisition and in any
one unit of time (weeks in the literature). A customer buys at a Gamma(r, alpha) rate until a dropout, which comes at
any time at a rate mu ~ Gamma(s, beta).

References
----------
Schmittlein, D. C., Morrison, D. G. and Colombo, R. (1987). Counting your customers: who are they and what will they
do next? *Management Science* 33(1), 1-24. https://doi.org/10.1287/mnsc.33.1.1
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from bayesdecay.model.bgnbd import most_likely

__all__ = ["ParetoNBD", "fit_paretonbd", "paretonbd_loglik"]

Floats = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoNBD:
    """A fitted Pareto/NBD: its parameters and the maximised ``loglik``."""

    r: float
    alpha: float
    s: float
    beta: float
    loglik: float = np.nan

    def p_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Probability that each customer has not dropped out by T, given the data."""
        log_alive = -(self.r + x) * np.log(self.alpha + T) - self.s * np.log(self.beta + T)
        return special.expit(log_alive - _log_dropout((self.r, self.alpha, self.s, self.beta), x, t_x, T))

    def count_pmf(self, x: Floats, t_x: Floats, T: Floats, *, window: float, most: int) -> Floats:
        """Probability of 0, 1, ..., most activities within (T, T + window] given the data, as (customer, count).

        Average of the counts over the time left until the dropout, or until the window's end if that comes first.
        """
        k, alive = np.arange(most + 1.0), self.p_alive(x, t_x, T)[:, None]

        def counts(left: Floats | float) -> Floats:
            success = ((self.alpha + T) / (self.alpha + T + left))[:, None]
            return stats.nbinom.pmf(k, (self.r + x)[:, None], success)

        end = np.log1p(window / (self.beta + T))
        pmf = np.exp(-self.s * end)[:, None] * counts(window)
        for node, weight in zip(*np.polynomial.legendre.leggauss(40), strict=True):
            u = 0.5 * end * (node + 1)
            pmf += (0.5 * end * weight * self.s * np.exp(-self.s * u))[:, None] * counts((self.beta + T) * np.expm1(u))
        pmf *= alive
        pmf[:, 0] += 1 - alive[:, 0]
        return pmf

    def expected_counts(self, x: Floats, t_x: Floats, T: Floats, *, window: float) -> Floats:
        """Expected number of activities within (T, T + window] given the data, by the published closed form."""
        fading = -np.expm1((self.s - 1) * np.log((self.beta + T) / (self.beta + T + window))) / (self.s - 1)
        return self.p_alive(x, t_x, T) * (self.r + x) / (self.alpha + T) * (self.beta + T) * fading

    def likely_most(self, x: Floats, T: Floats, *, window: float, beyond: float = 1e-7) -> int:
        """Count that nobody exceeds within the window but with a probability of ``beyond``, dropout left aside."""
        success = (self.alpha + T) / (self.alpha + T + window)
        return int(np.max(stats.nbinom.isf(beyond, self.r + x, success), initial=0))


def paretonbd_loglik(parameters: Floats, x: Floats, t_x: Floats, T: Floats) -> Floats:
    """Each customer's log-likelihood under Pareto/NBD with parameters r, alpha, s, beta."""
    r, alpha, s, beta = parameters
    start = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    alive = -(r + x) * np.log(alpha + T) - s * np.log(beta + T)
    return start + np.logaddexp(alive, _log_dropout(parameters, x, t_x, T))


def _log_dropout(parameters: Floats | tuple[float, ...], x: Floats, t_x: Floats, T: Floats) -> Floats:
    r"""Log of :math:`\int_{t_x}^T s (\alpha + \tau)^{-(r+x)} (\beta + \tau)^{-(s+1)} d\tau`, the dropout at tau.

    With u = log((beta + tau)/(beta + t_x)) the integrand is smooth and falling; 60 Gauss-Legendre nodes agree with
    the hypergeometric form of the literature to 1e-9 and do not cancel where that one does.
    """
    r, alpha, s, beta = parameters
    nodes, weights = np.polynomial.legendre.leggauss(60)
    end = np.log((beta + T) / (beta + t_x))[:, None]
    u = 0.5 * end * (nodes + 1)
    tau = (beta + t_x)[:, None] * np.exp(u) - beta
    log_density = -(r + x)[:, None] * np.log(alpha + tau) - s * np.log(beta + tau)
    with np.errstate(divide="ignore"):
        return np.log(s) + special.logsumexp(log_density + np.log(0.5 * end * weights), axis=1)


def fit_paretonbd(x: Floats, t_x: Floats, T: Floats, weights: Floats | None = None) -> ParetoNBD:
    """Fit Pareto/NBD by maximum likelihood."""
    scale = float(np.mean(T))  # a start in the data's own unit of time
    start = (0.5, 0.3 * scale, 0.5, 0.3 * scale)
    values, loglik = most_likely(paretonbd_loglik, (x, t_x, T), start=start, weights=weights)
    r, alpha, s, beta = values
    return ParetoNBD(r=r, alpha=alpha, s=s, beta=beta, loglik=loglik)
