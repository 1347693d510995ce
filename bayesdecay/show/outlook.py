r"""All users together, in the words of somebody who plans: half-lives, expected returns, profit by contacts.

In: the population's posterior, a history, scores, a plan. Out: small tables for :mod:`bayesdecay.show.plots` and the
report, whatever the number of users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import norm

from bayesdecay import curves, names
from bayesdecay.data.history import History
from bayesdecay.decide.columns import PROFIT, RANK
from bayesdecay.decide.plan import Plan
from bayesdecay.model.population import Population
from bayesdecay.model.scoring import ScoreOptions, user_draws

__all__ = [
    "DAYS",
    "SHARE",
    "expected_returns",
    "half_life_shares",
    "lapsed_count",
    "parameters_in_words",
    "profit_by_contacts",
    "profit_histogram",
]

Floats = NDArray[np.float64]

# Upper ends of the groups of half-lives [days], in the words that people use.
_HALF_LIVES = {
    "under\n1 week": 7.0,
    "1 to 4\nweeks": 28.0,
    "1 to 3\nmonths": 91.3,
    "3 to 12\nmonths": 365.25,
    "1 to 5\nyears": 1_826.25,
    "over\n5 years": math.inf,
}
# Units of the population's parameters in words.
DAYS, SHARE = "days", "share"
# Enough users to see how the doubt about the population moves all of them at once; see expected_returns.
_SOUNDED = 5_000


def half_life_shares(population: Population, history: History, *, ci_prob: float = 0.9) -> pd.DataFrame:
    r"""Shares of users by the half-life of their interest, over the population and its uncertainty.

    Returns
    -------
    DataFrame
        ``half_life`` (in words), ``share``, ``share_lower``, ``share_upper``.

    Notes
    -----
    :math:`P(\ln 2 / r < h) = \Phi((\mu_r - \log(\ln 2 / h)) / \sigma_r)`, of new users; by a power law with g(h) in the
    place of h. Groups are weighted by their users in the history, covariates are at their mean. Regulars are among
    those with the longest half-lives.
    """
    ends = np.array(list(_HALF_LIVES.values()))
    location, weight = population.location[0], _group_weights(population, history)
    # Half-lives below an end are rates above ln 2 / end, the end in aged time.
    rates = math.log(math.log(2.0)) - np.log(curves.aged(ends, population.grid.shoulder))
    standard = (location[:, :, None] - rates) / population.sigma[:, None, None]
    shares = np.diff(np.einsum("sge,g->se", norm.cdf(standard), weight), axis=1, prepend=0.0)
    regular = population.regulars[0][:, None] if population.grid.regular else 0.0
    shares = (1.0 - regular) * shares + regular * np.isinf(ends)
    return pd.DataFrame({"half_life": list(_HALF_LIVES), **_columns("share", shares, ci_prob)})


def parameters_in_words(population: Population, history: History, *, ci_prob: float = 0.9) -> pd.DataFrame:
    """Population parameters as statements about users: ``what``, ``unit``, ``value``, ``_lower``, ``_upper``.

    The value is the posterior median; of groups, a typical user is the mean over the users, on the log scale.
    """
    log_rate, log_interest = population.location @ _group_weights(population, history)
    sigma, first, quarter = population.sigma, np.exp(log_interest), float(norm.ppf(0.75)) * population.sigma
    half, short, long = (
        curves.half_life(np.exp(log_rate + shift), population.grid.shoulder) for shift in (0.0, quarter, -quarter)
    )
    draws = {
        "half-life of a typical user's interest": (DAYS, half),
        "half-life that a quarter of the users fall short of": (DAYS, short),
        "half-life that a quarter of the users exceed": (DAYS, long),
        "interest of a typical user right after the first activity": ("activities per 30 days", 30 * first),
        "part of the lost interest that a visit restores": (SHARE, population.rho),
        "first interest of users who fade twice as fast as others": (
            "times that of the others",
            2 ** (population.kappa / sigma),
        ),
        "differences in first interest among users who fade alike": (
            "times its mean (standard deviation)",
            1 / np.sqrt(population.alpha),
        ),
    }
    if population.grid.regular:
        share, shift = population.regulars
        draws |= {
            "users whose interest does not fade; half-lives are those of the others": (SHARE, share),
            "interest of users whose interest does not fade": ("times a typical user's first", np.exp(shift)),
        }
    tails = [0.5, (1 - ci_prob) / 2, (1 + ci_prob) / 2]
    rows = [(what, unit, *np.quantile(values, tails)) for what, (unit, values) in draws.items()]
    return pd.DataFrame(rows, columns=["what", "unit", "value", *names.bounds("value")])


def expected_returns(
    population: Population,
    history: History,
    scores: pa.Table,
    labels: Mapping[str, float],
    *,
    ci_prob: float = 0.9,
    random_seed: int | None = None,
) -> pd.DataFrame:
    r"""Number of users who will be active within each horizon, with its predictive interval.

    Parameters
    ----------
    scores : Table
        A row a user, with ``p_return`` for each horizon.
    labels : mapping of str to float
        Label and length [days] of the horizons.

    Returns
    -------
    DataFrame
        ``horizon``, ``users`` (expected), ``users_lower``, ``users_upper``.

    Notes
    -----
    The expected number is the sum of all users' probabilities. Its variance has a part by users, each of whom comes or
    not, :math:`\sum p (1 - p)`, and a part that all share, the doubt about the population:
    :math:`N^2 \mathrm{Var}_s(\bar p_s)`, which up to 5,000 users chosen at random show as well as all.
    """
    rng = np.random.default_rng(random_seed)
    rows = np.sort(rng.choice(len(history), min(len(history), _SOUNDED), replace=False))
    some = history.over(history.table.take(pa.array(rows)))
    options = ScoreOptions(horizons=dict(labels), random_seed=int(rng.integers(2**63)))
    drawn = user_draws(population, some, options)[names.P_RETURN].to_numpy()
    # Each user's own draws add to the variance of the mean over users what has nothing to do with the population.
    shared = np.maximum(drawn.mean(axis=1).var(axis=0) - drawn.var(axis=0).sum(axis=0) / rows.size**2, 0.0)
    half = float(norm.ppf((1 + ci_prob) / 2))
    table = []
    for label, common in zip(labels, shared, strict=True):
        p = scores[names.per_horizon(names.P_RETURN, label)].to_numpy()
        width = half * math.sqrt((p * (1 - p)).sum() + len(history) ** 2 * common)
        middle = float(p.sum())
        table.append((label, middle, max(middle - width, 0.0), min(middle + width, float(p.size))))
    return pd.DataFrame(table, columns=[names.HORIZON, "users", *names.bounds("users")])


def profit_by_contacts(plan: Plan, *, points: int = 200) -> pd.DataFrame:
    """Expected profit and spend [money] by number of contacts, the most profitable first, whatever the budget."""
    table = plan.table.sort_values(RANK)
    contacts = np.unique(np.linspace(0, len(table), points + 1).round().astype(int))
    columns = {name: np.concatenate([[0.0], table[name].cumsum()])[contacts] for name in (PROFIT, "cost")}
    return pd.DataFrame({"contacts": contacts, PROFIT: columns[PROFIT], "spend": columns["cost"]})


def profit_histogram(plan: Plan, *, bins: int | None = None) -> pd.DataFrame:
    """Distribution of the campaign's profit: ``from``, ``to`` [money], ``share`` of the draws; zero is an edge."""
    draws = plan.profit.to_numpy()
    # With more bins than this the eye sees the chance of the draws: 20 for 200 of them.
    bins = bins or int(np.clip(1.4 * math.sqrt(draws.size), 8, 40))
    width = max(float(np.ptp(draws)), 1e-9) / bins
    edges = np.arange(math.floor(draws.min() / width), math.floor(draws.max() / width) + 2) * width
    # Rounding must not put a draw of exactly zero below zero.
    share = np.histogram(draws + 1e-9 * width, bins=edges)[0] / draws.size
    return pd.DataFrame({"from": edges[:-1], "to": edges[1:], "share": share})


def lapsed_count(history: History, lapsed_after: float) -> int:
    """Number of users silent for at least ``lapsed_after`` [days]."""
    return sum(int((block.T - block.last >= lapsed_after).sum()) for block in history.blocks())


def _group_weights(population: Population, history: History) -> Floats:
    """Shares (group,) of the users of a history, the last group being one that the fit has not seen."""
    weight = np.zeros(population.location.shape[2])
    if not population.groups:
        weight[0] = 1.0
        return weight
    known = {group: i for i, group in enumerate(population.groups)}
    for entry in history.table[names.GROUP].value_counts().to_pylist():
        weight[known.get(str(entry["values"]), len(known))] += entry["counts"]
    return weight / weight.sum()


def _columns(name: str, draws: Floats, ci_prob: float) -> dict[str, Floats]:
    """Mean and interval of draws (sample, row)."""
    lower, upper = np.quantile(draws, [(1 - ci_prob) / 2, (1 + ci_prob) / 2], axis=0)
    return dict(zip((name, *names.bounds(name)), (draws.mean(axis=0), lower, upper), strict=True))
