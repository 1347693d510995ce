r"""BG/NBD by maximum likelihood: the field's own simple model of who buys again, a forecaster to be measured against.

A user is x, t_x, T: activities after the acquisition, the time of the last of them, the time observed, in any one unit
of time. While alive a user acts at a rate :math:`\lambda \sim \mathrm{Gamma}(r, \alpha)`, and after each activity drops
out for good with probability :math:`p \sim \mathrm{Beta}(a, b)`:

.. math::

    L = \frac{\Gamma(r+x)\,\alpha^r}{\Gamma(r)} \Big[ \frac{B(a, b+x)}{B(a, b)} (\alpha+T)^{-(r+x)}
        + 1_{x>0}\, \frac{B(a+1, b+x-1)}{B(a, b)} (\alpha+t_x)^{-(r+x)} \Big]

References
----------
Fader, P. S., Hardie, B. G. S. and Lee, K. L. (2005). "Counting your customers" the easy way: an alternative to the
Pareto/NBD model. *Marketing Science* 24(2), 275-284. https://doi.org/10.1287/mksc.1040.0098
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from bayesdecay.errors import NotConvergedError

__all__ = ["BGNBD", "bgnbd_loglik", "fit_bgnbd", "most_likely"]

Floats = NDArray[np.float64]

# A parameter that runs away towards nothing or infinity (as b does where nobody drops out) is stopped here, e^14 from
# where it started: what it does then no longer moves the likelihood.
_FARTHEST = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BGNBD:
    """A fitted BG/NBD: its parameters, ``alpha`` in the unit of time of the data, and the maximised ``loglik``."""

    r: float
    alpha: float
    a: float
    b: float
    loglik: float = np.nan

    def p_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """P(a user has not dropped out by T), given the data; 1 for a user who never came back, by the model's law."""
        odds_gone = self.a / (self.b + np.maximum(x, 1) - 1) * ((self.alpha + T) / (self.alpha + t_x)) ** (self.r + x)
        return np.asarray(np.where(x > 0, 1 / (1 + odds_gone), 1.0))

    def count_pmf(self, x: Floats, t_x: Floats, T: Floats, *, window: float, most: int) -> Floats:
        r"""Probability of 0, 1, ..., ``most`` activities within :math:`(T, T + w]`, given the data (user, count).

        Notes
        -----
        While a user is alive the rate is Gamma(r + x, alpha + T), independent of the dropout's p, which is Beta(a,
        b + x). Either k activities are made and none of them is the last, or the k-th is, whatever would have followed.
        """
        k, alive = np.arange(most + 1.0), self.p_alive(x, t_x, T)[:, None]
        shape, success = (self.r + x)[:, None], ((self.alpha + T) / (self.alpha + T + window))[:, None]
        stays = (self.b + x)[:, None]
        survive = np.exp(special.betaln(self.a, stays + k) - special.betaln(self.a, stays))
        end = np.exp(special.betaln(self.a + 1, stays + np.maximum(k, 1) - 1) - special.betaln(self.a, stays))
        mass = stats.nbinom.pmf(k, shape, success)
        at_least = np.maximum(1.0 - np.cumsum(mass, axis=1) + mass, 0.0)
        pmf = alive * (mass * survive + np.where(k > 0, at_least * end, 0.0))
        pmf[:, 0] += 1 - alive[:, 0]
        return np.asarray(pmf)

    def expected_counts(self, x: Floats, t_x: Floats, T: Floats, *, window: float) -> Floats:
        """Expected number of activities within (T, T + window], given the data, by the published closed form."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        share = window / (alpha + T + window)
        series = special.hyp2f1(r + x, b + x, a + b + x - 1, share) * ((alpha + T) / (alpha + T + window)) ** (r + x)
        return np.asarray(self.p_alive(x, t_x, T) * (a + b + x - 1) / (a - 1) * (1 - series))

    def likely_most(self, x: Floats, T: Floats, *, window: float, beyond: float = 1e-7) -> int:
        """Count that nobody exceeds within the window but with a probability of ``beyond``, dropout left aside."""
        success = (self.alpha + T) / (self.alpha + T + window)
        return int(np.max(stats.nbinom.isf(beyond, self.r + x, success), initial=0))


def bgnbd_loglik(parameters: Floats, x: Floats, t_x: Floats, T: Floats) -> Floats:
    """Each user's log-likelihood under BG/NBD with parameters r, alpha, a, b."""
    r, alpha, a, b = parameters
    start = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
    alive = special.betaln(a, b + x) - special.betaln(a, b) - (r + x) * np.log(alpha + T)
    dropout = special.betaln(a + 1, b + np.maximum(x, 1) - 1) - special.betaln(a, b) - (r + x) * np.log(alpha + t_x)
    return np.asarray(start + np.logaddexp(alive, np.where(x > 0, dropout, -np.inf)))


def fit_bgnbd(x: Floats, t_x: Floats, T: Floats, weights: Floats | None = None) -> BGNBD:
    """Fit BG/NBD by maximum likelihood.

    Raises
    ------
    NotConvergedError
        If the search for the maximum does not come to an end.
    """
    scale = float(np.mean(T)) or 1.0  # a start in the data's own unit of time
    values, loglik = most_likely(bgnbd_loglik, (x, t_x, T), start=(0.5, 0.3 * scale, 1.0, 2.0), weights=weights)
    r, alpha, a, b = values
    return BGNBD(r=r, alpha=alpha, a=a, b=b, loglik=loglik)


def most_likely(
    loglik: Callable[..., Floats], data: Sequence[Floats], *, start: Sequence[float], weights: Floats | None = None
) -> tuple[list[float], float]:
    """Maximise a log-likelihood over parameters above zero; users with equal data are one weighted row.

    Parameters
    ----------
    loglik : callable
        From parameters and the columns of the data to each row's log-likelihood.
    data : sequence of array (user,)
        Columns of the data.
    start : sequence of float
        Where the search begins.
    weights : array (user,), optional
        How many users each stands for.

    Returns
    -------
    list of float, float
        The parameters, and the log-likelihood of all users.

    Raises
    ------
    NotConvergedError
        If the search does not come to an end.
    """
    rows = np.column_stack([np.asarray(part, dtype=float) for part in data])
    rows, index = np.unique(rows, axis=0, return_inverse=True)
    counts = np.bincount(index.ravel(), weights=weights)
    columns, origin = tuple(rows.T), np.log(np.asarray(start, dtype=float))

    def loss(log_parameters: Floats) -> float:
        return -float(counts @ loglik(np.exp(log_parameters), *columns)) / counts.sum()

    found = optimize.minimize(
        loss,
        origin,
        method="L-BFGS-B",
        bounds=optimize.Bounds(origin - _FARTHEST, origin + _FARTHEST),
        options={"maxiter": 1_000, "ftol": 1e-13, "gtol": 1e-8, "eps": 1e-6},
    )
    if not found.success:
        raise NotConvergedError(f"no maximum of the likelihood was found: {found.message}")
    return np.exp(found.x).tolist(), -float(found.fun * counts.sum())
