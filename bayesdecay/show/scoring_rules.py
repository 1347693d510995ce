r"""Proper scoring rules, calibration and coverage: from forecasts and what happened to numbers, smaller is better.

A rule is proper when nobody can expect to do better than by stating the forecast that they believe. Rules give one
number a row, so that two forecasters can be compared row by row.

References
----------
Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and estimation. *JASA* 102(477),
359-378. https://doi.org/10.1198/016214506000001437
Czado, C., Gneiting, T. and Held, L. (2009). Predictive model assessment for count data. *Biometrics* 65(4),
1254-1261. https://doi.org/10.1111/j.1541-0420.2009.01191.x
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Calibration",
    "brier_score",
    "calibration",
    "coverage",
    "crps_of_counts",
    "crps_of_draws",
    "interval_score",
    "log_score",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Forecast probabilities in bins of equal numbers, beside how often it happened.

    Attributes
    ----------
    predicted, observed : array of float [bin]
        Mean forecast probability and share of rows where it happened.
    rows : array of int [bin]
        Number of rows.
    error : float
        Mean distance of the two over the rows, the expected calibration error.
    """

    predicted: Floats
    observed: Floats
    rows: npt.NDArray[np.int64]
    error: float


def crps_of_counts(pmf: npt.ArrayLike, observed: npt.ArrayLike) -> Floats:
    r"""Continuous ranked probability score of forecasts of counts [counts].

    Parameters
    ----------
    pmf : array [row, count]
        Probability of 0, 1, 2, ... for each row.
    observed : array of int [row]
        The count that happened; it may lie beyond the last count of the forecast.

    Returns
    -------
    array [row]

    Raises
    ------
    ValueError
        If the shapes do not fit, or the forecasts are no probabilities that sum to one.

    Notes
    -----
    :math:`\sum_k (F(k) - 1\{y \le k\})^2`; for a certain forecast it is the absolute error.
    """
    masses, seen = _checked_pmf(pmf, observed)
    below = np.minimum(np.cumsum(masses, axis=1), 1.0)
    counts = np.arange(masses.shape[1])
    inside = ((below - (counts >= seen[:, None])) ** 2).sum(axis=1)
    # Beyond its last count a forecast's F is one, and each count up to the observed one adds one.
    return np.asarray(inside + np.maximum(seen - masses.shape[1], 0))


def crps_of_draws(draws: npt.ArrayLike, observed: npt.ArrayLike) -> Floats:
    r"""Continuous ranked probability score of forecasts given as draws [unit of the draws].

    Parameters
    ----------
    draws : array [draw, row]
        Draws of the forecast, at least two.
    observed : array [row]
        What happened.

    Returns
    -------
    array [row]

    Raises
    ------
    ValueError
        If the shapes do not fit, or something is not finite.

    Notes
    -----
    :math:`\mathrm{E}|X - y| - \frac12 \mathrm{E}|X - X'|` with distinct pairs of draws, so that its mean does not
    depend on how many draws there are.
    """
    sample, seen = _finite("draws", draws), _finite("observed", observed)
    if sample.ndim != 2 or len(sample) < 2 or seen.shape != sample.shape[1:]:
        raise ValueError(f"expected draws (draw, row) and observed (row,), got {sample.shape} and {seen.shape}")
    n = len(sample)
    # Sorted, the sum of |X_i - X_j| over pairs i < j is the sum of (2 i - n + 1) X_(i).
    ranks = (2 * np.arange(n) - n + 1)[:, None]
    spread = (ranks * np.sort(sample, axis=0)).sum(axis=0) / (n * (n - 1))
    return np.asarray(np.abs(sample - seen).mean(axis=0) - spread)


def log_score(pmf: npt.ArrayLike, observed: npt.ArrayLike) -> Floats:
    """Negative log probability [nats] that the forecast gave to the count that happened.

    Parameters
    ----------
    pmf : array [row, count]
        Probability of 0, 1, 2, ... for each row.
    observed : array of int [row]
        The count that happened.

    Returns
    -------
    array [row]
        Infinite where the forecast had ruled it out.

    Raises
    ------
    ValueError
        As in :func:`crps_of_counts`, and if a count lies beyond the last one of the forecast.
    """
    masses, seen = _checked_pmf(pmf, observed)
    if seen.size and seen.max() >= masses.shape[1]:
        raise ValueError(
            f"observed {seen.max()} but the forecast ends at {masses.shape[1] - 1}; forecast up to the largest count"
        )
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(masses[np.arange(len(seen)), seen]))


def brier_score(p: npt.ArrayLike, happened: npt.ArrayLike) -> Floats:
    """Squared distance of the forecast probability from 1 if it happened and from 0 if not, for each row.

    Raises
    ------
    ValueError
        If the shapes differ, a probability is outside [0, 1] or an outcome is neither 0 nor 1.
    """
    forecast, outcome = _checked_probabilities(p, happened)
    return (forecast - outcome) ** 2


def calibration(p: npt.ArrayLike, happened: npt.ArrayLike, *, bins: int = 10) -> Calibration:
    """Compare forecast probabilities with how often it happened, in bins of equal numbers of rows.

    Rows with equal forecasts stay in one bin, so there may be fewer bins than asked for.

    Raises
    ------
    ValueError
        As in :func:`brier_score`, and without any row or bin.
    """
    forecast, outcome = _checked_probabilities(p, happened)
    if bins < 1 or not forecast.size:
        raise ValueError(f"expected at least one bin and one row, got {bins} bins and {forecast.size} rows")
    edges = np.unique(np.quantile(forecast, np.arange(1, bins) / bins, method="inverted_cdf"))
    index = np.searchsorted(edges, forecast, side="left")
    rows = np.bincount(index)
    used = rows > 0
    predicted = np.bincount(index, weights=forecast)[used] / rows[used]
    observed = np.bincount(index, weights=outcome)[used] / rows[used]
    error = float(np.average(np.abs(predicted - observed), weights=rows[used]))
    return Calibration(predicted=predicted, observed=observed, rows=rows[used], error=error)


def coverage(lower: npt.ArrayLike, upper: npt.ArrayLike, observed: npt.ArrayLike) -> float:
    """Share of rows whose interval, ends included, holds what happened.

    Raises
    ------
    ValueError
        If the shapes differ, an interval is upside down or something is not finite.
    """
    low, high, seen = _checked_intervals(lower, upper, observed)
    return float(((low <= seen) & (seen <= high)).mean())


def interval_score(
    lower: npt.ArrayLike, upper: npt.ArrayLike, observed: npt.ArrayLike, *, ci_prob: float = 0.9
) -> Floats:
    r"""Winkler's score of equal-tailed intervals: their width, and a penalty for what falls outside.

    Raises
    ------
    ValueError
        As in :func:`coverage`, and if ``ci_prob`` is not between 0 and 1.

    Notes
    -----
    :math:`(u - l) + \frac{2}{1 - c}\,[(l - y)_+ + (y - u)_+]` for intervals of probability c.
    """
    if not 0 < ci_prob < 1:
        raise ValueError(f"ci_prob must lie between 0 and 1, got {ci_prob!r}")
    low, high, seen = _checked_intervals(lower, upper, observed)
    outside = np.maximum(low - seen, 0.0) + np.maximum(seen - high, 0.0)
    return (high - low) + 2.0 / (1.0 - ci_prob) * outside


def _finite(what: str, values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{what} has {int((~np.isfinite(array)).sum())} values that are missing or infinite")
    return array


def _checked_pmf(pmf: npt.ArrayLike, observed: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    masses, seen = _finite("pmf", pmf), _finite("observed", observed)
    if masses.ndim != 2 or seen.shape != masses.shape[:1]:
        raise ValueError(f"expected pmf (row, count) and observed (row,), got {masses.shape} and {seen.shape}")
    if (seen < 0).any() or (seen % 1 != 0).any():
        raise ValueError("observed counts must be whole numbers from 0 on")
    # A tail cut off at 1e-4 moves no score that is looked at; more is a forecast that was never finished.
    if (masses < -1e-12).any() or (np.abs(masses.sum(axis=1) - 1.0) > 1e-4).any():
        raise ValueError("each row of pmf must hold probabilities that sum to one; forecast up to a larger count")
    return masses, seen.astype(np.int64)


def _checked_probabilities(p: npt.ArrayLike, happened: npt.ArrayLike) -> tuple[Floats, Floats]:
    forecast, outcome = _finite("p", p), _finite("happened", happened)
    if forecast.ndim != 1 or forecast.shape != outcome.shape:
        raise ValueError(f"expected p and happened of one length, got {forecast.shape} and {outcome.shape}")
    if ((forecast < 0) | (forecast > 1)).any():
        raise ValueError(f"p must lie in [0, 1], got {forecast.min():g} to {forecast.max():g}")
    if (~np.isin(outcome, (0.0, 1.0))).any():
        raise ValueError("happened must be 0 or 1, true or false")
    return forecast, outcome


def _checked_intervals(*ends_and_observed: Any) -> tuple[Floats, Floats, Floats]:
    names = ("lower", "upper", "observed")
    low, high, seen = (_finite(name, part) for name, part in zip(names, ends_and_observed, strict=True))
    if not low.shape == high.shape == seen.shape or not low.size:
        raise ValueError(
            f"expected lower, upper and observed of one length, got {low.shape}, {high.shape}, {seen.shape}"
        )
    if (low > high).any():
        raise ValueError(f"{int((low > high).sum())} intervals have their lower end above their upper end")
    return low, high, seen
