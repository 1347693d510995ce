r"""The best set under a budget: which contacts together have the highest expected profit.

In: expected profit and cost of each contact, and the budget. Out: the set, an upper bound that no set can exceed,
and whether the set is proven best:

.. math:: \max_x \sum_u \pi_u x_u \quad\text{subject to}\quad \sum_u c_u x_u \le B,\; x_u \in \{0, 1\}.

Equal costs need only a sort. Otherwise contacts are ranked by profit per money spent, which solves the problem
with fractional contacts (Dantzig's bound). Its price of money :math:`\lambda` decides nearly all users, because

.. math:: \text{bound} - \sum_u \pi_u x_u = \lambda \Bigl(B - \sum_u c_u x_u\Bigr)
          + \sum_{u\ \text{against the price}} |\pi_u - \lambda c_u|,

and the few left in doubt, the core, are decided by dynamic programming over undominated partial decisions. Among
equally profitable users of equal cost the first are taken.

References
----------
Dantzig, G. B. (1957). Discrete-variable extremum problems. *Oper. Res.* 5(2), 266-288.
https://doi.org/10.1287/opre.5.2.266
Nemhauser, G. L., Ullmann, Z. (1969). Discrete dynamic programming and capital allocation. *Manag. Sci.* 15(9),
494-505. https://doi.org/10.1287/mnsc.15.9.494 (undominated states)
Pisinger, D. (1997). A minimal algorithm for the 0-1 knapsack problem. *Oper. Res.* 45(5), 758-767.
https://doi.org/10.1287/opre.45.5.758 (the expanding core)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BestSet", "affordable", "best_set", "fill"]

# Users in doubt that are decided exactly, and partial decisions remembered at a time: 80 MB and some seconds at the
# worst. Counts, not a time limit, so that the same input gives the same set on every machine.
_CORE = 1_000
_STATES = 10_000
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
        Expected profit that no affordable set exceeds (contacts may be split) [money].
    exact : bool
        Whether no affordable set has a higher expected profit.
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
    worth = profit > 0
    if budget is None:
        return BestSet(chosen=worth, bound=float(profit[worth].sum()), exact=True)
    limit = affordable(budget)
    rows = np.flatnonzero(worth & (cost <= limit))
    taken, bound, exact = _knapsack(profit[rows], cost[rows], limit)
    chosen = np.zeros(profit.size, dtype=bool)
    chosen[rows[taken]] = True
    return BestSet(chosen=chosen, bound=bound, exact=exact)


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


def _knapsack(profit: np.ndarray, cost: np.ndarray, limit: float) -> tuple[np.ndarray, float, bool]:
    """Best set among contacts that each pay and each fit: who is taken, the bound, and whether it is proven."""
    if cost.sum() <= limit:
        return np.ones(profit.size, dtype=bool), float(profit.sum()), True
    equal = bool((cost == cost[0]).all())
    with np.errstate(divide="ignore"):
        merit = profit if equal else profit / cost
    order = np.argsort(-merit, kind="stable")
    bound, price = _fractional(profit[order], cost[order], limit)
    taken = fill(order, cost, limit)
    if equal:
        return taken, bound, True
    alone = np.argmax(profit)
    if profit[alone] > profit[taken].sum():  # many cheap trifles must not crowd out one great contact
        taken = np.arange(profit.size) == alone
    taken, exact = _improve(profit, cost, limit, taken=taken, bound=bound, price=price)
    return taken, bound, exact


def _fractional(profit: np.ndarray, cost: np.ndarray, limit: float) -> tuple[float, float]:
    """Dantzig's bound and the price of money [profit per money], contacts sorted by profit per cost."""
    spent = np.cumsum(cost)
    # A running sum rounds differently from cost.sum(), which exceeds the limit: the last contact splits at the latest.
    split = min(int(np.searchsorted(spent, limit, side="right")), cost.size - 1)
    whole, used = (profit[:split].sum(), spent[split - 1]) if split else (0.0, 0.0)
    price = profit[split] / cost[split]
    return float(whole + price * (limit - used)), float(price)


def _improve(
    profit: np.ndarray, cost: np.ndarray, limit: float, *, taken: np.ndarray, bound: float, price: float
) -> tuple[np.ndarray, bool]:
    """Decide the users in doubt, the closest to the price first; and whether nobody left can matter.

    Start from everybody above the price. A set misses the bound by the ``loss`` of all users decided against the price
    plus the worth of the money ``left``; a user whose own loss is beyond what the best set misses is decided.
    """
    margin = profit - price * cost
    start = margin > 0
    doubt = np.argsort(np.abs(margin), kind="stable")
    left, loss, node = np.array([limit - cost[start].sum()]), np.zeros(1), np.array([-1])
    slack, found, complete = bound - float(profit[taken].sum()), -1, True
    trail: list[tuple[int, np.ndarray]] = []  # the user flipped at each step, and the states it was flipped in
    for step, user in enumerate(doubt[:_CORE].tolist()):
        lost = abs(margin[user])
        if lost >= slack - 1e-12 * bound or left.size == 0:
            break
        near = np.flatnonzero(loss + lost < slack)
        trail.append((user, node[near]))
        left = np.concatenate([left, left[near] + (cost[user] if start[user] else -cost[user])])
        loss = np.concatenate([loss, loss[near] + lost])
        node = np.concatenate([node, step * _STATES + np.arange(near.size)])
        missed = np.where(left >= 0, loss + price * left, np.inf)
        if missed.min() < slack:
            slack, found = float(missed.min()), int(node[missed.argmin()])
        keep = _undominated(left, loss, price, slack - lost)  # every later flip loses at least as much as this one
        complete &= keep.size <= _STATES
        left, loss, node = left[keep[:_STATES]], loss[keep[:_STATES]], node[keep[:_STATES]]
    else:
        complete &= doubt.size <= _CORE
    return (taken if found < 0 else _flipped(start, trail, found)), complete


def _undominated(left: np.ndarray, loss: np.ndarray, price: float, most: float) -> np.ndarray:
    """States of a loss below ``most`` than which none has both more money and more profit, the most promising first."""
    profit = -price * left - loss
    order = np.lexsort((-profit, -left))
    ahead = np.maximum.accumulate(np.concatenate([[-np.inf], profit[order][:-1]]))
    keep = order[(profit[order] > ahead) & (loss[order] < most)]
    return keep[np.argsort(loss[keep] + price * np.abs(left[keep]), kind="stable")]


def _flipped(start: np.ndarray, trail: list[tuple[int, np.ndarray]], node: int) -> np.ndarray:
    """Follow the trail back from a state: the starting set with every flipped user in or out."""
    chosen = start.copy()
    while node >= 0:
        step, place = divmod(node, _STATES)
        user, before = trail[step]
        chosen[user] = ~start[user]
        node = int(before[place])
    return chosen
