r"""Draws of what whole plans bring, the chance of the individual outcomes included.

In: what is at stake, and plans. Out: draws (audience, sample) of profit and extra returns. Each user's outcome is drawn
under the monotone coupling: one uniform number decides whether the user returns with and without contact, so
contact can only ever change the outcome one way. The number belongs to user and sample: the same user has the same
fate in all plans. Totals are summed within each sample, so that doubt shared by all users does not average out.

References
----------
Angrist, J. D., Imbens, G. W., Rubin, D. B. (1996). Identification of causal effects using instrumental variables.
*J. Am. Stat. Assoc.* 91(434), 444-455. https://doi.org/10.1080/01621459.1996.10476902 (monotonicity)
"""

from __future__ import annotations

import numpy as np

from bayesdecay.decide.stakes import Stakes, each

__all__ = ["drawn_outcomes"]

# Users whose fates come from one random stream. It is part of what a seed means: another number, other outcomes.
_STREAM = 256


def drawn_outcomes(stakes: Stakes, picks: list[np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw profit [money] and extra returns [count] of some plans, float64[sample, plan] each.

    Parameters
    ----------
    stakes : Stakes
        What each user and offer may bring.
    picks : list of int8[user]
        The plans.
    seed : int
        Of the fates.
    """
    member = np.stack(picks, axis=1)  # user, plan

    def block(number: int) -> tuple[np.ndarray, np.ndarray]:
        start = number * _STREAM
        rows = np.arange(start, min(start + _STREAM, stakes.users))
        return _of_block(stakes, rows, member[rows], np.random.default_rng([seed, number]))

    blocks = [n for n in range(-(-stakes.users // _STREAM)) if (member[n * _STREAM : (n + 1) * _STREAM] >= 0).any()]
    profit = np.zeros((stakes.samples, member.shape[1]))
    extra = np.zeros_like(profit)
    for start in range(0, len(blocks), 256):
        for earned, returned in each(block, blocks[start : start + 256]):
            profit += earned
            extra += returned
    return profit, extra


def _of_block(
    stakes: Stakes, rows: np.ndarray, member: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    offers = [offer for offer in range(stakes.cost.shape[1]) if (member == offer).any()]
    fate = rng.random((rows.size, stakes.samples), dtype=np.float32).T
    without, under = stakes.prospects.draws(slice(int(rows[0]), int(rows[-1]) + 1), offers)
    returns = fate < without
    profit = np.zeros((stakes.samples, member.shape[1]))
    extra = np.zeros_like(profit)
    for place, offer in enumerate(offers):
        gets = (member == offer).astype(np.float32)
        contacted = fate < under[place]
        change = contacted.astype(np.float32) - returns
        extra += change @ gets
        if stakes.value.shape[0] > 1:
            profit += (change * stakes.value[:, rows]) @ gets
        else:
            profit += change.astype(float) @ (gets * stakes.value[0, rows, None])
        if stakes.on_return[offer]:
            profit -= stakes.on_return[offer] * (contacted.astype(np.float32) @ gets)
        profit -= stakes.cost[rows, offer] @ gets
    return profit, extra
