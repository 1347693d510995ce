"""Histories of two parts of a log put together, exactly as if the whole had been summarized.

In: two histories, of different users or of the same log before and after a cutoff. Out: one history.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pyarrow.compute as pc

from bayesdecay.data.activities import clock_end, combined_sql
from bayesdecay.data.record import HISTORY_COLUMNS, History
from bayesdecay.data.reduction import history_columns
from bayesdecay.data.sql import connect, fetch, identifier
from bayesdecay.names import FIRST, USER
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["combine"]


def combine(earlier: History, later: History) -> History:
    """Put the histories of two parts of a log together, exactly as if the whole had been summarized.

    The parts are either different users at the same cutoff, or the same log split in time: everything up to
    ``earlier.at``, and everything after it.

    Parameters
    ----------
    earlier, later
        Histories of one unit of activity, one group and the same covariates.

    Returns
    -------
    History
        At the later cutoff. Users of the later part who were acquired in the earlier one keep that acquisition, with
        its group and covariates.

    Raises
    ------
    ValueError
        If the two do not fit together.
    """
    for what in ("activity", "session_gap", "group", "covariates", "kinds"):
        mine, other = getattr(earlier, what), getattr(later, what)
        if mine != other:
            raise ValueError(f"histories of different {what} cannot be combined: {mine!r} and {other!r}")
    if earlier.table[USER].type != later.table[USER].type:
        raise ValueError(f"the users' ids differ in type: {earlier.table[USER].type} and {later.table[USER].type}")
    extra = tuple(earlier.table.column_names[len(HISTORY_COLUMNS) :])
    gap = round(earlier.session_gap * MICROSECONDS_PER_DAY) if earlier.activity == "session" else 0
    end = clock_end(later.at, later.activity)
    with connect() as connection:
        connection.register("earlier", earlier.table)
        connection.register("later", later.table)
        _refuse_overlap(connection, earlier, later)
        both = fetch(connection.sql(combined_sql(gap, extra))).combine_chunks()
    opened = both["_opened"].combine_chunks()
    table = history_columns(
        both[USER].combine_chunks(),
        opened=opened.flatten().to_numpy(),
        counts=opened.value_lengths().to_numpy().astype(np.int64),
        last_event=both["_ended"].to_numpy(),
        end=end,
    )
    for name in extra:
        table = table.append_column(name, both[name])
    return later.over(table)


def _refuse_overlap(connection: duckdb.DuckDBPyConnection, earlier: History, later: History) -> None:
    """Refuse halves that are neither of different users nor one after the other."""
    if earlier.at == later.at:
        user = identifier(USER)
        both = connection.sql(f"SELECT count(*) FROM earlier JOIN later USING ({user})").fetchall()[0][0]
        if both:
            raise ValueError(
                f"{both} users are in both histories of the cutoff {later.at}; "
                "give different users, or split the log in time and summarize the earlier half at its own end"
            )
        return
    if earlier.at > later.at:
        raise ValueError(f"the earlier history's cutoff {earlier.at} is after the later one's {later.at}; swap the two")
    begin = pc.min(later.table[FIRST]).as_py()
    # On the clock of days the cutoff's own day may be split: its halves are one activity.
    boundary = earlier.at.normalize() if earlier.activity == "day" else earlier.at + pd.Timedelta(microseconds=1)
    if begin is not None and begin < boundary:
        raise ValueError(
            f"the later history starts at {begin}, before the cutoff {earlier.at} of the earlier one; "
            "give it only the events after that cutoff, or summarize different users at the same cutoff"
        )
