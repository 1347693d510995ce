r"""Simple policies that a plan is compared with, the field's coupon rule among them.

In: what is at stake, expected profits, P(return) and interest. Out: the offer of each user under each policy.

**The coupon rule.** Give a coupon to users whose *interest is low but who are likely to return*: interest below the
median and P(return) above the median, the most likely first, for as long as the budget lasts. The thought is that the
much interested return anyway, and the unlikely are lost. With an effect :math:`\tau` on the log-odds, contact changes
P(return) by about :math:`\tau p (1 - p)`: highest at p = 1/2. So the rule is right where nobody's p is much above
1/2, where costs are alike, and where what it leaves out is worth less than the contacts cost: p then orders the users
as profit does. It loses where p goes beyond 1/2, as it takes first those who return anyway; where a coupon is paid
out to all who return, for the same reason; where values differ, which it never asks; and where the effect is
doubtful, for it spends the whole budget whatever the risk.
"""

from __future__ import annotations

import numpy as np

from bayesdecay.decide.assignment import Limits
from bayesdecay.decide.knapsack import fill

__all__ = ["best_single_offer", "coupon_rule", "everybody", "most_likely"]


def best_single_offer(profit: np.ndarray, limits: Limits) -> int:
    """Place of the offer with the highest expected profit if all who may be contacted got it; ties to the first."""
    return int(np.argmax(profit[~limits.closed].sum(axis=0)))


def everybody(profit: np.ndarray, limits: Limits) -> np.ndarray:
    """All who may be contacted get the best single offer, whatever the budget; int8[user]."""
    return np.where(limits.closed, -1, best_single_offer(profit, limits)).astype(np.int8)


def most_likely(p: np.ndarray, offer: int, limits: Limits) -> np.ndarray:
    """Users most likely to return without contact, from the top, as far as money and capacity go; int8[user]."""
    return _from_the_top(p, ~limits.closed, offer, limits)


def coupon_rule(p: np.ndarray, interest: np.ndarray, offer: int, limits: Limits) -> np.ndarray:
    """Give the offer to users of low interest who are likely to return: int8[user], -1 for none.

    Parameters
    ----------
    p : float64[user]
        P(return) without contact.
    interest : float64[user]
        Interest at the cutoff, in any unit.
    offer : int
        Place of the offer that is given.
    limits : Limits
        Budget, capacity, costs, and who may not be contacted.

    Notes
    -----
    Interest below its median and p above its median, the highest p first, for as long as money and capacity last.
    """
    wanted = ~limits.closed & (interest < np.median(interest)) & (p > np.median(p))
    return _from_the_top(p, wanted, offer, limits)


def _from_the_top(p: np.ndarray, wanted: np.ndarray, offer: int, limits: Limits) -> np.ndarray:
    order = np.argsort(-p, kind="stable")
    order = order[wanted[order]]
    taken = fill(order, limits.cost[:, offer], limits.money)
    kept = order[taken[order]][: int(min(limits.capacity[offer], order.size))]
    pick = np.full(p.size, -1, dtype=np.int8)
    pick[kept] = offer
    return pick
