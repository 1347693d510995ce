r"""Draws of the reactivation model's coefficients, and the logit that they make of users: plain numpy, no PyMC.

In: a posterior, its :class:`~bayesdecay.model.terms.Terms`, and a design. Out: a logit (row, sample) as the sum of its
parts,

.. math:: \operatorname{logit} p = a + \sum_g (a_g + z \cdot b_g) + \sum_t x_t \cdot b_t + b_I \ell + v \xi,

one for the baseline, each group, each term of the formula, interest, and, where features are missing, what they may be
beyond their expectation (:math:`\xi` a standard normal number a draw, v its standard deviation).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.model.matrices import Design
from bayesdecay.model.posterior import thinned
from bayesdecay.model.terms import Terms
from bayesdecay.model.variables import SHARED_INTEREST

__all__ = ["BASELINE", "MISSING", "SMALL_GROUPS", "Coefficients", "group_part", "patterns"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BASELINE = "baseline"
MISSING = "missing features"
# Group of a fit's tree: what is known of intercepts that were averaged over.
SMALL_GROUPS = "small_groups"


def group_part(group: str) -> str:
    """Name of the part of a logit that a user's group brings."""
    return f"group {group}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDraws:
    """Draws of one bracket: ``intercept`` (sample, group), ``slope`` (sample, group, column); an unseen group last."""

    intercept: Floats
    slope: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallGroups:
    """What is known of intercepts that were averaged over: ``mean``, ``sd`` (group,); ``tau`` (sample,) of others."""

    mean: Floats
    sd: Floats
    tau: Floats

    def intercepts(self, group: Integers, rng: np.random.Generator) -> Floats:
        """Draw (row, sample) the intercept of each row's group."""
        seen = group < self.mean.size
        known = np.minimum(group, self.mean.size - 1)
        mean = np.where(seen, self.mean[known], 0.0)
        sd = np.where(seen[:, None], self.sd[known][:, None], self.tau)
        # Drawn once a group: two rows of a user share the user.
        _, place = np.unique(group, return_inverse=True)
        return mean[:, None] + sd * rng.standard_normal((place.max(initial=-1) + 1, self.tau.size))[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Draws, a row a draw: ``intercept``, ``interest`` (sample,), ``slope`` (sample, feature), and each bracket's.

    ``shared`` (sample, direction) is where all users' interests lie together; no direction where that was not asked.
    """

    terms: Terms
    intercept: Floats
    interest: Floats
    slope: Floats
    groups: tuple[GroupDraws | SmallGroups, ...]
    shared: Floats

    @classmethod
    def of(cls, tree: xr.DataTree, terms: Terms, draws: int) -> Coefficients:
        """Take at most ``draws`` of a fit's posterior (chain, draw), evenly spread over the chains."""
        sample = thinned(tree["posterior"].to_dataset(), draws)
        size = sample.sizes[names.SAMPLE]
        return cls(
            terms=terms,
            intercept=sample["intercept"].to_numpy(),
            interest=sample["slope_interest"].to_numpy(),
            slope=sample["slope"].to_numpy() if terms.slopes else np.empty((size, 0)),
            groups=tuple(
                _small_groups(tree, sample, one.group)
                if one.averaged
                else _group_draws(sample, one.group, bool(one.columns.labels))
                for one in terms.pooled
            ),
            shared=sample[SHARED_INTEREST].to_numpy() if SHARED_INTEREST in sample else np.empty((size, 0)),
        )

    @property
    def size(self) -> int:
        """Number of draws."""
        return self.intercept.size

    def logit(self, design: Design, rng: np.random.Generator) -> Floats:
        """Logit (row, sample); the levels of the design are one for each draw, or one for all."""
        return np.asarray(sum(self.parts(design, rng).values()))

    def parts(self, design: Design, rng: np.random.Generator) -> dict[str, Floats]:
        """Parts (row, sample) of the logit by name, in the order of the formula; their sum is the logit."""
        shape = (len(design.x), self.size)
        found = {BASELINE: np.broadcast_to(self.intercept, shape)}
        for i, one in enumerate(self.terms.pooled):
            own, group = self.groups[i], design.groups[:, i]
            if isinstance(own, SmallGroups):
                found[group_part(one.group)] = own.intercepts(group, rng)
                continue
            value = own.intercept[:, group].T
            for place, column in enumerate(self.terms.columns_of(i)):
                value = value + own.slope[:, group, place].T * design.x[:, [column]]
            found[group_part(one.group)] = value
        for place, label in enumerate(self.terms.slopes):
            term = self.terms.terms_of[label]
            found[term] = found.get(term, 0.0) + design.x[:, [place]] * self.slope[:, place]
        if self.terms.formula.interest:
            found[names.INTEREST] = self.interest * design.level
        if design.pattern.any():
            found[MISSING] = self.spread(design) * rng.standard_normal(shape)
        return {name: np.broadcast_to(value, shape) for name, value in found.items()}

    def of_unknown_groups(self, design: Design) -> tuple[Coefficients, Design, Floats]:
        """Take intercepts that were averaged over out of the logit, and tell their standard deviation (sample,)."""
        i = self.terms.averaged
        if i is None:
            return self, design, np.zeros(self.size)
        tau, nothing = self.small.tau, np.zeros(1)
        groups = list(self.groups)
        groups[i] = SmallGroups(mean=nothing, sd=nothing, tau=tau)
        known = design.groups.copy()
        known[:, i] = 0
        return replace(self, groups=tuple(groups)), replace(design, groups=known), tau

    @property
    def small(self) -> SmallGroups:
        """The bracket whose intercepts were averaged over.

        Raises
        ------
        LookupError
            If there is none.
        """
        for own in self.groups:
            if isinstance(own, SmallGroups):
                return own
        raise LookupError("no bracket's intercepts were averaged over")

    def spread(self, design: Design) -> Floats:
        """Standard deviation v (row, sample) of the part of the logit that missing features bring."""
        found = np.zeros((len(design.x), self.size))
        for rows, root in patterns(design):
            found[rows] = np.linalg.norm(self.along(design, rows) @ root, axis=2)
        return found

    def along(self, design: Design, rows: Integers) -> Floats:
        """Coefficients (row or 1, sample, feature) of rows with missing features; 1 where all rows share them."""
        found = np.zeros((1, self.size, design.root.shape[2]))
        found[0, :, : self.slope.shape[1]] = self.slope
        varying = {i: own for i, own in enumerate(self.groups) if isinstance(own, GroupDraws) and own.slope.shape[2]}
        if varying:
            found = np.repeat(found, rows.size, axis=0)
            for i, own in varying.items():
                found[:, :, self.terms.columns_of(i)] += own.slope[:, design.groups[rows, i]].transpose(1, 0, 2)
        return found


def patterns(design: Design) -> Iterator[tuple[Integers, Floats]]:
    """Rows with the same features missing, and the root (feature, feature) of the covariance of what is missing."""
    for pattern in np.unique(design.pattern[design.pattern > 0]):
        yield np.flatnonzero(design.pattern == pattern), design.root[pattern]


def _small_groups(tree: xr.DataTree, sample: xr.Dataset, group: str) -> SmallGroups:
    known = tree[SMALL_GROUPS].to_dataset()
    return SmallGroups(
        mean=known["mean"].to_numpy(), sd=known["sd"].to_numpy(), tau=sample[f"tau_intercept_{group}"].to_numpy()
    )


def _group_draws(sample: xr.Dataset, group: str, has_slopes: bool) -> GroupDraws:
    intercept = _with_unseen(sample, f"intercept_{group}", f"tau_intercept_{group}")
    if not has_slopes:
        return GroupDraws(intercept=intercept, slope=np.empty((*intercept.shape, 0)))
    return GroupDraws(intercept=intercept, slope=_with_unseen(sample, f"slope_{group}", f"tau_slope_{group}"))


def _with_unseen(sample: xr.Dataset, name: str, spread: str) -> Floats:
    """Values (sample, group, ...) with one more group at the end, drawn from the spread of the groups."""
    known, tau = sample[name].to_numpy(), sample[spread].to_numpy()
    shape = (known.shape[0], 1, *known.shape[2:])
    # A fixed seed: which groups are unseen must not change the scores of the others. One for each name: an unseen
    # group's intercept says nothing of its slopes, nor of a group of another bracket.
    unseen = tau.reshape(shape) * np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    return np.concatenate([known, unseen], axis=1)
