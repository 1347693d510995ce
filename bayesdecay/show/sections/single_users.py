"""The section about single users on the page of a check: probabilities, intervals, and groups of users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bayesdecay.show.check_plots import plot_coverage
from bayesdecay.show.log_check import LogCheck
from bayesdecay.show.sections.forecasters import with_error
from bayesdecay.show.sections.held_out import calibration_figure
from bayesdecay.show.views import FigureView, Section, TableView, Text, drawn, tabulated
from bayesdecay.show.words import count, level, percent

__all__ = ["users_section"]


def users_section(check: LogCheck) -> Section:
    """Calibration, coverage, and how groups of users fared."""
    ours = f"{level(check.ci_prob)} intervals of users' numbers of activities"
    return Section(
        name="users",
        title="Single users",
        parts=(
            calibration_figure(check.calibration, ci_prob=check.ci_prob, of="the users over all periods"),
            _coverage(check),
            _groups(
                check.by_activity, "predicted_activities", "Predicted", "tenths of the predicted number of activities"
            ),
            _groups(check.by_past, "past_activities", "Past activities", "number of past activities"),
            _groups(check.by_length, "days_known", "Days known", "fifths of the days since the acquisition"),
            Text(
                text=f"Coverage: the share of {ours} that held what happened. They claim more than that, since counts "
                "are whole numbers: the share that the forecasts themselves gave to them stands beside it."
            ),
        ),
    )


def _coverage(check: LogCheck) -> FigureView:
    groups = check.by_activity
    told = "; ".join(f"{row.predicted_activities}: {percent(row.coverage)}" for row in groups.itertuples())
    return drawn(
        lambda ax: plot_coverage(
            groups, ci_prob=check.ci_prob, what="users by predicted number, the quietest first", ax=ax
        ),
        name="coverage",
        half=True,
        size=(4.4, 4.0),
        caption=f"What {level(check.ci_prob)} intervals of users' numbers of activities held, by tenths of the users.",
        alt=f"Coverage by predicted number: {told}.",
    )


def _groups(table: Any, column: str, heading: str, by: str) -> TableView:
    return tabulated(
        table,
        f"By {by}, over all periods: chance of any activity, number of activities a user, and the intervals of that "
        "number; mean ± standard error",
        {
            heading: column,
            "Users": lambda row: count(row["users"]),
            "P(active)": lambda row: percent(row["predicted"]),
            "Were active": lambda row: _share_with_error(row, "observed"),
            "Forecast": lambda row: f"{row['expected']:.3f}",
            "Seen": with_error("seen"),
            "Coverage": lambda row: _share_with_error(row, "coverage"),
            "Claimed": lambda row: percent(row["claimed"]),
            "Width": with_error("width", digits=2),
        },
    )


def _share_with_error(row: Mapping[str, Any], name: str) -> str:
    space = "\N{NO-BREAK SPACE}"
    return f"{100 * row[name]:.1f}{space}±{space}{100 * row[f'{name}_se']:.1f}{space}%"
