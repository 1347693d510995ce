r"""The best offer for each user under a budget and capacities, with a bound that no assignment exceeds.

In: expected profit and cost of each user under each offer, the budget, the capacities. Out: at most one offer a user:

.. math:: \max_x \sum_{ua} \pi_{ua} x_{ua} \quad\text{subject to}\quad \sum_a x_{ua} \le 1,\;
          \sum_{ua} c_{ua} x_{ua} \le B,\; \sum_u x_{ua} \le K_a.

With a price :math:`\lambda` of money and :math:`\mu_a` of a place, users decide alone, and the dual

.. math:: g(\lambda, \mu) = \lambda B + \sum_a \mu_a K_a + \sum_u \max(0, \max_a \pi_{ua} - \lambda c_{ua} - \mu_a)

is a bound at any prices. The best prices are found by cutting planes in these few dimensions; then offers are given out
in the order of their margins at these prices for as long as they fit. Small problems are decided by HiGHS, and one
offer without a capacity is the knapsack of :mod:`bayesdecay.decide.knapsack`.

References
----------
Sinha, P., Zoltners, A. A. (1979). The multiple-choice knapsack problem. *Oper. Res.* 27(3), 503-515.
https://doi.org/10.1287/opre.27.3.503
Kelley, J. E. (1960). The cutting-plane method for solving convex programs. *J. SIAM* 8(4), 703-712.
https://doi.org/10.1137/0108053
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from bayesdecay.decide.knapsack import affordable, best_set

__all__ = ["Assignment", "Limits", "assign", "give_out"]

_loop = numba.njit(cache=True, nogil=True)

# HiGHS decides this many pairs of user and offer within about a second; beyond, the prices leave little open.
_SMALL = 400
_NODES = 1_000
_GAP = 1e-6
# Prices: rounds at most, and the relative distance to their best value at which they stop.
_ROUNDS = 60
_CLOSE = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """Budget [money] or None, capacity float64[offer], cost float64[user, offer], and who is closed, bool[user]."""

    cost: np.ndarray
    budget: float | None
    capacity: np.ndarray
    closed: np.ndarray

    @property
    def money(self) -> float:
        """What may be spent; infinite for no limit."""
        return np.inf if self.budget is None else affordable(self.budget)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignment:
    """Offers of the users, and how good they are known to be.

    Attributes
    ----------
    pick : int8[user]
        Place of the user's offer; -1 for none.
    bound : float
        Total profit that no assignment exceeds [money].
    exact : bool
        Whether it is proven best, to a millionth.
    prices : float64[1 + offer]
        Price of money and of a place with each offer, to start from with similar profits.
    """

    pick: np.ndarray
    bound: float
    exact: bool
    prices: np.ndarray


def assign(profit: np.ndarray, limits: Limits, *, prices: np.ndarray | None = None, exact: bool = True) -> Assignment:
    """Give each user at most one offer, so that the total expected profit is highest.

    Parameters
    ----------
    profit : float64[user, offer]
        Expected profit, the cost taken off [money].
    limits : Limits
        What it must keep to.
    prices : float64[1 + offer], optional
        Prices to try first.
    exact : bool
        Decide a small problem by HiGHS.
    """
    users, offers = profit.shape
    start = np.zeros(1 + offers) if prices is None else prices
    able = np.where(limits.closed[:, None] | (limits.cost > limits.money), -np.inf, profit)
    if offers == 1 and limits.capacity[0] >= users:
        best = best_set(able[:, 0], limits.cost[:, 0], limits.budget)
        return Assignment(pick=best.chosen.astype(np.int8) - 1, bound=best.bound, exact=best.exact, prices=start)
    value, spend, counts, pick = _respond(able, limits.cost, np.zeros(1 + offers))
    if spend <= limits.money and (counts <= limits.capacity).all():
        return Assignment(pick=pick, bound=value, exact=True, prices=np.zeros(1 + offers))
    bound, found = _priced(able, limits, start)
    pick = give_out(able - found[0] * limits.cost - found[1:], able, limits)
    if exact and np.count_nonzero(able > 0) <= _SMALL:
        solved, most = _decided(able, limits, gap=_GAP)
        bound = min(bound, most)
        if solved is not None and _total(able, solved) > _total(able, pick):
            pick = solved
    reached = _total(able, pick)
    bound = max(bound, reached)
    return Assignment(pick=pick, bound=bound, exact=bound - reached <= 2 * _GAP * bound, prices=found)


def give_out(margin: np.ndarray, profit: np.ndarray, limits: Limits, first: np.ndarray | None = None) -> np.ndarray:
    """Give out offers that pay in the order of their margins, each that still fits; int8[user].

    ``first``, offers of the users, come before all others.
    """
    offers = profit.shape[1]
    flat = np.flatnonzero(profit.ravel() > 0)
    ahead = np.zeros(flat.size, dtype=bool)
    if first is not None:
        ahead = first[flat // offers] == flat % offers
    order = flat[np.lexsort((-margin.ravel()[flat], ~ahead))]
    return _fitted(order, limits.cost, limits.money, limits.capacity)


def _total(profit: np.ndarray, pick: np.ndarray) -> float:
    rows = np.flatnonzero(pick >= 0)
    return float(profit[rows, pick[rows]].sum())


@_loop
def _respond(profit, cost, prices):  # type: ignore[no-untyped-def]
    """Offer that each user takes at these prices, the total margin, what it costs and how many get each."""
    users, offers = profit.shape
    pick, counts = np.full(users, -1, dtype=np.int8), np.zeros(offers)
    value, spend = 0.0, 0.0
    for u in range(users):
        best = 0.0
        for a in range(offers):
            margin = profit[u, a] - prices[0] * cost[u, a] - prices[1 + a]
            if margin > best:
                best = margin
                pick[u] = a
        if pick[u] >= 0:
            value += best
            spend += cost[u, pick[u]]
            counts[pick[u]] += 1.0
    return value, spend, counts, pick


@_loop
def _fitted(order, cost, money, capacity):  # type: ignore[no-untyped-def]
    """Go through pairs of user and offer, and keep each that still fits."""
    users, offers = cost.shape
    pick, left = np.full(users, -1, dtype=np.int8), capacity.copy()
    spent = 0.0
    for at in order:
        u, a = at // offers, at % offers
        if pick[u] < 0 and left[a] >= 1 and spent + cost[u, a] <= money:
            pick[u] = a
            left[a] -= 1
            spent += cost[u, a]
    return pick


def _priced(profit: np.ndarray, limits: Limits, start: np.ndarray) -> tuple[float, np.ndarray]:
    """Least bound over the prices, and the prices, by cutting planes."""
    highest = _highest(profit, limits)
    free = highest > 0
    supply = np.where(free, np.append(limits.money, limits.capacity), 0.0)
    tried, bounds, slopes = np.minimum(start, highest), [], []
    least, best, points = np.inf, tried, []
    for _ in range(_ROUNDS):
        value, spend, counts, _pick = _respond(profit, limits.cost, tried)
        bound = value + float(tried @ supply)
        slope = np.where(free, supply - np.append(spend, counts), 0.0)
        points.append(tried)
        bounds.append(bound)
        slopes.append(slope)
        if bound < least:
            least, best = bound, tried
        lowest, next_try = _lowest(np.array(points), np.array(bounds), np.array(slopes), highest)
        if least - lowest <= _CLOSE * abs(least):
            break
        # Halfway between the best prices and the model's: the model alone jumps from end to end.
        tried = 0.5 * next_try + 0.5 * best if free.sum() > 1 else next_try
    return least, best


def _highest(profit: np.ndarray, limits: Limits) -> np.ndarray:
    """Prices at which nobody takes an offer any more; 0 for what is not limited."""
    most = np.maximum(profit.max(axis=0, initial=0.0), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_money = np.where((limits.cost > 0) & (profit > 0), profit / limits.cost, 0.0).max(initial=0.0)
    places = np.where(limits.capacity < profit.shape[0], most, 0.0)
    return np.append(per_money if np.isfinite(limits.money) else 0.0, places)


def _lowest(
    points: np.ndarray, bounds: np.ndarray, slopes: np.ndarray, highest: np.ndarray
) -> tuple[float, np.ndarray]:
    """Lowest point of the cuts' upper envelope."""
    unit, scale = max(np.abs(bounds).max(), 1e-300), np.where(highest > 0, highest, 1.0)
    steep = slopes * scale / unit
    found = linprog(
        np.append(np.zeros(highest.size), 1.0),
        A_ub=np.column_stack([steep, -np.ones(len(bounds))]),
        b_ub=(slopes * points).sum(axis=1) / unit - bounds / unit,
        bounds=[*[(0, 1 if high > 0 else 0) for high in highest], (None, None)],
        method="highs",
    )
    if found.x is None:  # numbers too far apart: the bound that is there stays valid
        return float(bounds.min()), points[int(bounds.argmin())]
    return float(found.x[-1] * unit), found.x[:-1] * scale


def _decided(profit: np.ndarray, limits: Limits, *, gap: float) -> tuple[np.ndarray | None, float]:
    """Decide a small problem by HiGHS: the offers, and the profit that none exceeds."""
    user, offer = np.nonzero(profit > 0)
    gain, cost = profit[user, offer], limits.cost[user, offer]
    unit, price = gain.mean(), cost.mean() or 1.0
    pairs = np.arange(user.size)
    one = np.ones(user.size)
    rules = [LinearConstraint(csr_array((one, (user, pairs)), shape=(profit.shape[0], pairs.size)), ub=1.0)]
    if np.isfinite(limits.money):
        rules.append(LinearConstraint(cost[None, :] / price, ub=limits.money / price))
    rules += [
        LinearConstraint((offer == place)[None, :].astype(float), ub=limits.capacity[place])
        for place in np.flatnonzero(np.isfinite(limits.capacity))
    ]
    found = milp(
        -gain / unit, integrality=one, bounds=Bounds(0, 1), constraints=rules,
        options={"mip_rel_gap": gap, "node_limit": _NODES},
    )  # fmt: skip
    if found.x is None:
        return None, np.inf
    pick = np.full(profit.shape[0], -1, dtype=np.int8)
    taken = found.x > 0.5
    pick[user[taken]] = offer[taken]
    spent = float(cost[taken].sum())
    # The solver's offers may cost a hair too much.
    return (pick if spent <= limits.money else None), -float(found.mip_dual_bound) * unit
