"""Features of the events, in SQL: one query a cutoff over the rows up to it, one row a user.

In: a log, a history at its cutoff, and what is asked for. Out: one float a user of the history, NaN where it is not
known. Rows are aggregated where they are, in hash tables and one sort that DuckDB can spill; no list of events is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bayesdecay.data.activities import clock_end, seen_sql
from bayesdecay.data.events import Events
from bayesdecay.data.feature_names import Asked
from bayesdecay.data.ids import positions
from bayesdecay.data.leakage import refuse_later
from bayesdecay.data.record import History
from bayesdecay.data.sql import fetch, identifier, text
from bayesdecay.names import KIND, TIME, USER
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["event_features"]

_U, _TIME = identifier(USER), identifier(TIME)
_LATEST = "latest"
_MICROSECONDS_PER_MINUTE = 60_000_000


def event_features(history: History, log: Events, asked: Sequence[Asked]) -> dict[str, np.ndarray]:
    """Compute features of the events of every user of a history.

    Parameters
    ----------
    history
        Tells the users, the cutoff, the clock (that of its unit of activity) and the session gap.
    log
        The log that it comes from.
    asked
        Features that have ``sql``.

    Returns
    -------
    dict of str to numpy.ndarray
        Each float64[user], in the order of the history. Sums of floats may differ in the last digit with the order of
        the log's rows.

    Raises
    ------
    LeakageError
        If the query has seen an event after the cutoff.
    ValueError
        If a user of the history is not in the log.
    """
    # Not log.query: a kind or column may be called "{log}".
    seen = seen_sql(history.at).replace("{log}", f"({log.select})")
    table = fetch(log.source.run(_query(history, seen, asked)))
    refuse_later(f"the features {', '.join(one.name for one in asked)}", table[_LATEST], history.at)
    rows = positions(history.table[USER], table[USER])
    strangers = history.table[USER].filter(pa.array(rows < 0))
    if len(strangers):
        raise ValueError(
            f"{len(strangers)} users of the history (such as {strangers[0].as_py()!r}) have no event in the log up to "
            f"{history.at}; give the log that the history was summarized from"
        )
    values = table.take(pa.array(rows))
    return {one.name: values[_column(place)].to_numpy().astype(np.float64) for place, one in enumerate(asked)}


def _query(history: History, seen: str, asked: Sequence[Asked]) -> str:
    """Select a row a user: the features, and the last instant that they rest on."""
    values = {(one.target, one.feature.numbers): "" for one in asked if "{value}" in str(one.feature.sql)}
    aliases = {value: f"value_{place}" for place, value in enumerate(values)}
    features = "".join(
        f", ({_aggregate(one, history, aliases)})::DOUBLE AS {_column(place)}" for place, one in enumerate(asked)
    )
    return f"""
        SELECT {_U}, make_timestamp(max(instant)) AS {_LATEST}{features}
        FROM ({_rows(history, seen, asked, aliases)}) GROUP BY {_U}"""


def _rows(history: History, seen: str, asked: Sequence[Asked], aliases: dict[tuple[str | None, bool], str]) -> str:
    """Select the events with what the aggregates read, under names of our own: a column may be called "instant"."""
    clock = f"epoch_us({_TIME}::DATE::TIMESTAMP)" if history.activity == "day" else f"epoch_us({_TIME})"
    read = {"instant": f"epoch_us({_TIME})", "clock": clock, "day": f"{_TIME}::DATE"}
    if any("before" in str(one.feature.sql) for one in asked):
        read["before"] = f"lag(epoch_us({_TIME})) OVER follows"
        read["clock_before"] = f"lag({clock}) OVER follows"
    if any("{of_kind}" in str(one.feature.sql) for one in asked):
        read["kind"] = identifier(KIND)
    for (column, numbers), alias in aliases.items():
        raw = identifier(str(column))
        number = f"TRY_CAST({raw} AS DOUBLE)"
        read[alias] = f"CASE WHEN isfinite({number}) THEN {number} END" if numbers else raw
    selected = ", ".join(f"{value} AS {name}" for name, value in read.items())
    return f"SELECT {_U}, {selected} FROM ({seen}) WINDOW follows AS (PARTITION BY {_U} ORDER BY {_TIME})"


def _aggregate(one: Asked, history: History, aliases: dict[tuple[str | None, bool], str]) -> str:
    """Write one feature as an aggregate over the rows of a user."""
    end = clock_end(history.at, history.activity)
    window = None if np.isinf(one.window) else round(one.window * MICROSECONDS_PER_DAY)
    return str(one.feature.sql).format(
        within="true" if window is None else f"{end} - clock < {window}",
        before_within="true" if window is None else f"{end} - clock_before < {window}",
        of_kind=f"kind = {text(str(one.target))}",
        value=aliases.get((one.target, one.feature.numbers)),
        end=end,
        gap=round(history.session_gap * MICROSECONDS_PER_DAY),
        per_day=MICROSECONDS_PER_DAY,
        per_minute=_MICROSECONDS_PER_MINUTE,
    )


def _column(place: int) -> str:
    """Name of a feature inside the query, where its own could be any text."""
    return f"feature_{place}"
