r"""Simple forecasters that any model must beat; all they know is known at the cutoff.

In: a history. Out: forecasts of each user's number of activities within a length of time, as
:class:`~bayesdecay.model.scoring.Forecast`. With n activities in T days,

=================  ===================================================================================
everyone alike     :math:`\lambda \sim \mathrm{Gamma}(a, b)` for all, fitted by moments to n and T
own rate           the same, updated by the user's own: :math:`\lambda \sim \mathrm{Gamma}(a + n, b + T)`
last gap           the user goes on at one activity per last gap, or per present silence if that is longer
=================  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bayesdecay.data.history import Block, History
from bayesdecay.model.scoring import Forecast

__all__ = ["BASE", "Baselines", "Chances", "Forecaster"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """A forecast that says of each user only whether there will be any activity: ``p_active`` (user,).

    ``total`` (sample,) is missing throughout: nothing is said of numbers.
    """

    p_active: Floats
    total: Floats


Forecaster = Callable[[History, float, np.random.Generator], Forecast | Chances]
"""From users, a length of time [days] and a generator to a forecast of their activities."""

BASE = "everyone alike"

# Counts beyond this quantile are lumped into the last cell: no score that is looked at moves by it.
_TAIL = 1e-7
# A spread of rates that moments cannot see: the gamma is then all but a point.
_MOST_ALIKE = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """The simple forecasters, fitted to a history.

    ``shape`` and ``exposure`` [days]: the users' rates are Gamma(shape, exposure); ``samples``: draws of the total.
    """

    shape: float
    exposure: float
    samples: int

    @classmethod
    def of(cls, history: History, *, samples: int = 200) -> Baselines:
        r"""Fit the gamma distribution of the users' rates by moments.

        Notes
        -----
        With :math:`n_u \sim \mathrm{Poisson}(\lambda_u T_u)` the mean rate is :math:`m = \sum n / \sum T`, and
        :math:`\sum (n - mT)^2 - n` estimates :math:`\mathrm{Var}(\lambda) \sum T^2`.
        """
        parts = [(block.n, block.T) for block in history.blocks()]
        n, T = (np.concatenate([part[i] for part in parts]).astype(float) for i in (0, 1))
        # Nobody was ever active again, or nobody could be: half an activity in all stands for that.
        mean = max(n.sum(), 0.5) / max(T.sum(), 1.0)
        variance = float(((n - mean * T) ** 2 - n).sum()) / max(float((T**2).sum()), 1.0)
        shape = mean**2 / variance if variance > mean**2 / _MOST_ALIKE else _MOST_ALIKE
        return cls(shape=shape, exposure=shape / mean, samples=samples)

    def forecasters(self) -> dict[str, Forecaster]:
        """Each of them by name."""
        return {BASE: self.everyone_alike, "own rate": self.own_rate, "last gap": self.last_gap}

    def everyone_alike(self, history: History, length: float, rng: np.random.Generator) -> Forecast:
        """Forecast the same for all users."""
        return self._gamma_poisson(np.zeros(len(history)), np.zeros(len(history)), length, rng)

    def own_rate(self, history: History, length: float, rng: np.random.Generator) -> Forecast:
        """Forecast that each user goes on at the average rate so far, shrunk to everyone's."""
        blocks = list(history.blocks())
        n, T = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("n", "T"))
        return self._gamma_poisson(n, T, length, rng)

    def last_gap(self, history: History, length: float, rng: np.random.Generator) -> Forecast:
        """Forecast one activity per last gap, or per present silence if that is longer."""
        gap = np.concatenate([_last_gap(block) for block in history.blocks()])
        mean = length * np.where(gap > 0, 1.0 / np.maximum(gap, 1e-9), self.shape / self.exposure)
        return _forecast(stats.poisson(mean[:, None]), rng.poisson(mean, size=(self.samples, mean.size)))

    def base_probability(self, counts: NDArray[np.int64], length: float) -> Floats:
        """P(count) of the forecast that is the same for all users."""
        odds = self.exposure / (self.exposure + length)
        return np.asarray(stats.nbinom.pmf(counts, self.shape, odds))

    def _gamma_poisson(self, n: Floats, T: Floats, length: float, rng: np.random.Generator) -> Forecast:
        shape, exposure = self.shape + n, self.exposure + T
        odds = exposure / (exposure + length)
        draws = rng.negative_binomial(shape, odds, size=(self.samples, n.size))
        return _forecast(stats.nbinom(shape[:, None], odds[:, None]), draws)


def _forecast(law: stats.rv_discrete, draws: NDArray[np.int64]) -> Forecast:
    """Tabulate a law of counts; what is left beyond the table goes into its last cell."""
    width = int(law.isf(_TAIL).max()) + 1
    pmf = law.pmf(np.arange(width + 1))
    pmf[:, -1] += np.maximum(1.0 - pmf.sum(axis=1), 0.0)
    return Forecast(pmf=pmf / pmf.sum(axis=1, keepdims=True), total=draws.sum(axis=1).astype(float))


def _last_gap(block: Block) -> Floats:
    """Last gap between activities, or the present silence if longer [days]; 0 where there is neither."""
    ends = block.offsets[1:]
    # Time 0, the acquisition, comes before the first activity.
    before = np.where(block.n > 1, np.append(block.times, 0.0)[np.maximum(ends - 2, 0)], 0.0)
    return np.maximum(np.where(block.n > 0, block.last - before, 0.0), block.T - block.last)
