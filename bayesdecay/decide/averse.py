r"""The plan that is best when risk counts: expected profit less weighted CVaR shortfall, with a proven bound.

In: :class:`~bayesdecay.decide.stakes.Stakes` and an :class:`~bayesdecay.decide.aim.Aim`. Out: the offer of each user,
and a bound. The risk that is optimised is that of the profit expected in each sample, :math:`X_s(x) = \sum_{ua}
\pi_{uas} x_{ua}`: doubt about the parameters, shared by all users. The chance of the individual outcomes averages out
in a large audience; it is part of all that the plan announces. With :math:`W` the weights of the samples that the aim
allows,

.. math:: \max_x \min_{w \in W} \sum_s w_s X_s(x) \;\le\;
          \min_{w \in W} \max_x \sum_{ua} \Big(\sum_s w_s \pi_{uas}\Big) x_{ua}.

Each value of the right side is a bound, found by one pass over the draws and one assignment. The next weights, and a
better plan, come from a linear program over cells of users who would change their offer at about the same weights
(:mod:`bayesdecay.decide.cells`, :mod:`bayesdecay.decide.mixture`). It starts from the plan at hand, whose profit is
exact, and its cells can follow every plan met before, so that it only gains; a last program over the single users with
the closest calls mends what the rounding of shares costs. Small problems are decided by HiGHS.

References
----------
Rockafellar, R. T., Uryasev, S. (2000). Optimization of conditional value-at-risk. *J. Risk* 2(3), 21-41.
https://doi.org/10.21314/JOR.2000.038
Zipkin, P. H. (1980). Bounds for aggregating nodes in network problems. *Math. Program.* 19, 155-177.
https://doi.org/10.1007/BF01581638
Ben-Ameur, W., Neto, J. (2007). Acceleration of cutting-plane and column generation algorithms. *Networks* 49(1), 3-17.
https://doi.org/10.1002/net.20137 (between the best weights and the next)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from bayesdecay.decide.aim import Aim
from bayesdecay.decide.assignment import Limits, assign, give_out
from bayesdecay.decide.cells import Cells, cells_of, nearest_users
from bayesdecay.decide.mixture import best_mixture
from bayesdecay.decide.risk import Risk, weight_bounds
from bayesdecay.decide.stakes import Stakes

__all__ = ["Search", "Solution", "least_risky", "limits_of"]

# Rounds and the share of the bound that may stay open; first with a sample of many users, whose weights are nearly
# those of all: of a million users they leave half a percent open.
_ROUNDS, _CLOSE = 8, 8e-4
_SAMPLED, _ROUNDS_SAMPLED, _TAKEN_OVER = 20_000, 7, 4
# Answers to the last weights that the cells follow.
_FOLLOWED = 6
# Cells, single users, and cells times samples: of more, a linear program takes over some seconds.
_CELLS, _NEAREST, _NUMBERS = 1_200, 2_000, 600_000
# Pairs of user and offer, and pairs times samples, that HiGHS decides within a few seconds.
_SMALL, _SMALL_NUMBERS, _NODES = 60, 20_000, 2_000
_EXACT = 1e-6
# Times that an aim which depends on the plan is adapted to it within a round.
_RENEWED = 4


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
    if risk.weight == 0 or stakes.users == 0:
        found = assign(stakes.weighted(np.full(stakes.samples, 1 / stakes.samples)), limits_of(stakes))
        totals = stakes.totals(found.pick)
        score = float(totals.mean())
        return Solution(pick=found.pick, totals=totals, score=score, bound=found.bound, exact=found.exact)
    search = Search.of(stakes, Aim.shortfall(risk, stakes.samples))
    few = search.sampled()
    if few is not None:
        _close(few, _ROUNDS_SAMPLED)
        search.take_over(few)
    _close(search, _ROUNDS)
    if not search.closed(_EXACT):
        search.polish(search.best)
        search.tighten()
    pairs = stakes.cost.size
    if not search.closed(_EXACT) and pairs <= _SMALL and pairs * stakes.samples <= _SMALL_NUMBERS:
        _decide(search, risk)
    return search.solution()


def _close(search: Search, rounds: int) -> None:
    """Lower the bound and raise the plan until they are close."""
    for _ in range(rounds):
        search.advance()
        if search.closed(_CLOSE):
            return


@dataclass(slots=True, kw_only=True, eq=False)
class Search:
    """Plans met so far, the best of them and the least bound; the only thing here that changes.

    Attributes
    ----------
    stakes : Stakes
        What each user and offer may bring.
    aim : Aim
        What is maximised.
    weights : list of float64[sample]
        Weights of the samples that are tried next.
    bound : float
        What no plan exceeds.
    least : float64[sample]
        Weights at which that is known, with what each user gains by each offer there (``margin``) and the plan that
        is best there, by its place among the plans met (``start``).
    picks, totals : list
        The plans met, int8[user], and their expected profit in each sample, float64[sample].
    answers, tried : list
        Places of those that are best at weights that were tried, and these weights.
    """

    stakes: Stakes
    aim: Aim
    limits: Limits
    weights: list[np.ndarray]
    bound: float = np.inf
    least: np.ndarray = field(default_factory=lambda: np.zeros(0))
    margin: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    start: int = 0
    prices: np.ndarray | None = None
    picks: list[np.ndarray] = field(default_factory=list)
    totals: list[np.ndarray] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    tried: list[np.ndarray] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @classmethod
    def of(cls, stakes: Stakes, aim: Aim) -> Search:
        """Begin with nobody contacted, and equal weights."""
        equal = np.full(stakes.samples, 1 / stakes.samples)
        search = cls(stakes=stakes, aim=aim, limits=limits_of(stakes), weights=[equal])
        search.meet(np.full(stakes.users, -1, dtype=np.int8))
        return search

    @property
    def best(self) -> int:
        """Place of the best plan met."""
        return int(np.argmax([self.aim.score(totals) for totals in self.totals]))

    def closed(self, share: float) -> bool:
        """Whether no plan can be better than the best one met by more than a share."""
        return self.bound - self.aim.score(self.totals[self.best]) <= share * max(self.bound, 0.0) + 1e-12

    def meet(self, pick: np.ndarray) -> int:
        """Add a plan, and return its place."""
        self.picks.append(pick)
        self.totals.append(self.stakes.totals(pick))
        return len(self.picks) - 1

    def sampled(self) -> Search | None:
        """The same search for a sample of many users, whose weights are nearly those of all; None for fewer."""
        if self.stakes.users <= 2 * _SAMPLED:
            return None
        rows = np.sort(self.rng.choice(self.stakes.users, _SAMPLED, replace=False))
        return Search.of(self.stakes.sampled(rows), self.aim)

    def take_over(self, few: Search) -> None:
        """Begin with the weights that were tried last for a sample."""
        self.weights = [few.least, *few.tried[-_TAKEN_OVER:]]

    def advance(self, renewed: Callable[[np.ndarray], Aim] | None = None) -> None:
        """Answer the weights that are to be tried, and find a better plan and the next weights.

        ``renewed`` gives the aim anew, from the profit in each sample that the better plan is to have.
        """
        for weights, profit in zip(self.weights, self.stakes.weighted_by(np.array(self.weights)), strict=True):
            self._answer(weights, profit)
        if self.closed(_EXACT):
            return
        followed = dict.fromkeys([self.start, self.best, *self.answers[: -_FOLLOWED - 1 : -1]])
        picks = [self.picks[place] for place in followed]
        cells = cells_of(self.stakes, self.margin, picks, self._size(_CELLS), self.rng)
        following = self._changed(cells, self.start, renewed)
        self.weights = [following, 0.5 * following + 0.5 * self.least]

    def polish(self, place: int) -> None:
        """Change the offers of single users in a plan that was met."""
        self._changed(nearest_users(self.stakes, self.margin, self.picks[place], self._size(_NEAREST)), place)

    def tighten(self) -> None:
        """Answer the weights of the least bound once more, a small problem by HiGHS."""
        best = assign(self.stakes.weighted(self.least), self.limits, prices=self.prices)
        self.bound = min(self.bound, self.aim.bound(best.bound, self.least))

    def _answer(self, weights: np.ndarray, profit: np.ndarray) -> None:
        """Meet the plan that is best at these weights, which bounds all others."""
        best = assign(profit, self.limits, prices=self.prices, exact=False)
        self.answers.append(self.meet(best.pick))
        self.tried.append(weights)
        bound = self.aim.bound(best.bound, weights)
        if bound < self.bound:
            self.bound, self.least, self.start, self.prices = bound, weights, self.answers[-1], best.prices
            closed = self.limits.closed[:, None] | (self.limits.cost > self.limits.money)
            gained = np.where(closed, -np.inf, profit - best.prices[0] * self.limits.cost - best.prices[1:])
            self.margin = np.column_stack([np.zeros(gained.shape[0]), gained])

    def _changed(self, cells: Cells, place: int, renewed: Callable[[np.ndarray], Aim] | None = None) -> np.ndarray:
        """Meet the plan that is best for cells of users, from one that was met, and return the weights there."""
        pick, totals = self.picks[place], self.totals[place]
        found = best_mixture(self.aim, cells, pick, totals, self.limits)
        for _ in range(_RENEWED):
            if renewed is None or found is None:
                break
            before, self.aim = self.aim, renewed(found.totals)
            if (before.most == self.aim.most).all():
                break
            found = best_mixture(self.aim, cells, pick, totals, self.limits) or found
        if found is None:
            return self.aim.weights(totals)
        given = found.given_out(cells, pick)
        chosen = np.zeros(self.margin.shape, dtype=bool)
        chosen[np.arange(given.size), given + 1] = True
        self.meet(give_out(self.margin[:, 1:], chosen[:, 1:], self.limits))
        return found.weights

    def _size(self, most: int) -> int:
        return min(most, max(_NUMBERS // self.stakes.samples, 100))

    def solution(self) -> Solution:
        """The best plan met."""
        best = self.best
        score = self.aim.score(self.totals[best])
        bound = max(self.bound, score)
        return Solution(
            pick=self.picks[best], totals=self.totals[best], score=score, bound=bound, exact=self.closed(2 * _EXACT)
        )


def _decide(search: Search, risk: Risk) -> None:
    """Let HiGHS decide: max (1 - l) E[X] + l (v - sum z / (q S)) with z >= v - X, z >= 0."""
    stakes, limits = search.stakes, search.limits
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
