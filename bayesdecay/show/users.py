r"""Single users for the eye: who to show, and a user's interest over time with its band.

In: scores, a history and the population's posterior. Out: tables for :mod:`bayesdecay.show.plots` and the report. With
a user's draws of interest I and rate r at the cutoff T, the interest at another time t of the same history is
:math:`I e^{r (V(T) - V(t))}`, with :math:`V(t) = t - \rho L(t)`, or what the power law makes of that difference.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bayesdecay import curves, names
from bayesdecay.data.history import Block, History
from bayesdecay.data.ids import positions
from bayesdecay.model.population import Population
from bayesdecay.model.scoring import ScoreOptions, user_draws

__all__ = ["examples", "horizons", "interest_curve", "probability_histogram", "ranking", "top"]

Floats = NDArray[np.float64]

# Points of a curve before and after the cutoff: smooth at the width of a page.
_PAST_POINTS, _AHEAD_POINTS = 160, 60
# Ends of histograms of probabilities.
_ENDS = (0.1, 0.2, 0.5, 1.0)


def horizons(table: pa.Table, name: str) -> list[str]:
    """Labels of the horizons that a per-horizon column is there for, in the table's order."""
    prefix = names.per_horizon(name, "")
    ends = (f"_{names.LOWER}", f"_{names.UPPER}")
    return [c.removeprefix(prefix) for c in table.column_names if c.startswith(prefix) and not c.endswith(ends)]


def top(table: pa.Table, column: str, rows: int) -> pa.Table:
    """Rows with the highest values of a column, the highest first; missing values are left out."""
    known = table.filter(pc.is_valid(table[column]))
    return known.take(pc.select_k_unstable(known, k=min(rows, known.num_rows), sort_keys=[(column, "descending")]))


def examples(scores: pa.Table, history: History, *, lapsed_after: float) -> dict[str, pa.Scalar]:
    """Choose a handful of different users, by what they stand for.

    Parameters
    ----------
    scores : Table
        A row a user of the history.
    lapsed_after : float
        Silence [days] after which a user counts as lapsed.

    Returns
    -------
    dict of str to user id
        Most interested; in the middle of those with a past; lapsed, and among these the likeliest to return and one
        that was active often. Who stands for one is not taken for another; fewer where nobody is left for one.
    """
    lapsed = np.concatenate([block.T - block.last for block in history.blocks()]) >= lapsed_after
    often = history.table[names.N].to_numpy().astype(float)
    interest = _aligned(scores, names.INTEREST, history)
    typical = np.median(interest[often >= 2]) if (often >= 2).any() else 0.0
    wanted = {
        "The most interested": (interest, np.ones_like(lapsed)),
        "In the middle of those active at least three times": (-np.abs(interest - typical), often >= 2),
        "Lapsed, and the most likely to return": (interest, lapsed),
        "Lapsed, and once the most active": (often, lapsed),
    }
    chosen: dict[str, int] = {}
    left = np.ones_like(lapsed)
    for what, (value, among) in wanted.items():
        row = _best(value, among & left)
        if row >= 0:
            chosen[what] = row
            left[row] = False
    return {what: history.table[names.USER][row] for what, row in chosen.items()}


def interest_curve(
    population: Population,
    history: History,
    *,
    ahead: float,
    ci_prob: float = 0.9,
    random_seed: int | None = None,
) -> pd.DataFrame:
    """Interest of one user from the acquisition to some time after the cutoff, if nothing happens after it.

    Parameters
    ----------
    population : Population
        The posterior.
    history : History
        Of one user, see ``History.select``.
    ahead : float
        Time after the cutoff [days].

    Returns
    -------
    DataFrame
        ``time``, ``interest`` (mean), ``interest_lower``, ``interest_upper`` [activities per day].

    Raises
    ------
    ValueError
        If the history is not of one user.
    """
    if len(history) != 1:
        raise ValueError(f"a curve is of one user, the history has {len(history)}; use history.select([user])")
    block = next(history.blocks())
    drawn = user_draws(population, history, ScoreOptions(horizons={"now": 1.0}, random_seed=random_seed))
    interest, rate = (drawn[name].to_numpy()[:, 0] for name in (names.INTEREST, "rate"))
    t, last = _times(block, ahead)
    end = curves.effective_age(block.T[0], block.last[0], population.rho)
    younger = end[:, None] - curves.effective_age(t, last, population.rho[:, None])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        shoulder = population.shoulder(end)[:, None] if population.grid.is_power else curves.EXPONENTIAL
        values = np.exp(np.log(interest)[:, None] - rate[:, None] * curves.aged(-younger, shoulder))
    # Interest that faded to less than a float can hold does not tell where it came from.
    values[((interest == 0.0)[:, None] & (younger > 0)) | ~np.isfinite(values)] = np.nan
    tails = [(1 - ci_prob) / 2, (1 + ci_prob) / 2]
    lower, upper = np.nanquantile(values, tails, axis=0, method="weibull")  # as interval_ends, but of what is there
    start = pd.Timestamp(history.table[names.FIRST][0].as_py())
    columns = (names.INTEREST, *names.bounds(names.INTEREST))
    found = dict(zip(columns, (np.nanmean(values, axis=0), lower, upper), strict=True))
    return pd.DataFrame({"time": start + pd.to_timedelta(t, unit="D"), **found})


def ranking(table: pa.Table, column: str, *, points: int = 100) -> pd.DataFrame:
    """Users from the highest probability on, as ``rank``, ``p``, ``p_lower``, ``p_upper`` at evenly spread ranks.

    Notes
    -----
    The interval at a rank is the mean of the intervals of the users around it.
    """
    known = table.filter(pc.is_valid(table[column]))
    values = np.stack([known[name].to_numpy() for name in (column, *names.bounds(column))])
    values = values[:, np.argsort(-values[0], kind="stable")]
    edges = np.unique(np.linspace(0, values.shape[1], points + 1).round().astype(int))
    means = np.add.reduceat(values, edges[:-1], axis=1) / np.diff(edges)
    rank = (edges[:-1] + edges[1:] + 1) / 2
    return pd.DataFrame({"rank": rank, "p": means[0], "p_lower": means[1], "p_upper": means[2]})


def probability_histogram(table: pa.Table, column: str, *, bins: int = 20) -> pd.DataFrame:
    """Users by a probability: ``from``, ``to``, ``users``; up to the least of some round ends that holds all."""
    values = table[column].drop_null().to_numpy()
    end = next(end for end in _ENDS if values.size == 0 or values.max() <= end)
    users, edges = np.histogram(values, bins=bins, range=(0.0, end))
    return pd.DataFrame({"from": edges[:-1], "to": edges[1:], "users": users})


def _times(block: Block, ahead: float) -> tuple[Floats, Floats]:
    """Times of a curve [days since acquisition] and the last activity at each, rising; an activity is there twice."""
    visits = np.concatenate([[0.0], block.times])
    T = block.T[0]
    smooth = np.concatenate([np.linspace(0.0, T, _PAST_POINTS), T + np.linspace(0.0, ahead, _AHEAD_POINTS)])
    # Just before an activity the one before it is the last; at the activity it is its own, and interest jumps.
    t = np.concatenate([smooth, block.times, block.times])
    last = np.concatenate([visits[np.searchsorted(visits, smooth, side="right") - 1], visits[:-1], visits[1:]])
    order = np.lexsort((last, t))
    return t[order], last[order]


def _aligned(scores: pa.Table, column: str, history: History) -> Floats:
    """Take a column of the scores in the order of the history."""
    rows = positions(history.table[names.USER], scores[names.USER])
    return np.asarray(np.append(scores[column].to_numpy(), np.nan)[rows])


def _best(values: Floats, among: NDArray[np.bool_]) -> int:
    """Row of the highest value among some rows; -1 if there are none."""
    rows = np.flatnonzero(among & ~np.isnan(values))
    return int(rows[np.argmax(values[rows])]) if rows.size else -1
