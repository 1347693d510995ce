r"""Snapshots: users as they stood at cutoffs, and whether they returned within the horizon.

In: a checked log. Out: one row a (user, cutoff) with features of rows at or before the cutoff, the histories they come
from, and :math:`y = 1` if any activity lies in :math:`(at, at + horizon]`. This is where the future could leak into a
model, so it is guarded here: features are computed by queries that cannot see a row after the cutoff and tell the last
instant that they did see, an outcome that is not wholly observed is missing, and what the user brings must say when it
was known.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay.data.activities import known_at_sql, seen_sql
from bayesdecay.data.brought import Brought
from bayesdecay.data.card import card
from bayesdecay.data.events import Date, Events
from bayesdecay.data.feature_names import read_names
from bayesdecay.data.features import DEFAULT_FEATURES
from bayesdecay.data.features import features as features_of
from bayesdecay.data.history import summarize
from bayesdecay.data.ids import Ids, positions
from bayesdecay.data.leakage import refuse_later
from bayesdecay.data.record import History
from bayesdecay.data.sql import fetch, identifier, instant, texts
from bayesdecay.errors import LeakageError
from bayesdecay.names import AT, KIND, RETURNED, TIME, USER
from bayesdecay.units import Duration, cutoff_instant, days, duration_label, durations

__all__ = ["Snapshots", "snapshots"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshots:
    """Users at cutoffs.

    Attributes
    ----------
    table
        One row a (user, cutoff), by cutoff and then by user: ``user``, ``at`` (the last instant seen), the features,
        the columns, and ``returned``, missing where the horizon is not wholly observed.
    histories
        By cutoff, the history of the same users in the same order.
    horizon, lapsed_after
        Lengths [days]; users count as lapsed after that silence, 0 for all users.
    observed_until
        Last instant whose events were looked at.
    features
        Names of the features that were computed; their units stand in
        :func:`~bayesdecay.data.features.features_table`.
    columns
        Names of the columns of the log and of the brought table.
    """

    table: pd.DataFrame
    histories: dict[pd.Timestamp, History]
    horizon: float
    lapsed_after: float
    observed_until: pd.Timestamp
    features: tuple[str, ...]
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse histories of another cutoff."""
        for at, history in self.histories.items():
            if history.at != at:
                raise LeakageError(
                    f"the history under the cutoff {at} is one of {history.at}; summarize the log at that cutoff"
                )

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.table)

    def select(self, keep: np.ndarray) -> Snapshots:
        """Keep some rows and their histories, as for a fold: ``select(folds(taken) != 0)``.

        Parameters
        ----------
        keep
            bool[row].

        Raises
        ------
        ValueError
            If it is not one truth value a row.
        """
        if keep.dtype != bool or keep.shape != (len(self),):
            raise ValueError(f"expected bool[{len(self)}], one a row, got {keep.dtype}{list(keep.shape)}")
        ends = np.cumsum([len(history) for history in self.histories.values()])
        parts = np.split(keep, ends[:-1])
        kept = zip(self.histories.items(), parts, strict=True)
        histories = {at: history.over(history.table.filter(pa.array(part))) for (at, history), part in kept}
        return replace(self, table=self.table[keep].reset_index(drop=True), histories=histories)

    def training(self) -> Snapshots:
        """Let snapshots pass whose outcomes are all known, as a model that learns from them needs.

        Raises
        ------
        LeakageError
            If the horizon of a cutoff reaches beyond what is observed.
        """
        latest = self.observed_until - pd.Timedelta(days=self.horizon)
        late = [str(at) for at in self.histories if at > latest]
        if late:
            raise LeakageError(
                f"the horizon of {duration_label(self.horizon)} after the cutoffs {', '.join(late)} reaches beyond "
                f"{self.observed_until}, until which the log is observed; learn from cutoffs up to {latest}"
            )
        return self

    def of_users(self, users: Ids) -> Snapshots:
        """Keep some users of snapshots at one cutoff, in the order given.

        Raises
        ------
        ValueError
            If a user is not among them, or there are several cutoffs.
        """
        if len(self.histories) != 1:
            raise ValueError(f"users are chosen at one cutoff, got {len(self.histories)} cutoffs")
        ((at, history),) = self.histories.items()
        rows = positions(users, history.table[USER])
        strangers = int((rows < 0).sum())
        if strangers:
            silent = f" and were silent for {duration_label(self.lapsed_after)} by then" if self.lapsed_after else ""
            raise ValueError(
                f"{strangers} of {len(rows)} users are not in the snapshots, which hold those who had been active by "
                f"{at}{silent}"
            )
        own = history.over(history.table.take(pa.array(rows)))
        return replace(self, table=self.table.iloc[rows].reset_index(drop=True), histories={at: own})

    def _repr_html_(self) -> str:
        """Show the snapshots in a notebook."""
        returned = self.table[RETURNED]
        known = int(returned.notna().sum())
        facts: dict[str, object] = {
            "rows": f"{len(self):,}",
            "cutoffs": ", ".join(map(str, self.histories)),
            "lapsed after": duration_label(self.lapsed_after),
            "horizon": duration_label(self.horizon),
            "outcome known": f"{known:,}",
            "returned": f"{int(returned.sum()):,} ({returned.mean():.1%})" if known else "-",
            "features": ", ".join((*self.features, *self.columns)),
        }
        return card("Snapshots", facts)


def snapshots(  # noqa: PLR0913 - all but the log, cutoffs and horizon have a default, and those of summarize are its own
    log: Events,
    *,
    cutoffs: Date | Iterable[Date],
    horizon: Duration,
    lapsed_after: Duration | None = "60d",
    activity: str = "day",
    session_gap: Duration = "30min",
    kinds: Sequence[str] | None = None,
    group: str | None = None,
    covariates: Sequence[str] = (),
    features: Sequence[str] = DEFAULT_FEATURES,
    columns: Sequence[str] = (),
    brought: Any = None,
    observed_until: Date | None = None,
) -> Snapshots:
    """Look at the users as they stood at cutoffs.

    Parameters
    ----------
    log
        What :func:`~bayesdecay.data.events.read_events` gives.
    cutoffs
        One or several; a date without a time of day means the end of that day.
    horizon
        Length of the window after the cutoff; for a bare date it starts after the end of that day.
    lapsed_after
        Keep users without an activity for at least so long before the cutoff; None or 0 keeps all.
    activity, session_gap, kinds, group, covariates
        As in :func:`~bayesdecay.data.history.summarize`, for the histories.
    features
        Names of the library, from the history (``"recency"``, ``"active_30d"``) and from all events up to the cutoff
        whatever kinds count as activities (``"events_view_30d"``, ``"mean_amount"``); NaN where it is not known.
        :func:`~bayesdecay.data.features.features_table` tells all of them.
    columns
        Columns of the log: the value at the user's last event up to the cutoff, of any kind.
    brought
        Table of the user's own features: columns ``user``, ``as_of`` (when the row was known), perhaps ``at`` (the
        cutoff it is for), and the features.
    observed_until
        Last instant of the log that may be looked at; default the end of the log. An outcome whose horizon reaches
        beyond it is missing.

    Raises
    ------
    LeakageError
        If a cutoff lies beyond what is observed, a brought row was known only after its cutoff, or anything else that
        came later was seen.
    ValueError
        If a name is not known or taken, or a cutoff or length cannot be.
    """
    if not isinstance(log, Events):
        raise TypeError("snapshots takes a log that is here; bring a sample of a log on Spark, and read it by itself")
    length = next(iter(durations(horizon).values()))
    silence = 0.0 if lapsed_after is None else days(lapsed_after)
    limit = log.end if observed_until is None else cutoff_instant(observed_until)
    read_names(features, log)  # a wrong name is told before the log is summarized
    own = None if brought is None else Brought.from_table(brought, log.timezone)
    named = (*log.known_columns(columns), *(() if own is None else own.features))
    _refuse_taken((USER, AT, RETURNED, *features), named)
    parts, histories = [], {}
    for at in _instants(cutoffs, limit):
        history = summarize(
            log, at=at, activity=activity, session_gap=session_gap, kinds=kinds, group=group, covariates=covariates
        )
        history = _lapsed(history, silence)
        described = [_described(log, history, features), _latest(log, history, columns)]
        if own is not None:
            described.append(own.at(at, history.table[USER]))
        parts.append(pd.concat(described, axis=1).assign(**{RETURNED: _returned(log, history, length, limit)}))
        histories[at] = history
    return Snapshots(
        table=pd.concat(parts, ignore_index=True),
        histories=histories,
        horizon=length,
        lapsed_after=silence,
        observed_until=limit,
        features=tuple(features),
        columns=named,
    )


def _instants(cutoffs: Date | Iterable[Date], limit: pd.Timestamp) -> list[pd.Timestamp]:
    """Read the cutoffs, in order, and refuse those beyond what is observed.

    A summary at a cutoff beyond the log's end would take silence for granted that nobody has seen.
    """
    given = [cutoffs] if isinstance(cutoffs, str | dt.date) else list(cutoffs)
    instants = sorted({cutoff_instant(at) for at in given})
    if not instants or len(instants) < len(given):
        raise ValueError(f"expected one or several different cutoffs, got {given!r}")
    if instants[-1] > limit:
        raise LeakageError(
            f"the cutoff {instants[-1]} lies beyond {limit}, until which the log is observed; choose an earlier one, "
            "or say with observed_until= that the log is complete for longer"
        )
    return instants


def _refuse_taken(own: Sequence[str], named: Sequence[str]) -> None:
    """Refuse columns that would take a name twice."""
    taken = set(own)
    for name in named:
        if name in taken:
            raise ValueError(f"column {name!r} has the name of another column of the snapshots; rename it")
        taken.add(name)


def _lapsed(history: History, silence: float) -> History:
    """Keep the users without an activity for at least so long [days] before the cutoff."""
    recency = features_of(history, ["recency"])["recency"]
    return history.over(history.table.filter(pa.array(recency >= silence)))


def _described(log: Events, history: History, names: Sequence[str]) -> pd.DataFrame:
    """Make the columns of the user, the cutoff and the features."""
    users = {USER: history.table[USER].to_pandas(), AT: history.at}
    return pd.DataFrame({**users, **features_of(history, names, log=log)})


def _latest(log: Events, history: History, columns: Sequence[str]) -> pd.DataFrame:
    """Take columns of the log as they were at each user's last event up to the cutoff."""
    if not columns:
        return pd.DataFrame(index=range(len(history)))
    # With the time, for the guard; it is the log's own column, and no other has its name.
    values = {name: identifier(name) for name in (*columns, TIME)}
    query = known_at_sql(seen_sql(history.at), values, "last")
    table = fetch(log.query(query))
    refuse_later(f"the columns {', '.join(columns)}", table[TIME], history.at)
    rows = positions(history.table[USER], table[USER])
    return table.take(pa.array(rows)).select(list(columns)).to_pandas()


def _returned(log: Events, history: History, length: float, limit: pd.Timestamp) -> pd.arrays.BooleanArray:
    """Tell who has an activity within the horizon [days] after the cutoff; missing if it is not wholly observed."""
    until = history.at + pd.Timedelta(days=length)
    if until > limit:
        return pd.array([pd.NA] * len(history), dtype="boolean")
    user, time = identifier(USER), identifier(TIME)
    only = "" if history.kinds is None else f" AND {identifier(KIND)} IN ({texts(history.kinds)})"
    within = f"{time} > {instant(history.at)} AND {time} <= {instant(until)}{only}"
    came = fetch(log.query(f"SELECT DISTINCT {user} FROM {{log}} WHERE {within}"))[USER]
    return pd.array(positions(history.table[USER], came) >= 0, dtype="boolean")
