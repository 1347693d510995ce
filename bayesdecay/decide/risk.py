r"""Risk of a campaign, from the draws of its total profit.

In: draws of a profit X. Out: numbers in its unit. The conditional value at risk at level :math:`\ell` is the
expected profit in the worst share :math:`q = 1 - \ell` of cases,

.. math:: \mathrm{CVaR}_\ell(X) = \max_v \{ v - E[(v - X)^+] / q \} = \frac1q \int_0^q F^{-1}(s)\,ds,

on the profit side: lower is worse, and CVaR never exceeds the mean. :class:`Risk` says how much of it is borne.

References
----------
Rockafellar, R. T., Uryasev, S. (2000). Optimization of conditional value-at-risk. *J. Risk* 2(3), 21-41.
https://doi.org/10.21314/JOR.2000.038
Rockafellar, R. T., Uryasev, S. (2002). Conditional value-at-risk for general loss distributions. *J. Banking &
Finance* 26(7), 1443-1471. https://doi.org/10.1016/S0378-4266(02)00271-6 (discrete distributions, split atoms).
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesdecay.decide.written import named_numbers
from bayesdecay.model.intervals import interval_ends

__all__ = ["Risk", "check_share", "cvar", "interval", "p_loss", "weight_bounds", "worst_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """How much risk a planner bears; make one with :meth:`neutral`, :meth:`cvar` or :meth:`max_loss_probability`.

    Attributes
    ----------
    weight : float
        In [0, 1]: what one unit of shortfall, expected profit less CVaR, costs [money per money]. 0 looks at the
        expected profit alone, 1 at the CVaR alone.
    level : float
        Level of that CVaR.
    most_loss : float or None
        Highest P(loss) that is borne; None for any.

    Examples
    --------
    >>> Risk.cvar(level=0.9, weight=0.5)
    Risk(weight=0.5, level=0.9, most_loss=None)
    >>> Risk.from_text("max_loss_probability(0.05)").most_loss
    0.05
    """

    weight: float = 0.0
    level: float = 0.95
    most_loss: float | None = None

    def __post_init__(self) -> None:
        check_share(self.level, "risk: level", lowest=True)
        if isinstance(self.weight, bool) or not isinstance(self.weight, numbers.Real):
            raise TypeError(f"risk: weight is {self.weight!r}; give a number from 0 to 1")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"risk: weight is {self.weight}; give 0 (expected profit only) to 1 (CVaR only)")
        if self.most_loss is not None:
            check_share(self.most_loss, "risk: the highest P(loss)")

    @classmethod
    def neutral(cls) -> Risk:
        """Expected profit only."""
        return cls()

    @classmethod
    def cvar(cls, level: float = 0.95, weight: float = 0.5) -> Risk:
        """Expected profit less ``weight`` times the CVaR shortfall, expected profit less CVaR."""
        return cls(weight=weight, level=level)

    @classmethod
    def max_loss_probability(cls, most: float) -> Risk:
        """Expected profit, among plans whose P(loss) is at most ``most``."""
        return cls(most_loss=most)

    @classmethod
    def from_text(cls, text: str) -> Risk:
        """Read ``"neutral"``, ``"cvar(0.95, 0.5)"`` (level, weight) or ``"max_loss_probability(0.05)"``.

        Raises
        ------
        TypeError
            If it is not text.
        ValueError
            If it cannot be read, names an unknown appetite or is out of range.
        """
        if not isinstance(text, str):
            raise TypeError(f"risk: expected text such as 'cvar(0.95, 0.5)', got {text!r}")
        counts = {name: count for name, (_, count) in _READERS.items()}
        name, numbers = named_numbers(text, counts, what="risk appetite", write=_WRITTEN)
        risk: Risk = _READERS[name][0](*numbers)
        return risk

    @property
    def is_neutral(self) -> bool:
        """Whether only expected profit counts."""
        return self.weight == 0 and self.most_loss is None

    def score(self, profit: Any) -> float:
        """Expected profit less the weighted shortfall of equally probable draws [money]."""
        draws = np.asarray(profit, dtype=float)
        return float((1 - self.weight) * draws.mean() + self.weight * cvar(draws, self.level))

    def __str__(self) -> str:
        """Say in plain words what is wanted."""
        if self.most_loss is not None:
            return f"the highest expected profit with a probability of a loss of at most {self.most_loss:g}"
        if self.weight == 0:
            return "the highest expected profit"
        return (
            f"the highest expected profit less {self.weight:g} times the shortfall of the worst "
            f"{100 * (1 - self.level):.3g} % of cases"
        )


_READERS: dict[str, Any] = {
    "neutral": (Risk.neutral, 0), "cvar": (Risk.cvar, 2), "max_loss_probability": (Risk.max_loss_probability, 1)
}  # fmt: skip
_WRITTEN = "'neutral', 'cvar(level, weight)' or 'max_loss_probability(share)'"


def cvar(profit: Any, level: float = 0.95) -> float:
    """Mean profit in the worst ``1 - level`` share of the draws; a draw at the border counts in part.

    Parameters
    ----------
    profit : array_like
        Equally probable draws of a profit, one dimension.
    level : float
        In [0, 1): 0.95 looks at the worst 5 %, 0 at all draws (the mean).
    """
    draws = _checked(profit)
    worst = (1 - check_share(level, "level", lowest=True)) * draws.size
    # (1 - 0.95) * 100 is 5.000000000000004: without rounding a sixth draw would count by its dust.
    worst = round(worst, 9)
    whole = int(worst)
    if whole < 1:  # less than one draw: the worst one is all there is to see
        return float(draws.min())
    ordered = np.partition(draws, min(whole, draws.size - 1))
    total = np.sort(ordered[:whole]).sum()
    if worst > whole:
        total += (worst - whole) * ordered[whole]
    return float(total / worst)


def worst_weights(profit: np.ndarray, risk: Risk) -> np.ndarray:
    r"""Weights of the draws that make their weighted mean the risk-adjusted profit; float64[sample].

    Notes
    -----
    :math:`(1 - \lambda) E[X] + \lambda\,\mathrm{CVaR} = \min_w \sum_s w_s X_s` over :math:`\sum_s w_s = 1` and
    :math:`(1 - \lambda) / S \le w_s \le (1 - \lambda) / S + \lambda / (q S)`: the rest of the weight goes to the worst.
    """
    least, most = weight_bounds(profit.size, risk)
    extra = np.clip((risk.weight - np.arange(profit.size) * (most - least)), 0.0, most - least)
    weights = np.empty(profit.size)
    weights[np.argsort(profit, kind="stable")] = least + extra
    return weights


def weight_bounds(samples: int, risk: Risk) -> tuple[float, float]:
    """Least and largest weight that the worst case may give to one draw."""
    worst = max(round((1 - risk.level) * samples, 9), 1.0)
    least = (1 - risk.weight) / samples
    return least, least + risk.weight / worst


def p_loss(profit: Any) -> float:
    """Share of the draws in which money is lost, P(profit < 0)."""
    return float(np.mean(_checked(profit) < 0))


def interval(profit: Any, ci_prob: float = 0.9) -> tuple[float, float]:
    """Equal-tailed interval that holds ``ci_prob`` of the draws."""
    tail = (1 - check_share(ci_prob, "ci_prob")) / 2
    lower, upper = interval_ends(_checked(profit), (tail, 1 - tail))
    return float(lower), float(upper)


def check_share(value: float, name: str, *, lowest: bool = False) -> float:
    """Refuse a probability outside (0, 1); ``lowest`` lets an exact 0 pass."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is a number between 0 and 1, got {value!r}")
    if not (0 < value < 1 or (lowest and value == 0)):
        raise ValueError(f"{name} is {value}; expected a share between 0 and 1, such as 0.9")
    return float(value)


def _checked(profit: Any) -> np.ndarray:
    draws = np.asarray(profit, dtype=float)
    if draws.ndim != 1 or draws.size == 0:
        raise ValueError(f"profit: expected one dimension with at least one draw, got the shape {draws.shape}")
    if not np.isfinite(draws).all():
        raise ValueError("profit: some draws are missing or infinite; find out why before judging their risk")
    return draws
