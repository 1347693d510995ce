r"""Choose whom to contact, with what: from draws of P(reactivation), a campaign and a risk appetite to a plan.

In: draws of the probability of returning without contact (and under each offer, if measured), a :class:`Campaign` and
a :class:`Risk`. Out: a :class:`Plan`. In draw s an assumed effect :math:`\tau_{as}` of offer a is the same for all
users,

.. math:: \operatorname{logit} p^a_{us} = \operatorname{logit} p^0_{us} + \tau_{as}.

The steps, each with a module of its own: prospects (the draws), stakes (the money), selection (the best plan, by
assignment where risk does not count, by cutting planes where it does), candidates (the table), outcomes (what whole
plans bring).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesdecay.decide import columns as words
from bayesdecay.decide import policies
from bayesdecay.decide.averse import limits_of
from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.candidates import candidates_table
from bayesdecay.decide.offers import some
from bayesdecay.decide.outcomes import drawn_outcomes
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.prospects import Prospects, prospects_of
from bayesdecay.decide.risk import Risk, check_share
from bayesdecay.decide.selection import selected
from bayesdecay.decide.stakes import Stakes, stakes_of
from bayesdecay.names import P_REACTIVATION, SAMPLE, USER

__all__ = ["Campaign", "Plan", "choose"]


def choose(
    p: xr.DataArray | Prospects,
    campaign: Campaign,
    *,
    risk: Risk | None = None,
    interest: pd.Series | xr.DataArray | None = None,
    ci_prob: float = 0.9,
    risk_level: float | None = None,
    random_seed: int | np.random.Generator | None = None,
) -> Plan:
    """Choose who gets which offer: the plan with the highest expected profit, or the best under a risk appetite.

    Parameters
    ----------
    p : DataArray, dims (sample, user) or (sample, user, offer), or Prospects
        Draws of P(reactivation) without contact; the users' own ids in the coordinate ``user``. With the dim
        ``offer``: measured draws, without contact at "none", under each offer at its name. An object with the members
        of :class:`~bayesdecay.decide.prospects.Prospects` gives its draws when asked.
    campaign : Campaign
        Offers, value, budget, and who is left out.
    risk : Risk, optional
        ``Risk.neutral()`` (the default), ``Risk.cvar(...)`` or ``Risk.max_loss_probability(...)``. What is optimised
        is the risk of the profit expected in each draw; what the plan announces includes the chance of outcomes.
    interest : Series or DataArray with one number a user, optional
        Interest at the cutoff. With it the field's coupon rule stands among the baselines.
    ci_prob : float
        Probability of the equal-tailed intervals.
    risk_level : float, optional
        The announced CVaR is the mean profit in the worst ``1 - risk_level`` share of cases; that of ``risk`` if not
        given.
    random_seed : int or Generator, optional
        Seed of the effects' draws, the control group and the outcomes.

    Raises
    ------
    TypeError
        If ``p``, ``campaign`` or ``risk`` is of another kind.
    ValueError
        If ``p`` has other dims, no or repeated ids, or values outside [0, 1]; if a user has no cost, value or interest.

    Notes
    -----
    Ties go to the user who comes first in ``p``, and to the offer that comes first in the campaign. Users are read in
    batches: beside ``p`` the memory needed is that of the table.

    Examples
    --------
    >>> p = xr.DataArray([[0.1, 0.5], [0.2, 0.6]], dims=("sample", "user"), coords={"user": ["ann", "bob"]})
    >>> plan = choose(p, Campaign(cost=0.5, value=20.0), random_seed=1)
    >>> plan.audience["user"].tolist()
    ['bob', 'ann']
    """
    risk = Risk.neutral() if risk is None else risk
    if not isinstance(risk, Risk):
        raise TypeError(f"choose: risk is {risk!r}; make one with Risk.neutral(), Risk.cvar() or similar")
    check_share(ci_prob, "ci_prob")
    level = check_share(risk.level if risk_level is None else risk_level, "risk_level", lowest=True)
    if not isinstance(campaign, Campaign):
        raise TypeError(f"choose: campaign is {campaign!r}; describe it with Campaign(cost=..., value=...)")
    rng = np.random.default_rng(random_seed)
    prospects = prospects_of(p, campaign, rng)
    excluded = campaign.excluded(prospects.users)
    held_out = _held_out(~excluded, campaign.control, rng)
    stakes = stakes_of(prospects, campaign, excluded | held_out)
    seed = int(rng.integers(2**62))
    best = selected(stakes, risk, seed)
    limits = limits_of(stakes)
    profit = stakes.weighted(np.full(stakes.samples, 1 / stakes.samples))
    table = candidates_table(stakes, limits, profit, best.pick, (excluded, held_out), ci_prob=ci_prob)
    if campaign.measured:
        table = table.rename(columns={words.UPLIFT: words.MEASURED_UPLIFT})
    picks = {words.BEST: best.pick} | _simple(stakes, profit, table[P_REACTIVATION].to_numpy(), interest)
    return Plan(
        campaign=campaign,
        risk=risk,
        table=table,
        outcomes=_outcomes(stakes, profit, picks, seed, p),
        score=best.score,
        bound=best.bound,
        exact=best.exact,
        met=best.met,
        ci_prob=ci_prob,
        risk_level=level,
        stakes=stakes,
        seed=seed,
    )


def _held_out(eligible: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the control group among those who could be contacted, bool[user]."""
    held = np.zeros(eligible.size, dtype=bool)
    rows = np.flatnonzero(eligible)
    if share > 0:
        held[rng.choice(rows, round(share * rows.size), replace=False)] = True
    return held


def _simple(
    stakes: Stakes, profit: np.ndarray, p: np.ndarray, interest: pd.Series | xr.DataArray | None
) -> dict[str, np.ndarray]:
    """Offers of the users under the simple policies."""
    limits = limits_of(stakes)
    offer = policies.best_single_offer(profit, limits)
    found = {words.LIKELIEST: policies.most_likely(p, offer, limits)}
    if interest is not None:
        found[words.COUPON_RULE] = policies.coupon_rule(p, _aligned(interest, stakes), offer, limits)
    found[words.EVERYBODY] = policies.everybody(profit, limits)
    found[words.NOBODY] = np.full(stakes.users, -1, dtype=np.int8)
    return found


def _aligned(interest: Any, stakes: Stakes) -> np.ndarray:
    """Interest of each user, float64[user]; of draws the mean."""
    if isinstance(interest, xr.DataArray):
        interest = (interest.mean(SAMPLE) if SAMPLE in interest.dims else interest).to_series()
    if not isinstance(interest, pd.Series):
        raise TypeError(f"choose: interest is {type(interest).__name__}; give a Series or DataArray, a number a user")
    users = stakes.prospects.users
    found = interest.reindex(users).to_numpy(dtype=float)
    if not np.isfinite(found).all():
        raise ValueError(f"choose: interest is missing for {some(users[~np.isfinite(found)])}; give everybody's {USER}")
    return found


def _outcomes(stakes: Stakes, profit: np.ndarray, picks: dict[str, np.ndarray], seed: int, p: Any) -> xr.Dataset:
    """Draws and expected values of what each audience brings."""
    money, extra = drawn_outcomes(stakes, list(picks.values()), seed)
    dims, count, unit = (words.AUDIENCE, SAMPLE), {"units": "count"}, {"units": "money"}
    rows = [np.flatnonzero(pick >= 0) for pick in picks.values()]
    places = [pick[row] for pick, row in zip(picks.values(), rows, strict=True)]
    both = list(zip(rows, places, strict=True))
    spend = np.array([stakes.cost[row, place].sum() for row, place in both])
    expected = np.array([profit[row, place].sum() for row, place in both])
    data = {
        words.PROFIT: (dims, money.T, unit),
        words.EXTRA_RETURNS: (dims, extra.T, count),
        words.CONTACTS: (words.AUDIENCE, np.array([float(row.size) for row in rows]), count),
        words.SPEND: (words.AUDIENCE, spend, unit),
        f"expected_{words.PROFIT}": (words.AUDIENCE, expected, unit),
        f"expected_{words.EXTRA_RETURNS}": (words.AUDIENCE, _gained(stakes, list(picks.values())), count),
    }
    samples = p.coords.to_dataset().drop_dims(USER).coords if isinstance(p, xr.DataArray) else {}
    return xr.Dataset(data, coords=samples).assign_coords({words.AUDIENCE: list(picks)})


def _gained(stakes: Stakes, picks: list[np.ndarray]) -> np.ndarray:
    """Expected returns gained by each plan [count]."""
    weights = np.full(stakes.samples, 1 / stakes.samples)
    returns = stakes.uplift(weights)
    return np.array([returns[np.flatnonzero(pick >= 0), pick[pick >= 0]].sum() for pick in picks])
