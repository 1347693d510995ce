"""Tables that set forecasters side by side, for the report and the page of a check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayesdecay.names import bounds
from bayesdecay.show.views import TableView, tabulated
from bayesdecay.show.words import count, counted, level

__all__ = ["honesty_table", "scores_table", "with_error"]


def scores_table(table: pd.DataFrame) -> TableView:
    """Scores of forecasters, a row each."""
    return tabulated(
        table,
        "Forecasters compared by scores of users' numbers of activities (CRPS, log score) and of whether there is any "
        "(Brier score, log loss): mean ± standard error, smaller is better",
        {
            "Forecaster": "forecaster",
            "CRPS": with_error("crps"),
            "Log score": with_error("log_score"),
            "Brier score": with_error("brier"),
            "Log loss": with_error("log_loss"),
        },
    )


def honesty_table(table: pd.DataFrame, ci_prob: float) -> TableView:
    """Whether forecasters' probabilities, intervals and totals held, a row each."""
    return tabulated(
        table,
        f"Whether their probabilities, {level(ci_prob)} intervals and totals held; "
        f"{count(table['seen'].iloc[0])} activities were seen",
        {
            "Forecaster": "forecaster",
            "Calibration error": with_error("calibration_error"),
            "By chance alone": lambda row: f"{row['calibration_chance']:.3f}",
            "Coverage": with_error("coverage"),
            "Coverage claimed": lambda row: _or_missing(row["claimed"], "{:.3f}"),
            "Mean width": lambda row: _or_missing(row["width"], "{:.1f}"),
            "Total predicted": lambda row: (
                counted(row["total"], *(row[name] for name in bounds("total"))) if np.isfinite(row["total"]) else "–"
            ),
        },
    )


def with_error(name: str, *, digits: int = 3) -> Callable[[Mapping[str, Any]], str]:
    """Make what writes a column of a row with its standard error."""

    def write(row: Mapping[str, Any]) -> str:
        if not np.isfinite(row[name]):
            return "–"
        return f"{row[name]:.{digits}f} ±\N{NO-BREAK SPACE}{row[f'{name}_se']:.{digits}f}"

    return write


def _or_missing(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else "–"
