"""What the decay model's likelihood needs from a history: weighted rows on a grid, groups and covariates."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesdecay.data.history import Block, History
from bayesdecay.errors import DataError
from bayesdecay.model.grid import Grid
from bayesdecay.model.lanes import LANES, side_by_side
from bayesdecay.model.user_statistics import Statistics, activities

__all__ = ["FitData", "Standard"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Measured on simulated shops: 3 groups of 230 users mix 5 times better centred, 20 of 150 as well either way, and 20
# groups that do not differ 4 times better non-centred.
_FEW_GROUPS, _LARGE_GROUP = 10, 100
# Rows whose statistics are computed at a time, in double precision before they are laid out in single: 50 MB.
_ROWS = 16 * LANES
# Of the rows that a sample takes, those with the most activities.
_BUSIEST = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """Centre and scale of covariates, kept with a fit so that new users are put on the same footing."""

    names: tuple[str, ...]
    center: Floats
    scale: Floats

    @classmethod
    def of(cls, values: Floats, weight: Floats, names: tuple[str, ...]) -> Standard:
        """Weighted mean and standard deviation of the columns of ``values`` (row, covariate)."""
        if not np.isfinite(values).all():
            bad = [name for name, column in zip(names, values.T, strict=True) if not np.isfinite(column).all()]
            raise DataError(f"history: covariates {', '.join(bad)} have missing values; fill them or leave them out")
        center = np.average(values, axis=0, weights=weight)
        scale = np.sqrt(np.average((values - center) ** 2, axis=0, weights=weight))
        if (scale == 0).any():
            constant = [name for name, spread in zip(names, scale, strict=True) if spread == 0]
            raise DataError(f"history: covariates {', '.join(constant)} are the same for all users; leave them out")
        return cls(names=names, center=center, scale=scale)

    def apply(self, block: Block) -> Floats:
        """Standardised covariates (row, covariate) of a block."""
        missing = [name for name in self.names if name not in block.covariates]
        if missing:
            raise DataError(f"history: the fit needs the covariates {', '.join(missing)}; pass them to summarize")
        if not self.names:
            return np.empty((block.n.size, 0))
        values = np.column_stack([block.covariates[name] for name in self.names])
        return (values - self.center) / self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class FitData:
    """Distinct histories with the number of users that share each, and the distinct designs among them.

    A design is a combination of group and covariates; ``design`` (row,) points into ``design_group`` (design,) and
    ``design_covariates`` (design, covariate).
    ``few_large_groups``: each group's values are known well, but the groups are too few to tell their spread.
    """

    block: Block
    weight: Floats
    design: Integers
    design_group: Integers
    design_covariates: Floats
    groups: tuple[str, ...]
    standard: Standard
    few_large_groups: bool

    @classmethod
    def of(cls, history: History, *, merged: bool = True) -> FitData:
        """Reduce a history to its distinct rows, or keep a row a user with ``merged=False``."""
        if len(history) == 0:
            raise DataError("history: no user has an activity up to the cutoff, so there is nothing to fit")
        block, counts = history.distinct() if merged else (next(history.blocks(len(history))), np.ones(len(history)))
        weight = counts.astype(np.float64)
        raw = np.column_stack([block.covariates[name] for name in history.covariates] or [np.empty((weight.size, 0))])
        standard = Standard.of(raw, weight, tuple(history.covariates))
        groups, group = _groups(block)
        keys = np.column_stack([group, standard.apply(block)])
        distinct, design = np.unique(keys, axis=0, return_inverse=True)
        return cls(
            block=block,
            weight=weight,
            design=design.ravel().astype(np.int64),
            design_group=distinct[:, 0].astype(np.int64),
            design_covariates=np.ascontiguousarray(distinct[:, 1:]),
            groups=groups,
            standard=standard,
            few_large_groups=_few_large(np.bincount(group, weights=weight)),
        )

    def sample(self, rows: int) -> FitData:
        """Some rows that stand for all: the busiest as they are, and others at random with weights that make up.

        The busiest are few and tell the most, of the restoration and of how fine the grid must be.
        """
        if rows >= self.weight.size:
            return self
        order = np.argsort(-self.block.n, kind="stable")
        busiest, others = np.split(order, [int(_BUSIEST * rows)])
        drawn = np.random.default_rng(0).choice(others, rows - busiest.size, replace=False)
        kept = np.concatenate([busiest, drawn])
        weight = self.weight[kept]
        weight[busiest.size :] *= self.weight[others].sum() / self.weight[drawn].sum()
        return replace(self, block=self.block.take(kept), weight=weight, design=self.design[kept])

    def n_above(self, grid: Grid) -> Floats:
        """Users with more than i activities, as the grid's clock counts them, i = 0, 1, ... (i,) [count]."""
        users = np.bincount(activities(self.block, grid.clock).astype(np.int64), weights=self.weight)
        return users.sum() - np.cumsum(users)[:-1]

    def arrays(self, grid: Grid) -> dict[str, Any]:
        """Arrays of the compiled likelihood, in the order of its arguments after the parameters.

        Laid out part by part: of a million users, all statistics at once would take ten times as much as is kept.
        """
        order = np.argsort(self.design, kind="stable")
        starts = range(0, order.size, _ROWS)

        def laid(start: int) -> dict[str, NDArray]:
            rows = order[start : start + _ROWS]
            part = Statistics.from_block(self.block.take(rows), grid)
            return side_by_side(part, self.weight[rows], self.design[rows])

        blocks = -(-order.size // LANES)
        whole: dict[str, NDArray] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start, found in zip(starts, pool.map(laid, starts), strict=True):
                for name, values in found.items():
                    out = whole.setdefault(name, np.empty((blocks, *values.shape[1:]), values.dtype))
                    out[start // LANES : start // LANES + len(values)] = values
        return {"restorations": grid.restorations, "rates": grid.all_rates} | whole


def _few_large(users: Floats) -> bool:
    """Whether each group's values are known well, but the groups are too few to tell their spread."""
    return users.size <= _FEW_GROUPS and float(np.median(users)) >= _LARGE_GROUP


def _groups(block: Block) -> tuple[tuple[str, ...], Integers]:
    if block.group is None:
        return (), np.zeros(block.n.size, dtype=np.int64)
    if any(value is None for value in block.group):
        raise DataError("history: some users have no group; give them one (such as 'unknown') or leave the group out")
    values, index = np.unique(np.asarray(block.group, dtype=str), return_inverse=True)
    return tuple(str(value) for value in values), index.ravel().astype(np.int64)
