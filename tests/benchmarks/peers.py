r"""BG/NBD and Pareto/NBD by maximum likelihood, made by hand: the classics that the decay model is measured against.

A customer is x, t_x, T: repeat activities, time of the last one, time observed, all since the acquisition and in any
one unit of time (weeks in the literature). Both models let a customer buy at a Gamma(r, alpha) rate until a dropout:
after a purchase with probability p ~ Beta(a, b) in BG/NBD, at any time at a rate mu ~ Gamma(s, beta) in Pareto/NBD.

References
----------
Fader, P. S., Hardie, B. G. S. and Lee, K. L. (2005). "Counting your customers" the easy way: an alternative to the
Pareto/NBD model. *Marketing Science* 24(2), 275-284. https://doi.org/10.1287/mksc.1040.0098
Schmittlein, D. C., Morrison, D. G. and Colombo, R. (1987). Counting your customers: who are they and what will they
do next? *Management Science* 33(1), 1-24. https://doi.org/10.1287/mnsc.33.1.1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

__all__ = [
    "Classic",
    "bgnbd_loglik",
    "count_pmf",
    "expected_counts",
    "fit_bgnbd",
    "fit_paretonbd",
    "p_alive",
    "paretonbd_loglik",
]

Floats = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Classic:
    """A fitted classic: its ``name``, its ``parameters`` by name and the maximised ``loglik``."""

    name: str
    parameters: dict[str, float]
    loglik: float


def bgnbd_loglik(parameters: Floats, x: Floats, t_x: Floats, T: Floats) -> Floats:
    """Each customer's log-likelihood under BG/NBD with parameters r, alpha, a, b."""
    r, alpha, a, b = parameters
    start = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
    alive = special.betaln(a, b + x) - special.betaln(a, b) - (r + x) * np.log(alpha + T)
    dropout = special.betaln(a + 1, b + np.maximum(x, 1) - 1) - special.betaln(a, b) - (r + x) * np.log(alpha + t_x)
    return start + np.logaddexp(alive, np.where(x > 0, dropout, -np.inf))


def paretonbd_loglik(parameters: Floats, x: Floats, t_x: Floats, T: Floats) -> Floats:
    """Each customer's log-likelihood under Pareto/NBD with parameters r, alpha, s, beta."""
    r, alpha, s, beta = parameters
    start = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    alive = -(r + x) * np.log(alpha + T) - s * np.log(beta + T)
    return start + np.logaddexp(alive, _log_dropout(parameters, x, t_x, T))


def _log_dropout(parameters: Floats, x: Floats, t_x: Floats, T: Floats) -> Floats:
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


def fit_bgnbd(x: Floats, t_x: Floats, T: Floats, weights: Floats | None = None) -> Classic:
    """Fit BG/NBD by maximum likelihood."""
    return _fit("BG/NBD", ("r", "alpha", "a", "b"), bgnbd_loglik, (x, t_x, T), weights)


def fit_paretonbd(x: Floats, t_x: Floats, T: Floats, weights: Floats | None = None) -> Classic:
    """Fit Pareto/NBD by maximum likelihood."""
    return _fit("Pareto/NBD", ("r", "alpha", "s", "beta"), paretonbd_loglik, (x, t_x, T), weights)


def _fit(
    name: str, labels: tuple[str, ...], loglik: Callable[..., Floats], data: tuple[Floats, ...], weights: Floats | None
) -> Classic:
    """Maximise over log parameters; customers with equal data are one weighted row."""
    rows = np.column_stack([np.asarray(part, dtype=float) for part in data])
    rows, index = np.unique(rows, axis=0, return_inverse=True)
    counts = np.bincount(index.ravel(), weights=weights)
    columns = tuple(rows.T)
    scale = rows[:, 2].mean()  # a start in the data's own unit of time

    def loss(log_parameters: Floats) -> float:
        return -float(counts @ loglik(np.exp(log_parameters), *columns)) / counts.sum()

    start = np.log([0.5, 0.3 * scale, 0.5, 0.3 * scale] if name == "Pareto/NBD" else [0.5, 0.3 * scale, 1.0, 2.0])
    options = {"maxiter": 4_000, "xatol": 1e-6, "fatol": 1e-12}
    found = optimize.minimize(loss, start, method="Nelder-Mead", options=options)
    if not found.success:
        raise RuntimeError(f"{name}: {found.message}")
    parameters = dict(zip(labels, np.exp(found.x).tolist(), strict=True))
    return Classic(name=name, parameters=parameters, loglik=-float(found.fun * counts.sum()))


def count_pmf(classic: Classic, x: Floats, t_x: Floats, T: Floats, *, window: float, most: int) -> Floats:
    """Probability of 0, 1, ..., most activities within (T, T + window] given the data, as (customer, count).

    While a customer is alive the rate is Gamma(r + x, alpha + T), independent of the dropout's parameter, whose
    posterior is Beta(a, b + x) or Gamma(s, beta + T).
    """
    x, t_x, T = (np.asarray(part, dtype=float) for part in (x, t_x, T))
    of_alive = _bgnbd_pmf if classic.name == "BG/NBD" else _paretonbd_pmf
    alive = p_alive(classic, x, t_x, T)[:, None]
    pmf = alive * of_alive(np.array(list(classic.parameters.values())), x, T, window, np.arange(most + 1.0))
    pmf[:, 0] += 1 - alive[:, 0]
    return pmf


def _bgnbd_pmf(parameters: Floats, x: Floats, T: Floats, window: float, k: Floats) -> Floats:
    """Either k activities are made and none ends it, or the k-th ends it whatever would have followed."""
    r, alpha, a, b = parameters
    shape, success = (r + x)[:, None], ((alpha + T) / (alpha + T + window))[:, None]
    survive = np.exp(special.betaln(a, (b + x)[:, None] + k) - special.betaln(a, b + x)[:, None])
    end = np.exp(special.betaln(a + 1, (b + x)[:, None] + np.maximum(k, 1) - 1) - special.betaln(a, b + x)[:, None])
    at_least = stats.nbinom.sf(k - 1, shape, success)
    return stats.nbinom.pmf(k, shape, success) * survive + np.where(k > 0, at_least * end, 0.0)


def _paretonbd_pmf(parameters: Floats, x: Floats, T: Floats, window: float, k: Floats) -> Floats:
    """Average of the counts over the time left until the dropout, or until the window's end if that comes first."""
    r, alpha, s, beta = parameters

    def counts(left: Floats | float) -> Floats:
        return stats.nbinom.pmf(k, (r + x)[:, None], ((alpha + T) / (alpha + T + left))[:, None])

    end = np.log1p(window / (beta + T))
    pmf = np.exp(-s * end)[:, None] * counts(window)
    for node, weight in zip(*np.polynomial.legendre.leggauss(40), strict=True):
        u = 0.5 * end * (node + 1)
        pmf += (0.5 * end * weight * s * np.exp(-s * u))[:, None] * counts((beta + T) * np.expm1(u))
    return pmf


def expected_counts(classic: Classic, x: Floats, t_x: Floats, T: Floats, *, window: float) -> Floats:
    """Expected number of activities within (T, T + window] given the data, by the published closed forms."""
    x, t_x, T = (np.asarray(part, dtype=float) for part in (x, t_x, T))
    r, alpha, third, fourth = classic.parameters.values()
    if classic.name == "BG/NBD":
        a, b = third, fourth
        share = window / (alpha + T + window)
        series = special.hyp2f1(r + x, b + x, a + b + x - 1, share) * ((alpha + T) / (alpha + T + window)) ** (r + x)
        while_alive = (a + b + x - 1) / (a - 1) * (1 - series)
    else:
        s, beta = third, fourth
        fading = -np.expm1((s - 1) * np.log((beta + T) / (beta + T + window))) / (s - 1)
        while_alive = (r + x) / (alpha + T) * (beta + T) * fading
    return p_alive(classic, x, t_x, T) * while_alive


def p_alive(classic: Classic, x: Floats, t_x: Floats, T: Floats) -> Floats:
    """Probability that each customer has not dropped out by T, given the data."""
    values = np.array(list(classic.parameters.values()))
    if classic.name == "BG/NBD":
        r, alpha, a, b = values
        odds_gone = a / (b + np.maximum(x, 1) - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x)
        return np.where(x > 0, 1 / (1 + odds_gone), 1.0)
    r, alpha, s, beta = values
    log_alive = -(r + x) * np.log(alpha + T) - s * np.log(beta + T)
    return special.expit(log_alive - _log_dropout(values, x, t_x, T))
