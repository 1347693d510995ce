r"""The users' past told once more by the fitted population: as many users, acquired when they were, seen as long.

In: a population and a history. Out: :class:`Tally`, for the seen past and for each draw of the population the numbers
of users by their number of activities, of gaps by their length, and of users by the time since their last activity.
Each user's rate and first interest are drawn anew from the population, and only T is taken from the history; with

.. math:: \lambda(t) = I_0 e^{-r g(t - \rho L(t))}

an activity follows the last one, at L, after a time that is drawn exactly. Where the unit of activity is the day, an
activity is known by the day that it falls into, t in :math:`(k-1, k]` being day k, and a day counts once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.data.history import History
from bayesdecay.data.history_features import gaps
from bayesdecay.model.ahead import state_at
from bayesdecay.model.grid import log_next_day
from bayesdecay.model.population import Population
from bayesdecay.model.power import wait

__all__ = ["MOST", "Tally", "replicated", "tally"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# A replicated user with more activities is cut off here: nobody is described by what follows.
MOST = 20_000

_loop = numba.njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Pasts in numbers, a row each.

    ``users`` (past, count): users with 0, 1, 2, ... activities after the acquisition; ``gaps`` (past, interval): gaps
    between activities that follow each other, the acquisition being the first, by the cut points [days] asked for, the
    first interval ending with the first of them and the last being open; ``since`` (past, interval): users with an
    activity after the acquisition, by the time from the last one to the cutoff.
    """

    users: Integers
    gaps: Integers
    since: Integers


def tally(history: History, gap_cuts: Floats, since_cuts: Floats) -> Tally:
    """Count what was seen: a single past."""
    users = np.zeros(MOST + 1, dtype=np.int64)
    lengths, since = np.zeros(gap_cuts.size + 1, dtype=np.int64), np.zeros(since_cuts.size + 1, dtype=np.int64)
    for block in history.blocks():
        users += np.bincount(np.minimum(block.n, MOST), minlength=MOST + 1)
        lengths += np.bincount(np.searchsorted(gap_cuts, gaps(block)), minlength=lengths.size)
        silence = (block.T - block.last)[block.n > 0]
        since += np.bincount(np.searchsorted(since_cuts, silence), minlength=since.size)
    return Tally(users=users[None], gaps=lengths[None], since=since[None])


def replicated(
    population: Population, history: History, gap_cuts: Floats, since_cuts: Floats, rng: np.random.Generator
) -> Tally:
    """Draw the past once for each draw of the population, and count."""
    size = population.size
    users = np.zeros((size, MOST + 1), dtype=np.int64)
    lengths = np.zeros((size, gap_cuts.size + 1), dtype=np.int64)
    since = np.zeros((size, since_cuts.size + 1), dtype=np.int64)
    whole = history.activity == "day"
    for block in history.blocks():
        design, mu = population.locations(block)
        for s in range(size):
            rate, interest = population.new_users(mu[:, design, s], s, rng)
            if not population.grid.is_power:
                interest *= np.exp(log_next_day(rate, population.grid.clock))
            law = (float(population.rho[s]), population.grid.shoulder)
            _walk(interest, rate, law, block.T, whole, gap_cuts, since_cuts, users[s], lengths[s], since[s], rng)
    return Tally(users=users, gaps=lengths, since=since)


@_loop
def _walk(  # noqa: PLR0913 - users, the law, and three counts of one pass
    interest: Floats,
    rate: Floats,
    law: tuple[float, float],
    T: Floats,
    whole: bool,
    gap_cuts: Floats,
    since_cuts: Floats,
    users: Integers,
    lengths: Integers,
    since: Integers,
    rng: np.random.Generator,
) -> None:
    """Let users act from their acquisition to the cutoff, and count; ``law`` is the restoration and the shoulder."""
    rho, shoulder = law
    for u in range(T.size):
        last, n = 0.0, 0
        while n < users.size - 1:
            level, fall, local = state_at(interest[u], rate[u], (1.0 - rho) * last, shoulder, whole)
            time = last + wait(rng.standard_exponential(), level, fall, local)
            if time > T[u]:
                break
            if whole:
                time = max(math.ceil(time), last + 1.0)
            if time > T[u]:
                break
            lengths[np.searchsorted(gap_cuts, time - last)] += 1
            last, n = time, n + 1
        users[n] += 1
        if n > 0:
            since[np.searchsorted(since_cuts, T[u] - last)] += 1
