r"""The plan that is best when risk counts: expected profit less weighted CVaR shortfall, with a proven bound.

In: :class:`~bayesdecay.decide.stakes.Stakes` and a :class:`Risk`. Out: the offer of each user, and a bound. The risk
that is optimised is that of the profit expected in each sample, :math:`X_s(x) = \sum_{ua} \pi_{uas} x_{ua}`: doubt
about the parameters, shared by all users. The chance of the individual outcomes averages out in a large audience; it
is part of all that the plan announces. With :math:`W` the weights of the samples that CVaR allows,

.. math:: \max_x \min_{w \in W} \sum_s w_s X_s(x) \;\le\;
          \min_{w \in W} \max_x \sum_{ua} \Big(\sum_s w_s \pi_{uas}\Big) x_{ua}.

The right side is convex in w, and each value of it is a bound, found by one pass over the draws and one assignment.
Cutting planes lower it: each plan met is a cut, and the linear program over the cuts gives the next weights, and the
mixture of the plans met that is best. The mixture is rounded to a plan, user by user; the more users, the less that
costs. Of many users a sample is solved first, in memory: its weights are nearly those of all. Small problems are
decided by HiGHS.

References
----------
Rockafellar, R. T., Uryasev, S. (2000). Optimization of conditional value-at-risk. *J. Risk* 2(3), 21-41.
https://doi.org/10.21314/JOR.2000.038
Kuenzi-Bay, A., Mayer, J. (2006). Computational aspects of minimizing conditional value-at-risk. *Comput. Manag. Sci.*
3(1), 3-27. https://doi.org/10.1007/s10287-005-0042-0 (cutting planes)
Ben-Ameur, W., Neto, J. (2007). Acceleration of cutting-plane and column generation algorithms. *Networks* 49(1), 3-17.
https://doi.org/10.1002/net.20137 (between the best weights and the next)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from bayesdecay.decide.assignment import Limits, assign, give_out
from bayesdecay.decide.risk import Risk, weight_bounds, worst_weights
from bayesdecay.decide.stakes import Stakes

__all__ = ["Solution", "least_risky", "limits_of"]

# Measured: of a million users, the weights found with 20,000 leave 0.01 % open after a pass or two where the score is
# most of the expected profit. Where it is a few percent of it, rounds stop with some percent of the score open.
_SAMPLED = 20_000
_ROUNDS_SAMPLED, _ROUNDS = 40, 4
_CLOSE_SAMPLED, _CLOSE = 1e-4, 5e-4
# Weights that are taken over from the sample; each is 24 MB for a million users and three offers.
_MIXED = 4
# Pairs of user and offer, and pairs times samples, that HiGHS decides within a few seconds.
_SMALL, _SMALL_NUMBERS, _NODES = 60, 20_000, 2_000
_EXACT = 1e-6
# The golden ratio's multiples fill the unit interval evenly: neighbours among the users get different plans.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """A plan and how good it is known to be.

    Attributes
    ----------
    pick : int8[user]
        Place of the user's offer; -1 for none.
    totals : float64[sample]
        Its expected profit in each sample [money].
    score : float
        What was maximised [money].
    bound : float
        What no plan exceeds [money].
    exact : bool
        Whether it is proven best, to a millionth.
    """

    pick: np.ndarray
    totals: np.ndarray
    score: float
    bound: float
    exact: bool


def limits_of(stakes: Stakes) -> Limits:
    """What every plan must keep to."""
    return Limits(cost=stakes.cost, budget=stakes.budget, capacity=stakes.capacity, closed=stakes.closed)


def least_risky(stakes: Stakes, risk: Risk) -> Solution:
    """Find the plan with the highest expected profit less weighted shortfall.

    Parameters
    ----------
    stakes : Stakes
        What each user and offer may bring.
    risk : Risk
        Weight and level of the shortfall; a neutral one needs a single pass.
    """
    uniform = np.full(stakes.samples, 1 / stakes.samples)
    if risk.weight == 0 or stakes.users == 0:
        found = assign(stakes.weighted(uniform), limits_of(stakes))
        totals = stakes.totals(found.pick)
        score = float(totals.mean())
        return Solution(pick=found.pick, totals=totals, score=score, bound=found.bound, exact=found.exact)
    starts = uniform[None]
    if stakes.users > 2 * _SAMPLED:
        rows = np.sort(np.random.default_rng(0).choice(stakes.users, _SAMPLED, replace=False))
        sampled = _searched(stakes.sampled(rows), risk, starts, rounds=_ROUNDS_SAMPLED, close=_CLOSE_SAMPLED)
        starts = _mixed_weights(sampled)
    # A pass over fewer users costs little.
    rounds = _ROUNDS if stakes.users > 2 * _SAMPLED else _ROUNDS_SAMPLED
    search = _searched(stakes, risk, starts, rounds=rounds, close=_CLOSE)
    pairs = stakes.cost.size
    if not search.closed(_EXACT) and pairs <= _SMALL and pairs * stakes.samples <= _SMALL_NUMBERS:
        _decide(search)
    return search.solution()


@dataclass(slots=True, kw_only=True, eq=False)
class _Search:
    """Plans met so far, the best of them and the least bound; the only thing here that changes."""

    stakes: Stakes
    risk: Risk
    limits: Limits
    picks: list[np.ndarray] = field(default_factory=list)
    totals: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    origins: list[np.ndarray | None] = field(default_factory=list)
    bound: float = np.inf
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    profit: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    prices: np.ndarray | None = None

    def meet(self, pick: np.ndarray, origin: np.ndarray | None = None) -> None:
        """Add a plan, and the weights that it is best at, if there are any."""
        totals = self.stakes.totals(pick)
        self.picks.append(pick)
        self.totals.append(totals)
        self.origins.append(origin)
        self.scores.append(float(worst_weights(totals, self.risk) @ totals))

    def bounded(self, weights: np.ndarray, profit: np.ndarray) -> None:
        """Meet the plan that is best at these weights, which bounds all others."""
        best = assign(profit, self.limits, prices=self.prices)
        self.prices = best.prices
        if best.bound < self.bound:
            self.bound, self.weights, self.profit = best.bound, weights, profit
        self.meet(best.pick, weights)

    def closed(self, share: float) -> bool:
        """Whether no plan can be better than the best one met by more than a share."""
        return self.bound - max(self.scores) <= share * max(self.bound, 0.0) + 1e-12

    def solution(self) -> Solution:
        """The best plan met."""
        best = int(np.argmax(self.scores))
        bound = max(self.bound, self.scores[best])
        return Solution(
            pick=self.picks[best],
            totals=self.totals[best],
            score=self.scores[best],
            bound=bound,
            exact=self.closed(2 * _EXACT),
        )


def _mixed_weights(search: _Search) -> np.ndarray:
    """The weights of the best bound, and those whose plans make up the best mixture; [start, sample].

    The same weights give all users nearly the same mixture, so that its plans need not be found again one by one.
    """
    known = [(totals, at) for totals, at in zip(search.totals, search.origins, strict=True) if at is not None]
    _, shares = _next(np.array([totals for totals, _ in known]), search.risk)
    largest = np.argsort(-shares, kind="stable")[:_MIXED]
    return np.array([search.weights, *(known[place][1] for place in largest if shares[place] > 1e-3)])


def _searched(stakes: Stakes, risk: Risk, starts: np.ndarray, *, rounds: int, close: float) -> _Search:
    """Lower the bound and raise the plan by cutting planes until they are close."""
    search = _Search(stakes=stakes, risk=risk, limits=limits_of(stakes))
    search.meet(np.full(stakes.users, -1, dtype=np.int8))
    for _ in range(rounds):
        for weights, profit in zip(starts, stakes.weighted_by(starts), strict=True):
            search.bounded(weights, profit)
        if search.closed(close):
            break
        following, shares = _next(np.array(search.totals), risk)
        if (shares > 1e-6).sum() > 1:
            search.meet(_rounded(search, shares))
            if search.closed(close):
                break
        starts = (0.5 * following + 0.5 * search.weights)[None]
    return search


def _next(totals: np.ndarray, risk: Risk) -> tuple[np.ndarray, np.ndarray]:
    """Weights that are worst for the plans met, and the shares of the plans in their best mixture."""
    plans, samples = totals.shape
    least, most = weight_bounds(samples, risk)
    unit = np.abs(totals).max() or 1.0
    found = linprog(
        np.append(np.zeros(samples), 1.0),
        A_ub=np.column_stack([totals / unit, -np.ones(plans)]),
        b_ub=np.zeros(plans),
        A_eq=np.append(np.ones(samples), 0.0)[None, :],
        b_eq=[1.0],
        bounds=[*[(least, most)] * samples, (None, None)],
        method="highs",
    )
    if found.x is None:  # the plans met are all there is to go by
        return worst_weights(totals[-1], risk), np.zeros(plans)
    return found.x[:-1], np.maximum(-found.ineqlin.marginals, 0.0)


def _rounded(search: _Search, shares: np.ndarray) -> np.ndarray:
    """One plan of a mixture of plans: each user follows one of them, as often as it has a share."""
    users = np.arange(search.stakes.users)
    place = np.searchsorted(np.cumsum(shares) / shares.sum(), (users + 0.5) * _GOLDEN % 1.0)
    pick = np.array(search.picks)[np.minimum(place, shares.size - 1), users]
    prices = np.zeros(1 + search.limits.cost.shape[1]) if search.prices is None else search.prices
    closed = search.limits.closed[:, None] | (search.limits.cost > search.limits.money)
    profit = np.where(closed, -np.inf, search.profit)
    # What pays in the worst case is given out as far as money goes; a mixture's offers come before it, paying or not.
    margin = profit - prices[0] * search.limits.cost - prices[1:]
    return give_out(margin, profit, search.limits, first=pick)


def _decide(search: _Search) -> None:
    """Let HiGHS decide: max (1 - l) E[X] + l (v - sum z / (q S)) with z >= v - X, z >= 0."""
    stakes, limits, risk = search.stakes, search.limits, search.risk
    users, offers = stakes.cost.shape
    samples, pairs = stakes.samples, users * offers
    # [sample, pair], the pairs in the order of user and offer.
    profit = stakes.profit(slice(0, users), list(range(offers))).astype(float).transpose(1, 2, 0).reshape(samples, -1)
    unit = np.abs(profit).max() or 1.0
    least, most = weight_bounds(samples, risk)
    user = np.repeat(np.arange(users), offers)
    rest = np.zeros((1, 1 + samples))
    rules = [
        LinearConstraint(np.column_stack([profit / unit, -np.ones(samples), np.eye(samples)]), lb=0.0),
        LinearConstraint(
            csr_array((np.ones(pairs), (user, np.arange(pairs))), shape=(users, pairs + 1 + samples)), ub=1
        ),
    ]
    if np.isfinite(limits.money):
        price = limits.cost.mean() or 1.0
        rules.append(
            LinearConstraint(np.column_stack([limits.cost.reshape(1, -1) / price, rest]), ub=limits.money / price)
        )
    for offer in np.flatnonzero(np.isfinite(limits.capacity)):
        of_it = (np.arange(pairs) % offers == offer).astype(float)[None, :]
        rules.append(LinearConstraint(np.column_stack([of_it, rest]), ub=limits.capacity[offer]))
    able = ~(limits.closed[:, None] | (limits.cost > limits.money)).ravel()
    found = milp(
        -np.concatenate([least * profit.sum(axis=0) / unit, [risk.weight], np.full(samples, -(most - least))]),
        integrality=np.concatenate([np.ones(pairs), np.zeros(1 + samples)]),
        bounds=Bounds([*np.zeros(pairs), -np.inf, *np.zeros(samples)], [*able, np.inf, *np.full(samples, np.inf)]),
        constraints=rules,
        options={"mip_rel_gap": 1e-8, "node_limit": _NODES},
    )
    if found.x is None:
        return
    taken = (found.x[:pairs] > 0.5).reshape(users, offers)
    pick = np.where(taken.any(axis=1), taken.argmax(axis=1), -1).astype(np.int8)
    if limits.cost[taken].sum() <= limits.money:
        search.meet(pick)
    search.bound = min(search.bound, -float(found.mip_dual_bound) * unit)
