"""From the times of a few users to their history, without a database: for a service that scores one user at a time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay.data.activities import check_activity, clock_end
from bayesdecay.data.events import Date
from bayesdecay.data.record import History
from bayesdecay.data.reduction import reduced
from bayesdecay.errors import DataError
from bayesdecay.names import GROUP, USER
from bayesdecay.units import MICROSECONDS_PER_DAY, Duration, cutoff_instant, days

__all__ = ["summarize_times"]


def summarize_times(
    times: Mapping[Any, Sequence[Any]],
    *,
    at: Date,
    activity: str = "day",
    session_gap: Duration = "30min",
    groups: Mapping[Any, str] | None = None,
) -> History:
    """Make the history of a few users from the times of their events, as ``summarize`` makes it from a log.

    Parameters
    ----------
    times
        Times of each user's events, by the user's id, in any order, without an offset from UTC; those after the cutoff
        are not seen, and a user who has no others is not in the history.
    at, activity, session_gap
        As in :func:`~bayesdecay.data.history.summarize`; the model's own when the history is to be scored.
    groups
        Group of each user, for a model with groups.

    Raises
    ------
    DataError
        If no event lies before the cutoff, a time cannot be read, or a user's group is missing.

    Examples
    --------
    >>> history = summarize_times({"anna": ["2024-01-01 09:30", "2024-01-04 18:00"]}, at="2024-01-08")
    >>> history.table["T"].to_pylist(), history.table["n"].to_pylist(), history.table["sum_times"].to_pylist()
    ([7.0], [1], [3.0])
    """
    cutoff, gap = cutoff_instant(at), days(session_gap)
    pause = round(gap * MICROSECONDS_PER_DAY) if check_activity(activity) == "session" else 0
    instants = {user: _instants(user, own, cutoff) for user, own in times.items()}
    instants = {user: own for user, own in instants.items() if own.size}
    if not instants:
        raise DataError(f"no event up to the cutoff {cutoff}; choose a later cutoff")
    ids = pa.array(list(instants))
    users = ids.take(pa.array(np.repeat(np.arange(len(ids)), [own.size for own in instants.values()])))
    ended = np.concatenate(list(instants.values()))
    began = ended.astype("datetime64[D]").astype("datetime64[us]") if activity == "day" else ended
    visits = pa.record_batch({USER: users, "began": pa.array(began), "ended": pa.array(ended)})
    table = pa.concat_tables(reduced([visits], gap=pause, end=clock_end(cutoff, activity)))
    if groups is not None:
        table = table.append_column(GROUP, pa.array([_group(user, groups) for user in instants], type=pa.string()))
    return History(
        table=table.take(pa.array(np.argsort(ids.to_numpy(zero_copy_only=False), kind="stable"))),
        at=cutoff,
        activity=activity,
        session_gap=gap,
        group=None if groups is None else GROUP,
    )


def _instants(user: Hashable, times: Sequence[Any], cutoff: pd.Timestamp) -> np.ndarray:
    """Times of one user up to the cutoff, rising, datetime64[us]."""
    try:
        index = pd.DatetimeIndex(times)
    except (ValueError, TypeError) as error:
        raise DataError(f"times of user {user!r} cannot be read: {error}") from error
    if index.tz is not None:
        raise DataError(f"times of user {user!r} tell their zone, {index.tz}; give them in the log's zone, without it")
    found = np.asarray(index, dtype="datetime64[us]")
    if np.isnat(found).any():
        raise DataError(f"times of user {user!r}: {int(np.isnat(found).sum())} are missing; leave them out")
    return np.sort(found[found <= cutoff.to_numpy()])


def _group(user: Hashable, groups: Mapping[Any, str]) -> str:
    if groups.get(user) is None:
        raise DataError(f"groups= has none for user {user!r}; give one to each")
    return str(groups[user])
