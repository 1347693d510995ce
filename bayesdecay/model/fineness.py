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

__all__ = ["fine_enough", "grid_error"]

Floats = NDArray[np.float64]

# A grid finer than this means a population without spread in half-lives, where the grid is not what to mend.
_MOST_RATES = 300
_FINER = 1.4
# Rows at a time: a few arrays of (row, rate) in double precision.
_ROWS = 5_000


def fine_enough(population: Population, data: FitData, grid: Grid) -> Grid:
    """Return the grid, made finer until doubling it moves the log-likelihood by half of what is allowed at most."""
    while grid_error(population, data, grid) > GRID_TOLERANCE / 2 and grid.rates.size <= _MOST_RATES:
        grid = grid.finer(_FINER)
    return grid


def grid_error(population: Population, data: FitData, grid: Grid) -> float:
    """How much doubling the grid moves the total log-likelihood [nats], at worst over the population's draws."""
    rows = np.arange(data.weight.size)
    parts = [rows[start : start + _ROWS] for start in range(0, rows.size, _ROWS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        moved = pool.map(lambda part: _moved(population, data, grid, part), parts)
    return float(np.abs(sum(moved)).max())


def _moved(population: Population, data: FitData, grid: Grid, rows: NDArray[np.int64]) -> Floats:
    """How much doubling the grid moves the log-likelihood of some rows at each draw (sample,)."""
    block, weight = data.block.take(rows), data.weight[rows]
    found = np.empty(population.size)
    for s in range(population.size):
        own = population.at(s)
        coarse, fine = (
            total_loglik(replace(own, grid=g), block, weight, g)[0]
            for g in (replace(given, restorations=own.rho) for given in (grid, grid.finer()))
        )
        found[s] = fine - coarse
    return found
