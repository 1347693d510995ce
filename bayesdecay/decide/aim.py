r"""What a plan is chosen for, as a function of its expected profit in each sample.

In: a :class:`Risk`, or the samples in which a plan may not lose. Out: :class:`Aim`, a concave function of the profits
:math:`X_s` of the samples,

.. math:: g(X) = b \sum_s X_s + \min_{0 \le e \le m,\; \sum_s e_s = \lambda} \sum_s e_s (X_s - f_s),

the base weight b that every sample gets and a worst case that puts :math:`\lambda` of further weight on the samples
with little profit, at most :math:`m_s` on one. With :math:`b = (1 - \lambda)/S` and :math:`m_s = \lambda/(qS)` it is
the expected profit less :math:`\lambda` times the shortfall of the CVaR. Without the sum rule it is the expected profit
less a fine for each sample s whose profit is below the floor :math:`f_s`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesdecay.decide.risk import Risk, weight_bounds

__all__ = ["Aim"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aim:
    """Weights that a worst case may give to the samples.

    Attributes
    ----------
    base : float
        Weight that each sample has.
    most : float64[sample]
        Weight that the worst case may add to each.
    added : float or None
        Weight that it adds to all of them together; None where it adds what it likes.
    floor : float64[sample]
        Profit [money] below which it adds weight, where ``added`` is None; else 0.
    """

    base: float
    most: np.ndarray
    added: float | None
    floor: np.ndarray

    @classmethod
    def shortfall(cls, risk: Risk, samples: int) -> Aim:
        """Expected profit less the weighted shortfall of the CVaR."""
        least, most = weight_bounds(samples, risk)
        return cls(base=least, most=np.full(samples, most - least), added=risk.weight, floor=np.zeros(samples))

    @classmethod
    def no_loss(cls, floor: np.ndarray, kept: np.ndarray, fine: float) -> Aim:
        """Expected profit, where the samples ``kept`` are to stay above their floors; ``fine`` for a unit less."""
        return cls(base=1 / floor.size, most=np.where(kept, fine, 0.0), added=None, floor=floor)

    def weights(self, totals: np.ndarray) -> np.ndarray:
        """Weights that the worst case gives to the samples of a plan, the base included; float64[sample]."""
        if self.added is None:
            return self.base + np.where(totals < self.floor, self.most, 0.0)
        extra = np.empty_like(self.most)
        order = np.argsort(totals, kind="stable")
        before = np.concatenate([[0.0], np.cumsum(self.most[order])[:-1]])
        extra[order] = np.clip(self.added - before, 0.0, self.most[order])
        return self.base + extra

    def score(self, totals: np.ndarray) -> float:
        """g(X) of a plan [money]."""
        weights = self.weights(totals)
        return float(weights @ totals - (weights - self.base) @ self.floor)

    def bound(self, best: float, weights: np.ndarray) -> float:
        """What no plan's score exceeds, ``best`` being what no plan's profit weighted by ``weights`` does [money]."""
        return best - float((weights - self.base) @ self.floor)
