"""A formula in its parts: fixed terms, terms in brackets that differ by group, and whether interest is an input.

``returned ~ interest + log1p(recency) + frequency * channel + (1 + recency | segment) + (1 | user)``: the terms outside
brackets are read by formulaic; a bracket lists terms whose coefficients, and the intercept with them, are partially
pooled over a group; ``interest`` is the latent input of the model and may stand alone only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import formulaic

from bayesdecay import names
from bayesdecay.model.expression import INTERCEPT, columns_of, read_terms, written

__all__ = ["Bracket", "Formula"]

_GROUP_TERM = re.compile(r"\+?\s*\(([^|()]*(?:\([^()]*\)[^|()]*)*)\|\s*(?:(\w+)|`([^`]+)`)\s*\)")
# They name the cutoff of a row and its outcome; a user may be a group, but no feature.
_NO_GROUPS = {names.AT, names.RETURNED}
_NO_FEATURES = {names.USER, *_NO_GROUPS}
# A group's name is that of a dimension, beside these of the model.
_TAKEN = {names.CHAIN, names.DRAW, names.SAMPLE, names.INTEREST, "feature", "intercept", "slope", "slope_interest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """``(1 + terms | group)``: an intercept and coefficients that are partially pooled over a column's values."""

    terms: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A parsed formula.

    ``fixed`` and the terms of ``brackets`` are formulas without an intercept; ``interest`` tells whether interest is
    an input.
    """

    fixed: str
    brackets: tuple[Bracket, ...] = ()
    interest: bool

    def __post_init__(self) -> None:
        for terms in (self.fixed, *(bracket.terms for bracket in self.brackets)):
            _refuse(columns_of(read_terms(terms)) & _NO_FEATURES, "a feature")
        groups = [bracket.group for bracket in self.brackets]
        _refuse(set(groups) & _NO_GROUPS, "a group")
        for group in groups:
            if groups.count(group) > 1:
                raise ValueError(f"formula: {group!r} has several brackets; write one, such as (1 + recency | {group})")
            if group in _TAKEN:
                raise ValueError(f"formula: the model itself has something called {group!r}; rename the group's column")
            if "/" in group:
                raise ValueError(f"formula: the group {group!r} has a '/' in its name; rename the column")

    @classmethod
    def parse(cls, text: str, *, outcome: str = names.RETURNED) -> Formula:
        """Read a formula.

        Raises
        ------
        ValueError
            If the left side is not the outcome, interest stands in a product or a bracket, two brackets have one
            group, the intercept is taken out, or a term is not one that :mod:`bayesdecay.model.expression` lists.
        """
        left, tilde, right = text.partition("~")
        if not tilde or left.strip() != outcome:
            raise ValueError(f"a formula starts with '{outcome} ~', got {text!r}")
        brackets = []
        for terms, plain, quoted in _GROUP_TERM.findall(right):
            varying, latent = _split(terms, text)
            if latent:
                raise ValueError(
                    f"interest is latent and cannot differ by group; take it out of the brackets: {text!r}"
                )
            brackets.append(Bracket(terms=varying, group=plain or quoted))
        outside = _GROUP_TERM.sub("", right)
        if "|" in outside:
            raise ValueError(f"the term in brackets cannot be read in {text!r}; write it as (1 + recency | segment)")
        fixed, interest = _split(outside, text)
        return cls(fixed=fixed, brackets=tuple(brackets), interest=interest)

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
        brackets = () if group is None else (Bracket(terms="", group=group),)
        return cls(fixed=quoted, brackets=brackets, interest=names.INTEREST in features)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Formula:
        """Read back what ``dataclasses.asdict`` gave."""
        return cls(**{**plain, "brackets": tuple(Bracket(**bracket) for bracket in plain["brackets"])})


def _refuse(taken: set[str], what: str) -> None:
    for name in sorted(taken):
        raise ValueError(f"formula: {name!r} names a row or is its outcome, and cannot be {what}")


def _split(terms: str, text: str) -> tuple[str, bool]:
    """Part terms into those of columns, without the intercept, and whether interest is among them."""
    formula = read_terms(terms)
    if INTERCEPT not in map(str, formula):
        raise ValueError(f"the intercept belongs to the model; take '0' or '- 1' out of {text!r}")
    if any(names.INTEREST in columns_of(formulaic.Formula([term])) and str(term) != names.INTEREST for term in formula):
        raise ValueError(f"interest is latent and can only be a term of its own, not part of a product: {text!r}")
    columns = [term for term in formula if str(term) not in (INTERCEPT, names.INTEREST)]
    return written(columns), names.INTEREST in map(str, formula)
