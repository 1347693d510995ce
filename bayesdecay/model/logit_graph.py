"""The reactivation model's logit as PyMC variables: coefficients with their priors, and what they make of a design.

In: :class:`~bayesdecay.model.terms.Terms` and a :class:`~bayesdecay.model.matrices.Design`. Out, inside a PyMC model:
the parameters of :func:`bayesdecay.model.logistic.mixed_logistic_loglik`, or the logit itself where interest is a
variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.compile.sharedvalue import shared

from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.grouped_logistic import group_nodes
from bayesdecay.model.horseshoe import horseshoe
from bayesdecay.model.matrices import Design
from bayesdecay.model.prior import Prior
from bayesdecay.model.terms import Terms
from bayesdecay.model.variables import OFFSET, PLAIN_SLOPE, SHARED_INTEREST, pooled, variable

__all__ = ["Linear", "Outcome", "add_loglik", "add_loglik_at", "coords", "linear", "rows_by_group"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Dimension of what all users share; longer than a name that a group's column may have.
_DIRECTION = f"{SHARED_INTEREST}_direction"
_LOGLIK = FusedLogLikelihood("bayesdecay.model.logistic.mixed_logistic_loglik", n_parameters=5)
_GROUPED = FusedLogLikelihood("bayesdecay.model.grouped_logistic.grouped_logistic_loglik", n_parameters=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the rows: ``returned`` (row,), and how many rows each stands for, ``weight`` (row,)."""

    returned: NDArray[np.bool_]
    weight: Floats

    @property
    def share(self) -> float:
        """Share that returned, away from none and all."""
        return float(np.clip(np.average(self.returned, weights=self.weight), 0.01, 0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """The logit of row i is ``offset[code[i]] + x[i] @ coefficient + interest * level + spread[pair[i]] * normal``.

    ``shared`` is what moves the levels of all rows, ``tau`` the spread of the intercepts that are averaged over, None
    where there are none.
    """

    coefficient: Any
    offset: Any
    code: Integers
    interest: Any
    spread: Any
    pair: Integers
    shared: Any
    tau: Any


def coords(terms: Terms) -> dict[str, Any]:
    """Labels of the dimensions: features, the groups of each bracket, and the columns that differ by them."""
    found: dict[str, Any] = {"feature": terms.slopes} if terms.slopes else {}
    for one in terms.pooled:
        if not one.averaged:
            found[one.group] = one.groups
        if one.columns.labels:
            found[f"{one.group}_feature"] = one.columns.labels
    return found


def linear(
    terms: Terms,
    design: Design,
    priors: Mapping[str, Prior],
    outcome: Outcome,
    sparse: Flags,
    *,
    beyond: Callable[[Any, Any], Any] | None = None,
) -> Linear:
    """Make the coefficients, inside a PyMC model, and what they give for each row.

    Parameters
    ----------
    terms, design
        The formula and the rows.
    priors : mapping of str to Prior
        Of ``intercept``, ``slope``, ``slope_interest`` (of log interest as it is), ``tau_intercept`` and ``tau_slope``.
    outcome : Outcome
        Its size and share set the scale of a horseshoe.
    sparse : bool[slope]
        Which slopes have the horseshoe prior.
    beyond : callable, optional
        Makes the coefficients (column,) of columns that the design has behind the features, of the slopes and that of
        the interest.
    """
    intercept = variable(priors, "intercept")
    slope = _slopes(priors, outcome, sparse)
    of_interest = _slope_of_interest(priors, terms)
    more = [] if beyond is None else [beyond(slope, of_interest)]
    coefficient = pt.concatenate([slope, pt.zeros(len(terms.labels) - len(terms.slopes)), *more])
    by_group = {i: _bracket(terms, i, priors) for i, one in enumerate(terms.pooled) if not one.averaged}
    tau = None
    if terms.averaged is not None:
        tau = variable(priors, "tau_intercept", called=f"tau_intercept_{terms.pooled[terms.averaged].group}")
    offset, code = _offset(intercept, by_group, design)
    spread, pair = _spread(coefficient, by_group, design)
    return Linear(
        coefficient=coefficient,
        offset=offset,
        code=code,
        interest=of_interest,
        spread=spread,
        pair=pair,
        shared=_shared(design),
        tau=tau,
    )


def add_loglik(found: Linear, terms: Terms, design: Design, outcome: Outcome) -> None:
    """Add the likelihood of the outcomes, interest being averaged over the design's levels."""
    # Single precision: half the memory to walk through, 1e-6 in a logit.
    data: dict[str, Any] = {
        "x": design.x.astype(np.float32),
        "code": found.code,
        "pair": found.pair,
        "level": design.level.astype(np.float32),
        "move": design.moves.astype(np.float32),
        "sign": np.where(outcome.returned, 1.0, -1.0),
        "weight": outcome.weight,
    }
    parameters = (found.coefficient, found.offset, found.interest, found.spread, found.shared)
    if terms.averaged is None:
        # In columns, and rows that miss the same features together, as the loop is fastest.
        order = np.argsort(found.pair, kind="stable")
        data = {name: np.ascontiguousarray(values[order].T) for name, values in data.items()}
        data["chance"] = design.chance
        pm.Potential("loglik", _LOGLIK.value(*parameters, *_given(data)))
        return
    order, starts = rows_by_group(design.groups[:, terms.averaged])
    data = {name: values[order] for name, values in data.items()} | {"chance": design.chance, "starts": starts}
    data["nodes"], data["log_weights"] = group_nodes(int(np.diff(starts).max()))
    pm.Potential("loglik", _GROUPED.value(*parameters, found.tau, *_given(data)))


def _given(data: Mapping[str, Any]) -> list[Any]:
    """Make the data variables of the model; a group may well be called ``level``, so they must not be.

    Not pm.Data, which would turn single precision into double.
    """
    return [shared(values, name=f"{name}{OFFSET}") for name, values in data.items()]


def add_loglik_at(found: Linear, terms: Terms, design: Design, outcome: Outcome, level: Any) -> None:
    """Add the likelihood of the outcomes where each row's standardised log interest (row,) is a variable itself."""
    logit = found.offset[found.code] + pt.dot(design.x, found.coefficient) + found.interest * level
    if terms.averaged is not None:
        group = design.groups[:, terms.averaged]
        own = pm.Normal(f"{terms.pooled[terms.averaged].group}{OFFSET}", shape=int(group.max()) + 1)
        logit = logit + found.tau * own[group]
    rows = np.flatnonzero(found.pair)
    if rows.size:
        beyond = pm.Normal(f"missing{OFFSET}", shape=rows.size)
        logit = pt.inc_subtensor(logit[rows], found.spread[found.pair[rows]] * beyond)
    sign = np.where(outcome.returned, 1.0, -1.0)
    pm.Potential("loglik_returns", -pt.sum(outcome.weight * pt.softplus(-sign * logit)))


def rows_by_group(group: Integers) -> tuple[Integers, Integers]:
    """Order the rows (row,) so that those of a group stand together, and tell where each group starts (group + 1,)."""
    order = np.argsort(group, kind="stable").astype(np.int64)
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return order, np.append(starts, group.size).astype(np.int64)


def _shared(design: Design) -> Any:
    """Make the standard normal numbers that move all users' interests, as many as the design has directions."""
    directions = design.moves.shape[1]
    if not directions:
        return pt.zeros(0)
    pm.modelcontext(None).add_coord(_DIRECTION, np.arange(directions))
    return pm.Normal(SHARED_INTEREST, dims=_DIRECTION)


def _slope_of_interest(priors: Mapping[str, Prior], terms: Terms) -> Any:
    """Make the slope of standardised log interest, from the prior of the slope of log interest itself.

    Many users have all but faded, so a standard deviation of log interest is anything from 1 to 5. A prior about that
    would say something else of every log, and of most of them that interest counts for little.
    """
    if not terms.formula.interest:
        return variable(priors, "slope_interest", fixed=0.0)
    return variable({"slope_interest": priors["slope_interest"].scaled(terms.interest_scale)}, "slope_interest")


def _slopes(priors: Mapping[str, Prior], outcome: Outcome, sparse: Flags) -> Any:
    if not sparse.size:
        return pt.zeros(0)
    if not sparse.any():
        return variable(priors, "slope", dims="feature")
    parts, places = [], [np.flatnonzero(sparse), np.flatnonzero(~sparse)]
    parts.append(horseshoe(columns=places[0].size, rows=float(outcome.weight.sum()), share=outcome.share))
    if places[1].size:
        parts.append(variable(priors, "slope", called=f"{PLAIN_SLOPE}{OFFSET}", shape=places[1].size))
    order = np.argsort(np.concatenate(places))
    return pm.Deterministic("slope", pt.concatenate(parts)[order], dims="feature")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByGroup:
    """Variables of one bracket: ``intercept`` (group,), ``slope`` (group, column) of the features at ``places``."""

    intercept: Any
    slope: Any
    places: Integers


def _bracket(terms: Terms, i: int, priors: Mapping[str, Prior]) -> _ByGroup:
    one = terms.pooled[i]
    spread = variable(priors, "tau_intercept", called=f"tau_intercept_{one.group}")
    intercept = pooled(f"intercept_{one.group}", 0.0, spread, dims=one.group)
    places = terms.columns_of(i)
    if not places.size:
        return _ByGroup(intercept=intercept, slope=None, places=places)
    dims = f"{one.group}_feature"
    spreads = variable(priors, "tau_slope", called=f"tau_slope_{one.group}", dims=dims)
    slope = pooled(f"slope_{one.group}", 0.0, spreads, dims=(one.group, dims))
    return _ByGroup(intercept=intercept, slope=slope, places=places)


def _offset(intercept: Any, by_group: dict[int, _ByGroup], design: Design) -> tuple[Any, Integers]:
    """What is added to the fixed terms: once a combination of groups, or once a row where slopes differ by group."""
    n_rows = len(design.x)
    sampled = design.groups[:, list(by_group)]
    if any(one.places.size for one in by_group.values()):
        groups, code, x = sampled, np.arange(n_rows), design.x
    else:
        groups, code = np.unique(sampled, axis=0, return_inverse=True)
        code, x = code.ravel().astype(np.int64), None
    offset = intercept + pt.zeros(len(groups))
    for i, one in enumerate(by_group.values()):
        offset = offset + one.intercept[groups[:, i]]
        if x is not None and one.places.size:
            offset = offset + pt.sum(x[:, one.places] * one.slope[groups[:, i]], axis=1)
    return offset, code


def _spread(coefficient: Any, by_group: dict[int, _ByGroup], design: Design) -> tuple[Any, Integers]:
    """Standard deviation of what missing features bring, once for each pattern and, if need be, each group.

    The first is exactly 0, of the rows where nothing is missing.
    """
    varying = [i for i, one in by_group.items() if one.places.size]
    keys = np.column_stack([design.pattern, *(design.groups[:, i] for i in varying)])
    keys = np.where(design.pattern[:, None] > 0, keys, -1)
    distinct, pair = np.unique(keys, axis=0, return_inverse=True)
    pair = pair.ravel().astype(np.int64)
    if distinct[0, 0] < 0:
        distinct = distinct[1:]
    else:
        pair = pair + 1
    if not len(distinct):
        return pt.zeros(1), pair
    along = pt.zeros((len(distinct), design.x.shape[1])) + coefficient
    for place, i in enumerate(varying):
        own = by_group[i]
        along = pt.inc_subtensor(along[:, own.places], own.slope[distinct[:, place + 1]])
    parts = pt.sum(along[:, :, None] * design.root[distinct[:, 0]], axis=1)
    # The smallest number keeps the root's slope finite where a coefficient is 0.
    return pt.concatenate([pt.zeros(1), pt.sqrt(pt.sum(parts**2, axis=1) + 1e-18)]), pair
