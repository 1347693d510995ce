"""From events to activities, in SQL: what counts once.

In: the rows (user, time, ...) up to the cutoff. Out: visits in order, of which a history is made, or the activities of
two histories, one after the other.

What is sorted are *visits*, each surely one activity: the single events, or those of one user on one day put together,
where that leaves much less to sort. Then every unit is the same rule, "a visit opens an activity if it
began more than a gap after the end of the one before": the gap is zero for days, which begin at midnight, and for
events. Grouping and sorting spill to disk; DuckDB's lists, which do not, are not used:
:mod:`~bayesdecay.data.reduction` reads the sorted stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bayesdecay.data.sql import identifier, instant, texts
from bayesdecay.errors import unknown_name
from bayesdecay.names import FIRST, GROUP, KIND, LAST_EVENT, TIME, TIMES, USER

__all__ = [
    "ACTIVITY_UNITS",
    "check_activity",
    "clock_end",
    "combined_sql",
    "crowded_days_sql",
    "events_and_days_sql",
    "group_and_covariates",
    "known_at_sql",
    "seen_sql",
    "visits_sql",
]

ACTIVITY_UNITS = ("day", "session", "event")
_U, _TIME = identifier(USER), identifier(TIME)


def check_activity(activity: str) -> str:
    """Let a known unit of activity pass."""
    if activity not in ACTIVITY_UNITS:
        raise unknown_name("activity", activity, ACTIVITY_UNITS)
    return activity


def clock_end(at: pd.Timestamp, activity: str) -> int:
    """End of the observation on the unit's clock [microseconds since 1970]: for days the cutoff's midnight."""
    end = at.normalize() if activity == "day" else at
    return int((end - pd.Timestamp(0)) // pd.Timedelta(microseconds=1))


def seen_sql(at: pd.Timestamp, kinds: Sequence[str] | None = None) -> str:
    """Select the rows of ``{log}`` at or before the cutoff, of some kinds only if told."""
    only = "" if kinds is None else f" AND {identifier(KIND)} IN ({texts(kinds)})"
    return f"SELECT * FROM {{log}} WHERE {_TIME} <= {instant(at)}{only}"


def visits_sql(seen: str, activity: str, *, crowded: bool) -> str:
    """Select visits, sorted by user and time: ``user, began`` and, unless they are instants, ``ended``.

    Parameters
    ----------
    seen
        Query of the rows that count.
    activity
        ``"day"``, ``"session"`` or ``"event"``.
    crowded
        Whether a user's events of one day are to be put together before they are sorted.
    """
    if activity != "day":
        return f"SELECT {_U}, {_TIME} AS began FROM ({seen}) ORDER BY 1, 2"
    if not crowded:
        return f"SELECT {_U}, {_TIME}::DATE AS began, {_TIME} AS ended FROM ({seen}) ORDER BY 1, 3"
    return f"""
        SELECT {_U}, {_TIME}::DATE AS began, max({_TIME}) AS ended
        FROM ({seen}) GROUP BY 1, 2 ORDER BY 1, 2"""


def events_and_days_sql(seen: str) -> str:
    """Count the events and the active days of a log's first million rows."""
    rows = f"SELECT {_U}, {_TIME}::DATE AS active FROM ({seen}) LIMIT 1000000"
    return f"SELECT count(*), count(DISTINCT ({_U}, active)) FROM ({rows})"


def crowded_days_sql(most: int) -> str:
    """Select users with more than ``most`` rows on one day: user, rows and date of the busiest, rows of all such days.

    The busiest user comes first.
    """
    days = f"SELECT {_U}, {_TIME}::DATE AS active, count(*) AS n FROM {{log}} GROUP BY 1, 2 HAVING count(*) > {most}"
    return f"SELECT {_U}, max(n), arg_max(active, n), sum(n) FROM ({days}) GROUP BY 1 ORDER BY 2 DESC, 1"


def combined_sql(gap: int, extra: Sequence[str] = ()) -> str:
    """Select the activities of the tables ``earlier`` and ``later``, one after the other, a row a user in order.

    Columns ``user``, ``_opened`` (when the activities began, the acquisition among them), ``_ended`` (the last event)
    [microseconds since 1970] and the further ones.

    The later part's first activity is none if it goes on with the earlier part's last one: on the same day, or in the
    same session.

    Parameters
    ----------
    gap
        Session gap [microseconds]; 0 for days, where the same day has the same midnight, and for events.
    extra
        Further columns; the earlier part's value counts.
    """
    absolute = (
        f"SELECT *, epoch_us({identifier(LAST_EVENT)}) AS _ended, epoch_us({identifier(FIRST)}) AS _began, "
        f"list_transform(list_prepend(0::BIGINT, {identifier(TIMES)}), lambda t: t + _began) AS _opened"
    )
    # A day's opening is its midnight, before its own events: "goes on" covers that and a session's gap alike.
    goes_on = f"l._began <= greatest(e._opened[-1], {'e._ended + ' + str(gap) if gap else 'e._opened[-1]'})"
    kept = "".join(f", coalesce(e.{name}, l.{name}) AS {name}" for name in map(identifier, extra))
    return f"""
        WITH e AS ({absolute} FROM earlier), l AS ({absolute} FROM later)
        SELECT coalesce(e.{_U}, l.{_U}) AS {_U},
               CASE WHEN l._opened IS NULL THEN e._opened WHEN e._opened IS NULL THEN l._opened
                    WHEN {goes_on} THEN list_concat(e._opened, l._opened[2:])
                    ELSE list_concat(e._opened, l._opened) END AS _opened,
               greatest(e._ended, l._ended) AS _ended{kept}
        FROM e FULL JOIN l ON e.{_U} = l.{_U} ORDER BY 1"""


def known_at_sql(seen: str, columns: dict[str, str], which: str) -> str:
    """Select, a row a user, what the columns say at its first or last event: ``user`` and the names given.

    Where several rows share that instant the smallest known value counts, whatever the order of the log.

    Parameters
    ----------
    seen
        Query of the rows that count.
    columns
        SQL expression of every value, by the name it gets.
    which
        ``"first"`` or ``"last"``.
    """
    edge = "min" if which == "first" else "max"
    values = "".join(f", min({value}) AS {identifier(name)}" for name, value in columns.items())
    return f"""
        WITH edge AS (SELECT {_U}, {edge}({_TIME}) AS {_TIME} FROM ({seen}) GROUP BY {_U})
        SELECT {_U}{values} FROM ({seen}) JOIN edge USING ({_U}, {_TIME}) GROUP BY {_U} ORDER BY {_U}"""


def group_and_covariates(group: str | None, covariates: Sequence[str]) -> dict[str, str]:
    """Expressions of a history's extra columns: the group as text, covariates as numbers or NULL where they are not."""
    grouped = {} if group is None else {GROUP: f"{identifier(group)}::VARCHAR"}
    numbers = {name: f"TRY_CAST({identifier(name)} AS DOUBLE)" for name in covariates}
    return grouped | {name: f"CASE WHEN isfinite({value}) THEN {value} END" for name, value in numbers.items()}
