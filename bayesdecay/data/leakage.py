"""The guard against the future: what was computed at a cutoff says up to when it looked, and later is refused."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bayesdecay.errors import LeakageError

__all__ = ["refuse_later"]


def refuse_later(what: str, seen: pa.ChunkedArray, at: pd.Timestamp) -> None:
    """Refuse what rests on events after a cutoff.

    The queries cannot see such events; this is the second lock, for a history that was given another cutoff by hand
    and for a query that somebody gets wrong some day.

    Parameters
    ----------
    what
        What was computed, as in ``"the features amount, events"``.
    seen
        The last instant that each row rests on.
    at
        The cutoff.

    Raises
    ------
    LeakageError
        If one is later than the cutoff.
    """
    latest = pc.max(seen).as_py()
    if latest is not None and latest > at:
        raise LeakageError(
            f"{what} at the cutoff {at} rest on an event of {latest}, which nobody could have seen by then; "
            f"compute them from the log anew, as it stood at that cutoff: snapshots(log, cutoffs='{at}', ...)"
        )
