"""From a formula and a table of snapshots to matrices: fixed terms, terms that differ by group, and interest.

``returned ~ interest + log1p(recency) + channel + (1 + recency | segment)``: the terms outside brackets are read by
formulaic; a bracket lists terms whose coefficients are partially pooled over a group; ``interest`` is the latent input
of the model and may stand alone only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.errors import DataError, unknown_name
from bayesdecay.model.expression import FUNCTIONS, INTERCEPT, columns_of, read_terms, written

__all__ = ["Columns", "Design", "Formula", "Terms"]

Floats = NDArray[np.float64]
_GROUP_TERM = re.compile(r"\+?\s*\(([^|()]*(?:\([^()]*\)[^|()]*)*)\|\s*(?:(\w+)|`([^`]+)`)\s*\)")
# They name the row and its outcome.
_NO_FEATURES = {names.USER, names.AT, names.RETURNED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A parsed formula.

    ``fixed`` and ``pooled`` are formulas without an intercept, ``pooled`` empty where only the intercept differs;
    ``group`` is the column of the groups, if any; ``interest`` tells whether interest is an input.
    """

    fixed: str
    pooled: str
    group: str | None
    interest: bool

    def __post_init__(self) -> None:
        for name in columns_of(read_terms(self.fixed)) | columns_of(read_terms(self.pooled)) | {self.group}:
            if name in _NO_FEATURES:
                raise ValueError(f"formula: {name!r} names a row or is its outcome, and cannot be a feature or a group")

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Read a formula.

        Raises
        ------
        ValueError
            If the left side is not ``returned``, interest stands in a product or a bracket, several brackets are
            given, the intercept is taken out, or a term is not one that :mod:`bayesdecay.model.expression` lists.
        """
        left, tilde, right = text.partition("~")
        if not tilde or left.strip() != names.RETURNED:
            raise ValueError(f"a formula starts with '{names.RETURNED} ~', got {text!r}")
        brackets = _GROUP_TERM.findall(right)
        if len(brackets) > 1:
            raise ValueError(f"one term in brackets such as (1 | segment) is possible, got {len(brackets)}: {text!r}")
        pooled, plain, quoted = brackets[0] if brackets else ("", "", "")
        outside = _GROUP_TERM.sub("", right)
        if "|" in outside:
            raise ValueError(f"the term in brackets cannot be read in {text!r}; write it as (1 + recency | segment)")
        fixed, interest = _split(outside, text)
        varying, latent = _split(pooled, text)
        if latent:
            raise ValueError(f"interest is latent and cannot differ by group; take it out of the brackets: {text!r}")
        return cls(fixed=fixed, pooled=varying, group=plain or quoted or None, interest=interest)

    @classmethod
    def of_features(cls, features: Sequence[str], *, group: str | None = None) -> Formula:
        """Make the formula of a plain list of features, ``interest`` possibly among them.

        Raises
        ------
        ValueError
            If a name has a backtick in it, or is that of the user, the cutoff or the outcome.
        """
        kept = [name for name in features if name != names.INTEREST]
        if any("`" in name for name in kept):
            raise ValueError(f"features cannot have a backtick in their name, got {kept}; rename the column")
        quoted = " + ".join(name if name.isidentifier() else f"`{name}`" for name in kept)
        return cls(fixed=quoted, pooled="", group=group, interest=names.INTEREST in features)


def _split(terms: str, text: str) -> tuple[str, bool]:
    """Part terms into those of columns, without the intercept, and whether interest is among them."""
    formula = read_terms(terms)
    if INTERCEPT not in map(str, formula):
        raise ValueError(f"the intercept belongs to the model; take '0' or '- 1' out of {text!r}")
    if any(names.INTEREST in columns_of(formulaic.Formula([term])) and str(term) != names.INTEREST for term in formula):
        raise ValueError(f"interest is latent and can only be a term of its own, not part of a product: {text!r}")
    columns = [term for term in formula if str(term) not in (INTERCEPT, names.INTEREST)]
    return written(columns), names.INTEREST in map(str, formula)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How a part of a formula becomes a matrix: its terms, the levels of the categories, centre and scale.

    Made from the data of the fit and kept with it, so that later data gets the same matrix.
    """

    terms: str
    labels: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    center: Floats
    scale: Floats

    @classmethod
    def learn(cls, terms: str, table: pd.DataFrame) -> Columns:
        """Learn the columns of a table.

        Raises
        ------
        DataError
            If a feature is missing in some rows or the same in all.
        ValueError
            If a feature is unknown.
        """
        used = columns_of(read_terms(terms))
        levels = {
            str(name): tuple(sorted(column.dropna().astype("str").unique()))
            for name, column in table.items()
            if not pd.api.types.is_numeric_dtype(column) and name in used
        }
        times = [name for name in levels if pd.api.types.is_datetime64_any_dtype(table[name])]
        if times:
            raise DataError(f"snapshots: {', '.join(times)} is a time; make it a number, such as the days since then")
        matrix = _matrix(terms, _with_levels(table, levels))
        values = matrix.to_numpy(dtype=np.float64)
        scale = values.std(axis=0)
        constant = [str(name) for name, spread in zip(matrix.columns, scale, strict=True) if spread == 0]
        if constant:
            raise DataError(f"snapshots: {', '.join(constant)} is the same in every row; leave it out of the formula")
        labels = tuple(str(name) for name in matrix.columns)
        return cls(terms=terms, labels=labels, levels=levels, center=values.mean(axis=0), scale=scale)

    def standardised(self, table: pd.DataFrame) -> Floats:
        """Matrix (row, column) of a table, on the scale of the fit's data."""
        matrix = _matrix(self.terms, _with_levels(table, self.levels))
        return (matrix[list(self.labels)].to_numpy(dtype=np.float64) - self.center) / self.scale

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {
            "terms": self.terms,
            "labels": list(self.labels),
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
            levels={name: tuple(values) for name, values in plain["levels"].items()},
            center=np.array(plain["center"], dtype=np.float64),
            scale=np.array(plain["scale"], dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Matrices of some snapshots, standardised.

    ``x`` (row, feature) fixed terms; ``z`` (row, pooled) terms that differ by group; ``group`` (row,) index of the
    group, one past the last for a group that the fit has not seen; ``level`` (row, j) values of log interest.
    """

    x: Floats
    z: Floats
    group: NDArray[np.int64]
    level: Floats

    def merged(self, returned: NDArray[np.bool_]) -> tuple[Design, NDArray[np.bool_], Floats]:
        """Merge equal rows with equal outcomes: the distinct ones, their outcomes, and how many share each."""
        columns = np.column_stack([returned, self.group, self.x, self.z, self.level])
        _, first, count = np.unique(columns, axis=0, return_index=True, return_counts=True)
        part = Design(x=self.x[first], z=self.z[first], group=self.group[first], level=self.level[first])
        return part, returned[first], count.astype(float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A formula with all that it learned from the data of the fit."""

    formula: Formula
    fixed: Columns
    pooled: Columns
    groups: tuple[str, ...]
    interest_center: float
    interest_scale: float

    @classmethod
    def learn(cls, formula: Formula, table: pd.DataFrame, log_interest: Floats) -> Terms:
        """Learn from a table of snapshots and values (row, any) of its users' log interest."""
        groups: tuple[str, ...] = ()
        if formula.group is not None:
            groups = tuple(sorted(set(_group_of(formula.group, table))))
        return cls(
            formula=formula,
            fixed=Columns.learn(formula.fixed, table),
            pooled=Columns.learn(formula.pooled, table),
            groups=groups,
            interest_center=float(log_interest.mean()),
            interest_scale=float(log_interest.std()),
        )

    def design(self, table: pd.DataFrame, log_interest: Floats) -> Design:
        """Matrices of a table of snapshots and values (row, j) of its users' log interest."""
        group = np.zeros(len(table), dtype=np.int64)
        if self.formula.group is not None:
            known = {name: index for index, name in enumerate(self.groups)}
            group = np.array([known.get(name, len(known)) for name in _group_of(self.formula.group, table)])
        level = (log_interest - self.interest_center) / self.interest_scale
        x, z = self.fixed.standardised(table), self.pooled.standardised(table)
        return Design(x=x, z=z, group=group.astype(np.int64), level=np.ascontiguousarray(level))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        plain = {"formula": asdict(self.formula), "groups": list(self.groups)}
        columns = {"fixed": self.fixed.to_dict(), "pooled": self.pooled.to_dict()}
        return {**plain, **columns, "interest_center": self.interest_center, "interest_scale": self.interest_scale}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Terms:
        """Read back what :meth:`to_dict` gave."""
        return cls(
            formula=Formula(**plain["formula"]),
            fixed=Columns.from_dict(plain["fixed"]),
            pooled=Columns.from_dict(plain["pooled"]),
            groups=tuple(plain["groups"]),
            interest_center=plain["interest_center"],
            interest_scale=plain["interest_scale"],
        )


def _group_of(column: str, table: pd.DataFrame) -> list[str]:
    """Groups of the rows, as text."""
    if column not in table:
        raise unknown_name("group", column, map(str, table.columns))
    values = table[column]
    if values.isna().any():
        raise DataError(
            f"snapshots: group {column!r} is missing in {values.isna().sum()} rows; fill it or leave it out"
        )
    return [str(value) for value in values]


def _with_levels(table: pd.DataFrame, levels: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """Turn text columns into categories with the fit's levels; a level it has not seen is refused."""
    changed = {}
    for name, known in levels.items():
        if name not in table:
            raise unknown_name("feature", name, map(str, table.columns))
        column = table[name].astype("str")
        new = sorted(set(column.dropna()) - set(known))
        if new:
            raise DataError(f"snapshots: column {name!r} has values the fit has not seen ({', '.join(new[:5])})")
        if column.isna().any():  # or they would count as the first level
            raise DataError(f"snapshots: {name} is missing in {column.isna().sum()} rows; fill it or leave it out")
        changed[name] = pd.Categorical(column, categories=list(known))
    return table.assign(**changed)


def _matrix(terms: str, table: pd.DataFrame) -> pd.DataFrame:
    """Evaluate the terms; the intercept is the model's own."""
    if not terms:
        return pd.DataFrame(index=table.index)
    formula = read_terms(f"{INTERCEPT} + {terms}")
    for name in sorted(columns_of(formula) - set(table.columns)):
        raise unknown_name("feature", name, map(str, table.columns))
    try:
        with np.errstate(all="ignore"):  # the logarithm of 0 is told below, with the column's name
            matrix = formula.get_model_matrix(table, context=FUNCTIONS, na_action="ignore")
    except formulaic.errors.FormulaicError as error:
        raise ValueError(f"the terms {terms!r} cannot be computed from the snapshots: {error}") from error
    frame = pd.DataFrame(matrix).drop(columns="Intercept")
    finite = {str(name): np.isfinite(column.to_numpy(dtype=float, na_value=np.nan)) for name, column in frame.items()}
    bad = [name for name, rows in finite.items() if not rows.all()]
    if bad:
        raise DataError(f"snapshots: {', '.join(bad)} is missing or infinite in some rows; fill it or leave it out")
    return frame
