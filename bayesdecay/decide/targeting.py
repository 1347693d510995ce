r"""Choose whom to contact: from draws of P(reactivation) and a campaign to a plan.

In: draws (sample, user) of the probability of returning without contact, and a :class:`Campaign`. Out: a
:class:`Plan`. In draw s the effect :math:`\tau_s` is the same for all users, and

.. math:: \pi_{us} = v_u (p^1_{us} - p^0_{us}) - c_u, \qquad \operatorname{logit} p^1_{us} =
          \operatorname{logit} p^0_{us} + \tau_s

is the expected profit of contacting user u. The audience maximises :math:`\sum_u E_s[\pi_{us}]` under the budget. Its
total is summed within each draw, so that doubt shared by all users does not average out, and each user's
outcome is drawn under the monotone coupling: one uniform number decides whether the user returns with and
without contact, so contact can only ever change the outcome one way.

References
----------
Angrist, J. D., Imbens, G. W., Rubin, D. B. (1996). Identification of causal effects using instrumental variables.
*J. Am. Stat. Assoc.* 91(434), 444-455. https://doi.org/10.1080/01621459.1996.10476902 (monotonicity)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayesdecay.decide import plan as words
from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.effects import uplift
from bayesdecay.decide.knapsack import affordable, best_set, fill
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.risk import check_share
from bayesdecay.names import P_REACTIVATION, SAMPLE, USER, bounds

__all__ = ["Campaign", "Plan", "choose"]

# Numbers of one batch (samples times users): 8 MB each for the handful of arrays alive at once.
_BATCH = 1_000_000


def choose(
    p: xr.DataArray,
    campaign: Campaign,
    *,
    ci_prob: float = 0.9,
    risk_level: float = 0.95,
    random_seed: int | np.random.Generator | None = None,
) -> Plan:
    """Choose the audience with the highest expected profit that the budget pays for.

    Parameters
    ----------
    p : DataArray, dims (sample, user)
        Draws of P(reactivation) without contact; the users' own ids in the coordinate ``user``.
    campaign : Campaign
        Cost, value, assumed effect and budget.
    ci_prob : float
        Probability of the equal-tailed intervals.
    risk_level : float
        CVaR is the mean profit in the worst ``1 - risk_level`` share of cases.
    random_seed : int or Generator, optional
        Seed of the effect's draws and of the outcomes.

    Raises
    ------
    TypeError
        If ``p`` or ``campaign`` is of another kind.
    ValueError
        If ``p`` has other dims, no or repeated ids, or values outside [0, 1]; if a user has no cost or value.

    Notes
    -----
    Ties go to the user who comes first in ``p``. Users are read in batches: beside ``p`` the memory needed is that
    of the table.

    Examples
    --------
    >>> p = xr.DataArray([[0.1, 0.5], [0.2, 0.6]], dims=("sample", "user"), coords={"user": ["ann", "bob"]})
    >>> plan = choose(p, Campaign(cost=0.5, value=20.0), random_seed=1)
    >>> plan.audience["user"].tolist()
    ['bob', 'ann']
    """
    check_share(ci_prob, "ci_prob")
    check_share(risk_level, "risk_level", lowest=True)
    if not isinstance(campaign, Campaign):
        raise TypeError(f"choose: campaign is {campaign!r}; describe it with Campaign(cost=..., value=...)")
    problem = _stated(p, campaign, np.random.default_rng(random_seed))
    table = _contacts(problem, ci_prob)
    profit = table[words.PROFIT].to_numpy()
    best = best_set(profit, problem.cost, campaign.budget)
    audiences = {
        words.BEST: best.chosen,
        words.LIKELIEST: _likeliest(table[P_REACTIVATION].to_numpy(), problem.cost, campaign.budget),
        words.NOBODY: np.zeros(profit.size, dtype=bool),
    }
    rank = np.empty(profit.size, dtype=np.int64)
    rank[np.argsort(-profit, kind="stable")] = np.arange(1, profit.size + 1)
    return Plan(
        campaign=campaign,
        table=table.assign(
            **{words.CHOSEN: best.chosen, words.RANK: rank, words.REASON: _reasons(table, best.chosen, campaign.budget)}
        ),
        outcomes=_outcomes(problem, table, audiences, p),
        bound=best.bound,
        exact=best.exact,
        ci_prob=ci_prob,
        risk_level=risk_level,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """What is to be decided, aligned: draws ``p`` [sample, user], ``tau`` [sample], the rest [user]."""

    p: np.ndarray
    tau: np.ndarray
    users: pd.Index
    cost: np.ndarray
    value: np.ndarray
    rng: np.random.Generator

    def batches(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield some of the users a batch at a time: their rows, and float64[sample, row] of P(return)."""
        step = max(_BATCH // self.tau.size, 1)
        for start in range(0, rows.size, step):
            batch = rows[start : start + step]
            yield batch, np.asarray(self.p[:, batch], dtype=np.float64)


def _stated(p: xr.DataArray, campaign: Campaign, rng: np.random.Generator) -> _Problem:
    """Check the draws at the door and align the campaign with their users."""
    if not isinstance(p, xr.DataArray):
        raise TypeError(f"choose: p is {type(p).__name__}; expected an xarray.DataArray with dims (sample, user)")
    if set(p.dims) != {SAMPLE, USER} or p.sizes[SAMPLE] == 0:
        raise ValueError(f"choose: p has the dims {dict(p.sizes)}; expected draws with dims (sample, user)")
    if USER not in p.indexes:
        raise ValueError("choose: p has no coordinate 'user'; give it the users' ids, as in p.assign_coords(user=ids)")
    users = p.indexes[USER]
    if users.has_duplicates:
        twice = users[users.duplicated()][0]
        raise ValueError(f"choose: user {twice!r} comes more than once in p; give one column of draws a user")
    cost, value = campaign.per_user(users)
    tau = campaign.effect.draws(p.sizes[SAMPLE], rng)
    matrix = p.transpose(SAMPLE, USER).data
    return _Problem(p=matrix, tau=tau, users=users, cost=cost, value=value, rng=rng)


def _contacts(problem: _Problem, ci_prob: float) -> pd.DataFrame:
    """Judge each contact alone: a row a user, nobody chosen yet."""
    n = problem.cost.size
    names = [P_REACTIVATION, *bounds(P_REACTIVATION), words.PROFIT, *bounds(words.PROFIT), words.P_PROFIT, words.UPLIFT]
    columns = {name: np.empty(n) for name in names}
    tails = [(1 - ci_prob) / 2, (1 + ci_prob) / 2]
    for rows, p in problem.batches(np.arange(n)):
        if not ((p >= 0) & (p <= 1)).all():  # NaN fails both
            user = problem.users[rows[np.argmin(((p >= 0) & (p <= 1)).all(axis=0))]]
            raise ValueError(f"choose: p of user {user!r} is missing or outside [0, 1]; expected probabilities")
        gained = uplift(p, problem.tau[:, None])
        profit = gained * problem.value[rows] - problem.cost[rows]
        columns[words.UPLIFT][rows] = gained.mean(axis=0)
        columns[words.P_PROFIT][rows] = (profit > 0).mean(axis=0)
        for name, draws in ((P_REACTIVATION, p), (words.PROFIT, profit)):
            columns[name][rows] = draws.mean(axis=0)
            for bound, ends in zip(bounds(name), np.quantile(draws, tails, axis=0), strict=True):
                columns[bound][rows] = ends
    ids = problem.users.to_flat_index() if isinstance(problem.users, pd.MultiIndex) else problem.users
    return pd.DataFrame({USER: ids, **columns, words.COST: problem.cost})


def _likeliest(p: np.ndarray, cost: np.ndarray, budget: float | None) -> np.ndarray:
    """Take the users most likely to return without contact, from the top, as far as the budget goes."""
    limit = np.inf if budget is None else affordable(budget)
    return fill(np.argsort(-p, kind="stable"), cost, limit)


def _reasons(table: pd.DataFrame, chosen: np.ndarray, budget: float | None) -> np.ndarray:
    """Why each user is in the audience or not, in plain words."""
    profit, cost = table[words.PROFIT].to_numpy(), table[words.COST].to_numpy()
    reasons = np.full(profit.size, "expected profit not above zero", dtype=object)
    if budget is not None:
        reasons[(profit > 0) & ~chosen] = "budget spent on a better set"
        reasons[(profit > 0) & (cost > affordable(budget))] = f"costs more than the whole budget of {budget:,.2f}"
    reasons[chosen] = [
        f"chosen: expected profit {gain:,.2f} for {price:,.2f}"
        for gain, price in zip(profit[chosen], cost[chosen], strict=True)
    ]
    return reasons


def _outcomes(problem: _Problem, table: pd.DataFrame, audiences: dict[str, np.ndarray], p: xr.DataArray) -> xr.Dataset:
    """Draw what the whole campaign brings for each audience; the same user has the same fate in all of them."""
    member = np.stack(list(audiences.values()), axis=1).astype(np.float64)  # user, audience
    returns = np.zeros((problem.tau.size, member.shape[1]))
    earned = np.zeros_like(returns)
    for rows, probability in problem.batches(np.flatnonzero(member.any(axis=1))):
        change = uplift(probability, problem.tau[:, None])
        # Drawn user by user, so that the size of the batches changes nothing.
        fate = problem.rng.random((rows.size, problem.tau.size)).T
        extra = np.sign(change) * (fate < np.abs(change))
        returns += extra @ member[rows]
        earned += extra @ (member[rows] * problem.value[rows, None])
    spend = problem.cost @ member
    profit, gained = (table[name].to_numpy() @ member for name in (words.PROFIT, words.UPLIFT))
    dims = (words.AUDIENCE, SAMPLE)
    data = {
        words.PROFIT: (dims, (earned - spend).T, {"units": "money"}),
        words.EXTRA_RETURNS: (dims, returns.T, {"units": "count"}),
        words.CONTACTS: (words.AUDIENCE, member.sum(axis=0), {"units": "count"}),
        words.SPEND: (words.AUDIENCE, spend, {"units": "money"}),
        f"expected_{words.PROFIT}": (words.AUDIENCE, profit, {"units": "money"}),
        f"expected_{words.EXTRA_RETURNS}": (words.AUDIENCE, gained, {"units": "count"}),
    }
    samples = p.coords.to_dataset().drop_dims(USER).coords
    return xr.Dataset(data, coords=samples).assign_coords({words.AUDIENCE: list(audiences)})
