r"""Forecasters that take some fitting: BG/NBD, and a logistic regression on recency, frequency and tenure.

In: a history, and for the regression an earlier one with what became of its users. Out: forecasters, see
:mod:`bayesdecay.show.baselines`. The regression says

.. math:: \mathrm{logit}\, P(\text{active within } h) = b_0 + b_1 \log(1 + \text{recency}) + b_2 \log(1 + n)
    + b_3 \log(1 + T) + b_4 [n = 0],

with standardised features and slopes of prior standard deviation 3, and nothing of how often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import expit

from bayesdecay.data.history import History
from bayesdecay.errors import DataError
from bayesdecay.model.scoring import Forecast
from bayesdecay.show.baselines import Chances, Forecaster

__all__ = ["BG", "LOGISTIC", "Classic", "Logistic", "classic_forecaster", "recency_frequency"]

Floats = NDArray[np.float64]

BG = "BG/NBD"
LOGISTIC = "logistic (recency, frequency, tenure)"

# Weak, in standard deviations of a feature: it only matters where outcomes are all alike or perfectly parted.
_SLOPE = 3.0


# Counts beyond this are lumped together: a table of 16,000 users and as many counts takes 256 MB.
_MOST = 2_000


class Classic(Protocol):
    """A fitted model of counts, such as :class:`bayesdecay.model.bgnbd.BGNBD`."""

    def count_pmf(self, x: Floats, t_x: Floats, T: Floats, *, window: float, most: int) -> Floats:
        """Probability of 0, 1, ..., ``most`` activities of each user within a window."""

    def likely_most(self, x: Floats, T: Floats, *, window: float) -> int:
        """Count that next to nobody exceeds."""


def recency_frequency(history: History) -> tuple[Floats, Floats, Floats]:
    """Each user's x, t_x and T [days], as the classics want them."""
    blocks = list(history.blocks())
    n, last, T = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("n", "last", "T"))
    return n.astype(float), last, T


def classic_forecaster(classic: Classic, *, samples: int) -> Forecaster:
    """Make a forecaster of a classic fitted in days: exact probabilities of every count, and draws of their sum."""

    def forecast(history: History, length: float, rng: np.random.Generator) -> Forecast:
        rows, index = np.unique(np.column_stack(recency_frequency(history)), axis=0, return_inverse=True)
        x, t_x, T = rows.T
        most = min(classic.likely_most(x, T, window=length) + 1, _MOST)
        pmf = classic.count_pmf(x, t_x, T, window=length, most=most)
        pmf[:, -1] += np.maximum(1.0 - pmf.sum(axis=1), 0.0)
        pmf = (pmf / pmf.sum(axis=1, keepdims=True))[index.ravel()]
        return Forecast(pmf=pmf, total=_totals(pmf, samples, rng))

    return forecast


def _totals(pmf: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Draws of the sum of independent counts: every user's steps end to end, searched at once."""
    row = np.arange(len(pmf))
    steps = np.minimum(np.cumsum(pmf, axis=1), 1.0)
    steps[:, -1] = 1.0
    ends = (steps + row[:, None]).ravel()
    first = row * pmf.shape[1]
    found = (np.searchsorted(ends, rng.random(row.size) + row, side="right") - first for _ in range(samples))
    return np.array([count.sum() for count in found], dtype=float)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logistic:
    """A fitted regression: ``coefficients`` (1 + feature,), ``center`` and ``scale`` (feature,) of the features."""

    coefficients: Floats
    center: Floats
    scale: Floats

    @classmethod
    def fit(cls, past: History, came: NDArray[np.bool_]) -> Logistic:
        """Learn from users as they stood at an earlier cutoff, and who of them came within the horizon after it.

        Raises
        ------
        DataError
            If there are no users, or all of them came, or none did.
        """
        if not came.size or came.all() or not came.any():
            raise DataError(f"of {came.size:,} users at {past.at:%Y-%m-%d}, {int(came.sum()):,} came back")
        features = _features(past)
        center, scale = features.mean(axis=0), features.std(axis=0)
        x = _design(features, center, np.where(scale > 0, scale, 1.0))
        sign = np.where(came, 1.0, -1.0)

        def loss(b: Floats) -> tuple[float, Floats]:
            logit = sign * (x @ b)
            value = np.logaddexp(0.0, -logit).sum() + 0.5 * np.square(b[1:] / _SLOPE).sum()
            gradient = -(sign * expit(-logit)) @ x
            gradient[1:] += b[1:] / _SLOPE**2
            return value, gradient

        found = optimize.minimize(loss, np.zeros(x.shape[1]), jac=True, method="BFGS")
        return cls(coefficients=found.x, center=center, scale=np.where(scale > 0, scale, 1.0))

    def p_active(self, history: History) -> Floats:
        """P(any activity within the horizon learned from) of each user."""
        return np.asarray(expit(_design(_features(history), self.center, self.scale) @ self.coefficients))

    def forecaster(self, *, samples: int) -> Forecaster:
        """Make a forecaster, which says nothing of numbers."""

        def forecast(history: History, length: float, rng: np.random.Generator) -> Chances:
            return Chances(p_active=self.p_active(history), total=np.full(samples, np.nan))

        return forecast


def _features(history: History) -> Floats:
    n, last, T = recency_frequency(history)
    return np.column_stack([np.log1p(T - last), np.log1p(n), np.log1p(T), n == 0])


def _design(features: Floats, center: Floats, scale: Floats) -> Floats:
    return np.column_stack([np.ones(len(features)), (features - center) / scale])
