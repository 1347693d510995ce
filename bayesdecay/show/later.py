r"""What the log shows after a cutoff: how often each user of a history was active in the windows that followed.

In: the log and a history of it. Out: :class:`Later`, the number of activities of every user in :math:`(at, at + h]`,
counted in the history's own unit of activity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.data.events import Date, Events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.ids import positions
from bayesdecay.names import USER
from bayesdecay.units import Duration, cutoff_instant, days

__all__ = ["Later", "later_activity", "observable_length"]

Integers = NDArray[np.int64]

# Half a microsecond [days]: times in days are rounded, and an activity must not change sides by that.
_ROUNDING = 0.5 / 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Later:
    """Activities after the cutoff.

    Attributes
    ----------
    lengths : tuple of float
        Ends of the windows after the cutoff [days], rising.
    counts : array of int (user, window)
        Activities from the cutoff to each end, in the order of the history.

    Raises
    ------
    ValueError
        If the lengths do not rise from above zero, or the counts do not fit them or fall.
    """

    lengths: tuple[float, ...]
    counts: Integers

    def __post_init__(self) -> None:
        """Check that the two fit together."""
        if not self.lengths or (np.diff([0.0, *self.lengths]) <= 0).any():
            raise ValueError(f"later: lengths must rise from above zero, got {self.lengths}")
        if self.counts.ndim != 2 or self.counts.shape[1] != len(self.lengths):
            raise ValueError(
                f"later: expected counts (user, {len(self.lengths)}) for as many lengths, got {self.counts.shape}"
            )
        if (np.diff(self.counts, axis=1, prepend=0) < 0).any():
            raise ValueError("later: a longer window holds fewer activities than a shorter one, or a count is negative")

    @property
    def length(self) -> float:
        """Length of the whole time after the cutoff [days]."""
        return self.lengths[-1]


def observable_length(log: Events, at: Date) -> float:
    """How far the log goes on after a cutoff [days]; 0 or less where nothing can be checked."""
    return (log.end - cutoff_instant(at)) / pd.Timedelta(days=1)


def later_activity(log: Events, history: History, length: Duration, *, periods: int = 4) -> Later:
    """Count each user's activities after the cutoff of a history.

    Parameters
    ----------
    log : Events
        The log that the history was made of.
    history : History
        As the log stood at the cutoff; users acquired later are not counted.
    length : duration
        How far to look, ``"273d"`` or a number of days.
    periods : int
        Number of equal windows that the time is cut into, their ends in whole days.

    Raises
    ------
    ValueError
        If the log ends before, or there is no time to look at.

    Notes
    -----
    The log is summarized once more, with the later cutoff: the database reads it, and memory holds two histories. So
    a session that began before the cutoff is no later activity, and neither is the rest of the cutoff's own day.
    """
    whole_length, seen = days(length), observable_length(log, history.at)
    # The end of the log's last day is a microsecond short of a midnight.
    if not 0 < whole_length <= seen + 1e-6:
        raise ValueError(
            f"the log goes on for {seen:.6g} days after the cutoff {history.at}; cannot check {whole_length:g} days"
        )
    lengths = _ends(whole_length, periods)
    until = history.at + pd.Timedelta(days=whole_length)
    if history.activity == "day":
        # A day is one activity at its midnight; all of the last one must be seen, whatever the cutoff's time of day.
        until = (history.at.normalize() + pd.Timedelta(days=whole_length)).normalize()
    whole = summarize(log, at=until, activity=history.activity, session_gap=history.session_gap, kinds=history.kinds)
    counts, start = np.zeros((len(history), len(lengths)), dtype=np.int64), 0
    where = positions(whole.table[USER], history.table[USER])
    ages = np.append(history.table["T"].to_numpy(), np.nan)[where]
    for block in whole.blocks():
        rows = where[start : start + len(block)]
        known = rows >= 0
        # Of a user acquired after the cutoff nothing is counted: comparisons with NaN are false.
        since = block.times - np.repeat(ages[start : start + len(block)], block.n)
        for w, end in enumerate(lengths):
            inside = (since > _ROUNDING) & (since <= end + _ROUNDING)
            below = np.concatenate([[0], np.cumsum(inside)])
            counts[rows[known], w] = np.diff(below[block.offsets])[known]
        start += len(block)
    return Later(lengths=lengths, counts=counts)


def _ends(length: float, periods: int) -> tuple[float, ...]:
    """Ends of the windows [days]; fewer of them where days are too few."""
    if periods < 1:
        raise ValueError(f"periods must be at least 1, got {periods}")
    inner = {float(round(length * k / periods)) for k in range(1, periods)}
    return (*sorted(end for end in inner if 0 < end < length), length)
