r"""From a posterior and a history to numbers for each user; no PyMC, any number of users, block by block.

Given the population, a user's posterior is exact: a weight on each rate of the grid and, at each rate,
:math:`I_0 \sim \mathrm{Gamma}(\alpha + n, B)` with :math:`B = \beta + E`. With :math:`V = V(T)`,

.. math::

    \text{interest after a silent time } s &: \quad I_0 e^{-r(V+s)} \\
    P(\text{return within } h) &: \quad
        1 - \sum_k P_k \Big(\frac{B_k}{B_k + C_k(h)}\Big)^{\alpha+n},\quad
        C_k(h) = e^{-r_k V}\,\frac{1-e^{-r_k h}}{r_k}

averaged over the population's draws; never is :math:`h \to \infty`. The number of activities is simulated. By a power
law C is the integral of what is left by it (:mod:`bayesdecay.curves`).

What the intervals are: for interest, half-life and the probabilities, the credible interval of the user's own value,
its latent interest and rate being as unknown as they are; for activities, the predictive interval of the count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import names, units
from bayesdecay.data.calendar import Calendar
from bayesdecay.data.history import History, HistoryFile
from bayesdecay.model.block_draws import UserDraws, over_blocks
from bayesdecay.model.population import Population
from bayesdecay.model.score_columns import score_columns
from bayesdecay.model.scores import Forecast, ScoreOptions, Scores

__all__ = [
    "Forecast",
    "ScoreOptions",
    "Scores",
    "forecast_counts",
    "forecast_totals",
    "interest_draws",
    "score",
    "score_blocks",
    "score_parts",
    "user_draws",
]

Floats = NDArray[np.float64]


def score(population: Population, history: History, options: ScoreOptions) -> Scores:
    """Score every user of a history, those of the fit or new ones.

    Returns
    -------
    Scores
        A tidy table. For tables larger than memory use :func:`score_parts` and
        :func:`~bayesdecay.model.scores.write_scores`.
    """
    return Scores(table=pa.Table.from_batches(score_blocks(population, history, options)), ci_prob=options.ci_prob)


def score_parts(population: Population, history: History | HistoryFile, options: ScoreOptions) -> Iterator[Scores]:
    """Yield the scores of a history, or of a file of it, part by part, in its order; memory does not grow with it."""
    for block in score_blocks(population, history, options):
        yield Scores(table=pa.Table.from_batches([block]), ci_prob=options.ci_prob)


def score_blocks(
    population: Population, history: History | HistoryFile, options: ScoreOptions, *, threads: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the scores of a history block by block, in its order, memory staying that of a few blocks.

    ``threads`` to work in, one a core unless told. With a seed, a user's scores do not depend on the other users.
    """
    columns = {names.CI_PROB: str(options.ci_prob), names.AT: str(history.at)}

    def table(draws: UserDraws) -> pa.RecordBatch:
        found = {names.USER: draws.block.user, **score_columns(draws, options)}
        return pa.RecordBatch.from_pydict(found).replace_schema_metadata(columns)

    yield from over_blocks(population, history, options, table, threads)


def user_draws(population: Population, history: History, options: ScoreOptions) -> xr.Dataset:
    """Draws of each user's interest, decay rate and return probabilities: dense, for as many users as memory takes.

    Returns
    -------
    xarray.Dataset
        ``interest`` and ``rate`` (sample, user) [per day], ``p_return`` (sample, user, horizon).
    """
    parts = list(over_blocks(population, history, options, lambda draws: (draws.interest, draws.rate, draws.chance)))
    interest, rate, chance = (np.concatenate([part[i] for part in parts]).swapaxes(0, 1) for i in range(3))
    users = history.table[names.USER].to_pandas().to_numpy()
    dims = (names.SAMPLE, names.USER)
    return xr.Dataset(
        {
            names.INTEREST: (dims, interest, {"units": "1/d"}),
            "rate": (dims, rate, {"units": "1/d"}),
            names.P_RETURN: ((*dims, names.HORIZON), chance),
        },
        coords={names.USER: users, names.HORIZON: list(options.windows)},
    )


def interest_draws(population: Population, history: History, *, random_seed: int | None = None) -> Floats:
    """Draws of every user's interest at the cutoff (user, sample) [activities per day], dense."""
    options = ScoreOptions(horizons={}, random_seed=random_seed)
    parts = list(over_blocks(population, history, options, lambda draws: draws.interest))
    return np.concatenate(parts)


def forecast_counts(
    population: Population,
    history: History,
    length: units.Duration,
    *,
    shocks: bool = True,
    calendar: Calendar | None = None,
    random_seed: int | None = None,
) -> Forecast:
    """Predictive distribution of every user's number of activities within ``length`` after the cutoff, as in "90d"."""
    options = ScoreOptions(horizons={"forecast": length}, random_seed=random_seed, shocks=shocks, calendar=calendar)

    def forecast(draws: UserDraws) -> tuple[Floats, Floats]:
        chance = draws.chance[:, :, 0]
        count = draws.activities[:, :, 0].astype(np.int64)
        shares = chance / chance.shape[1]
        pmf = np.zeros((count.shape[0], count.max(initial=0) + 1))
        np.add.at(pmf, (np.arange(count.shape[0])[:, None], count), shares)
        pmf[:, 0] += 1.0 - shares.sum(axis=1)
        return pmf, _summed(draws, chance)[:, 0]

    parts = list(over_blocks(population, history, options, forecast))
    width = max(pmf.shape[1] for pmf, _ in parts)
    pmf = np.concatenate([np.pad(pmf, ((0, 0), (0, width - pmf.shape[1]))) for pmf, _ in parts])
    return Forecast(pmf=pmf, total=np.sum([total for _, total in parts], axis=0))


def forecast_totals(
    population: Population,
    history: History,
    lengths: units.Durations,
    *,
    shocks: bool = True,
    calendar: Calendar | None = None,
    random_seed: int | None = None,
) -> Floats:
    """Draws (sample, length) of the number of activities of all users together within each length after the cutoff."""
    options = ScoreOptions(horizons=lengths, random_seed=random_seed, shocks=shocks, calendar=calendar)

    def total(draws: UserDraws) -> Floats:
        return _summed(draws, draws.chance.max(axis=2))

    return np.asarray(sum(over_blocks(population, history, options, total)))


def _summed(draws: UserDraws, chance: Floats) -> Floats:
    """Activities (sample, horizon) of a block's users together; ``chance`` of one within the longest horizon."""
    returns = draws.spare[1] < chance
    return np.asarray(np.einsum("us,ush->sh", returns.astype(float), draws.activities))
