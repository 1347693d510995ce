r"""The plan with the highest expected profit whose chance of a loss is low enough, as far as it can be found.

In: what is at stake, the highest P(loss), the seed of the outcomes, a plan to begin with. Out: plans whose P(loss), the
chance of the outcomes included, is low enough. Which samples may lose is what makes the question hard: with those
chosen, the rest is a linear program. Here the samples that lose most under the plan at hand may lose, the program finds
a better plan, and this is repeated. Each step keeps what was reached, but no bound is known, and another choice of
samples may be better still.

The outcomes' chance differs little between neighbouring plans: what it adds to a plan in each sample is taken as a
floor for the next, plus a margin that follows from how far the last plan was from what was asked.

References
----------
Ahmed, S., Luedtke, J., Song, Y., Xie, W. (2017). Nonanticipative duality, relaxations, and formulations for
chance-constrained stochastic programs. *Math. Program.* 162, 51-81. https://doi.org/10.1007/s10107-016-1029-z
Jiang, N., Xie, W. (2022). ALSO-X and ALSO-X+: Better convex approximations for chance constrained programs. *Oper.
Res.* 70(6), 3581-3600. https://doi.org/10.1287/opre.2021.2225 (alternating between the samples and the plan)
"""

from __future__ import annotations

from functools import partial

import numpy as np

from bayesdecay.decide.aim import Aim
from bayesdecay.decide.averse import Search, Solution
from bayesdecay.decide.outcomes import drawn_outcomes
from bayesdecay.decide.risk import p_loss
from bayesdecay.decide.stakes import Stakes

__all__ = ["loss_of", "seldom_losing"]

# Rounds with few users, which are quick; with many; and with a sample of those.
_ROUNDS, _ROUNDS_MANY, _ROUNDS_SAMPLED = 12, 4, 3
# What a unit of profit below its floor costs, in units of expected profit. Of a million users the prices of the samples
# lie between 2 and 4; with 1 the floors are not kept.
_FINE = 10.0
# The margin grows by a little more than what was missing.
_WIDER = 1.2


def loss_of(stakes: Stakes, pick: np.ndarray, seed: int) -> float:
    """P(loss) of a plan, the chance of the outcomes included."""
    return p_loss(drawn_outcomes(stakes, [pick], seed)[0][:, 0])


def seldom_losing(stakes: Stakes, most: float, seed: int, start: Solution) -> list[Solution]:
    """Find plans that bring something and whose P(loss) is at most ``most``.

    Parameters
    ----------
    stakes : Stakes
        What each user and offer may bring.
    most : float
        The highest P(loss).
    seed : int
        Of the outcomes.
    start : Solution
        A plan whose losing samples are the first that may lose.
    """
    none = np.zeros(stakes.samples)
    search = Search.of(stakes, _aim(start.totals, none, most, 0.0))
    few = search.sampled()
    if few is not None:  # of fewer users the outcomes' chance is another, and left out
        for _ in range(_ROUNDS_SAMPLED):
            few.advance(partial(_aim, added=none, most=most, margin=0.0))
        search.take_over(few)
    place, margin, found = search.meet(start.pick), 0.0, []
    for _ in range(_ROUNDS if few is None else _ROUNDS_MANY):
        added = drawn_outcomes(stakes, [search.picks[place]], seed)[0][:, 0] - search.totals[place]
        search.aim, search.bound = _aim(search.totals[place], added, most, margin), np.inf
        search.advance(partial(_aim, added=added, most=most, margin=margin))
        place = len(search.picks) - 1
        pick, totals = search.picks[place], search.totals[place]
        drawn = drawn_outcomes(stakes, [pick], seed)[0][:, 0]
        if p_loss(drawn) <= most:
            score = float(totals.mean())
            found += [Solution(pick=pick, totals=totals, score=score, bound=np.inf, exact=False)] if score > 0 else []
        margin = max(margin - _WIDER * float(np.sort(drawn)[_allowed(most, drawn.size)]), 0.0)
    return found


def _aim(totals: np.ndarray, added: np.ndarray, most: float, margin: float) -> Aim:
    """Let the samples lose that lose most, what the outcomes' chance ``added`` included, as many as may."""
    kept = np.ones(totals.size, dtype=bool)
    kept[np.argsort(totals + added, kind="stable")[: _allowed(most, totals.size)]] = False
    return Aim.no_loss(margin - added, kept, _FINE)


def _allowed(most: float, samples: int) -> int:
    """Number of samples that may lose."""
    return int(most * samples + 1e-9)
