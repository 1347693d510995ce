"""An experiment: who was given what, and what came of it.

One row a user: the arm given, the outcomes, the features that were known before, and the probability with which the
user could have been given each arm. Where nobody drew lots, it says in everything made of it that it is no evidence of
a cause. :func:`~bayesdecay.data.experiment_table.read_experiment` makes it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.data.balance import Balance, balance, overlap
from bayesdecay.data.card import card
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import unknown_name
from bayesdecay.names import ARM, USER

__all__ = ["Experiment"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiment:
    """Users, the arm that each was given, and what came of it.

    Attributes
    ----------
    table : DataFrame
        One row a user: ``user``, ``arm``, the outcomes and the features.
    arms : tuple
        The arms, the control first, the others in the order of their names.
    outcomes, features : tuple of str
        Their columns in the table.
    given : array of int [user]
        The arm given, as its place in ``arms``.
    propensity : array of float [user, arm]
        Probability with which the user would be given each arm.
    randomised : bool
        Whether lots were drawn.
    origin : str
        Where the propensities are from: ``"observed shares"``, ``"design"`` or ``"estimated"``.
    snapshots : Snapshots or None
        The same users in the same order with their histories, if it was read from snapshots.
    """

    table: pd.DataFrame
    arms: tuple[Hashable, ...]
    outcomes: tuple[str, ...]
    features: tuple[str, ...]
    given: NDArray[np.int64]
    propensity: NDArray[np.float64]
    randomised: bool
    origin: str
    snapshots: Snapshots | None = None

    def __len__(self) -> int:
        """Count the users."""
        return len(self.table)

    @property
    def control(self) -> Hashable:
        """The arm that is the control."""
        return self.arms[0]

    @property
    def causal(self) -> bool:
        """Whether differences between the arms are evidence of what the arms do."""
        return self.randomised

    @property
    def caveat(self) -> str:
        """What has to be said with every number made of it; empty if lots were drawn."""
        if self.randomised:
            return ""
        return (
            "Nobody drew lots for the arms: this is a comparison of users who were alike in "
            f"{', '.join(self.features) or 'nothing that is known'}, and not evidence of a cause."
        )

    def place(self, arm: Hashable) -> int:
        """Place of an arm in ``arms``.

        Raises
        ------
        ValueError
            If there is no such arm.
        """
        if arm not in self.arms:
            raise unknown_name("arm", arm, map(str, self.arms))
        return self.arms.index(arm)

    def outcome(self, name: str) -> NDArray[np.float64]:
        """Take an outcome, float64[user].

        Raises
        ------
        ValueError
            If there is no such outcome.
        """
        if name not in self.outcomes:
            raise unknown_name("outcome", name, self.outcomes)
        return self.table[name].to_numpy(dtype=float)

    def covariates(self) -> pd.DataFrame:
        """Take the features.

        Raises
        ------
        ValueError
            If none was kept.
        """
        if not self.features:
            raise ValueError(
                "experiment: no features were kept; name in features= what was known of the users before the arms "
                "were given"
            )
        return self.table[list(self.features)]

    def aligned(self, values: Any, what: str) -> NDArray[Any]:
        """Bring one value a user into the order of the users.

        Parameters
        ----------
        values
            Series or frame with the users as index, or an array in the order of the table.
        what
            What to call it in messages.

        Raises
        ------
        ValueError
            If a user is missing or there several times, or the length is another.
        """
        if not isinstance(values, pd.Series | pd.DataFrame):
            array = np.asarray(values)
            if not array.ndim or len(array) != len(self):
                raise ValueError(
                    f"{what} has the shape {array.shape}, the experiment has {len(self):,} users; give one a user"
                )
            return array
        if values.index.has_duplicates:
            twice = values.index[values.index.duplicated()][0]
            raise ValueError(f"{what} has several rows for the user {twice!r}; give each user one")
        rows = values.index.get_indexer(pd.Index(self.table[USER]))
        if (rows < 0).any():
            lost = self.table[USER][rows < 0].tolist()
            raise ValueError(
                f"{what} has no row for {len(lost):,} users (such as {lost[0]!r}); its index must hold the users, "
                "or give an array in the order of the experiment's table"
            )
        return values.to_numpy()[rows]

    def select(self, keep: NDArray[np.bool_]) -> Experiment:
        """Keep some users, as for a half to learn from and a half to judge by; the propensities stay theirs.

        Parameters
        ----------
        keep
            bool[user].

        Raises
        ------
        ValueError
            If it is not one truth value a user, or an arm is left without users.
        """
        if keep.dtype != bool or keep.shape != (len(self),):
            raise ValueError(f"expected bool[{len(self)}], one a user, got {keep.dtype}{list(keep.shape)}")
        counts = np.bincount(self.given[keep], minlength=len(self.arms))
        if not counts.all():
            raise ValueError(f"experiment: the arm {self.arms[counts.argmin()]!r} is left without users; keep more")
        table = self.table[keep].reset_index(drop=True)
        snapshots = self.snapshots and self.snapshots.select(keep)
        return replace(self, table=table, given=self.given[keep], propensity=self.propensity[keep], snapshots=snapshots)

    def summary(self) -> pd.DataFrame:
        """Count the users and give the mean of each outcome, a row an arm."""
        groups = self.table.groupby(ARM, sort=False)
        table = groups[list(self.outcomes)].mean().assign(users=groups.size())
        return table.loc[list(self.arms), ["users", *self.outcomes]]

    def balance(self) -> Balance:
        """Compare the arms in what was known before: see :class:`~bayesdecay.data.balance.Balance`."""
        return balance(self)

    def overlap(self) -> pd.DataFrame:
        """Tell how well the features predict the arm: see :func:`~bayesdecay.data.balance.overlap`."""
        return overlap(self)

    def _repr_html_(self) -> str:
        facts = {"users": f"{len(self):,}", "control": str(self.control), "propensities": self.origin}
        return card("Experiment", facts | ({"caveat": self.caveat} if self.caveat else {})) + self.summary().to_html()
