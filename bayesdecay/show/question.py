"""What is asked of all candidates alike: which users, at which cutoffs, return within which horizon.

In: a log and the question. Out: for each candidate the histories and snapshots it learns from, and those it is judged
on, the same rows for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import names, units
from bayesdecay.data.events import Date, Events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.errors import DataError
from bayesdecay.model.sampling import Sampling
from bayesdecay.show.candidates import Candidate

__all__ = ["CompareOptions", "Question", "rows_of"]

# Units of activity may disagree on a user whose session ran past midnight on the very border of having lapsed; beyond
# one row in a hundred they disagree on the question.
_MOST_LEFT_OUT = 0.01


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """How candidates are compared.

    Parameters
    ----------
    lapsed_after : duration, optional
        Users are judged who were silent for at least so long before a cutoff; None or 0 for all.
    kinds : sequence of str, optional
        The kinds of events that count, for the past and for a return; all unless told.
    k : int
        Number of folds, for ``by="kfold"``.
    sampling : Sampling, optional
        Draws and chains of both models; each model's own unless told. A fit that did not converge is made once more
        with twice of both.
    draws : int
        Draws of each posterior that a forecast is averaged over.
    random_seed : int, optional
        The same seed gives the same comparison on the same machine.
    allow_unconverged : bool
        Let a candidate be the best although one of its fits did not converge.
    tell : callable
        Called with a line at each step.

    Raises
    ------
    ValueError
        If there are fewer than two folds or no draws.
    """

    lapsed_after: units.Duration | None = "60d"
    kinds: Sequence[str] | None = None
    k: int = 5
    sampling: Sampling | None = None
    draws: int = 400
    random_seed: int | None = None
    allow_unconverged: bool = False
    tell: Callable[[str], None] = _silent

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k must be at least 2, got {self.k}: one fold has no others to learn from")
        if self.draws < 100:
            raise ValueError(f"draws must be at least 100, got {self.draws}: fewer tell little of a tail")
        units.days(self.lapsed_after or 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """A log and what is asked of it; snapshots that two candidates share are made once."""

    log: Events
    cutoffs: Date | Iterable[Date]
    horizon: float
    options: CompareOptions
    made: dict[Any, Snapshots] = field(default_factory=dict)

    def history(self, candidate: Candidate, at: pd.Timestamp) -> History:
        """All users as they stood at a cutoff, as a candidate sees them."""
        return summarize(self.log, at=at, **self._seen_by(candidate))

    def judged(self, candidates: Mapping[str, Candidate]) -> tuple[dict[str, Snapshots], int]:
        """Snapshots that each candidate is judged on, the same rows for all, and how many others there are.

        Raises
        ------
        LeakageError
            If a horizon reaches beyond the log.
        DataError
            If there is no row, or candidates disagree on who had lapsed.
        """
        found = {name: self._snapshots(one, self.cutoffs, None).training() for name, one in candidates.items()}
        keys = {name: pd.MultiIndex.from_frame(told.table[[names.USER, names.AT]]) for name, told in found.items()}
        first, *others = keys.values()
        common, union = first, first
        for other in others:
            common, union = common.intersection(other), union.union(other)
        if not len(common):
            raise DataError("compare: nobody had lapsed at any cutoff; choose later ones, or a shorter lapsed_after")
        if len(union) - len(common) > _MOST_LEFT_OUT * len(union):
            raise DataError(_disagreement(keys, common))
        return {name: rows_of(told, keys[name].isin(common)) for name, told in found.items()}, len(union) - len(common)

    def past(self, candidate: Candidate, at: pd.Timestamp) -> Snapshots:
        """Snapshots that a candidate learns from before it forecasts at a cutoff: all outcomes are known by then."""
        return self._snapshots(candidate, self.past_cutoffs(candidate, at), at).training()

    def past_cutoffs(self, candidate: Candidate, at: pd.Timestamp) -> list[pd.Timestamp]:
        """Cutoffs that a candidate learns from before it forecasts at one, a horizon apart.

        Raises
        ------
        DataError
            If the log begins too late for anybody to have lapsed a horizon earlier.
        """
        begin = self.log.span[0]
        earliest = begin + pd.Timedelta(days=units.days(self.options.lapsed_after or 0))
        cutoffs = [at - pd.Timedelta(days=self.horizon) * (i + 1) for i in range(candidate.past_cutoffs)]
        usable = [cutoff for cutoff in cutoffs if cutoff > earliest]
        if not usable:
            raise DataError(
                f"compare: to forecast at {at:%Y-%m-%d}, users must be learned from who had lapsed by "
                f"{cutoffs[0]:%Y-%m-%d}, and the log begins on {begin:%Y-%m-%d}; choose later cutoffs, a shorter "
                "horizon, or by='kfold'"
            )
        return usable

    def _snapshots(self, candidate: Candidate, cutoffs: Date | Iterable[Date], until: pd.Timestamp | None) -> Snapshots:
        key = (candidate.snapshots_key, repr(cutoffs), until)
        if key not in self.made:
            self.made[key] = snapshots(
                self.log,
                cutoffs=cutoffs,
                horizon=self.horizon,
                lapsed_after=self.options.lapsed_after,
                features=candidate.features,
                columns=candidate.columns,
                brought=candidate.brought,
                observed_until=until,
                **self._seen_by(candidate),
            )
        return self.made[key]

    def _seen_by(self, candidate: Candidate) -> dict[str, Any]:
        return {
            "activity": candidate.activity,
            "session_gap": candidate.session_gap,
            "group": candidate.group,
            "covariates": candidate.covariates,
            "kinds": self.options.kinds,
        }


def rows_of(told: Snapshots, kept: NDArray[np.bool_]) -> Snapshots:
    """Take some rows of snapshots; cutoffs without any, whose histories nothing can be drawn from, are left out."""
    some = told.select(kept)
    return replace(some, histories={at: history for at, history in some.histories.items() if len(history)})


def _disagreement(keys: Mapping[str, pd.MultiIndex], common: pd.MultiIndex) -> str:
    """Say which candidate has how many rows that not all have, and one of them."""
    own = {name: rows.difference(common) for name, rows in keys.items()}
    name = max(own, key=lambda one: len(own[one]))
    user, at = own[name][0]
    return (
        f"compare: candidates must be judged on the same users, and {name!r} has {len(own[name]):,} of "
        f"{len(keys[name]):,} rows that not all of the others have (such as user {user!r} at {at:%Y-%m-%d}); give "
        "them the same activity and session_gap, or units of activity that agree on who had lapsed"
    )
