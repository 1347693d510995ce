r"""The plan that a risk appetite asks for, and the frontier of plans over risk and budget.

In: what is at stake, a :class:`Risk`, the seed of the outcomes. Out: the plan and how good it is known to be.

A highest P(loss) is no convex rule, so no bound is known but that of expected profit alone. It has a search of its own
(:mod:`bayesdecay.decide.chance`). Of few users, plans for several chances of a loss and several weights on the CVaR,
the same whatever is asked, are compared, and the best of those whose P(loss) is low enough is taken: so less risk is
never paid with more expected profit. Contacting nobody is always among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayesdecay.decide.averse import Solution, least_risky
from bayesdecay.decide.chance import loss_of, seldom_losing
from bayesdecay.decide.risk import Risk
from bayesdecay.decide.stakes import Stakes

__all__ = ["FrontierPoint", "Selection", "frontier_points", "selected"]

# Tried for a highest P(loss): weights of the CVaR and its level, and chances of a loss.
_WEIGHTS, _LEVEL = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0), 0.9
_CHANCES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35)
# Users times offers times samples up to which all of these are tried; of more, the chance that is asked for alone.
_ALL_TRIED = 50_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """A plan, and how good it is known to be.

    Attributes
    ----------
    pick : int8[user]
        Place of the user's offer; -1 for none.
    score, bound : float
        What was maximised, and what no plan exceeds [money].
    exact : bool
        Whether it is proven best, to a millionth.
    met : bool
        False where only contacting nobody kept P(loss) as low as asked.
    """

    pick: np.ndarray
    score: float
    bound: float
    exact: bool
    met: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrontierPoint:
    """The best plan met at a weight of the shortfall and a budget, and the bound there."""

    weight: float
    budget: float | None
    pick: np.ndarray
    score: float
    bound: float


def selected(stakes: Stakes, risk: Risk, seed: int) -> Selection:
    """Select the plan that the risk appetite asks for.

    Parameters
    ----------
    stakes : Stakes
        What each user and offer may bring.
    risk : Risk
        What is borne.
    seed : int
        Of the outcomes, for P(loss).
    """
    if risk.most_loss is None:
        best = least_risky(stakes, risk)
        return Selection(pick=best.pick, score=best.score, bound=best.bound, exact=best.exact)
    neutral = least_risky(stakes, Risk.neutral())
    if loss_of(stakes, neutral.pick, seed) <= risk.most_loss:
        return Selection(pick=neutral.pick, score=neutral.score, bound=neutral.bound, exact=neutral.exact)
    safe = _safe(stakes, risk.most_loss, seed, neutral)
    if not safe:
        nobody = np.full(stakes.users, -1, dtype=np.int8)
        return Selection(pick=nobody, score=0.0, bound=neutral.bound, exact=False, met=False)
    best = max(safe, key=lambda plan: float(plan.totals.mean()))
    return Selection(pick=best.pick, score=float(best.totals.mean()), bound=neutral.bound, exact=False)


def _safe(stakes: Stakes, most: float, seed: int, neutral: Solution) -> list[Solution]:
    """Plans that contact somebody and whose P(loss) is low enough."""
    if stakes.cost.size * stakes.samples > _ALL_TRIED:
        return seldom_losing(stakes, most, seed, neutral)
    tried = [least_risky(stakes, Risk.cvar(_LEVEL, weight)) for weight in _WEIGHTS]
    for chance in _CHANCES:
        tried += seldom_losing(stakes, chance, seed, neutral)
    return [plan for plan in tried if plan.totals.mean() > 0 and loss_of(stakes, plan.pick, seed) <= most]


def frontier_points(
    stakes: Stakes, weights: Sequence[float], budgets: Sequence[float | None], level: float
) -> list[FrontierPoint]:
    """Best plans over weights of the shortfall and over budgets, in the order of budgets, then weights.

    Each point takes the best for it of all plans met that its budget pays for. So along the frontier more weight
    never raises expected profit, and without weight more budget never lowers it.
    """
    met: list[tuple[np.ndarray, np.ndarray]] = []
    points = []
    for budget in sorted(budgets, key=lambda one: np.inf if one is None else one):
        within = replace(stakes, budget=budget)
        solved = {weight: least_risky(within, Risk.cvar(level, weight)) for weight in sorted(weights)}
        met += [(plan.pick, plan.totals) for plan in solved.values()]
        for weight, plan in solved.items():
            risk = Risk.cvar(level, weight)
            scores = [risk.score(totals) for _, totals in met]
            best = int(np.argmax(scores))
            bound = max(plan.bound, scores[best])
            points.append(
                FrontierPoint(weight=weight, budget=budget, pick=met[best][0], score=scores[best], bound=bound)
            )
    return points
