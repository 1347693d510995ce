r"""From events to activities, in SQL: what counts once, and one row a user of it.

In: the rows (user, time, ...) up to the cutoff. Out: one row a user with the activities
:math:`0 = t_0 < t_1 < \dots < t_n \le T` since the acquisition.

Every unit is the same rule, "an event opens an activity if it lies more than a gap after the one before",
on another clock: a *day* is the event's midnight and a gap of zero, an *event* its instant and a gap of zero,
a *session* its instant and the session gap. The log is sorted in a window, which DuckDB can spill to disk, and only
the activities are gathered into lists, which it cannot: a list of raw clicks would be the larger by far.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bayesdecay.data.sql import identifier, instant, texts
from bayesdecay.errors import unknown_name
from bayesdecay.names import FIRST, GROUP, KIND, LAST, LAST_EVENT, SUM_TIMES, TIME, TIMES, USER, N, T
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = [
    "ACTIVITY_UNITS",
    "activities_sql",
    "check_activity",
    "clock_end",
    "combined_sql",
    "group_and_covariates",
    "history_sql",
    "known_at_sql",
    "seen_sql",
]

ACTIVITY_UNITS = ("day", "session", "event")
_U, _TIME = identifier(USER), identifier(TIME)
_MIDNIGHT, _INSTANT = f"epoch_us({_TIME}::DATE::TIMESTAMP)", f"epoch_us({_TIME})"


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


def activities_sql(seen: str, activity: str, gap: int) -> str:
    """Select one row a user: when its activities ``_opened``, and its ``last_event`` [microseconds since 1970].

    Parameters
    ----------
    seen
        Query of the rows that count.
    activity
        ``"day"``, ``"session"`` or ``"event"``.
    gap
        Session gap [microseconds].
    """
    clock = _MIDNIGHT if activity == "day" else _INSTANT
    opens = f"before IS NULL OR x - before > {gap if activity == 'session' else 0}"
    return f"""
        WITH clocked AS (
            SELECT {_U}, {clock} AS x, {_INSTANT} AS instant,
                   lag({clock}) OVER (PARTITION BY {_U} ORDER BY {_TIME}) AS before
            FROM ({seen})
        )
        SELECT {_U}, list(x ORDER BY x) FILTER (WHERE {opens}) AS _opened, max(instant) AS last_event
        FROM clocked GROUP BY {_U}"""


def history_sql(activities: str, end: int, extra: Sequence[str] = ()) -> str:
    """Select a history's columns from activities.

    All sums are of integers and are divided once, so that they do not depend on the order of the additions.

    Parameters
    ----------
    activities
        Query that gives ``user, _opened, last_event`` (see :func:`activities_sql`) and the extra columns.
    end
        End of the observation [microseconds since 1970].
    extra
        Further columns to keep.
    """
    kept = "".join(f", {identifier(name)}" for name in extra)
    # Sum of (t - t[1]) as sum(t) - len(t) t[1]: a list's sum is a HUGEINT and cannot overflow.
    return f"""
        SELECT {_U}, len(_opened)::BIGINT - 1 AS {identifier(N)},
               make_timestamp(_opened[1]) AS {identifier(FIRST)}, make_timestamp(_opened[-1]) AS {identifier(LAST)},
               make_timestamp(last_event) AS {identifier(LAST_EVENT)},
               ({end} - _opened[1])::DOUBLE / {MICROSECONDS_PER_DAY} AS {identifier(T)},
               (list_sum(_opened) - len(_opened)::HUGEINT * _opened[1])::DOUBLE / {MICROSECONDS_PER_DAY}
                   AS {identifier(SUM_TIMES)},
               list_transform(_opened[2:], lambda t: t - _opened[1]) AS {identifier(TIMES)}{kept}
        FROM ({activities}) ORDER BY {_U}"""


def combined_sql(gap: int, extra: Sequence[str] = ()) -> str:
    """Select activities, as :func:`activities_sql` does, of the tables ``earlier`` and ``later``, one after the other.

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
               greatest(e._ended, l._ended) AS last_event{kept}
        FROM e FULL JOIN l ON e.{_U} = l.{_U}"""


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
        SELECT {_U}{values} FROM ({seen}) JOIN edge USING ({_U}, {_TIME}) GROUP BY {_U}"""


def group_and_covariates(group: str | None, covariates: Sequence[str]) -> dict[str, str]:
    """Expressions of a history's extra columns: the group as text, covariates as numbers or NULL where they are not."""
    grouped = {} if group is None else {GROUP: f"{identifier(group)}::VARCHAR"}
    numbers = {name: f"TRY_CAST({identifier(name)} AS DOUBLE)" for name in covariates}
    return grouped | {name: f"CASE WHEN isfinite({value}) THEN {value} END" for name, value in numbers.items()}
