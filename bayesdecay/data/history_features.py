r"""Features that a history alone tells, in numpy: rates and gaps of the activities.

In: a block of users at the cutoff. Out: one float a user, NaN where it is not known. Gaps are the times between
activities that follow each other, :math:`t_j - t_{j-1}` for :math:`j = 1 \dots n`; there are as many as activities
after the acquisition.
"""

from __future__ import annotations

import numpy as np

from bayesdecay.data.block import Block
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["active", "gap_variation", "gaps", "last_gap", "mean_gap", "recency", "ratio"]


def recency(block: Block) -> np.ndarray:
    """Time since the last activity [days]."""
    return np.asarray(block.T - block.last)


def active(block: Block, window: float) -> np.ndarray:
    """Count activities, the acquisition included, within a window [days] before the cutoff."""
    row = _rows(block)
    within = _whole(block.T[row] - block.times) < _whole(window)
    acquired_within = _whole(block.T) < _whole(window)
    return np.bincount(row[within], minlength=len(block)) + acquired_within.astype(float)


def mean_gap(block: Block) -> np.ndarray:
    """Mean gap [days]; NaN where there is none."""
    return ratio(block.last, block.n)


def last_gap(block: Block) -> np.ndarray:
    """Gap before the last activity [days]; NaN where there is none."""
    found = np.full(len(block), np.nan)
    found[block.n > 0] = gaps(block)[block.offsets[1:][block.n > 0] - 1]
    return found


def gaps(block: Block) -> np.ndarray:
    """Gaps of all users one after the other [days]: float64[activity]."""
    before = np.roll(block.times, 1)
    before[block.offsets[:-1][block.n > 0]] = 0.0  # a user's first gap starts with the acquisition
    return np.asarray(block.times - before)


def gap_variation(block: Block) -> np.ndarray:
    """Coefficient of variation of the gaps, standard deviation (n - 1) over mean; NaN with fewer than two."""
    row, mean = _rows(block), mean_gap(block)
    squares = np.bincount(row, (gaps(block) - mean[row]) ** 2, minlength=len(block))
    return np.asarray(np.sqrt(ratio(squares, block.n - 1)) / mean)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, NaN where the divisor is not above zero."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _whole(time: np.ndarray | float) -> np.ndarray:
    """Round a time [days] to the microseconds that a log counts: at a window's edge the last digit would decide."""
    return np.rint(np.multiply(time, MICROSECONDS_PER_DAY))


def _rows(block: Block) -> np.ndarray:
    """User of each activity after the acquisition: int64[activity]."""
    return np.repeat(np.arange(len(block)), block.n)
