"""Kinds of activities: how many of each user's were purchases, carts, views, as the log stood at the cutoff.

In: a log with kinds, a history of it, and the kinds in order, the most telling first. Out: :class:`KindCounts`, a
number a user and kind. An activity with events of several kinds is of the first of them in that order: a day with views
and a purchase is a day with a purchase.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from bayesdecay.data.activities import seen_sql
from bayesdecay.data.events import Events
from bayesdecay.data.ids import Ids, positions
from bayesdecay.data.record import History
from bayesdecay.data.sql import fetch, identifier, text
from bayesdecay.errors import DataError
from bayesdecay.names import KIND, OTHER, TIME, USER, N, of_kind
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["KindCounts", "count_kinds"]

_U, _TIME = identifier(USER), identifier(TIME)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KindCounts:
    """How many of each user's activities were of each kind.

    Attributes
    ----------
    history
        The users, and all that is said of their activities.
    kinds
        The kinds, the most telling first.
    counts
        Activities of each user and kind, int64[user, kind], in the order of the history.
    acquisition
        Whether the acquisition is counted too.

    Raises
    ------
    DataError
        If a user's numbers do not add up to its activities.
    ValueError
        If there are fewer than two kinds, or the numbers have another shape.
    """

    history: History
    kinds: tuple[str, ...]
    counts: NDArray[np.int64]
    acquisition: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that are not of these users."""
        if len(self.kinds) < 2:
            raise ValueError(f"kinds tell activities apart, so there must be two or more; got {', '.join(self.kinds)}")
        shape = (len(self.history), len(self.kinds))
        if self.counts.shape != shape or self.counts.dtype != np.int64:
            raise ValueError(f"expected int64{list(shape)}, got {self.counts.dtype}{list(self.counts.shape)}")
        expected = self.history.table[N].to_numpy() + int(self.acquisition)
        wrong = np.flatnonzero((self.counts.sum(axis=1) != expected) | (self.counts < 0).any(axis=1))
        if wrong.size:
            user, found = self.history.table[USER][int(wrong[0])].as_py(), int(self.counts[wrong[0]].sum())
            raise DataError(
                f"the activities of {wrong.size} users are not those of the history (such as user {user!r}: {found} "
                f"counted, {expected[wrong[0]]} in the history); give the log that the history was summarized from"
            )

    def __len__(self) -> int:
        """Count the users."""
        return len(self.history)

    def select(self, users: Ids) -> KindCounts:
        """Keep some users, in the order given.

        Raises
        ------
        ValueError
            If a user is not among them.
        """
        history = self.history.select(users)
        return self._over(history, positions(history.table[USER], self.history.table[USER]))

    def acquired_from(self, date: str | dt.date) -> KindCounts:
        """Keep the users first seen on or after a date, as :meth:`History.acquired_from` does."""
        history = self.history.acquired_from(date)
        return self._over(history, positions(history.table[USER], self.history.table[USER]))

    def to_pandas(self) -> pd.DataFrame:
        """Make a table: ``user``, and ``n_purchase``, ... for each kind."""
        table = pd.DataFrame({USER: self.history.table[USER].to_pandas()})
        return table.assign(**{of_kind(N, kind): self.counts[:, place] for place, kind in enumerate(self.kinds)})

    def _over(self, history: History, rows: np.ndarray) -> KindCounts:
        return KindCounts(history=history, kinds=self.kinds, counts=self.counts[rows], acquisition=self.acquisition)


def count_kinds(log: Events, history: History, kinds: Sequence[str], *, acquisition: bool = False) -> KindCounts:
    """Count how many of each user's activities were of each kind, in DuckDB, with only the result in memory.

    Parameters
    ----------
    log
        The log that the history comes from, read with ``kind=``.
    history
        Tells the users, the cutoff and what counts as one activity.
    kinds
        Kinds of the log, the most telling first, as in ``["purchase", "cart", "view"]``. An activity with events of
        several kinds is of the first of them. Kinds that are not named are counted together as ``"other"``, the last.
    acquisition
        Whether each user's first activity is counted. It is not, unless told: the forecast is of later activities, and
        the first one often is of one kind by the way users come to a shop (they register, they buy). Where it is an
        activity like any other, it adds what the many users tell who have no other.

    Raises
    ------
    TypeError
        If the log is not read here.
    DataError
        If the history is not of this log.
    ValueError
        If a kind is not in the log, the history leaves it out, or the log was read without kinds.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayesdecay.data.events import read_events
    >>> from bayesdecay.data.history import summarize
    >>> frame = pd.DataFrame({"user": ["a", "a", "a"], "time": ["2024-01-01", "2024-01-03", "2024-01-03"]})
    >>> log = read_events(frame.assign(kind=["view", "view", "buy"]), kind="kind")
    >>> count_kinds(log, summarize(log), ["buy", "view"]).to_pandas().to_dict("records")
    [{'user': 'a', 'n_buy': 1, 'n_view': 0}]
    """
    if not isinstance(log, Events):
        raise TypeError(f"kinds are counted in a log that is read here, not in {type(log).__name__}")
    ranked = _ranked(log, history, kinds)
    # Not log.query: a kind may be called "{log}".
    seen = seen_sql(history.at, history.kinds).replace("{log}", f"({log.select})")
    table = fetch(log.source.run(_counts_sql(_activities_sql(history, seen, ranked), len(ranked), acquisition)))
    rows = positions(history.table[USER], table[USER])
    strangers = history.table[USER].filter(pa.array(rows < 0))
    if len(strangers):
        raise DataError(
            f"{len(strangers)} users of the history (such as {strangers[0].as_py()!r}) have no event in the log up to "
            f"{history.at}; give the log that the history was summarized from"
        )
    counts = np.column_stack([table[_column(place)].to_numpy() for place in range(len(ranked))]).astype(np.int64)
    return KindCounts(history=history, kinds=ranked, counts=counts[rows], acquisition=acquisition)


def _ranked(log: Events, history: History, kinds: Sequence[str]) -> tuple[str, ...]:
    """Check the kinds, and add the one of those that are not named."""
    named = log.known_kinds(kinds)
    counted = history.kinds or log.kinds
    left_out = [kind for kind in named if kind not in counted]
    if left_out:
        raise ValueError(f"the history counts {', '.join(counted)} only; leave out {', '.join(left_out)}")
    unnamed = [kind for kind in counted if kind not in named]
    if unnamed and OTHER in counted:
        raise ValueError(
            f"{OTHER!r} is a kind of this log, so what is not named cannot go by that name; name {', '.join(unnamed)} "
            "too"
        )
    return (*named, OTHER) if unnamed else named


def _activities_sql(history: History, seen: str, kinds: Sequence[str]) -> str:
    """Select activities: ``user``, when or which it was, rising, and the rank of the first of its kinds."""
    ranks = " ".join(f"WHEN {text(kind)} THEN {rank}" for rank, kind in enumerate(kinds))
    # What is not named has the last rank; without such kinds nobody comes to ELSE.
    rows = f"SELECT {_U}, {_TIME}, CASE {identifier(KIND)} {ranks} ELSE {len(kinds) - 1} END AS rank FROM ({seen})"
    if history.activity != "session":
        clock = f"{_TIME}::DATE" if history.activity == "day" else _TIME
        return f"SELECT {_U}, {clock} AS activity, min(rank) AS rank FROM ({rows}) GROUP BY 1, 2"
    gap = round(history.session_gap * MICROSECONDS_PER_DAY)
    apart = f"epoch_us({_TIME}) - lag(epoch_us({_TIME})) OVER follows"
    opened = f"SELECT *, coalesce(({apart}) > {gap}, true)::INT AS opens FROM ({rows}) {_FOLLOWS}"
    # The window's frame takes in all rows of one instant, whichever of them was found to open the session.
    numbered = f"SELECT {_U}, rank, sum(opens) OVER follows AS activity FROM ({opened}) {_FOLLOWS}"
    return f"SELECT {_U}, activity, min(rank) AS rank FROM ({numbered}) GROUP BY 1, 2"


_FOLLOWS = f"WINDOW follows AS (PARTITION BY {_U} ORDER BY {_TIME})"


def _counts_sql(activities: str, size: int, acquisition: bool) -> str:
    """Count the activities of each rank, a row a user."""
    first = "arg_min(rank, activity)"
    counts = ", ".join(
        f"count(*) FILTER (WHERE rank = {place}) - {'0' if acquisition else f'({first} = {place})::INT'} "
        f"AS {_column(place)}"
        for place in range(size)
    )
    return f"SELECT {_U}, {counts} FROM ({activities}) GROUP BY {_U}"


def _column(place: int) -> str:
    """Name of a kind inside the query, where its own could be any text."""
    return f"kind_{place}"
