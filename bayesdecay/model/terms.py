"""A formula with all that it learned from the data of a fit, and the matrices that it makes of snapshots.

In: a :class:`~bayesdecay.model.formula.Formula`, a table of snapshots, and values of its users' log interest. Out: a
:class:`~bayesdecay.model.matrices.Design`: standardised features with what is missing completed, groups by number,
levels of interest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.errors import DataError
from bayesdecay.model.columns import Columns, group_of, missing_rows
from bayesdecay.model.embedding import Embedding
from bayesdecay.model.expression import columns_of, read_terms
from bayesdecay.model.formula import Bracket, Formula
from bayesdecay.model.matrices import Design
from bayesdecay.model.missing import Completed, FeatureNormal

__all__ = ["Pooled", "Terms"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Above so many groups, none with more rows than these, their intercepts are averaged over: 100,000 variables would
# take gigabytes of draws.
_MANY_GROUPS, _FEW_ROWS = 500, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A bracket with what it learned: the columns that differ by group, and the groups, sorted.

    ``averaged`` tells that the groups are so many and so small that their intercepts are averaged over, and not
    sampled one by one (:mod:`bayesdecay.model.grouped_logistic`).
    """

    columns: Columns
    group: str
    groups: tuple[str, ...]
    averaged: bool = False

    @classmethod
    def learn(cls, bracket: Bracket, table: pd.DataFrame) -> Pooled:
        """Learn from a table of snapshots."""
        columns = Columns.learn(bracket.terms, table)
        groups, rows = np.unique(group_of(bracket.group, table), return_counts=True)
        averaged = groups.size > _MANY_GROUPS and int(rows.max()) <= _FEW_ROWS and not columns.labels
        return cls(columns=columns, group=bracket.group, groups=tuple(map(str, groups)), averaged=averaged)

    def index(self, table: pd.DataFrame) -> Integers:
        """Number of each row's group, one past the last for a group that the fit has not seen."""
        known, own = np.asarray(self.groups, dtype=np.str_), group_of(self.group, table)
        place = np.searchsorted(known, own)
        seen = known[np.minimum(place, known.size - 1)] == own
        return np.where(seen, place, known.size).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A formula with all that it learned from the data of the fit.

    The features are, in this order: those with a coefficient of their own (``slopes``: fixed terms, components of an
    embedding, indicators of what is missing), and those that occur in brackets alone.
    """

    formula: Formula
    fixed: Columns
    embedding: Embedding | None
    pooled: tuple[Pooled, ...]
    indicators: tuple[str, ...]
    interest_center: float
    interest_scale: float
    missing: str
    fill: Floats
    normal: FeatureNormal | None
    computed: tuple[str, ...] = ()

    @classmethod
    def learn(
        cls,
        formula: Formula,
        table: pd.DataFrame,
        log_interest: Floats,
        *,
        chance: Floats | None = None,
        missing: str = "model",
        embedding: str | None = None,
        computed: Sequence[str] = (),
    ) -> Terms:
        """Learn from a table of snapshots and values (row, j) of its users' log interest.

        ``chance`` (j,) is that of the values, all alike unless told; ``computed`` names the columns that were computed
        from the log, and not brought.

        Raises
        ------
        DataError
            If a feature cannot be used, or is missing and ``missing`` is ``"refuse"``.
        ValueError
            If a feature is unknown.
        """
        chance = _chance(log_interest, chance)
        center = float((log_interest @ chance).mean())
        plain = cls(
            formula=formula,
            fixed=Columns.learn(formula.fixed, table),
            embedding=None if embedding is None else Embedding.learn(embedding, table),
            pooled=_one_averaged(tuple(Pooled.learn(bracket, table) for bracket in formula.brackets)),
            indicators=(),
            interest_center=center,
            interest_scale=float(np.sqrt(((log_interest - center) ** 2 @ chance).mean())) or 1.0,
            missing=missing,
            fill=np.empty(0),
            normal=None,
            computed=tuple(computed),
        )
        return plain._with_missing(table, plain._standard_level(log_interest) @ chance)

    def _with_missing(self, table: pd.DataFrame, level: Floats) -> Terms:
        """Learn what the treatment of missing features needs."""
        values = self._values(table)
        self._refuse_missing(table, values)
        gone = np.isnan(values).any(axis=0)
        if self.missing == "indicator":
            names = [f"missing({name})" for name, some in zip(self._labels, gone, strict=True) if some]
            return replace(self, indicators=tuple(names), fill=np.zeros(values.shape[1]))
        if self.missing == "model":
            return replace(self, fill=np.zeros(values.shape[1]), normal=FeatureNormal.learn(values, level))
        fill = np.nanmedian(values, axis=0) if self.missing == "median" else np.zeros(values.shape[1])
        return replace(self, fill=np.asarray(fill, dtype=np.float64))

    @property
    def slopes(self) -> tuple[str, ...]:
        """Names of the features that have a coefficient for all groups."""
        return (*self.fixed.labels, *(self.embedding.labels if self.embedding else ()), *self.indicators)

    @property
    def brought(self) -> NDArray[np.bool_]:
        """Which slopes (slope,) are of an embedding or use another column than those computed from the log."""
        of_columns = {term: columns_of(read_terms(term)) <= set(self.computed) for term in self.fixed.term_of}
        terms = self.terms_of
        return np.array([not of_columns.get(terms[name], False) for name in self.slopes], dtype=bool)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all features, those of the slopes first."""
        own = self.slopes
        return (*own, *(name for name in self._labels if name not in own))

    @property
    def scales(self) -> dict[str, float]:
        """Standard deviation of each feature, which is what one step of its coefficient means."""
        return {name: scale for name, (_, scale) in self._standards.items()}

    @property
    def centers(self) -> dict[str, float]:
        """Mean of each feature over the data of the fit."""
        return {name: center for name, (center, _) in self._standards.items()}

    @property
    def terms_of(self) -> dict[str, str]:
        """The term that each feature with a slope belongs to, as in the formula."""
        fixed = dict(zip(self.fixed.labels, self.fixed.term_of, strict=True))
        parts = dict.fromkeys(self.embedding.labels, "embedding") if self.embedding else {}
        return fixed | parts | {name: name for name in self.indicators}

    @property
    def averaged(self) -> int | None:
        """Number of the bracket whose intercepts are averaged over, if there is one."""
        return next((i for i, one in enumerate(self.pooled) if one.averaged), None)

    def columns_of(self, bracket: int) -> Integers:
        """Places among the features of the columns that a bracket lets differ."""
        places = {name: place for place, name in enumerate(self.labels)}
        return np.array([places[name] for name in self.pooled[bracket].columns.labels], dtype=np.int64)

    def missing_rows(self, table: pd.DataFrame) -> dict[str, int]:
        """Rows of a table in which each column is missing; columns without any left out."""
        terms = [self.formula.fixed, *(bracket.terms for bracket in self.formula.brackets)]
        counts: dict[str, int] = {}
        for part in terms:
            counts |= missing_rows(part, table)
        if self.embedding is not None:
            gone = int(table[list(self.embedding.columns)].isna().any(axis=1).sum())
            counts |= {"embedding": gone} if gone else {}
        return counts

    def design(
        self,
        table: pd.DataFrame,
        log_interest: Floats,
        *,
        chance: Floats | None = None,
        moves: Floats | None = None,
    ) -> Design:
        """Matrices of a table of snapshots and values (row, j) of its users' log interest, all alike unless told.

        Raises
        ------
        DataError
            If something is missing and is to be refused, or was never missing in the data of a fit with indicators.
        """
        values = self._values(table)
        self._refuse_missing(table, values)
        level = self._standard_level(log_interest)
        chance = _chance(level, chance)
        completed = self._completed(values, level @ chance)
        groups = [one.index(table) for one in self.pooled]
        return Design(
            x=completed.values,
            pattern=completed.pattern,
            root=completed.root,
            groups=np.stack(groups, axis=1) if groups else np.zeros((len(table), 0), dtype=np.int64),
            level=np.ascontiguousarray(level),
            chance=chance,
            moves=np.zeros((len(table), 0, level.shape[1])) if moves is None else moves / self.interest_scale,
        )

    def _completed(self, values: Floats, level: Floats) -> Completed:
        if self.normal is not None:
            return self.normal.complete(values, level)
        gone = np.isnan(values)
        filled = np.where(gone, self.fill, values)
        if self.missing == "indicator":
            told = {f"missing({name})": column for name, column in zip(self._labels, gone.T, strict=True)}
            if never := [name for name, column in told.items() if column.any() and name not in self.indicators]:
                raise DataError(
                    f"snapshots: {', '.join(never)} is true here and never was in the data of the fit, so its effect "
                    "is not known; fill it, or fit with missing='model'"
                )
            # The indicators stand behind the other slopes and before what only the brackets use.
            at = len(self.slopes) - len(self.indicators)
            marks = np.column_stack([told[name] for name in self.indicators] or [np.empty((len(values), 0))])
            filled = np.column_stack([filled[:, :at], marks, filled[:, at:]])
        size = filled.shape[1]
        return Completed(values=filled, pattern=np.zeros(len(filled), dtype=np.int64), root=np.zeros((1, size, size)))

    def _standard_level(self, log_interest: Floats) -> Floats:
        return np.asarray((log_interest - self.interest_center) / self.interest_scale)

    @property
    def _labels(self) -> tuple[str, ...]:
        """Names of the features that come from the table, in order and each once."""
        pooled = [name for one in self.pooled for name in one.columns.labels]
        return tuple(dict.fromkeys([*self.fixed.labels, *(self.embedding.labels if self.embedding else ()), *pooled]))

    @property
    def _standards(self) -> dict[str, tuple[float, float]]:
        """Centre and scale of each feature."""
        found = dict.fromkeys(self.labels, (0.0, 1.0))
        for columns in (self.fixed, *(one.columns for one in self.pooled)):
            found |= dict(
                zip(columns.labels, zip(columns.center.tolist(), columns.scale.tolist(), strict=True), strict=True)
            )
        return found

    def _values(self, table: pd.DataFrame) -> Floats:
        """Standardised features (row, feature) of the table, NaN where missing."""
        parts = dict(zip(self.fixed.labels, self.fixed.standardised(table).T, strict=True))
        if self.embedding is not None:
            parts |= dict(zip(self.embedding.labels, self.embedding.standardised(table).T, strict=True))
        for one in self.pooled:
            parts |= dict(zip(one.columns.labels, one.columns.standardised(table).T, strict=True))
        return np.column_stack([parts[name] for name in self._labels] or [np.empty((len(table), 0))])

    def _refuse_missing(self, table: pd.DataFrame, values: Floats) -> None:
        if self.missing == "refuse" and np.isnan(values).any():
            counts = ", ".join(f"{name} in {count}" for name, count in self.missing_rows(table).items())
            raise DataError(
                f"snapshots: missing values ({counts} of {len(table)} rows); fill them, leave the column out, or let "
                "the model take care of them with missing='model'"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {
            "formula": asdict(self.formula),
            "fixed": self.fixed.to_dict(),
            "embedding": self.embedding and self.embedding.to_dict(),
            "pooled": [
                {
                    "columns": one.columns.to_dict(),
                    "group": one.group,
                    "groups": list(one.groups),
                    "averaged": one.averaged,
                }
                for one in self.pooled
            ],
            "indicators": list(self.indicators),
            "interest_center": self.interest_center,
            "interest_scale": self.interest_scale,
            "missing": self.missing,
            "fill": self.fill.tolist(),
            "normal": self.normal and self.normal.to_dict(),
            "computed": list(self.computed),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Terms:
        """Read back what :meth:`to_dict` gave."""
        return cls(
            formula=Formula.from_dict(plain["formula"]),
            fixed=Columns.from_dict(plain["fixed"]),
            embedding=None if plain["embedding"] is None else Embedding.from_dict(plain["embedding"]),
            pooled=tuple(
                Pooled(**{**one, "columns": Columns.from_dict(one["columns"]), "groups": tuple(one["groups"])})
                for one in plain["pooled"]
            ),
            indicators=tuple(plain["indicators"]),
            interest_center=plain["interest_center"],
            interest_scale=plain["interest_scale"],
            missing=plain["missing"],
            fill=np.array(plain["fill"], dtype=np.float64),
            normal=None if plain["normal"] is None else FeatureNormal.from_dict(plain["normal"]),
            computed=tuple(plain["computed"]),
        )


def _one_averaged(pooled: tuple[Pooled, ...]) -> tuple[Pooled, ...]:
    """Let the bracket with the most groups be averaged over, and no other: rows of one group must stand together."""
    most = max((len(one.groups) for one in pooled if one.averaged), default=0)
    found: list[Pooled] = []
    for one in pooled:
        first = one.averaged and len(one.groups) == most and not any(other.averaged for other in found)
        found.append(replace(one, averaged=first))
    return tuple(found)


def _chance(level: Floats, chance: Floats | None) -> Floats:
    """Probabilities (j,) of the values (row, j) of log interest."""
    return np.full(level.shape[1], 1.0 / level.shape[1]) if chance is None else chance
