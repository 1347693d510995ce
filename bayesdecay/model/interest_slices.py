r"""What is known of a user's interest given the population, in closed form: no draws of it are needed.

In: draws of the population, and users' histories. Out: under each draw, the means of some slices of each user's
posterior of log interest at the cutoff; and its expectation over all of them.

Given the population and the rate r a user's interest is Gamma, so that its logarithm is

.. math:: \log I = \log \Gamma_{\alpha + n} - \log(\beta_r + E_r) + \log(\text{what is left at the cutoff}),

with :math:`\Gamma_a` a standard gamma variable, here at the middles of some parts; rates have the shares of the user's
posterior (:mod:`bayesdecay.model.grid`). These values, sorted, are cut into slices, the thinnest of them at the top:
where few return, those do whose interest is greatest of all that it may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import gammaincinv

from bayesdecay import curves
from bayesdecay.data.history import Block, History
from bayesdecay.model.grid import INSTANTS, log_next_day
from bayesdecay.model.population import Population
from bayesdecay.model.user_statistics import Statistics, posterior_of_rates

__all__ = ["CHANCES", "LEAST_INTEREST", "interest_slices", "log_expected_interest", "log_left"]

Floats = NDArray[np.float64]

# Probabilities of the slices of a user's log interest, from the least on.
CHANCES: Floats = np.array([8, 8, 4, 4, 4, 2, 1, 1]) / 32
# Probabilities of the values of the gamma variable, and the share of a rate below which it is left out.
_PARTS, _LEAST_SHARE = np.repeat(CHANCES / 2.0, 2), 1e-4
# An interest below this [activities per day] is none; its logarithm must stay finite.
LEAST_INTEREST = 1e-12
# Users whose shares of all rates are held at a time.
_ROWS = 4_000

_loop = numba.njit(cache=True, nogil=True)


def interest_slices(population: Population, histories: Iterable[History]) -> Floats:
    """Means (sample, row, slice) of slices of each user's log interest, of ``CHANCES``, given each of the draws."""
    return np.concatenate(
        [_of_distinct(history, lambda block: _slices(population, block)) for history in histories], axis=1
    )


def log_expected_interest(population: Population, histories: Iterable[History]) -> Floats:
    """Logarithm (row, 1) of each user's expected interest at the cutoff, over all draws of the population."""
    parts = [_of_distinct(history, lambda block: _expected(population, block)) for history in histories]
    return np.log(np.maximum(np.concatenate(parts, axis=1), LEAST_INTEREST)).T


def log_left(rate: Any, age: Any, clock: str, shoulder: float, *, xp: Any = np) -> Any:
    """Logarithm of what is left of the first interest at an effective age [days], as the day ends there."""
    if math.isinf(shoulder):
        return -rate * age + log_next_day(rate, clock, xp=xp)
    if clock == INSTANTS:
        return -rate * curves.aged(age, shoulder, xp=xp)
    # What comes after a whole day is read off the middles of days.
    half = 0.5 * curves.rate_after(rate, age + 0.5, shoulder)
    return -rate * curves.aged(age + 0.5, shoulder, xp=xp) + xp.log(half) - xp.log(xp.sinh(half))


def _of_distinct(history: History, find: Callable[[Block], Floats]) -> Floats:
    """What is found (any, row, ...) of the users of a history; those with equal ones are worked on once."""
    _, first, place = np.unique(history.alike(), return_index=True, return_inverse=True)
    distinct = history.over(history.table.take(pa.array(first)))
    return np.concatenate([find(block) for block in distinct.blocks(_ROWS)], axis=1)[:, place]


def _slices(population: Population, block: Block) -> Floats:
    """Slices (sample, row, slice) of a block's users."""
    found = np.empty((population.size, len(block), CHANCES.size))
    for s, (share, log_scale, shape) in enumerate(_posteriors(population, block)):
        _slice(share, log_scale, _log_gammas(shape), found[s])
    return found


def _expected(population: Population, block: Block) -> Floats:
    """Expected interest (1, row) of a block's users."""
    found = np.zeros((1, len(block)))
    for share, log_scale, shape in _posteriors(population, block):
        found += shape * np.sum(share * np.exp(log_scale), axis=1) / population.size
    return found


def _posteriors(population: Population, block: Block) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Under each draw: shares of the rates and log scales of the interest (row, rate), and its shapes (row,)."""
    grid = population.scoring_grid()
    part = Statistics.from_block(block, grid)
    design, log_weight, log_beta = population.designs(block)
    for s in range(population.size):
        alpha, rho = float(population.alpha[s]), float(population.rho[s])
        share, log_b = posterior_of_rates(part, grid, log_weight[design, s], log_beta[design, s], alpha=alpha, rho=rho)
        age = curves.effective_age(block.T, block.last, rho)[:, None]
        yield share, log_left(grid.all_rates, age, grid.clock, grid.shoulder) - log_b, alpha + part.n


def _log_gammas(shape: Floats) -> Floats:
    """Logarithms (row, value) of a standard gamma variable at the middles of its parts."""
    distinct, place = np.unique(shape, return_inverse=True)
    middles = np.cumsum(_PARTS) - 0.5 * _PARTS
    with np.errstate(divide="ignore"):  # of a tiny shape the lowest ones are 0 to every digit
        return np.asarray(np.log(gammaincinv(distinct[:, None], middles)))[place]


@_loop
def _slice(share: Floats, log_scale: Floats, log_gamma: Floats, out: Floats) -> None:
    """Write the means (row, slice) of slices of the values that all rates and gammas make."""
    values, weights = np.empty(share.shape[1] * _PARTS.size), np.empty(share.shape[1] * _PARTS.size)
    floor = math.log(LEAST_INTEREST)
    for i in range(share.shape[0]):
        size, total = 0, 0.0
        for k in range(share.shape[1]):
            if share[i, k] < _LEAST_SHARE:
                continue
            for m in range(_PARTS.size):
                values[size] = max(log_scale[i, k] + log_gamma[i, m], floor)
                weights[size] = share[i, k] * _PARTS[m]
                total += weights[size]
                size += 1
        place, room, mean = 0, CHANCES[0] * total, 0.0
        for v in np.argsort(values[:size]):
            left = weights[v]
            while left >= room and place < CHANCES.size - 1:
                out[i, place] = (mean + room * values[v]) / (CHANCES[place] * total)
                left -= room
                place += 1
                room, mean = CHANCES[place] * total, 0.0
            mean += left * values[v]
            room -= left
        out[i, place] = mean / (CHANCES[place] * total)
