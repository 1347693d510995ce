"""Many columns that mean something only together, such as a text's embedding: their principal components.

In: the columns of a table that a pattern names. Out: as few components as hold most of their variance, standardised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.errors import DataError, unknown_name

__all__ = ["Embedding"]

Floats = NDArray[np.float64]

# Components are kept until they hold this share of the variance; what lies beyond is mostly noise.
_SHARE = 0.95
_MOST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The columns, their centre (column,) and the components (component, column), scaled to a variance of one."""

    columns: tuple[str, ...]
    center: Floats
    components: Floats
    held: float

    @classmethod
    def learn(cls, pattern: str, table: pd.DataFrame) -> Embedding:
        """Learn from the rows of a table where all columns are known.

        Raises
        ------
        DataError
            If a column is not of numbers, a value infinite, or fewer than two different rows are known.
        ValueError
            If no column has such a name.
        """
        columns = tuple(str(name) for name in table.columns if fnmatchcase(str(name), pattern))
        if not columns:
            raise unknown_name("pattern of embedding columns", pattern, map(str, table.columns))
        wrong = [name for name in columns if not pd.api.types.is_numeric_dtype(table[name])]
        if wrong:
            raise DataError(f"snapshots: {', '.join(wrong[:5])} of the embedding {pattern!r} holds no numbers")
        values = _known_or_nan(columns, table)
        values = values[~np.isnan(values).any(axis=1)]
        if len(values) < 2 or (np.ptp(values, axis=0) == 0).all():
            raise DataError(f"snapshots: the embedding {pattern!r} is the same, or missing, in every row; leave it out")
        center = values.mean(axis=0)
        size, directions = np.linalg.eigh(np.cov(values - center, rowvar=False, ddof=0).reshape(len(columns), -1))
        size, directions = size[::-1], directions[:, ::-1]
        held = np.cumsum(size) / size.sum()
        # A direction that hardly varies would be blown up by its scale.
        count = min(int(np.searchsorted(held, _SHARE)) + 1, _MOST, int((size > 1e-9 * size[0]).sum()))
        components = (directions[:, :count] / np.sqrt(size[:count])).T
        return cls(columns=columns, center=center, components=components, held=float(held[count - 1]))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the components, the one with the largest variance first."""
        return tuple(f"embedding_{i + 1}" for i in range(len(self.components)))

    def standardised(self, table: pd.DataFrame) -> Floats:
        """Components (row, component) of a table, NaN where a column is missing.

        Raises
        ------
        DataError
            If a value is infinite.
        ValueError
            If a column is not there.
        """
        for name in self.columns:
            if name not in table:
                raise unknown_name("embedding column", name, map(str, table.columns))
        return (_known_or_nan(self.columns, table) - self.center) @ self.components.T

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        arrays = {"center": self.center.tolist(), "components": self.components.tolist()}
        return {"columns": list(self.columns), "held": self.held, **arrays}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Embedding:
        """Read back what :meth:`to_dict` gave."""
        arrays = {name: np.array(plain[name], dtype=np.float64) for name in ("center", "components")}
        return cls(columns=tuple(plain["columns"]), held=plain["held"], **arrays)


def _known_or_nan(columns: tuple[str, ...], table: pd.DataFrame) -> Floats:
    """Values (row, column), NaN where missing; infinite ones are refused."""
    values = table[list(columns)].to_numpy(dtype=np.float64)
    infinite = [name for name, some in zip(columns, np.isinf(values).any(axis=0), strict=True) if some]
    if infinite:
        raise DataError(f"snapshots: {', '.join(infinite[:5])} of the embedding is infinite in some rows")
    return values
