"""The report's section about trust: how such statements did on what the model had not seen."""

from __future__ import annotations

import pandas as pd

from bayesdecay.show import plots
from bayesdecay.show.checks import ForecastCheck
from bayesdecay.show.sections.forecasters import honesty_table, scores_table, with_error
from bayesdecay.show.views import FigureView, Listing, Section, TableView, Text, drawn, tabulated
from bayesdecay.show.words import count, counted, date, level, marked, percent, span

__all__ = ["calibration_figure", "held_out_section", "judged"]


def held_out_section(check: ForecastCheck | None, foreseen: str = "") -> Section:
    """Scores, calibration and totals beside what was seen; one sentence where there was nothing to see.

    ``foreseen``: that a season and a calendar are in the total, to follow on a sentence.
    """
    title = "How well such statements did"
    if check is None:
        text = "No held-out check was made: nothing in the log was left to compare the statements with."
        return Section(name="held-out", title=title, parts=(Text(text=text),))
    intro = (
        f"{count(check.users)} users were forecast from what was known on {date(check.at)}, and compared with the "
        f"{span(check.length)} that followed and that the model had not seen."
    )
    return Section(
        name="held-out",
        title=title,
        parts=(
            Text(text=intro),
            Listing(items=judged(check)),
            scores_table(check.table.reset_index()),
            honesty_table(check.table.reset_index(), check.ci_prob),
            calibration_figure(check.calibration, ci_prob=check.ci_prob),
            _total(check, foreseen),
            _by_history(check),
            _windows(check),
        ),
    )


def judged(check: ForecastCheck) -> tuple[str, ...]:
    """Findings in plain sentences, good and bad ones with signs of their own."""
    return tuple(marked(finding.text, good=finding.good) for finding in check.findings)


def calibration_figure(bins: pd.DataFrame, *, ci_prob: float, of: str = "the users") -> FigureView:
    """Draw forecast probabilities beside what happened, by tenths ``of`` the users who were judged."""
    told = "; ".join(f"{percent(row.predicted)} forecast, {percent(row.observed)} seen" for row in bins.itertuples())
    return drawn(
        lambda ax: plots.plot_calibration(bins, ax=ax),
        name="calibration",
        half=True,
        size=(4.4, 4.0),
        caption="Forecast probability of any activity beside the share of users who were active, by tenths of "
        f"{of}, with {level(ci_prob)} binomial intervals. On the dashed line a forecast is right.",
        alt=f"Calibration: {told}.",
    )


def _total(check: ForecastCheck, foreseen: str) -> FigureView:
    last = check.total.iloc[-1]
    told = f"{counted(last['predicted'], last['predicted_lower'], last['predicted_upper'])} predicted"
    return drawn(
        lambda ax: plots.plot_total(check.total, ax=ax),
        name="total",
        half=True,
        size=(4.4, 4.0),
        caption=f"Activities of all users since the cutoff: predicted with {level(check.ci_prob)} interval, and seen"
        f"{foreseen}.",
        alt=f"After {span(last['to'])} {told}, {count(last['seen'])} seen.",
    )


def _by_history(check: ForecastCheck) -> TableView:
    return tabulated(
        check.by_history,
        "By the number of activities that a user had after the first one, until the cutoff; mean ± standard error",
        {
            "Past activities": "past_activities",
            "Users": lambda row: count(row["users"]),
            "P(active) forecast": lambda row: percent(row["predicted"]),
            "Were active": lambda row: (
                f"{100 * row['observed']:.0f} ±\N{NO-BREAK SPACE}{100 * row['observed_se']:.0f}\N{NO-BREAK SPACE}%"
            ),
            "Brier score": with_error("brier"),
            "Coverage": with_error("coverage"),
            "Coverage claimed": lambda row: f"{row['claimed']:.3f}",
        },
    )


def _windows(check: ForecastCheck) -> TableView:
    return tabulated(
        check.total.assign(window=[f"{row['from']:g} to {row['to']:g}" for _, row in check.total.iterrows()]),
        "Activities of all users, by days after the cutoff",
        {
            "Days": "window",
            "Predicted": lambda row: count(row["predicted_within"]),
            "Seen": lambda row: count(row["seen_within"]),
            "Predicted since the cutoff": lambda row: counted(
                row["predicted"], row["predicted_lower"], row["predicted_upper"]
            ),
            "Seen since the cutoff": lambda row: count(row["seen"]),
        },
    )
