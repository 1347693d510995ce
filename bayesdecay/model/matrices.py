"""The matrices that a formula's terms make of snapshots: what every reactivation and effect likelihood reads.

In: what :meth:`bayesdecay.model.terms.Terms.design` computes. Out: the same for some rows, or with equal rows merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Design"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Matrices of some snapshots, standardised.

    ``x`` (row, feature), what is missing replaced by its expectation; ``pattern`` (row,) of what was missing and
    ``root`` (pattern, feature, feature) of its covariance, see :mod:`bayesdecay.model.missing`; ``groups`` (row,
    bracket); ``level`` (row, j) values of log interest of ``chance`` (j,), and ``moves`` (row, direction, j), how they
    move with what all users share (:mod:`bayesdecay.model.shared_interest`).
    """

    x: Floats
    pattern: Integers
    root: Floats
    groups: Integers
    level: Floats
    chance: Floats
    moves: Floats

    def rows(self, kept: Any) -> Design:
        """Take some rows."""
        return Design(
            x=self.x[kept],
            pattern=self.pattern[kept],
            root=self.root,
            groups=self.groups[kept],
            level=self.level[kept],
            chance=self.chance,
            moves=self.moves[kept],
        )

    @property
    def mean_level(self) -> Floats:
        """Expected log interest (row,)."""
        return np.asarray(self.level @ self.chance)

    def levels_at(self, shared: Floats) -> Floats:
        """Values (row, j) of log interest, what all users share (direction,) being known."""
        return self.level + np.einsum("rkj,k->rj", self.moves, shared)

    def merged(self, returned: NDArray[np.bool_]) -> tuple[Design, NDArray[np.bool_], Floats]:
        """Merge equal rows with equal outcomes: the distinct ones, their outcomes, and how many share each."""
        columns = np.column_stack([returned, self.groups, self.pattern, self.level, self.x])
        _, first, count = np.unique(columns, axis=0, return_index=True, return_counts=True)
        return self.rows(first), returned[first], count.astype(float)
