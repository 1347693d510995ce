r"""The library of features: a table of every one, what it says, and how it is computed.

A name in the table is a pattern: ``KIND`` stands for a kind of event in the log, ``COLUMN`` for a column of it,
``WINDOW`` for a duration such as ``30d``, and what is in brackets may be left out. Windows end with the cutoff: for an
event or activity at :math:`t` on the clock of the unit of activity (its midnight for days) and a window of :math:`w`
days, it counts if :math:`T - t < w`, so that seven days end with the cutoff's own day. A feature with a window is the
same feature, computed as if the events within the window were all there are.

Features of the history look at activities, so at the kinds that count as one, from the acquisition on. Features of the
events look at *all* events up to the cutoff, whatever their kind, also before the acquisition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bayesdecay.data.block import Block
from bayesdecay.data.history_features import active, gap_variation, last_gap, mean_gap, ratio, recency

__all__ = ["COLUMN_MARK", "FEATURES", "KIND_MARK", "WINDOW_MARK", "Feature"]

KIND_MARK, COLUMN_MARK, WINDOW_MARK = "KIND", "COLUMN", "WINDOW"
_NEVER = "never; 0 where there is none"
_NO_VALUE = "no value is known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One entry of the library.

    Attributes
    ----------
    meaning, unit
        What it says of a user at a cutoff.
    missing
        When it is not known, and NaN.
    block
        How it is computed from a block of a history and the window [days]; None for features of the events.
    sql
        How it is computed from a user's events: an aggregate over ``instant`` and ``clock`` [microseconds since 1970],
        ``day`` and ``before``, the instant of the event before. ``{within}``, ``{before_within}`` and ``{of_kind}`` are
        conditions, ``{value}`` the column, ``{end}`` the cutoff on the clock, ``{gap}`` the session gap,
        ``{per_day}`` and ``{per_minute}`` their lengths [microseconds]. None for features of the history.
    numbers
        Whether the column must hold numbers.
    """

    meaning: str
    unit: str
    missing: str
    block: Callable[[Block, float], np.ndarray] | None = None
    sql: str | None = None
    numbers: bool = False


FEATURES: Mapping[str, Feature] = {
    "recency": Feature(
        meaning="time since the last activity",
        unit="days",
        missing="never",
        block=lambda users, _: recency(users),
    ),
    "frequency": Feature(
        meaning="activities after the acquisition",
        unit="count",
        missing=_NEVER,
        block=lambda users, _: users.n.astype(float),
    ),
    "tenure": Feature(
        meaning="time since the acquisition",
        unit="days",
        missing="never",
        block=lambda users, _: users.T,
    ),
    "active_WINDOW": Feature(
        meaning="activities within the window, the acquisition included",
        unit="count",
        missing=_NEVER,
        block=active,
    ),
    "activity_rate": Feature(
        meaning="activities after the acquisition per day of tenure; of purchases, the purchase frequency",
        unit="1/day",
        missing="acquired at the cutoff itself, with a tenure of 0",
        block=lambda users, _: ratio(users.n, users.T),
    ),
    "mean_gap": Feature(
        meaning="mean time between activities that follow each other",
        unit="days",
        missing="no activity after the acquisition",
        block=lambda users, _: mean_gap(users),
    ),
    "last_gap": Feature(
        meaning="time between the last two activities",
        unit="days",
        missing="no activity after the acquisition",
        block=lambda users, _: last_gap(users),
    ),
    "gap_cv": Feature(
        meaning="regularity: standard deviation of the gaps between activities over their mean; 0 is a clockwork, 1 "
        "what chance alone would do, above 1 comes in bursts",
        unit="1",
        missing="fewer than two activities after the acquisition",
        block=lambda users, _: gap_variation(users),
    ),
    "overdue": Feature(
        meaning="recency over the mean gap: how many usual gaps the present silence is long",
        unit="1",
        missing="no activity after the acquisition",
        block=lambda users, _: ratio(recency(users), mean_gap(users)),
    ),
    "active_days[_WINDOW]": Feature(
        meaning="different calendar days with an event of any kind",
        unit="count",
        missing=_NEVER,
        sql="count(DISTINCT day) FILTER (WHERE {within})",
    ),
    "events[_WINDOW]": Feature(
        meaning="events of any kind (rows of the log)",
        unit="count",
        missing=_NEVER,
        sql="count_if({within})",
    ),
    "events_KIND[_WINDOW]": Feature(
        meaning="events of one kind",
        unit="count",
        missing=_NEVER,
        sql="count_if({within} AND {of_kind})",
    ),
    "share_KIND[_WINDOW]": Feature(
        meaning="share of one kind among the events",
        unit="1",
        missing="no event within the window",
        sql="count_if({within} AND {of_kind}) / nullif(count_if({within}), 0)",
    ),
    "recency_KIND": Feature(
        meaning="time since the last event of one kind",
        unit="days",
        missing="no event of the kind so far",
        sql="({end} - max(clock) FILTER (WHERE {of_kind})) / {per_day}",
    ),
    "time_spent[_WINDOW]": Feature(
        meaning="time between events that follow each other within the session gap, an estimate where the log has no "
        "durations: the last event of a session counts nothing",
        unit="minutes",
        missing="no event so far has a time of day; else 0 where there is none",
        sql="CASE WHEN max(instant - epoch_us(day::TIMESTAMP)) > 0 THEN coalesce(sum(instant - before) FILTER "
        "(WHERE {within} AND {before_within} AND instant - before <= {gap}), 0) / {per_minute} END",
    ),
    "amount[_WINDOW]": Feature(
        meaning="sum of the amounts",
        unit="as in the log",
        missing=_NEVER,
        sql="coalesce(fsum({value}) FILTER (WHERE {within}), 0)",
        numbers=True,
    ),
    "sum_COLUMN[_WINDOW]": Feature(
        meaning="sum of a column of numbers; of view durations, the time spent",
        unit="as in the log",
        missing=_NEVER,
        sql="coalesce(fsum({value}) FILTER (WHERE {within}), 0)",
        numbers=True,
    ),
    "mean_COLUMN[_WINDOW]": Feature(
        meaning="mean of a column of numbers, such as mean_amount, over the events where it is known",
        unit="as in the log",
        missing=_NO_VALUE,
        sql="favg({value}) FILTER (WHERE {within})",
        numbers=True,
    ),
    "max_COLUMN[_WINDOW]": Feature(
        meaning="largest value of a column of numbers",
        unit="as in the log",
        missing=_NO_VALUE,
        sql="max({value}) FILTER (WHERE {within})",
        numbers=True,
    ),
    "last_COLUMN": Feature(
        meaning="value of a column of numbers at the last event where it is known; of several at that instant, the "
        "smallest",
        unit="as in the log",
        missing=_NO_VALUE,
        sql="arg_max({value}, (instant, -{value}))",
        numbers=True,
    ),
    "distinct_COLUMN[_WINDOW]": Feature(
        meaning="different values of a column of any type, such as items or categories",
        unit="count",
        missing=_NEVER,
        sql="count(DISTINCT {value}) FILTER (WHERE {within})",
    ),
}
