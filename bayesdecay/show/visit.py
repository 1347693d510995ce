"""What if a user had been active once more, today: the user's state with a longer history, nothing else being changed.

In: snapshots. Out: the same users with one more activity at the cutoff.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import pandas as pd
import pyarrow as pa

from bayesdecay.data.activities import clock_end
from bayesdecay.data.combining import combine
from bayesdecay.data.feature_names import read_names
from bayesdecay.data.features import features
from bayesdecay.data.history import History
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.names import FIRST, LAST, LAST_EVENT, RETURNED, SUM_TIMES, TIMES, USER, N, T

__all__ = ["visited", "with_visit"]


def visited(snapshots: Snapshots) -> Snapshots:
    """Let every user of snapshots have been active once more, at the cutoff.

    The features that come from the history follow: recency is 0, frequency one more. Features of the events, columns of
    the log and of a brought table stay as they were, for nobody knows what the visit would have looked like.

    Returns
    -------
    Snapshots
        Their outcomes missing; nobody is lapsed any more.

    Notes
    -----
    This is another state, not the effect of a deed: whoever comes by himself is more interested than somebody who was
    made to come.
    """
    histories = {at: with_visit(history) for at, history in snapshots.histories.items()}
    follow = _of_history(snapshots.features)
    parts = [pd.DataFrame(features(history, follow), index=range(len(history))) for history in histories.values()]
    followed = pd.concat(parts, ignore_index=True).set_index(snapshots.table.index)
    outcome = pd.array([pd.NA] * len(snapshots), dtype="boolean")
    table = snapshots.table.assign(**{name: followed[name] for name in followed}, **{RETURNED: outcome})
    return replace(snapshots, table=table, histories=histories, lapsed_after=0.0)


def with_visit(history: History) -> History:
    """Let every user of a history have been active once more, at the cutoff; who was active then is as before."""
    if not len(history):
        return history
    # A user has been active "until just before the cutoff", and once in a part of the log that is the cutoff alone.
    before = replace(history, at=history.at - pd.Timedelta(microseconds=1))
    return combine(before, history.over(_at_the_cutoff(history))).select(history.table[USER])


def _of_history(names: Iterable[str]) -> list[str]:
    """Features that the history alone tells."""
    found = []
    for name in names:
        with suppress(ValueError):  # without a log, a feature of the events is no feature
            found += [asked.name for asked in read_names([name], None)]
    return found


def _at_the_cutoff(history: History) -> pa.Table:
    """History of users whose first and only activity is at the cutoff."""
    size, schema = len(history), history.table.schema
    opened = pd.Timestamp(clock_end(history.at, history.activity), unit="us")
    values = {
        USER: history.table[USER],
        N: [0] * size,
        FIRST: [opened] * size,
        LAST: [opened] * size,
        LAST_EVENT: [history.at] * size,
        T: [0.0] * size,
        SUM_TIMES: [0.0] * size,
        TIMES: [[]] * size,
    }
    # The group and the covariates are those of the acquisition, which the earlier part knows.
    made = [values.get(name, [None] * size) for name in schema.names]
    arrays = [
        one if isinstance(one, pa.ChunkedArray) else pa.array(one, type=schema.field(i).type)
        for i, one in enumerate(made)
    ]
    return pa.table(dict(zip(schema.names, arrays, strict=True)))
