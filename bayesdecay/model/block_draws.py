"""Draws of a history's users, block by block and on all cores: what every score and forecast is made of.

In: a population, a history and what is asked of the time after its cutoff. Out: :class:`UserDraws` of one block after
the other, in the order of the history; the formulas stand in :mod:`bayesdecay.model.scoring`.
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
from numpy.typing import NDArray

from bayesdecay import curves
from bayesdecay.curves import EXPONENTIAL
from bayesdecay.data.history import Block, History, HistoryFile
from bayesdecay.errors import DataError
from bayesdecay.model import kernel, streams
from bayesdecay.model.grid import DAYS
from bayesdecay.model.population import Population
from bayesdecay.model.scores import ScoreOptions
from bayesdecay.model.user_statistics import Statistics

__all__ = ["Future", "UserDraws", "over_blocks"]

Floats = NDArray[np.float64]

_ROWS = 4_000
# Numbers in one array of a block, 13 MB; it has a dozen, of (row, sample) and of (design, sample, rate).
_NUMBERS = 1_600_000


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
