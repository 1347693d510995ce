r"""The best set under a budget: which contacts together have the highest expected profit.

In: expected profit and cost of each contact, and the budget. Out: the set, and an upper bound that no set can exceed:

.. math:: \max_x \sum_u \pi_u x_u \quad\text{subject to}\quad \sum_u c_u x_u \le B,\; x_u \in \{0, 1\}.

Contacts are ranked by profit per money spent. Split at the budget's end, the ranking solves the problem with fractional
contacts (Dantzig's bound); equal costs need no more. Otherwise HiGHS decides the core, the contacts around the split:
who ranks far above it is in, who ranks far below it is out. Deciding one of these against the price of money
:math:`\lambda` would cost at least :math:`|\pi_u - \lambda c_u|`, which keeps the bound valid. Among equally profitable
users of equal cost the first are taken.

References
----------
Dantzig, G. B. (1957). Discrete-variable extremum problems. *Oper. Res.* 5(2), 266-288.
https://doi.org/10.1287/opre.5.2.266
Balas, E., Zemel, E. (1980). An algorithm for large zero-one knapsack problems. *Oper. Res.* 28(5), 1130-1154.
https://doi.org/10.1287/opre.28.5.1130 (the core)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

__all__ = ["BestSet", "affordable", "best_set", "fill"]

# Measured with uneven costs: of 100,000 contacts at once HiGHS finds no set in a minute; a core of 300 takes 0.1-1 s
# and leaves at most a millionth of the profit open (0.2 % among 1,000 contacts whose costs span five orders of
# magnitude); 600 take twice as long and gain nothing.
_CORE = 300
# HiGHS may stop when the whole campaign is this close to the best one [share of its profit].
_GAP = 1e-6
# A count, not a time limit, so that the same input gives the same set on every machine.
_NODES = 1_000
# Rounds of looking for contacts that still fit; each round goes through all that are left.
_ROUNDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class BestSet:
    """A set of contacts and how good it is known to be.

    Attributes
    ----------
    chosen : bool[user]
        Who is in the set.
    bound : float
        Expected profit that no affordable set exceeds [money].
    exact : bool
        Whether the set is proven best, to a millionth of its expected profit.
    """

    chosen: np.ndarray
    bound: float
    exact: bool


def best_set(profit: np.ndarray, cost: np.ndarray, budget: float | None) -> BestSet:
    """Choose the contacts with the highest total expected profit that the budget pays for.

    Parameters
    ----------
    profit : float64[user]
        Expected profit of each contact, its cost taken off [money].
    cost : float64[user]
        Cost of each contact, 0 or more [money].
    budget : float or None
        Most that may be spent [money]; None for no limit.
    """
    limit = np.inf if budget is None else affordable(budget)
    rows = np.flatnonzero((profit > 0) & (cost <= limit))
    with np.errstate(divide="ignore"):
        rows = rows[np.argsort(-profit[rows] / cost[rows], kind="stable")]
    taken, bound = _knapsack(profit[rows], cost[rows], limit)
    chosen = np.zeros(profit.size, dtype=bool)
    chosen[rows[taken]] = True
    reached = float(profit[chosen].sum())
    return BestSet(chosen=chosen, bound=max(bound, reached), exact=bound - reached <= _GAP * bound)


def affordable(budget: float) -> float:
    """Return the budget with room for rounding: 0.3 pays for three contacts of 0.1, though 0.1 * 3 > 0.3."""
    return budget * (1 + 1e-9)


def fill(order: np.ndarray, cost: np.ndarray, limit: float) -> np.ndarray:
    """Take contacts in an order, each one that the money left still pays for; bool[user].

    At most 64 rounds, so that hostile costs cannot make it quadratic: the set is affordable in any case.
    """
    taken = np.zeros(cost.size, dtype=bool)
    left = limit
    for _ in range(_ROUNDS):
        order = order[cost[order] <= left]
        if order.size == 0:
            break
        spent = np.cumsum(cost[order])
        count = int(np.searchsorted(spent, left, side="right"))
        taken[order[:count]] = True
        left -= spent[count - 1]
        order = order[count:]
    return taken


def _knapsack(profit: np.ndarray, cost: np.ndarray, limit: float) -> tuple[np.ndarray, float]:
    """Who is taken, and the bound, of contacts that each pay and each fit, sorted by profit per cost."""
    split = int(np.searchsorted(np.cumsum(cost), limit, side="right"))
    if split == cost.size:
        return np.ones(cost.size, dtype=bool), float(profit.sum())
    margin = profit - profit[split] / cost[split] * cost
    bound = float(profit[split] / cost[split] * limit + np.maximum(margin, 0.0).sum())
    filled = fill(np.arange(cost.size), cost, limit)
    if (cost == cost[0]).all():
        return filled, float(profit[filled].sum())
    start, end = max(split - _CORE // 2, 0), split + _CORE // 2
    inside, most = _decided(profit[start:end], cost[start:end], limit - cost[:start].sum(), gap=_GAP * bound)
    cored = np.arange(cost.size) < start
    cored[start:end] = inside
    # Many cheap trifles must not crowd out one great contact.
    alone = np.arange(cost.size) == np.argmax(profit)
    # The solver's set may cost a hair too much. The others do not, whatever another order of adding rounds up to.
    safe = [cored] if cost[cored].sum() <= limit else []
    best = max((*safe, filled, alone), key=lambda taken: float(profit[taken].sum()))
    against = np.abs(np.concatenate([margin[:start], margin[end:]])).min(initial=np.inf)
    return best, min(bound, max(float(profit[:start].sum()) + most, bound - against))


def _decided(profit: np.ndarray, cost: np.ndarray, limit: float, *, gap: float) -> tuple[np.ndarray, float]:
    """Decide a few contacts by HiGHS: who is taken, and the profit that none of their sets exceeds."""
    # HiGHS's tolerances are for numbers around 1, whatever the money: with costs of 1e-6 it would see no budget at all.
    price, unit = cost.mean(), profit.mean()
    found = milp(
        -profit / unit,
        integrality=np.ones(profit.size),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(cost[None, :] / price, ub=limit / price),
        options={"mip_rel_gap": gap / profit.sum(), "node_limit": _NODES},
    )
    if found.x is None:
        return np.zeros(profit.size, dtype=bool), np.inf
    taken = found.x > 0.5
    # Of contacts that are alike HiGHS takes any; the first are wanted.
    alike = np.lexsort((cost, profit))
    taken[alike] = taken[np.lexsort((~taken, cost, profit))]
    return taken, -float(found.mip_dual_bound) * unit
