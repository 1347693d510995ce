r"""How P(reactivation) goes with each feature: average marginal effects, and partial-dependence curves with bands.

In: a fit of the reactivation model, snapshots, a decay fit. Out: tidy tables. With :math:`p_{us}(x)` the P of user u at
draw s if a feature were x, all else being as it is,

.. math:: \mathrm{AME}_s = \frac1U \sum_u \big(p_{us}(x_u + h) - p_{us}(x_u)\big), \qquad
    \mathrm{PD}_s(x) = \frac1U \sum_u p_{us}(x);

the mean over the draws is the estimate, their quantiles are its interval. All terms that use the feature move together.
This is what goes with a feature among the users of the fit, and not what would come of changing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import unknown_name
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.matrices import Design
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.terms import Terms
from bayesdecay.model.uncertainty import DrawOptions
from bayesdecay.show.feature_words import PER_DAYS, feature_unit
from bayesdecay.show.scene import Scene, columns_by_label

__all__ = ["CHANGE", "ONE_SD", "ONE_UNIT", "VALUE", "average_marginal_effects", "partial_dependence"]

Floats = NDArray[np.float64]

ONE_UNIT, ONE_SD = "one unit", "one standard deviation"
CHANGE, VALUE = "change", "value"
# Averages over 5,000 users chosen at random are off by less than a hundredth of the users' own spread.
_USERS = 5_000
# Points of a curve, over the middle 90 % of the users: beyond it there are few to learn from.
_POINTS, _RANGE = 25, (0.05, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """A change of a feature: in words, how much it is and in what unit, and the designs before and after."""

    step: str
    size: float
    unit: str
    before: Design
    after: Design


def average_marginal_effects(
    fit: ReactivationFit, snapshots: Snapshots, decay: DecayFit, *, options: DrawOptions | None = None
) -> pd.DataFrame:
    """Tell by how much users' P changes, on average, with one unit and one standard deviation more of each feature.

    Returns
    -------
    DataFrame
        A row a feature and step: ``feature``, ``step`` (in words), ``size`` and ``unit`` of the step, and ``change``
        with ``_lower`` and ``_upper`` [probability].

    Raises
    ------
    ValueError
        If the snapshots have several cutoffs.
    NotConvergedError
        If a fit did not converge and ``options`` do not allow it.

    Notes
    -----
    A standard deviation is that of the users at hand. For text a row is the change from the first value to another, for
    true and false that from false to true, of everybody. Interest: a unit is one activity more per 30 days, and a
    standard deviation that of its logarithm in the data of the fit, which is a factor. Groups and embeddings have no
    unit and are left out. Averages are over the users whose value is known, 5,000 of them chosen at random where
    there are more; who these are is not in the interval.
    """
    told = options or DrawOptions()
    scene = _scene(fit, snapshots, decay, told)
    own = scene.p()
    rows = []
    for feature in _features(scene.terms):
        known = _known(scene, feature)
        for step in _steps(scene, feature):
            before = own if step.before is scene.design else scene.p(step.before)
            change = (scene.p(step.after) - before)[known].mean(axis=0)
            lower, upper = interval_ends(change, told.tails)
            rows.append((feature, step.step, step.size, step.unit, change.mean(), lower, upper))
    table = pd.DataFrame(rows, columns=["feature", "step", "size", "unit", CHANGE, *names.bounds(CHANGE)])
    table.attrs |= {names.CI_PROB: told.ci_prob, names.HORIZON: fit.horizon}
    return table


def partial_dependence(
    fit: ReactivationFit,
    snapshots: Snapshots,
    decay: DecayFit,
    feature: str,
    *,
    values: Sequence[Any] | None = None,
    options: DrawOptions | None = None,
) -> pd.DataFrame:
    """Average P of the users if a feature had the same value for all of them, over a grid of its values.

    Parameters
    ----------
    feature : str
        A column that the formula uses, or ``"interest"`` [activities per day].
    values : sequence, optional
        The grid; evenly spread over the middle 90 % of the users unless told (interest: by factors), or all values of
        a text.
    options : DrawOptions, optional
        Draws, interval, seed.

    Returns
    -------
    DataFrame
        ``value``, in the feature's own units, and ``p`` with ``p_lower`` and ``p_upper``.

    Raises
    ------
    ValueError
        If the model does not use the feature, or the snapshots have several cutoffs.
    NotConvergedError
        If a fit did not converge and ``options`` do not allow it.
    """
    told = options or DrawOptions()
    known = _features(fit.terms)
    if feature not in known:
        raise unknown_name("feature", feature, known)
    scene = _scene(fit, snapshots, decay, told)
    grid = _grid(scene, feature) if values is None else list(values)
    means = np.stack([scene.p(_at(scene, feature, value)).mean(axis=0) for value in grid])
    lower, upper = interval_ends(means, told.tails)
    columns = dict(zip(("p", *names.bounds("p")), (means.mean(axis=1), lower, upper), strict=True))
    table = pd.DataFrame({VALUE: grid, **columns})
    table.attrs |= {"feature": feature, names.CI_PROB: told.ci_prob, names.HORIZON: fit.horizon}
    return table


def _scene(fit: ReactivationFit, snapshots: Snapshots, decay: DecayFit, told: DrawOptions) -> Scene:
    """Look at all users, or at so many chosen at random."""
    if len(snapshots) > _USERS:
        rng = np.random.default_rng(told.random_seed)
        rows = np.sort(rng.choice(len(snapshots), _USERS, replace=False))
        snapshots = snapshots.of_users(snapshots.table[names.USER].iloc[rows])
    return Scene.of(fit, snapshots, decay, told)


def _features(terms: Terms) -> list[str]:
    """What the formula uses, interest first, in its order."""
    used = [column for columns in columns_by_label(terms).values() for column in sorted(columns)]
    return list(dict.fromkeys([*([names.INTEREST] if terms.formula.interest else []), *used]))


def _levels(terms: Terms) -> dict[str, tuple[str, ...]]:
    """Values of each column of text."""
    found = dict(terms.fixed.levels)
    for one in terms.pooled:
        found |= one.columns.levels
    return found


def _known(scene: Scene, feature: str) -> NDArray[np.bool_]:
    if feature == names.INTEREST:
        return np.ones(len(scene.table), dtype=bool)
    return scene.table[feature].notna().to_numpy()


def _at(scene: Scene, feature: str, value: Any) -> Design:
    """Everybody with the same value of a feature."""
    if feature == names.INTEREST:
        return scene.with_log_interest(np.full((len(scene.table), 1), np.log(value)))
    return scene.with_feature(feature, value)


def _steps(scene: Scene, feature: str) -> Iterator[_Step]:
    """One unit and one standard deviation more, or one value instead of another."""
    if feature == names.INTEREST:
        yield from _steps_of_interest(scene)
        return
    column, levels = scene.table[feature], _levels(scene.terms).get(feature)
    if levels is not None or pd.api.types.is_bool_dtype(column):
        first, *others = levels or (False, True)
        before = _at(scene, feature, first)
        for other in others:
            told = f"{other} instead of {first}" if levels else "yes instead of no"
            yield _Step(step=told, size=np.nan, unit="", before=before, after=_at(scene, feature, other))
        return
    values = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    spread = float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
    for step, size in ((ONE_UNIT, 1.0), (ONE_SD, spread)):
        after = scene.with_feature(feature, values + size)
        yield _Step(step=step, size=size, unit=feature_unit(feature, size), before=scene.design, after=after)


def _steps_of_interest(scene: Scene) -> Iterator[_Step]:
    more, factor = scene.log_interest, scene.terms.interest_scale
    unit = np.log(np.exp(more) + 1.0 / PER_DAYS)
    for step, size, told, value in (
        (ONE_UNIT, 1.0, f"activity per {PER_DAYS:g} days", unit),
        (ONE_SD, float(np.exp(factor)), "times", more + factor),
    ):
        yield _Step(step=step, size=size, unit=told, before=scene.design, after=scene.with_log_interest(value))


def _grid(scene: Scene, feature: str) -> list[Any]:
    """Values of a feature to look at."""
    if feature == names.INTEREST:
        low, high = np.quantile(np.exp(scene.log_interest).mean(axis=1), _RANGE)
        return np.geomspace(low, high, _POINTS).tolist()
    levels, column = _levels(scene.terms).get(feature), scene.table[feature]
    if levels is not None:
        return list(levels)
    if pd.api.types.is_bool_dtype(column):
        return [False, True]
    known = column.dropna().to_numpy(dtype=np.float64)
    low, high = np.quantile(known, _RANGE)
    inside = np.unique(known[(known >= low) & (known <= high)])
    # Few values, such as counts: each of them, and none between.
    return inside.tolist() if inside.size <= _POINTS else np.linspace(low, high, _POINTS).tolist()
