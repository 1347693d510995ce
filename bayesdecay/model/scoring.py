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

import concurrent.futures
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import curves, names, units
from bayesdecay.curves import EXPONENTIAL
from bayesdecay.data.calendar import Calendar
from bayesdecay.data.history import Block, History, HistoryFile
from bayesdecay.errors import DataError
from bayesdecay.model import kernel, streams
from bayesdecay.model.grid import DAYS
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.population import Population
from bayesdecay.model.scores import Forecast, ScoreOptions, Scores
from bayesdecay.model.user_statistics import Statistics

__all__ = [
    "Forecast",
    "Future",
    "ScoreOptions",
    "Scores",
    "UserDraws",
    "forecast_counts",
    "forecast_totals",
    "interest_draws",
    "over_blocks",
    "score",
    "score_blocks",
    "score_parts",
    "user_draws",
    "with_bounds",
]

Floats = NDArray[np.float64]

_ROWS = 4_000
# Numbers in one array of a block, 13 MB; it has a dozen, of (row, sample) and of (design, sample, rate).
_NUMBERS = 1_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDraws:
    """Draws of one block of users, and the averages that have a closed form; see :func:`kernel.draw_users`.

    ``interest`` and ``rate`` (row, sample) [per day]; ``p_return`` (row, horizon); ``p_never`` (row,); ``chance`` of a
    return (row, sample, horizon); ``activities`` (row, sample, horizon), given at least one within the longest horizon;
    ``spare`` (2, row, sample) random numbers, uniform on [0, 1); ``spacing`` of the grid's rates in the logarithm;
    ``shoulder`` (row, sample) [days] of what comes after the cutoff, infinite where interest fades exponentially.
    ``start`` is the place of the block's first user in the history, ``future`` what the activities were drawn for.
    """

    block: Block
    start: int
    future: Future
    interest: Floats
    rate: Floats
    p_return: Floats
    p_never: Floats
    chance: Floats
    activities: Floats
    spare: Floats
    spacing: float
    shoulder: Floats | float


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
        found = {names.USER: draws.block.user, **_columns(draws, options)}
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


def over_blocks[Result](
    population: Population,
    history: History | HistoryFile,
    options: ScoreOptions,
    finish: Callable[[UserDraws], Result],
    threads: int | None = None,
) -> Iterator[Result]:
    """Draw and finish the blocks on all cores, a few at a time, and yield them in order."""
    if history.activity != population.activity:
        raise DataError(
            f"history: its unit of activity is the {history.activity}, but the model was fitted to the unit "
            f"{population.activity}; summarize the log with activity={population.activity!r}"
        )
    seed, future = streams.seed_words(options.random_seed), Future.of(population, history.at, options)
    cores = threads or os.cpu_count() or 1
    rows = _rows(population)

    def work(block: Block, start: int) -> Result:
        return finish(_draw(population, block, start, future, seed))

    if len(history) <= rows:  # a thread takes longer to start than a user to score
        yield work(next(history.blocks(rows)), 0)
        return
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[concurrent.futures.Future[Result]] = deque()
        start = 0
        for block in history.blocks(rows):
            waiting.append(pool.submit(work, block, start))
            start += len(block)
            if len(waiting) > cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _rows(population: Population) -> int:
    """Users a block, so that its arrays stay small: with covariates nearly every user is a design of its own."""
    designs = _NUMBERS // (population.size * population.grid.all_rates.size)
    few_designs = not population.standard.names and len(population.groups) < designs
    return max(1, min(_ROWS, _NUMBERS // population.size, _ROWS if few_designs else designs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Future:
    """The rising, different ``ends`` (end,) [days] of the horizons, the ``shock`` (sample, end) up to each from the one
    before it, and the ``place`` (horizon,) of each horizon among them.
    """

    ends: Floats
    shock: Floats
    place: NDArray[np.intp]

    @classmethod
    def of(cls, population: Population, at: pd.Timestamp, options: ScoreOptions) -> Future:
        """Take what is asked for after a cutoff."""
        ends, place = np.unique(np.array(list(options.windows.values()), dtype=float), return_inverse=True)
        shock = population.shock(at, ends, shocks=options.shocks, calendar=options.calendar)
        return cls(ends=ends, shock=np.ascontiguousarray(shock), place=place)


def _draw(population: Population, block: Block, start: int, future: Future, seed: streams.Words) -> UserDraws:
    rng, state = streams.open_generator()
    grid = population.scoring_grid()
    part = Statistics.from_block(block, grid)
    design, log_weight, log_beta = population.designs(block)
    interest, rate, p_return, p_never, chance, activities, spare = kernel.draw_users(
        _side_by_side(log_weight),
        _side_by_side(log_beta),
        population.alpha,
        population.rho,
        grid.interpolation(population.rho).astype(np.float32),
        np.log(part.exposure).astype(np.float32),
        part.ageing @ grid.interpolation(population.rho),
        part.n,
        block.T,
        block.last,
        design,
        grid.all_rates,
        grid.next_day,
        grid.clock == DAYS,
        grid.shoulder,
        future.ends,
        future.shock,
        streams.user_keys(block.user, seed),
        state,
        rng,
    )
    return UserDraws(
        block=block,
        start=start,
        future=future,
        interest=interest,
        rate=rate,
        p_return=p_return[:, future.place],
        p_never=p_never,
        chance=chance[:, :, future.place],
        activities=activities[:, :, future.place],
        spare=spare,
        spacing=grid.spacing,
        shoulder=_shoulder(population, block),
    )


def _shoulder(population: Population, block: Block) -> Floats | float:
    if not population.grid.is_power:
        return EXPONENTIAL
    age = curves.effective_age(block.T[:, None], block.last[:, None], population.rho)
    return np.asarray(population.shoulder(age))


def _side_by_side(values: Floats) -> NDArray[np.float32]:
    """Lay out (design, sample, rate) as the loop reads it: (design, rate, sample), in single precision."""
    return np.ascontiguousarray(values.transpose(0, 2, 1), dtype=np.float32)


def _columns(draws: UserDraws, options: ScoreOptions) -> dict[str, Floats]:
    """Columns of the score table but the user: each number with the ends of its interval."""
    interest, rate = draws.interest, draws.rate
    # The grid stands for a continuum: a draw lies anywhere within its cell, not just on the node.
    cell = draws.spacing * (draws.spare[0] - 0.5)
    half_life = curves.half_life(rate * np.exp(cell), draws.shoulder)
    never = np.exp(-interest * curves.lasting(rate, draws.shoulder))
    found = {
        **with_bounds(names.INTEREST, interest.mean(axis=1), interest, options),
        **with_bounds(names.HALF_LIFE, interval_ends(half_life, (0.5,))[0], half_life, options),
        **with_bounds(names.P_NEVER, draws.p_never, never, options),
    }
    for label, length in options.silences.items():
        later = curves.interest_after(interest, rate, length, draws.shoulder)
        found |= with_bounds(f"{names.INTEREST}_after_{label}", later.mean(axis=1), later, options)
    if options.floor is not None:
        found[names.P_BELOW_FLOOR] = np.mean(interest < options.floor, axis=1)
    if options.windows:
        found |= _horizon_columns(draws, options)
    return found


def _horizon_columns(draws: UserDraws, options: ScoreOptions) -> dict[str, Floats]:
    chance = draws.chance.max(axis=2)  # within the longest horizon
    returns = draws.spare[1] < chance
    found: dict[str, Floats] = {}
    for h, label in enumerate(options.windows):
        own = draws.chance[:, :, h]
        found |= with_bounds(names.per_horizon(names.P_RETURN, label), draws.p_return[:, h], own, options)
        count = draws.activities[:, :, h]
        # Weighting the forced first return by its chance spares the mean most of the noise of rare returns.
        mean = np.mean(chance * count, axis=1)
        found |= with_bounds(names.per_horizon(names.ACTIVITIES, label), mean, np.where(returns, count, 0.0), options)
    return found


def with_bounds(name: str, point: Floats, samples: Floats, options: ScoreOptions) -> dict[str, Floats]:
    """Return a column and the two ends of its interval, from samples (row, sample)."""
    ends = interval_ends(samples, options.tails, whole=name.startswith(names.ACTIVITIES))
    return dict(zip((name, *names.bounds(name)), (point, *ends), strict=True))
