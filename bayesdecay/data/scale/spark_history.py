"""A history on Apache Spark: one row a user, computed when it is asked for, where the log is.

In: :class:`~bayesdecay.data.scale.spark_events.SparkEvents`. Out: :class:`SparkHistory`, whose frame has the columns of
a :class:`~bayesdecay.data.record.History`. A sample of it, or all of it where memory takes that, becomes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from bayesdecay.data.activities import clock_end
from bayesdecay.data.card import card
from bayesdecay.data.record import HISTORY_COLUMNS, History
from bayesdecay.data.scale.dialects import DIALECTS
from bayesdecay.data.scale.reduction import INSTANT, REFUSED_ROWS, reduction_sql
from bayesdecay.data.scale.spark_events import SparkEvents
from bayesdecay.data.sql import plain
from bayesdecay.errors import DataError
from bayesdecay.names import GROUP, KIND, TIME, USER
from bayesdecay.units import MICROSECONDS_PER_DAY

__all__ = ["SparkHistory", "summarize_on_spark"]

_SPARK = DIALECTS["spark"]
_USER = _SPARK.identifier(USER)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparkHistory:
    """One row a user, as the log stood at the cutoff, in a Spark frame.

    Nothing is computed before the frame is used, and then each time; ``history.frame.persist()`` keeps it on the
    cluster. A group or covariate that is missing is told when the frame is used.

    Attributes
    ----------
    frame
        Spark frame with the columns of :class:`~bayesdecay.data.record.History`; its rows have no order.
    at, activity, session_gap, group, covariates, kinds
        As in :class:`~bayesdecay.data.record.History`.
    """

    frame: Any
    at: pd.Timestamp
    activity: str
    session_gap: float
    group: str | None = None
    covariates: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check that the frame has the columns."""
        expected = (*HISTORY_COLUMNS, *(() if self.group is None else (GROUP,)), *self.covariates)
        if tuple(self.frame.columns) != expected:
            raise ValueError(f"a history's columns are {', '.join(expected)}; got {', '.join(self.frame.columns)}")

    def repartition(self, n_partitions: int) -> SparkHistory:
        """Spread the users over so many partitions.

        Spark makes partitions by their bytes, and scoring is much work for few bytes: about a minute of one core for a
        million users. Give it a few partitions a core.
        """
        return replace(self, frame=self.frame.repartition(n_partitions, USER))

    def sample(self, n_users: int, *, random_seed: int = 0) -> History:
        """Bring a random sample of the users here, to fit a model to; the whole history is computed for it.

        Parameters
        ----------
        n_users
            How many, all if there are fewer. A fit knows of these users alone: its posterior is as wide as so many
            leave it.
        random_seed
            The same seed gives the same users, however the frame is partitioned: those whose hashes are smallest.

        Raises
        ------
        ValueError
            If no user is asked for.
        """
        if n_users < 1:
            raise ValueError(f"n_users must be at least 1, got {n_users}")
        draw = f"xxhash64({_USER}, CAST({int(random_seed)} AS BIGINT)) AS _draw"
        chosen = self.frame.selectExpr("*", draw).orderBy("_draw", USER).limit(n_users).drop("_draw")
        return self._gathered(chosen)

    def to_history(self) -> History:
        """Bring all users here; memory must take them."""
        return self._gathered(self.frame)

    def described(self, table: pa.Table) -> History:
        """Make a local history of some rows in Arrow, in their order."""
        return History(
            table=plain(pa.table(dict(zip(table.column_names, table.columns, strict=True)))),  # without "not null"
            at=self.at,
            activity=self.activity,
            session_gap=self.session_gap,
            group=self.group,
            covariates=self.covariates,
            kinds=self.kinds,
        )

    def _gathered(self, frame: Any) -> History:
        """Fetch rows, sorted by user."""
        table = frame.toArrow()
        if not table.num_rows:
            raise DataError(f"no event up to the cutoff {self.at}; choose a later cutoff")
        return self.described(table.sort_by(USER))

    def _repr_html_(self) -> str:
        """Show what the history is in a notebook, without computing it."""
        facts: dict[str, object] = {
            "source": "Apache Spark",
            "cutoff (last instant seen)": self.at,
            "activity": self.activity if self.kinds is None else f"{self.activity} of {', '.join(self.kinds)}",
        }
        described = {"group": self.group, "covariates": ", ".join(self.covariates)}
        return card("History", facts | {name: value for name, value in described.items() if value})


def summarize_on_spark(
    log: SparkEvents,
    *,
    at: pd.Timestamp,
    activity: str,
    session_gap: float,
    kinds: Sequence[str] | None,
    group: str | None,
    covariates: Sequence[str],
) -> SparkHistory:
    """Reduce a log on Spark; the arguments are those of :func:`~bayesdecay.data.history.summarize`, checked.

    Raises
    ------
    DataError
        If the log starts after the cutoff.
    """
    end = (at - pd.Timestamp(0)) // pd.Timedelta(microseconds=1)
    if log.span[0] > at:
        raise DataError(f"no event up to the cutoff {at}; the log starts at {log.span[0]}, choose a later cutoff")
    read = {} if group is None else {GROUP: f"CAST({_SPARK.identifier(group)} AS STRING)"}
    read |= {name: _number(name) for name in covariates}
    places = [f"c{place}" for place in range(len(read))]
    values = (f"{value} AS {place}" for place, value in zip(places, read.values(), strict=True))
    rows = log.frame.where(f"{_SPARK.identifier(TIME)} <= {end}")
    if kinds is not None:
        rows = rows.where(f"{_SPARK.identifier(KIND)} IN ({', '.join(map(_SPARK.text, kinds))})")
    rows = rows.selectExpr(_USER, f"{_SPARK.identifier(TIME)} AS {INSTANT}", f"0 AS {REFUSED_ROWS}", *values)
    sql = reduction_sql(
        _SPARK,
        "  SELECT * FROM {rows}",
        activity=activity,
        gap=round(session_gap * MICROSECONDS_PER_DAY),
        end=clock_end(at, activity),
        extra={place: place for place in places},
        more={},
    )
    # No word of the user's is in this text, in which Spark would take a brace for a placeholder.
    frame = log.frame.sparkSession.sql(sql, rows=rows)
    told = (_told(place, own, group) for place, own in zip(places, read, strict=True))
    return SparkHistory(
        frame=frame.selectExpr(*map(_SPARK.identifier, HISTORY_COLUMNS), *told),
        at=at,
        activity=activity,
        session_gap=session_gap,
        group=group,
        covariates=tuple(covariates),
        kinds=None if kinds is None else tuple(kinds),
    )


def _number(name: str) -> str:
    """Read a covariate as a number, NULL where it is not finite."""
    number = _SPARK.number(_SPARK.identifier(name))
    return f"CASE WHEN abs({number}) < double('Infinity') THEN {number} END"


def _told(place: str, own: str, group: str | None) -> str:
    """Name a group or covariate, and refuse a user at whose acquisition it is not known, when the row is computed."""
    column, what = (group, "missing") if own == GROUP else (own, "missing or not a finite number")
    message = (
        f"concat({_SPARK.text(f'column {column!r} is {what} at the acquisition of users (such as ')}, "
        f"CAST({_USER} AS STRING), {_SPARK.text('); fill it in the log, or leave it out')})"
    )
    return f"coalesce({place}, raise_error({message})) AS {_SPARK.identifier(own)}"
