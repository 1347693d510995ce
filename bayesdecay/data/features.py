r"""Features of a history: what recency, frequency and trailing windows say, in the units of the house.

In: a history at its cutoff. Out: one float a user. For an activity at :math:`t` since the acquisition and a window of
:math:`w` days before the cutoff, it counts if :math:`T - t < w`: seven days end with the cutoff's own day.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayesdecay.data.block import Block
from bayesdecay.data.record import History
from bayesdecay.errors import unknown_name
from bayesdecay.units import days

__all__ = ["DEFAULT_FEATURES", "features"]

DEFAULT_FEATURES = ("recency", "frequency", "tenure", "active_7d", "active_30d", "active_90d")
_ACTIVE = "active_"


def features(history: History, names: Sequence[str] = DEFAULT_FEATURES) -> dict[str, np.ndarray]:
    """Compute features of every user.

    Parameters
    ----------
    history
        As it stood at the cutoff.
    names
        ``"recency"``: since the last activity [days]; ``"frequency"``: activities after the acquisition; ``"tenure"``:
        since the acquisition [days]; ``"active_30d"`` and the like: activities within that time before the cutoff,
        the acquisition included.

    Returns
    -------
    dict of str to numpy.ndarray
        Each float64[user], in the order of the history.

    Raises
    ------
    ValueError
        If a name is not known.
    """
    windows = {name: _window(name) for name in names}
    parts = [{name: _one(block, name, window) for name, window in windows.items()} for block in history.blocks()]
    return {name: np.concatenate([np.empty(0), *(part[name] for part in parts)]) for name in windows}


def _window(name: str) -> float | None:
    """Length of a trailing window [days]; None for the features that have none."""
    if name in ("recency", "frequency", "tenure"):
        return None
    if name.startswith(_ACTIVE):
        return days(name.removeprefix(_ACTIVE))
    raise unknown_name("feature", name, DEFAULT_FEATURES)


def _one(block: Block, name: str, window: float | None) -> np.ndarray:
    """Compute one feature of one block."""
    if window is not None:
        return _active(block, window)
    return {"recency": block.T - block.last, "frequency": block.n.astype(float), "tenure": block.T}[name]


def _active(block: Block, window: float) -> np.ndarray:
    """Count activities, the acquisition included, within a window [days] before the cutoff."""
    row = np.repeat(np.arange(len(block)), block.n)
    within = block.T[row] - block.times < window
    acquired_within = np.less(block.T, window)
    return np.bincount(row[within], minlength=len(block)) + acquired_within.astype(float)
