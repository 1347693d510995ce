"""Figures of an experiment: the gain by share of the users, and predicted beside realised uplift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.ticker import PercentFormatter

from bayesdecay.decide.uplift_calibration import UpliftCalibration
from bayesdecay.decide.uplift_curves import UpliftCurve
from bayesdecay.show.style import ACCENT, BAND, INK, QUIET, styled

__all__ = ["plot_uplift_calibration", "plot_uplift_curve"]

_PERCENT = PercentFormatter(1.0, decimals=0)


def plot_uplift_curve(curve: UpliftCurve, *, ax: Axes | None = None) -> Axes:
    """Gain per user of the whole list by the share that is given the arm, the highest scores first.

    Parameters
    ----------
    curve : UpliftCurve
        The band is the interval at each share; between the dotted lines lies a score without any worth.
    """
    table = curve.table
    with styled(ax) as axes:
        lower, upper = table["gain_lower"], table["gain_upper"]
        band = axes.fill_between(table["share"], lower, upper, color=BAND, alpha=0.7, linewidth=0)
        (line,) = axes.plot(table["share"], table["gain"], color=INK)
        (chance,) = axes.plot(table["share"], table["random"], color=QUIET, linestyle="--", linewidth=1)
        for end in ("random_lower", "random_upper"):
            (within,) = axes.plot(table["share"], table[end], color=QUIET, linestyle=":", linewidth=1)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel(f"share of the users given {curve.arm}, the highest scores first")
        axes.set_ylabel(f"{_kind(curve)} {curve.outcome} per user")
        share = f"{curve.ci_prob:.0%}"
        names = ["score", f"{share} interval", "random order", f"{share} of these"]
        _legend(axes, [line, band, chance, within], names)
    return axes


def plot_uplift_calibration(calibration: UpliftCalibration, *, ax: Axes | None = None) -> Axes:
    """Realised uplift of each group of users beside the predicted one, each with its interval.

    Parameters
    ----------
    calibration : UpliftCalibration
        Groups whose realised uplift lies outside of its predictive interval are drawn hollow.
    """
    table = calibration.table
    with styled(ax) as axes:
        ends = [*table["predicted_lower"], *table["predicted_upper"]]
        axes.axhline(0, color=QUIET, linewidth=0.8)
        (ideal,) = axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=QUIET, linestyle="--", linewidth=1)
        marks: list[Any] = [ideal]
        names = ["as predicted"]
        for inside, face, name in (
            (table["covered"], ACCENT, "in its predictive interval"),
            (~table["covered"], "white", "outside"),
        ):
            if inside.any():
                marks.append(_points(axes, table[inside], face))
                names.append(name)
        axes.set_xlabel(f"predicted uplift of {calibration.outcome} by {calibration.arm}")
        axes.set_ylabel(f"{'realised uplift' if calibration.causal else 'difference seen, not causal'}")
        _legend(axes, marks, names)
    return axes


def _points(axes: Axes, table: pd.DataFrame, face: str) -> ErrorbarContainer:
    """Draw groups as points with whiskers both ways."""
    return axes.errorbar(
        table["predicted"],
        table["realised"],
        xerr=_whiskers(table, "predicted"),
        yerr=_whiskers(table, "realised"),
        fmt="o",
        color=ACCENT,
        markerfacecolor=face,
        ecolor=BAND,
        elinewidth=1.4,
        markersize=5,
    )


def _whiskers(table: pd.DataFrame, column: str) -> np.ndarray:
    """Distances from the middle to the ends of the interval (2, row)."""
    middle = table[column]
    return np.maximum(np.stack([middle - table[f"{column}_lower"], table[f"{column}_upper"] - middle]), 0.0)


def _kind(curve: UpliftCurve) -> str:
    return "incremental" if curve.causal else "difference (not causal) of"


def _legend(axes: Axes, marks: list[Any], names: list[str]) -> None:
    axes.legend(marks, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(names), handlelength=1.6)
