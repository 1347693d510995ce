r"""What a saved fit expects of data that it has not seen, beside what they show: the figures of a check for drift.

In: the posterior of a population, and users with what became of them. Out: rows of a table, each a measure with what
was expected, an interval of what chance and the posterior allow, what was seen, and how many standard deviations apart
(z). Every reference is a posterior predictive one: the same measure of replicated data.

The calibration slope b is that of :math:`\mathrm{logit}\,P(y) = a + b\,\mathrm{logit}\,p`; 1 is right, below it the
forecasts are too extreme.

References
----------
Cox, D. R. (1958). Two further applications of a model for binary regression. *Biometrika* 45(3-4), 562-565.
https://doi.org/10.1093/biomet/45.3-4.562
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from bayesdecay import names
from bayesdecay.data.block import Block
from bayesdecay.data.history import History
from bayesdecay.model.grid import Grid
from bayesdecay.model.population import Population, total_loglik
from bayesdecay.model.replicate import replicated
from bayesdecay.model.scoring import ScoreOptions, forecast_totals, score, user_draws

__all__ = ["KNOWN", "NEW", "known_users", "mix", "new_users", "recalibration"]

Floats = NDArray[np.float64]

KNOWN, NEW = "known users", "new users"
_SINCE = "since"
_SURE = 1e-9  # nearer to certainty a logit says nothing
_STEPS = 12  # of Newton's method, which needs five
_WEAK = 1e-3  # a ridge about no recalibration, for data in which nobody or everybody was active


def known_users(
    population: Population,
    before: History,
    counts: NDArray[np.int64],
    *,
    length: float,
    rng: np.random.Generator,
    tails: Floats,
) -> list[dict[str, Any]]:
    """Measure the forecasts of users known at the fit's cutoff by what they did since.

    Parameters
    ----------
    before
        The users as they stood at that cutoff.
    counts
        Activities since, int64[user].
    length
        Time since [days].
    tails
        Probabilities of the two ends of the intervals.
    """
    options = ScoreOptions(horizons={_SINCE: length}, random_seed=int(rng.integers(2**63)))
    column = names.per_horizon(names.P_RETURN, _SINCE)
    p = np.clip(score(population, before, options).table[column].to_numpy(), _SURE, 1 - _SURE)
    chance = user_draws(population, before, options)[names.P_RETURN].to_numpy()[..., 0]
    # The last row is what was seen; the others are what might have been.
    y = np.vstack([rng.random(chance.shape) < chance, counts > 0])
    loss = -np.where(y, np.log(p), np.log1p(-p)).mean(axis=1)
    total = forecast_totals(population, before, {_SINCE: length}, random_seed=int(rng.integers(2**63)))[:, 0]
    measures = {
        "share active since": y.mean(axis=1),
        "activities since": np.append(total, counts.sum()),
        "calibration slope": recalibration(p, y)[:, 1],
        "log loss": loss,
        "Brier score": ((p - y) ** 2).mean(axis=1),
    }
    return [_row(KNOWN, name, values, tails) for name, values in measures.items()]


def new_users(
    population: Population, history: History, grid: Grid, *, rng: np.random.Generator, tails: Floats
) -> list[dict[str, Any]]:
    """Measure users acquired since the fit's cutoff by what the fit expects of users seen as long as they."""
    block = next(history.blocks(len(history)))
    like, weight = population.at(population.size // 2), np.ones(len(history))
    grid = replace(grid.with_law(like.grid), restorations=like.rho)  # which spares the statistics at all the others
    own_rng = np.random.default_rng(int(rng.integers(2**63)))
    drawn = replicated(population, block, own_rng, whole_days=history.activity == "day")
    measures = pd.DataFrame([_told(own, like, weight, grid) for own in chain(drawn, [block])])
    return [_row(NEW, str(name), measures[name].to_numpy(), tails) for name in measures]


def mix(known: History, new: History, population: Population) -> list[dict[str, Any]]:
    """Compare who is acquired: shares of the groups, and the covariates in standard deviations of the fit's users."""
    rows = []
    if known.group is not None:
        shares = [one.table[names.GROUP].to_pandas().value_counts() for one in (known, new)]
        both = pd.DataFrame(dict(zip((KNOWN, NEW), shares, strict=True))).fillna(0.0)
        p = float(stats.chi2_contingency(both.T.to_numpy()).pvalue) if len(both) > 1 else 1.0
        both /= both.sum()
        for group, share in both.iterrows():
            rows.append(_mixed(f"share of group {group!r}", share[KNOWN], share[NEW], p))
        unseen = both.loc[[group for group in both.index if str(group) not in population.groups], NEW].sum()
        if population.groups:
            rows.append(_mixed("share of groups that the fit has not seen", 0.0, float(unseen), float(unseen == 0)))
    standard = population.standard
    for name, center, scale in zip(standard.names, standard.center, standard.scale, strict=True):
        x = (new.table[name].to_numpy() - center) / scale
        z = x.mean() * np.sqrt(x.size)
        rows.append(_mixed(f"mean of {name} [standard deviations]", 0.0, x.mean(), 2 * stats.norm.sf(abs(z))))
    return rows


def recalibration(p: Floats, y: NDArray[np.bool_]) -> Floats:
    """Intercept and slope (outcome, 2) that make forecasts (user,) most likely, for several outcomes (outcome, user).

    A ridge about (0, 1), worth next to nothing, keeps them finite where nobody or everybody was active.
    """
    x, found = logit(p), np.tile([0.0, 1.0], (len(y), 1))
    for _ in range(_STEPS):
        q = expit(found[:, :1] + found[:, 1:] * x)
        weight, off = q * (1 - q), y - q
        slope = np.stack([off.sum(axis=1), off @ x], axis=1) - _WEAK * (found - [0.0, 1.0])
        a, b, c = weight.sum(axis=1) + _WEAK, weight @ x, weight @ x**2 + _WEAK
        step = np.stack([c * slope[:, 0] - b * slope[:, 1], a * slope[:, 1] - b * slope[:, 0]], axis=1)
        found = found + np.clip(step / (a * c - b**2)[:, None], -1.0, 1.0)
    return found


def _told(block: Block, like: Population, weight: Floats, grid: Grid) -> dict[str, float]:
    """Measure some users."""
    back = block.n > 0
    first = block.times[block.offsets[:-1][back]]
    seen = np.maximum(block.T[back], 1.0)
    return {
        "share that came back": back.mean(),
        "activities per user": block.n.mean(),
        # Of the time that each was seen, so that users of all ages count alike.
        "first return, as a share of the time seen": (first / seen).mean() if back.any() else np.nan,
        "last activity, as a share of the time seen": (block.last[back] / seen).mean() if back.any() else np.nan,
        "log-likelihood per user": float(total_loglik(like, block, weight, grid)[0]) / len(block),
    }


def _row(who: str, measure: str, values: Floats, tails: Floats) -> dict[str, Any]:
    """Set the last value, what was seen, beside the others, what might have been.

    p is the share of what might have been that is as far off, and never below what a normal law says: slopes of few
    users have longer tails.
    """
    expected, seen = values[:-1], values[-1]
    expected = expected[np.isfinite(expected)]
    middle, spread = expected.mean(), expected.std(ddof=1)
    z = (seen - middle) / spread if spread > 0 else np.nan
    as_far = (1 + np.sum(np.abs(expected - middle) >= abs(seen - middle))) / (1 + expected.size)
    ends = dict(zip(names.bounds("expected"), np.quantile(expected, tails), strict=True))
    told = {"users": who, "measure": measure, "expected": middle, **ends, "seen": seen}
    return told | {"z": z, "p": max(2 * stats.norm.sf(abs(z)), as_far)}


def _mixed(measure: str, expected: float, seen: float, p: float) -> dict[str, Any]:
    ends = dict.fromkeys(names.bounds("expected"), np.nan)
    return {"users": NEW, "measure": measure, "expected": expected, **ends, "seen": seen, "z": np.nan, "p": p}
