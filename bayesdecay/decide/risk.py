r"""Risk of a campaign, from the draws of its total profit.

In: draws of a profit X. Out: numbers in its unit. The conditional value at risk at level :math:`\ell` is the
expected profit in the worst share :math:`q = 1 - \ell` of cases,

.. math:: \mathrm{CVaR}_\ell(X) = \max_v \{ v - E[(v - X)^+] / q \} = \frac1q \int_0^q F^{-1}(s)\,ds,

on the profit side: lower is worse, and CVaR never exceeds the mean.

References
----------
Rockafellar, R. T., Uryasev, S. (2000). Optimization of conditional value-at-risk. *J. Risk* 2(3), 21-41.
https://doi.org/10.21314/JOR.2000.038
Rockafellar, R. T., Uryasev, S. (2002). Conditional value-at-risk for general loss distributions. *J. Banking &
Finance* 26(7), 1443-1471. https://doi.org/10.1016/S0378-4266(02)00271-6 (discrete distributions, split atoms).
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

__all__ = ["check_share", "cvar", "interval", "p_loss"]


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


def p_loss(profit: Any) -> float:
    """Share of the draws in which money is lost, P(profit < 0)."""
    return float(np.mean(_checked(profit) < 0))


def interval(profit: Any, ci_prob: float = 0.9) -> tuple[float, float]:
    """Equal-tailed interval that holds ``ci_prob`` of the draws."""
    tail = (1 - check_share(ci_prob, "ci_prob")) / 2
    lower, upper = np.quantile(_checked(profit), [tail, 1 - tail])
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
