r"""Calibration of predicted uplift: in tenths of the users, what was predicted beside what came true.

In: an experiment, and predicted uplifts as draws or with intervals. Out: by bin of predicted uplift, the predicted
mean with its interval, the realised difference of weighted means with its own, whether the two fit, and the slope

.. math:: b = \frac{\mathrm{Cov}(\hat\tau, \Gamma)}{\mathrm{Var}(\hat\tau)}

of the effect scores on the predictions: 1 where users differ by as much as was predicted, 0 where not at all.

References
----------
Chernozhukov, V., Demirer, M., Duflo, E. and Fernández-Val, I. (2025). Generic machine learning inference on
heterogeneous treatment effects in randomized experiments. *Econometrica* 93(4), 1121-1164.
https://doi.org/10.3982/ECTA19303 (the slope, and the means by group)
"""

from __future__ import annotations

import html
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtri

from bayesdecay.data.experiment import Experiment
from bayesdecay.decide.arm_scores import effect_scores, weights
from bayesdecay.decide.risk import check_share, interval
from bayesdecay.decide.uplift_curves import finite, treated
from bayesdecay.errors import unknown_name
from bayesdecay.names import CHAIN, DRAW, LOWER, SAMPLE, UPPER, USER, bounds

__all__ = ["UpliftCalibration", "uplift_calibration"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PREDICTED, REALISED, PREDICTIVE = "predicted", "realised", "predictive"
MEAN = "mean"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UpliftCalibration:
    """Predicted beside realised uplift.

    Attributes
    ----------
    table : DataFrame
        A row a bin, from the lowest predicted uplift to the highest: ``users``; ``predicted``, the mean predicted
        uplift with its interval ``_lower`` and ``_upper`` and its ``_sd``; ``predictive_lower`` and
        ``predictive_upper``, where the realised uplift should lie, chance of the outcomes included; ``realised`` with
        ``_se``, ``_lower`` and ``_upper`` [unit of the outcome]; ``covered``, whether the realised uplift lies in its
        predictive interval.
    slope, slope_se : float
        Of the effect scores on the predictions; NaN where all predictions are alike.
    arm, outcome : hashable, str
        What was judged.
    ci_prob : float
        Probability of the intervals.
    causal : bool
        Whether the realised uplift is what the arm did; False where nobody drew lots.
    caveat : str
        What has to be said with the numbers; empty if lots were drawn.
    """

    table: pd.DataFrame
    slope: float
    slope_se: float
    arm: Hashable
    outcome: str
    ci_prob: float
    causal: bool
    caveat: str

    @property
    def coverage(self) -> float:
        """Share of the bins whose realised uplift lies in its predictive interval."""
        return float(self.table["covered"].mean())

    @property
    def statement(self) -> str:
        """The calibration in plain words."""
        half = float(ndtri(0.5 + self.ci_prob / 2)) * self.slope_se
        slope = (
            f" For each unit by which two users' predictions differ, the realised effects differ by {self.slope:.2f} "
            f"[{self.slope - half:.2f}, {self.slope + half:.2f}]."
            if np.isfinite(self.slope)
            else ""
        )
        return (
            f"In {int(self.table['covered'].sum())} of {len(self.table)} groups the realised uplift of {self.arm!r} "
            f"lies in its {self.ci_prob:.0%} predictive interval.{slope} {self.caveat}"
        ).strip()

    def __str__(self) -> str:
        """Say it in plain words."""
        return self.statement

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.statement)}</p>{self.table.to_html(index=False, float_format='{:,.4f}'.format)}"


def uplift_calibration(
    experiment: Experiment, predicted: Any, *, outcome: str, arm: Hashable, bins: int = 10, ci_prob: float = 0.9
) -> UpliftCalibration:
    """Compare predicted with realised uplift in bins of predicted uplift.

    Parameters
    ----------
    experiment : Experiment
        Users that the predictions were not learnt from.
    predicted : DataArray or array (sample, user), or DataFrame
        Draws of each user's uplift; or a frame with the columns ``mean``, ``lower`` and ``upper``, its index the users.
    outcome : str
        What is counted.
    arm : hashable
        The arm whose uplift over the control was predicted.
    bins : int
        How many bins of equally many users.
    ci_prob : float
        Probability of the intervals, those of a table's ``lower`` and ``upper`` as well.

    Returns
    -------
    UpliftCalibration

    Raises
    ------
    ValueError
        If shapes, users or columns do not fit, or a bin has fewer than two users of the arm or of the control.

    Notes
    -----
    The interval of a bin's mean is taken of the mean of its users in each draw: users' uplifts share the model's
    uncertainty, and their intervals do not average out. A table has lost what they share; its bins get the mean of
    their users' intervals, right if all share everything and too wide otherwise.
    The predictive interval is normal, with the variance of the predicted mean and that of the realised one added.
    """
    check_share(ci_prob, "ci_prob")
    place, values = treated(experiment, arm), experiment.outcome(outcome)
    told = _Predicted.of(experiment, predicted)
    groups = np.array_split(np.argsort(told.mean, kind="stable"), _bins(bins, len(experiment)))
    slope, slope_se = _slope(told.mean, effect_scores(experiment, values, place))
    return UpliftCalibration(
        table=pd.DataFrame(
            [_row(experiment, values, place, inside, told.of_group(inside, ci_prob)) for inside in groups]
        ).pipe(_judged, float(ndtri(0.5 + ci_prob / 2))),
        slope=slope,
        slope_se=slope_se,
        arm=arm,
        outcome=outcome,
        ci_prob=ci_prob,
        causal=experiment.causal,
        caveat=experiment.caveat,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Predicted:
    """Predicted uplifts, their means (user,) with draws (user, sample) or ends (user, 2), the other being empty."""

    mean: Floats
    draws: Floats
    ends: Floats

    @classmethod
    def of(cls, experiment: Experiment, predicted: Any) -> _Predicted:
        """Read draws or a table of intervals."""
        if isinstance(predicted, pd.DataFrame):
            for name in (MEAN, LOWER, UPPER):
                if name not in predicted.columns:
                    raise unknown_name("column of the predicted uplift:", name, map(str, predicted.columns))
            mean, *ends = (finite(experiment, predicted[name], f"predicted {name}") for name in (MEAN, LOWER, UPPER))
            return cls(mean=mean, draws=np.empty((mean.size, 0)), ends=np.column_stack(ends))
        draws = _users_first(experiment, predicted)
        if draws.ndim != 2 or not np.isfinite(draws).all():
            raise ValueError(f"predicted: expected finite draws (sample, user), got the shape {draws.T.shape}")
        return cls(mean=draws.mean(axis=1), draws=draws, ends=np.empty((len(draws), 0)))

    def of_group(self, inside: Integers, ci_prob: float) -> tuple[float, float, float, float]:
        """Mean of a group with its lower and upper end and its standard deviation."""
        if self.draws.size:
            means = self.draws[inside].mean(axis=0)
            return (float(means.mean()), *interval(means, ci_prob), float(means.std()))
        lower, upper = self.ends[inside].mean(axis=0)
        sd = (upper - lower) / (2 * float(ndtri(0.5 + ci_prob / 2)))
        return float(self.mean[inside].mean()), float(lower), float(upper), float(sd)


def _users_first(experiment: Experiment, predicted: Any) -> Floats:
    """Draws in the order of the experiment's users, float64[user, sample]."""
    if not isinstance(predicted, xr.DataArray):
        return np.asarray(experiment.aligned(np.asarray(predicted, dtype=float).T, "predicted"), dtype=float)
    if CHAIN in predicted.dims:
        predicted = predicted.stack({SAMPLE: (CHAIN, DRAW)})
    by_user = predicted.transpose(USER, SAMPLE)
    values: Any = by_user.to_numpy()
    if USER in by_user.coords:
        values = pd.DataFrame(values, index=by_user[USER].to_numpy())
    return np.asarray(experiment.aligned(values, "predicted"), dtype=float)


def _bins(bins: int, users: int) -> int:
    if not 1 <= bins <= users:
        raise ValueError(f"{bins} bins of {users:,} users cannot be; expected between 1 and the number of users")
    return bins


def _row(
    experiment: Experiment,
    values: Floats,
    place: int,
    inside: Integers,
    predicted: tuple[float, float, float, float],
) -> dict[str, float]:
    """Predicted and realised uplift of one bin."""
    weight = weights(experiment)[inside]
    realised, variance = 0.0, 0.0
    for arm, sign in ((place, 1.0), (0, -1.0)):
        own = weight[:, arm]
        counted = int((own > 0).sum())
        if counted < 2:
            raise ValueError(
                f"uplift calibration: a bin of {inside.size} users has {counted} of the arm {experiment.arms[arm]!r}; "
                "expected at least 2: take fewer bins"
            )
        mean = float(own @ values[inside] / own.sum())
        realised += sign * mean
        scatter = float(((own * (values[inside] - mean)) ** 2).sum() / own.sum() ** 2)
        variance += counted / (counted - 1) * scatter
    mean, lower, upper, sd = predicted
    return {
        "users": inside.size,
        PREDICTED: mean,
        bounds(PREDICTED)[0]: lower,
        bounds(PREDICTED)[1]: upper,
        f"{PREDICTED}_sd": sd,
        REALISED: realised,
        f"{REALISED}_se": float(np.sqrt(variance)),
    }


def _judged(table: pd.DataFrame, half: float) -> pd.DataFrame:
    """Add the intervals of the realised uplift, and whether it lies where it was predicted."""
    realised, own = table[REALISED], half * table[f"{REALISED}_se"]
    wide = half * np.hypot(table[f"{REALISED}_se"], table[f"{PREDICTED}_sd"])
    (realised_lower, realised_upper), (lower, upper) = bounds(REALISED), bounds(PREDICTIVE)
    table = table.assign(
        **{
            realised_lower: realised - own,
            realised_upper: realised + own,
            lower: table[PREDICTED] - wide,
            upper: table[PREDICTED] + wide,
        }
    )
    return table.assign(covered=(table[lower] <= realised) & (realised <= table[upper]))


def _slope(predicted: Floats, effect: Floats) -> tuple[float, float]:
    """Slope of the effect scores on the predictions, and its standard error, which allows for unequal scatter."""
    away = predicted - predicted.mean()
    spread = (away**2).sum()
    # Rounding alone makes equal predictions differ by some 1e-16 of their size.
    if np.ptp(predicted) <= 1e-12 * np.abs(predicted).max():
        return np.nan, np.nan
    slope = float(away @ effect / spread)
    left = effect - effect.mean() - slope * away
    return slope, float(np.sqrt(((away * left) ** 2).sum()) / spread)
