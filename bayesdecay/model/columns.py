"""From the terms of a formula and a table of snapshots to numbers: what a fit learns of its columns, and keeps.

In: terms, and a table. Out: a standardised matrix (row, column) in which a cell is NaN where something that it needs is
missing; later data gets the same matrix, on the scale of the fit's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.errors import DataError, unknown_name
from bayesdecay.model.expression import FUNCTIONS, INTERCEPT, columns_of, read_terms

__all__ = ["Columns", "group_of", "missing_rows"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How a part of a formula becomes a matrix: its terms, the levels of the categories, centre and scale.

    ``labels`` are the names of the matrix's columns, ``term_of`` the term that each belongs to; ``levels`` the values
    of each column of text.
    """

    terms: str
    labels: tuple[str, ...]
    term_of: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    center: Floats
    scale: Floats

    @classmethod
    def learn(cls, terms: str, table: pd.DataFrame) -> Columns:
        """Learn the columns of a table, from the rows where they are known.

        Raises
        ------
        DataError
            If a feature is infinite in some rows, missing in all, or the same in all.
        ValueError
            If a feature is unknown.
        """
        levels = _levels(columns_of(read_terms(terms)), table)
        empty = [name for name, values in levels.items() if not values]
        if empty:
            raise DataError(f"snapshots: {', '.join(empty)} is missing in every row; leave it out of the formula")
        matrix, term_of = _matrix(terms, table, levels)
        values = matrix.to_numpy(dtype=np.float64)
        known = np.isfinite(values).any(axis=0)
        unknown = [str(name) for name, some in zip(matrix.columns, known, strict=True) if not some]
        if unknown:
            raise DataError(f"snapshots: {', '.join(unknown)} is missing in every row; leave it out of the formula")
        center, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        # A column of text with a single value makes no column of numbers at all.
        constant = [str(term) for term in read_terms(terms) if str(term) not in (INTERCEPT, *term_of)]
        # Rounding leaves 1e-16 of a constant such as 0.1.
        same = scale <= 1e-14 * np.abs(center)
        constant += [str(name) for name, alike in zip(matrix.columns, same, strict=True) if alike]
        if constant:
            raise DataError(f"snapshots: {', '.join(constant)} is the same in every row; leave it out of the formula")
        labels = tuple(map(str, matrix.columns))
        return cls(terms=terms, labels=labels, term_of=term_of, levels=levels, center=center, scale=scale)

    def standardised(self, table: pd.DataFrame) -> Floats:
        """Matrix (row, column) of a table, on the scale of the fit's data, NaN where something is missing.

        Raises
        ------
        DataError
            If a feature is infinite in some rows, or a column of text has a value that the fit has not seen.
        """
        matrix, _ = _matrix(self.terms, table, self.levels)
        return (matrix[list(self.labels)].to_numpy(dtype=np.float64) - self.center) / self.scale

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {
            "terms": self.terms,
            "labels": list(self.labels),
            "term_of": list(self.term_of),
            "levels": {name: list(values) for name, values in self.levels.items()},
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Columns:
        """Read back what :meth:`to_dict` gave."""
        return cls(
            terms=plain["terms"],
            labels=tuple(plain["labels"]),
            term_of=tuple(plain["term_of"]),
            levels={name: tuple(values) for name, values in plain["levels"].items()},
            center=np.array(plain["center"], dtype=np.float64),
            scale=np.array(plain["scale"], dtype=np.float64),
        )


def missing_rows(terms: str, table: pd.DataFrame) -> dict[str, int]:
    """Rows in which each column that the terms use is missing, by its name; columns without any left out."""
    used = sorted(columns_of(read_terms(terms)) & set(map(str, table.columns)))
    counts = {name: int(table[name].isna().sum()) for name in used}
    return {name: count for name, count in counts.items() if count}


def group_of(column: str, table: pd.DataFrame) -> NDArray[np.str_]:
    """Groups of the rows, as text.

    Raises
    ------
    DataError
        If some rows have none.
    ValueError
        If there is no such column.
    """
    if column not in table:
        raise unknown_name("group", column, map(str, table.columns))
    if table[column].isna().any():
        raise DataError(
            f"snapshots: group {column!r} is missing in {table[column].isna().sum()} rows; fill it or leave it out"
        )
    return table[column].astype("str").to_numpy(dtype=np.str_)


def _levels(used: set[str], table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Values of each column of text that is used."""
    levels = {}
    for name, column in table.items():
        if name not in used or _holds_numbers(column):
            continue
        if column.dtype.kind in "mM":
            raise DataError(f"snapshots: {name} is a time; make it a number, such as the days since then")
        levels[str(name)] = tuple(sorted(_texts(column).dropna().unique()))
    return levels


def _holds_numbers(column: pd.Series) -> bool:
    """Whether what is known in a column is numbers; so it is in one of objects that were numbers and None."""
    if column.dtype != object:
        return pd.api.types.is_numeric_dtype(column)
    known = column.dropna()
    return len(known) > 0 and all(isinstance(value, Number) for value in known)


def _texts(column: pd.Series) -> pd.Series:
    """Values of a column as text, None where missing."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.rename_categories(list(map(str, column.cat.categories)))
    return column.astype("str").where(column.notna(), None)


def _as_learned(table: pd.DataFrame, used: set[str], levels: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """Take the columns that are used: of text as categories with the fit's levels, all others as plain numbers."""
    made: dict[str, Any] = {}
    for name in sorted(used):
        if name not in table:
            raise unknown_name("feature", name, map(str, table.columns))
        column = table[name]
        if name in levels:
            made[name] = _category(name, _texts(column), levels[name])
            continue
        if not _holds_numbers(column) and column.notna().any():
            raise DataError(f"snapshots: column {name!r} holds no numbers here; in the data of the fit it did")
        made[name] = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.DataFrame(made, index=table.index)


def _category(name: str, column: pd.Series, known: tuple[str, ...]) -> pd.Categorical:
    """Turn text into a category; a level that the fit has not seen is refused."""
    new = sorted(set(column.dropna()) - set(known))
    if new:
        raise DataError(f"snapshots: column {name!r} has values the fit has not seen ({', '.join(new[:5])})")
    # Any level will do where it is missing: the cell becomes NaN in the matrix.
    return pd.Categorical(column.fillna(known[0]), categories=list(known))


def _matrix(
    terms: str, table: pd.DataFrame, levels: Mapping[str, tuple[str, ...]]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Evaluate the terms, and tell the term of each column; the intercept is the model's own."""
    if not terms:
        return pd.DataFrame(index=table.index), ()
    formula = read_terms(f"{INTERCEPT} + {terms}")
    plain = _as_learned(table, columns_of(formula), levels)
    try:
        with np.errstate(all="ignore"):  # the logarithm of 0 is told below, with the column's name
            made = formula.get_model_matrix(plain, context=FUNCTIONS, na_action="ignore")
    except formulaic.errors.FormulaicError as error:
        raise ValueError(f"the terms {terms!r} cannot be computed from the snapshots: {error}") from error
    frame = pd.DataFrame(made).astype(np.float64)
    term_of = [""] * frame.shape[1]
    for term, places in made.model_spec.term_indices.items():
        unknown = table[sorted(columns_of(formulaic.Formula([term])))].isna().any(axis=1).to_numpy()
        for place in places:
            term_of[place] = str(term)
            column = frame.iloc[:, place]
            if not np.isfinite(column[~unknown]).all():
                raise DataError(
                    f"snapshots: {frame.columns[place]} is infinite or no number in some rows where its columns are "
                    "known; choose another function, such as log1p"
                )
            if unknown.any():  # a product or a comparison would make a number of it
                frame.isetitem(place, column.where(~unknown))
    own = [place for place, name in enumerate(frame.columns) if name != "Intercept"]
    return frame.iloc[:, own], tuple(term_of[place] for place in own)
