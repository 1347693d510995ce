r"""Each user's statistics on a grid of decay rates and restorations: all that the likelihood needs of a past.

In: a block of a history and a grid. Out: :class:`Statistics`, and each user's log-likelihood by the formula of
:mod:`bayesdecay.model.grid` in plain numpy. With restoration :math:`\rho`, activities at :math:`t_1 < \dots < t_n`
[days since acquisition], :math:`t_0 = 0` and :math:`t_{n+1} = T`,

.. math::

    A(\rho) = \sum_{j=1}^n (t_j - \rho t_{j-1}), \qquad
    E(r; \rho) = \sum_{j=0}^n e^{-r(1-\rho)t_j}\,\frac{1 - e^{-r(t_{j+1}-t_j)}}{r} .

Both add up over activities.

Whole days have a clock of their own, ``"days"``. Day d = 1, ..., T since the acquisition, L being the last active day
before it, is active with probability :math:`1 - e^{-\Lambda_d}`, :math:`\Lambda_d = I_0 e^{-r(d - \rho L)}`: a day with
ten visits is as active as a day with one. An active day counts as :math:`a_j` activities and leaves :math:`b_j` of its
own exposure, which :mod:`bayesdecay.model.days` reads off the days around it (few activities: 1 and a half),

.. math::

    n &= \sum_{j=1}^n a_j, \qquad A(\rho) = \sum_{j=1}^n a_j (t_j - \rho t_{j-1}), \\
    E(r; \rho) &= \sum_{j=0}^n e^{-r(1-\rho)t_j}\,\frac{1 - e^{-r(t_{j+1}-t_j)}}{e^r - 1}
                  - \sum_{j=1}^n (1 - b_j) e^{-r(t_j - \rho t_{j-1})},

and p(u) is as for instants, up to a factor that no parameter enters. Interest is told as it is when the cutoff's day
ends, :math:`I_0 e^{-r V(T)} \cdot r/(e^r - 1)`: then what is expected within h days is its integral, as on the other
clock.

By a power law with the shoulder :math:`\tau` ages are put through :math:`g(V) = \tau\log(1 + V/\tau)`
(:mod:`bayesdecay.curves`),

.. math::

    A(\rho) = \sum_{j=1}^n a_j\, g(t_j - \rho t_{j-1}), \qquad
    E(r; \rho) = \sum_{j=0}^n \int_{t_j}^{t_{j+1}} e^{-r g(t - \rho t_j)} dt,

a sum over days in place of the integral where there are days (:mod:`bayesdecay.model.power`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, softmax

from bayesdecay import names
from bayesdecay.data.history import Block, History
from bayesdecay.model.days import weighed_days
from bayesdecay.model.exposure import ages, exposures, power_exposures
from bayesdecay.model.grid import DAYS, Grid

__all__ = ["Statistics", "activities", "marginal_loglik", "posterior_of_rates", "statistics", "weighed"]

Floats = NDArray[np.float64]

# A user acquired at the cutoff has no exposure yet; a second instead of nothing keeps its logarithm finite.
_LEAST_EXPOSURE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """All that the likelihood needs of some users: rows as in the block they came from.

    ``n`` (row,) [count], a whole number; ``ageing`` (row, node) is A and ``exposure`` (row, node, rate) E [days].
    """

    n: Floats
    ageing: Floats
    exposure: Floats

    @classmethod
    def from_block(cls, block: Block, grid: Grid) -> Statistics:
        """Compute the statistics of one block of a history on a grid."""
        n, counted, taken = weighed(block, grid.clock)
        times, nodes = (block.times, block.offsets, block.T), grid.restorations
        if grid.is_power:
            exposure = power_exposures(*times, grid.all_rates, nodes, grid.shoulder, taken, grid.clock == DAYS)
        else:
            exposure = exposures(*times, grid.all_rates, nodes, grid.forever, taken)
        ageing = ages(block.times, block.offsets, counted, nodes, grid.shoulder)
        return cls(n=n, ageing=ageing, exposure=np.maximum(exposure, _LEAST_EXPOSURE))


def activities(block: Block, clock: str) -> Floats:
    """What each user's activities count (row,): whole numbers; of days those of busy users count less than one each."""
    return weighed(block, clock)[0]


def weighed(block: Block, clock: str) -> tuple[Floats, Floats, Floats]:
    """``n`` (row,), and what each activity counts and takes from the exposure at its end [days] (activity,)."""
    if clock == DAYS:
        return weighed_days(block.times, block.offsets, block.T)
    return block.n.astype(np.float64), np.ones(block.times.size), np.zeros(block.times.size)


def statistics(history: History, grid: Grid) -> xr.Dataset:
    """Sufficient statistics of every user on the grid, as labelled arrays, for other programs to use.

    Returns
    -------
    xarray.Dataset
        ``n`` (user) [count], ``A`` (user, restoration) [days], ``E`` (user, restoration, rate) [days].

    Notes
    -----
    The size is users x restorations x rates; the fit and the scores stream it block by block instead.
    """
    blocks = [(block, Statistics.from_block(block, grid)) for block in history.blocks()]
    n = np.concatenate([part.n for _, part in blocks])
    ageing = np.concatenate([part.ageing for _, part in blocks])
    return xr.Dataset(
        {
            names.N: (names.USER, n.astype(np.int64)),
            "A": ((names.USER, "restoration"), ageing, {"units": "d"}),
            "E": (
                (names.USER, "restoration", "rate"),
                np.concatenate([part.exposure for _, part in blocks]),
                {"units": "d"},
            ),
        },
        coords={
            names.USER: np.concatenate([block.user.to_numpy(zero_copy_only=False) for block, _ in blocks]),
            "restoration": grid.restorations,
            "rate": ("rate", grid.all_rates, {"units": "1/d"}),
        },
    )


def marginal_loglik(
    part: Statistics, grid: Grid, log_weight: Floats, log_beta_k: Floats, *, alpha: float, rho: float
) -> Floats:
    """Log-likelihood of each user (row,), with time in days: the sum over the grid in plain numpy.

    ``log_weight`` and ``log_beta_k`` have shape (rate,) or (row, rate).
    """
    term, _ = _terms(part, grid, log_weight, log_beta_k, alpha=alpha, rho=rho)
    return gammaln(alpha + part.n) - gammaln(alpha) + logsumexp(term, axis=1)


def posterior_of_rates(
    part: Statistics, grid: Grid, log_weight: Floats, log_beta_k: Floats, *, alpha: float, rho: float
) -> tuple[Floats, Floats]:
    """Share (row, rate) of each rate in a user's posterior, and the logarithm (row, rate) of beta + E at it.

    The arguments are those of :func:`marginal_loglik`.
    """
    term, log_b = _terms(part, grid, log_weight, log_beta_k, alpha=alpha, rho=rho)
    return np.asarray(softmax(term, axis=1)), log_b


def _terms(
    part: Statistics, grid: Grid, log_weight: Floats, log_beta_k: Floats, *, alpha: float, rho: float
) -> tuple[Floats, Floats]:
    """Logarithms (row, rate) of the terms of the sum over rates, and of beta + E."""
    weights = grid.interpolation(rho)
    log_exposure = np.tensordot(np.log(part.exposure), weights, axes=(1, 0))
    age = (part.ageing @ weights)[:, None]
    log_b = np.logaddexp(log_beta_k, log_exposure)
    term = log_weight + alpha * log_beta_k - grid.all_rates * age - (alpha + part.n[:, None]) * log_b
    return term, log_b
