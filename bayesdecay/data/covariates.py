"""Features of any type as columns of numbers, for the checks and helpers that are linear in them.

In: a frame of numbers, truth values and text. Out: a matrix, a column a number or a level.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.errors import DataError

__all__ = ["encoded", "standardized"]

Floats = NDArray[np.float64]

# A text column with more values than this is an id or free text, and a column for each would eat the data.
_MOST_LEVELS = 50


def encoded(features: pd.DataFrame) -> tuple[Floats, list[str]]:
    """Turn features into columns of numbers.

    Parameters
    ----------
    features
        Numbers, truth values, text or categories. A missing number counts as the mean and adds a column that marks
        it; a missing text is a level of its own.

    Returns
    -------
    tuple of numpy.ndarray and list of str
        float64[user, column] in the features' own units, and the columns' names, such as ``"channel=Web"``. Text gives
        a column for each level; a column that does not vary is left out.

    Raises
    ------
    DataError
        If a text column has so many levels that it must be an id.
    """
    columns: dict[str, Floats] = {}
    for name in map(str, features.columns):
        columns |= _columns(name, features[name])
    kept = {name: values for name, values in columns.items() if np.ptp(values) > 0}
    return np.column_stack([np.empty((len(features), 0)), *kept.values()]), list(kept)


def standardized(columns: Floats) -> Floats:
    """Columns with mean 0 and standard deviation 1, float64[user, column]."""
    return np.asarray((columns - columns.mean(axis=0)) / columns.std(axis=0))


def _columns(name: str, values: pd.Series) -> dict[str, Floats]:
    """Columns of one feature, before those that do not vary are left out."""
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        missing = ~np.isfinite(numbers)
        if missing.all():
            return {}
        filled = np.where(missing, numbers[~missing].mean(), numbers)
        return {name: filled, f"{name} missing": missing.astype(float)}
    text = values.astype(object).where(values.notna(), "missing").astype(str)
    levels = sorted(text.unique())
    if len(levels) > _MOST_LEVELS:
        raise DataError(
            f"experiment: feature {name!r} has {len(levels):,} different texts; expected at most {_MOST_LEVELS}: leave "
            "it out, or group its values"
        )
    return {f"{name}={level}": (text == level).to_numpy(dtype=float) for level in levels}
