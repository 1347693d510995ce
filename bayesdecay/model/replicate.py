r"""The users' past told once more by the fitted population: as many users, acquired when they were, seen as long.

In: the posterior of a population and a block of users. Out: for each draw of the population the block with another
past. Groups, covariates and T are the users' own; each user's rate and first interest are drawn anew, and with

.. math:: \lambda(t) = I_0 e^{-r g(t - \rho L(t))}

an activity follows the last one, at L, after a time that is drawn exactly. Where the unit of activity is the day, an
activity is known by the day that it falls into, t in :math:`(k-1, k]` being day k, and a day counts once.

What is told of the given users can then be told of these too, which makes a posterior predictive check: how far off
would it be by chance, and by what is not known of the population?

References
----------
Gelman, A., Meng, X.-L. and Stern, H. (1996). Posterior predictive assessment of model fitness via realized
discrepancies. *Statistica Sinica* 6, 733-760. https://www.jstor.org/stable/24306036
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.data.block import Block
from bayesdecay.model.ahead import state_at
from bayesdecay.model.grid import DAYS, log_next_day
from bayesdecay.model.population import Population
from bayesdecay.model.power import wait

__all__ = ["MOST", "replicated"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# A replicated user with more activities is cut off here: nobody is described by what follows.
MOST = 20_000

_loop = numba.njit(cache=True, nogil=True, error_model="numpy")


def replicated(
    population: Population, block: Block, rng: np.random.Generator, *, whole_days: bool = False
) -> Iterator[Block]:
    """Yield, for each draw of the population, the block's users with another past; ``whole_days`` where these count."""
    grid = population.grid
    design, mu = population.locations(block)
    for s in range(population.size):
        rate, interest = population.new_users(mu[:, design, s], s, rng)
        if not grid.is_power:
            interest *= np.exp(log_next_day(rate, grid.clock))
        law = (float(population.rho[s]), grid.shoulder, grid.clock == DAYS)
        yield _with_past(block, *_walk(interest, rate, law, block.T, whole_days, rng))


@_loop
def _walk(
    interest: Floats,
    rate: Floats,
    law: tuple[float, float, bool],
    T: Floats,
    whole_days: bool,
    rng: np.random.Generator,
) -> tuple[Integers, Floats]:
    """Let users act from their acquisition to the cutoff: how often (user,), and when (activity,) [days].

    ``law`` is the restoration, the shoulder, and whether the clock is that of days.
    """
    rho, shoulder, by_days = law
    n, times, total = np.zeros(T.size, np.int64), np.empty(T.size + 1), 0
    for u in range(T.size):
        last = 0.0
        while n[u] < MOST:
            level, fall, local = state_at(interest[u], rate[u], (1.0 - rho) * last, shoulder, by_days)
            time = last + wait(rng.standard_exponential(), level, fall, local)
            if time > T[u]:
                break
            if whole_days:
                time = max(math.ceil(time), last + 1.0)
            if time > T[u]:
                break
            if total == times.size:
                times = np.concatenate((times, np.empty_like(times)))
            times[total] = last = time
            total += 1
            n[u] += 1
    return n, times[:total].copy()


def _with_past(block: Block, n: Integers, times: Floats) -> Block:
    """Put activities in the place of those of a block's users."""
    offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
    return replace(
        block,
        n=n,
        last=np.where(n > 0, np.append(times, 0.0)[offsets[1:] - 1], 0.0),
        sum_times=np.bincount(np.repeat(np.arange(len(block)), n), weights=times, minlength=len(block)),
        times=times,
        offsets=offsets,
    )
