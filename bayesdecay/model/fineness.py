"""How fine a grid of decay rates must be: until doubling it no longer moves the likelihood of the data.

In: some draws of the population, and the data of a fit. Out: the error of a grid, or a grid whose error is small.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.design import FitData
from bayesdecay.model.grid import Grid
from bayesdecay.model.population import Population, total_loglik
from bayesdecay.model.posterior import GRID_TOLERANCE

__all__ = ["fine_enough", "grid_error", "trimmed"]

Floats = NDArray[np.float64]

# A grid finer than this means a population without spread in half-lives, where the grid is not what to mend.
_MOST_RATES = 300
_FINER = 1.2
# Rates at the ends that have less than e^-25 of the users, of a million less than one in 70,000: some 6.7 standard
# deviations from the middle.
_NOBODY = -25.0
# Rows at a time: a few arrays of (row, rate) in double precision.
_ROWS = 5_000


def fine_enough(population: Population, data: FitData, grid: Grid, *, share: float) -> Grid:
    """Return the grid, made finer until doubling it moves the log-likelihood by a share of what is allowed at most."""
    while grid_error(population, data, grid) > share * GRID_TOLERANCE and grid.rates.size <= _MOST_RATES:
        grid = grid.finer(_FINER)
    return grid


def trimmed(population: Population, data: FitData, grid: Grid, *, share: float) -> Grid:
    """Return the grid without the rates at its ends that nobody has, if that moves the likelihood as little.

    The grid covers all that could be seen in data; of an event log with instants a third of it is faster than anybody.
    """
    _, log_weight, _ = replace(population, grid=grid).designs(data.block)
    used = np.flatnonzero(log_weight.max(axis=(0, 1))[: grid.rates.size] > _NOBODY)
    first, last = int(used[0]), int(used[-1])
    last = min(last + (-(last - first + 1)) % 8, grid.rates.size - 1)  # whole vector registers
    own = replace(grid, rates=grid.rates[first : last + 1])
    return own if grid_error(population, data, own, whole=grid) <= share * GRID_TOLERANCE else grid


def grid_error(population: Population, data: FitData, grid: Grid, *, whole: Grid | None = None) -> float:
    """How much doubling the grid moves the total log-likelihood [nats], at worst over the population's draws.

    If the grid is a part of a ``whole``, the finer one is over all its range.
    """
    whole = whole or grid
    finer = replace(whole.finer(2.0 * whole.spacing / grid.spacing), restorations=grid.restorations)
    rows = np.arange(data.weight.size)
    parts = [rows[start : start + _ROWS] for start in range(0, rows.size, _ROWS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        moved = pool.map(lambda part: _moved(population, data, (grid, finer), part), parts)
    return float(np.abs(sum(moved)).max())


def _moved(population: Population, data: FitData, grids: tuple[Grid, Grid], rows: NDArray[np.int64]) -> Floats:
    """How much the second grid moves the log-likelihood of some rows at each draw (sample,)."""
    block, weight = data.block.take(rows), data.weight[rows]
    found = np.empty(population.size)
    for s in range(population.size):
        own = population.at(s)
        # At the draw's own restoration, which spares the statistics at all the others.
        coarse, fine = (total_loglik(own, block, weight, replace(given, restorations=own.rho))[0] for given in grids)
        found[s] = fine - coarse
    return found
