"""The table of candidates: each user's offer, what it may bring, and why the user is in the plan or not.

In: what is at stake, the expected profits, and the plan's offers. Out: a row a user.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesdecay.decide import columns as words
from bayesdecay.decide.assignment import Limits
from bayesdecay.decide.stakes import Stakes, each
from bayesdecay.model.intervals import interval_ends
from bayesdecay.names import P_REACTIVATION, USER, bounds

__all__ = ["CONTROL", "Standing", "candidates_table"]

EXCLUDED, CONTROL = "excluded from the campaign", "control group: held out at random"
Standing = tuple[np.ndarray, np.ndarray]
"""Who is excluded and who is in the control group, bool[user] each."""


def candidates_table(
    stakes: Stakes, limits: Limits, profit: np.ndarray, pick: np.ndarray, standing: Standing, *, ci_prob: float
) -> pd.DataFrame:
    """Judge each candidate alone; the offer of one who gets none is the one of the highest expected profit.

    Parameters
    ----------
    stakes, limits : Stakes, Limits
        What may be brought, and what is not allowed.
    profit : float64[user, offer]
        Expected profits [money].
    pick : int8[user]
        The plan.
    standing : Standing
        Who is left out, and why.
    ci_prob : float
        Probability of the intervals.
    """
    everyone = np.arange(stakes.users)
    offer = np.where(pick >= 0, pick, profit.argmax(axis=1)) if stakes.users else pick
    columns = _judged(stakes, offer, ci_prob)
    columns[words.PROFIT] = profit[everyone, offer]
    cost, chosen = stakes.cost[everyone, offer], pick >= 0
    rank = np.empty(stakes.users, dtype=np.int64)
    rank[np.argsort(-columns[words.PROFIT], kind="stable")] = everyone + 1
    users = stakes.prospects.users
    ids = users.to_flat_index() if isinstance(users, pd.MultiIndex) else users
    names = np.array(stakes.prospects.offers, dtype=object)[offer]
    return pd.DataFrame(
        {
            USER: ids,
            words.OFFER: names,
            **columns,
            words.COST: cost,
            words.CHOSEN: chosen,
            words.RANK: rank,
            words.REASON: _reasons(stakes, limits, profit, pick, cost, standing),
        }
    )


def _judged(stakes: Stakes, offer: np.ndarray, ci_prob: float) -> dict[str, np.ndarray]:
    """Expected values and intervals of each user's own offer."""
    names = [P_REACTIVATION, *bounds(P_REACTIVATION), words.PROFIT, *bounds(words.PROFIT), words.P_PROFIT, words.UPLIFT]
    columns = {name: np.empty(stakes.users) for name in names}
    tails = ((1 - ci_prob) / 2, (1 + ci_prob) / 2)

    def one(rows: np.ndarray, place: int) -> None:
        without, under = stakes.prospects.draws(rows, [place])
        change = under[0] - without
        money = change * stakes.value[:, rows] - stakes.on_return[place] * under[0] - stakes.cost[rows, place]
        columns[words.UPLIFT][rows] = change.mean(axis=0)
        columns[words.P_PROFIT][rows] = (money > 0).mean(axis=0)
        for name, draws in ((P_REACTIVATION, without), (words.PROFIT, money.astype(without.dtype))):
            columns[name][rows] = draws.mean(axis=0)
            for bound, ends in zip(bounds(name), interval_ends(draws, tails, axis=0), strict=True):
                columns[bound][rows] = ends

    for place in range(stakes.cost.shape[1]):
        each(lambda rows, a=place: one(rows, a), stakes.split(np.flatnonzero(offer == place)))  # type: ignore[misc]
    return columns


def _reasons(
    stakes: Stakes, limits: Limits, profit: np.ndarray, pick: np.ndarray, cost: np.ndarray, standing: Standing
) -> np.ndarray:
    """Why each user is in the audience or not, in plain words."""
    best = profit.max(axis=1) if stakes.users else np.zeros(0)
    reasons = np.full(stakes.users, "expected profit not above zero", dtype=object)
    pays, chosen = best > 0, pick >= 0
    reasons[pays] = "not worth its risk"
    if stakes.budget is not None or np.isfinite(stakes.capacity).any():
        limited = "budget spent on a better set" if stakes.budget is not None else "capacity given to others"
        reasons[pays] = limited
    if stakes.budget is not None:
        reasons[pays & (stakes.cost.min(axis=1) > limits.money)] = (
            f"costs more than the whole budget of {stakes.budget:,.2f}"
        )
    reasons[stakes.value.max(axis=0) == 0] = "a return is worth nothing: the value is 0"
    for left_out, why in zip(standing, (EXCLUDED, CONTROL), strict=True):
        reasons[left_out] = why
    gain, price = profit[chosen, pick[chosen]], cost[chosen]
    named = [f" of {name!r}" if len(stakes.prospects.offers) > 1 else "" for name in stakes.prospects.offers]
    reasons[chosen] = [
        f"chosen: expected profit{named[offer]} {one:,.2f} for {paid:,.2f}"
        for offer, one, paid in zip(pick[chosen], gain, price, strict=True)
    ]
    return reasons
