"""The parts of a logit as people may look at them: which belong together, and what each says of a user, in words.

In: the parts by name, and the users they are of (:class:`~bayesdecay.show.scene.Scene`). Out: :class:`Part` and text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.model.coefficients import BASELINE, MISSING, group_part
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.terms import Terms
from bayesdecay.show.feature_words import feature_said, interest_said
from bayesdecay.show.scene import Scene, columns_by_label

__all__ = ["Part", "PartWords", "parts_of"]

Floats = NDArray[np.float64]

_GROUP, _EMBEDDING, _INDICATOR, _TERM = "group", "embedding", "indicator", "term"
_SAID = {
    BASELINE: "a user who is average in everything",
    MISSING: "what is not known, beyond what was to be expected of it",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A part of the logit: its ``kind``, the ``columns`` it comes from, and its ``draws`` (row, sample) [log-odds]."""

    label: str
    kind: str
    columns: tuple[str, ...]
    draws: Floats

    def said_of(self, row: int) -> bool:
        """Whether there is anything to say: what is missing brings nothing where nothing is."""
        return self.kind not in (MISSING, _INDICATOR) or bool(self.draws[row].any())


def parts_of(terms: Terms, parts: Mapping[str, Floats]) -> list[Part]:
    """Put parts of the same columns together: ``log1p(recency)`` and its square mean something only as one."""
    kinds = _kinds(terms)
    labels: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for label in parts:
        labels.setdefault(kinds[label], []).append(label)
    return [
        Part(label=" + ".join(own), kind=kind, columns=columns, draws=np.sum([parts[label] for label in own], axis=0))
        for (kind, columns), own in labels.items()
    ]


def _kinds(terms: Terms) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Kind and columns of every part that a logit of these terms may have."""
    own = {name: (name, ()) for name in (BASELINE, MISSING, names.INTEREST)}
    groups = {group_part(one.group): (_GROUP, (one.group,)) for one in terms.pooled}
    used = columns_by_label(terms)
    of_terms = {}
    for label, term in terms.terms_of.items():
        if label in terms.indicators:
            inner = label.removeprefix("missing(").removesuffix(")")
            of_terms[term] = (_INDICATOR, tuple(sorted(used.get(inner, frozenset()))) or (_EMBEDDING,))
        else:
            columns = tuple(sorted(used[label]))
            of_terms[term] = (_TERM, columns) if columns else (_EMBEDDING, ())
    return own | groups | of_terms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartWords:
    """What the parts say of the users of a scene; ``interest`` (row, 3): mean and ends [activities per day]."""

    terms: Terms
    table: pd.DataFrame
    interest: Floats
    unseen: Mapping[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, scene: Scene, tails: tuple[float, float]) -> PartWords:
        """Prepare what is to be said."""
        interest = np.exp(scene.log_interest)
        ends = interval_ends(interest, tails)
        return cls(
            terms=scene.terms,
            table=scene.table,
            interest=np.column_stack([interest.mean(axis=1), *ends]),
            unseen={one.group: one.index(scene.table) == len(one.groups) for one in scene.terms.pooled},
        )

    def said(self, part: Part, row: int) -> str:
        """What a part says of a user, in words."""
        if part.kind in _SAID:
            return _SAID[part.kind]
        if part.kind == names.INTEREST:
            return interest_said(*self.interest[row])
        if part.kind == _GROUP:
            return self._group(part.columns[0], row)
        if part.kind == _EMBEDDING:
            return f"the embedding ({len(self.terms.embedding.columns) if self.terms.embedding else 0} columns)"
        if part.kind == _INDICATOR:
            return f"that {' and '.join(part.columns)} is not known"
        values = [feature_said(column, self._value(column, row)) for column in part.columns]
        return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} and {values[-1]}, together"

    def _value(self, column: str, row: int) -> Any:
        return self.table[column].iloc[row]

    def _group(self, group: str, row: int) -> str:
        unseen = self.unseen[group][row]
        if group == names.USER:
            return "no earlier snapshot of this user" if unseen else "what became of this user's earlier snapshots"
        return f"{group}: {self._value(group, row)}{', which the fit has not seen' if unseen else ''}"
