"""Features of users at a cutoff, by name: what recency, trailing windows, kinds of event or amounts say.

In: a history at its cutoff and, for what the activities alone do not tell, its log. Out: one float a user, NaN where it
is not known. The library is :data:`~bayesdecay.data.feature_library.FEATURES`; :func:`features_table` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayesdecay.data.event_features import event_features
from bayesdecay.data.events import Events
from bayesdecay.data.feature_library import FEATURES
from bayesdecay.data.feature_names import Asked, needs, read_names
from bayesdecay.data.leakage import refuse_later
from bayesdecay.data.record import History
from bayesdecay.names import LAST_EVENT

__all__ = ["DEFAULT_FEATURES", "features", "features_table"]

DEFAULT_FEATURES = ("recency", "frequency", "tenure", "active_7d", "active_30d", "active_90d")


def features_table() -> pd.DataFrame:
    """Give the library as a table.

    Returns
    -------
    pandas.DataFrame
        ``name``, a pattern: KIND stands for a kind of event, COLUMN for a column of the log (``amount`` too), WINDOW
        for any duration, and what is in brackets may be left out, as in ``events_view`` and ``events_view_30d`` for
        ``events_KIND[_WINDOW]``. Then ``meaning``, ``unit``, ``missing`` (when it is NaN), ``source`` (``history``:
        activities from the acquisition on; ``events``: all events up to the cutoff) and ``needs``, an argument of
        :func:`~bayesdecay.data.events.read_events`.
    """
    rows = [
        (name, entry.meaning, entry.unit, entry.missing, "events" if entry.block is None else "history", needs(name))
        for name, entry in FEATURES.items()
    ]
    return pd.DataFrame(rows, columns=["name", "meaning", "unit", "missing", "source", "needs"])


def features(
    history: History, names: Sequence[str] = DEFAULT_FEATURES, *, log: Events | None = None
) -> dict[str, np.ndarray]:
    """Compute features of every user.

    Parameters
    ----------
    history
        As it stood at the cutoff.
    names
        Names of :func:`features_table`, such as ``"recency"``: since the last activity [days]; ``"active_30d"``:
        activities within that time before the cutoff, the acquisition included; ``"events_view_30d"``: events of the
        kind "view" within it.
    log
        The log that the history comes from, for features of the events. Of it only rows up to the history's cutoff are
        seen, but of all kinds, whatever kinds count as activities.

    Returns
    -------
    dict of str to numpy.ndarray
        Each float64[user], in the order of the history, by name in the order given.

    Raises
    ------
    ValueError
        If a name is not known or has two meanings, or a feature needs what the log does not have.
    LeakageError
        If something after the cutoff was seen.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayesdecay.data.events import read_events
    >>> from bayesdecay.data.history import summarize
    >>> frame = pd.DataFrame({"user": ["a", "a"], "time": ["2024-01-01", "2024-01-04"], "amount": [5.0, 7.0]})
    >>> log = read_events(frame, amount="amount")
    >>> found = features(summarize(log, at="2024-01-08"), ["recency", "amount", "amount_5d", "gap_cv"], log=log)
    >>> {name: values.tolist() for name, values in found.items()}
    {'recency': [4.0], 'amount': [12.0], 'amount_5d': [7.0], 'gap_cv': [nan]}
    """
    asked = read_names(names, log)
    refuse_later("the activities of the history", history.table[LAST_EVENT], history.at)
    found = _of_history(history, [one for one in asked if one.feature.block is not None])
    of_events = [one for one in asked if one.feature.block is None]
    if log is not None and of_events:
        found |= event_features(history, log, of_events)
    return {one.name: found[one.name] for one in asked}


def _of_history(history: History, asked: Sequence[Asked]) -> dict[str, np.ndarray]:
    """Compute features of the history, block by block."""
    ways = {one.name: (one.feature.block, one.window) for one in asked}
    parts = [
        {name: way(block, window) for name, (way, window) in ways.items() if way is not None}
        for block in history.blocks()
    ]
    return {name: np.concatenate([np.empty(0), *(part[name] for part in parts)]) for name in ways}
