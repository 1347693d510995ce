"""Pasts in numbers: how many activities users had, how long the gaps were, and how long ago the last activity is.

In: a history, and a population for what it would have been. Out: :class:`Tally`, for the seen past and for each draw of
the population (:mod:`bayesdecay.model.replicate`) the numbers of users by their number of activities, of gaps by their
length, and of users by the time since their last activity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesdecay.data.block import Block
from bayesdecay.data.history import History
from bayesdecay.data.history_features import gaps
from bayesdecay.model.population import Population
from bayesdecay.model.replicate import MOST, replicated

__all__ = ["Tally", "tally", "tally_replicated"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


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
    return _counted(((0, block) for block in history.blocks()), 1, gap_cuts, since_cuts)


def tally_replicated(
    population: Population, history: History, gap_cuts: Floats, since_cuts: Floats, rng: np.random.Generator
) -> Tally:
    """Draw the past once for each draw of the population, and count."""
    whole_days = history.activity == "day"
    pasts = (
        numbered
        for block in history.blocks()
        for numbered in enumerate(replicated(population, block, rng, whole_days=whole_days))
    )
    return _counted(pasts, population.size, gap_cuts, since_cuts)


def _counted(pasts: Iterable[tuple[int, Block]], size: int, gap_cuts: Floats, since_cuts: Floats) -> Tally:
    """Count blocks of users, each with the number of the past that it belongs to."""
    widths = (MOST + 1, gap_cuts.size + 1, since_cuts.size + 1)
    users, lengths, since = (np.zeros((size, width), dtype=np.int64) for width in widths)
    for past, block in pasts:
        silence = (block.T - block.last)[block.n > 0]
        users[past] += np.bincount(np.minimum(block.n, MOST), minlength=MOST + 1)
        lengths[past] += np.bincount(np.searchsorted(gap_cuts, gaps(block)), minlength=gap_cuts.size + 1)
        since[past] += np.bincount(np.searchsorted(since_cuts, silence), minlength=since_cuts.size + 1)
    return Tally(users=users, gaps=lengths, since=since)
