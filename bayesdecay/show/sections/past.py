"""The section about the past on the page of a check: would the fitted population have had it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bayesdecay.names import bounds
from bayesdecay.show.check_plots import plot_past
from bayesdecay.show.log_check import LogCheck
from bayesdecay.show.past_check import COUNTS, GAPS, RETURNS, SINCE
from bayesdecay.show.views import FigureView, Section, TableView, Text, drawn, tabulated
from bayesdecay.show.words import date, level, number, percent

__all__ = ["past_section"]

_PICTURED = {
    COUNTS: "activities after the first one",
    GAPS: "gaps between activities of at most",
    SINCE: "time from the last activity to the cutoff of at most",
}


def past_section(check: LogCheck) -> Section:
    """What was seen beside what was drawn, in figures and a table."""
    past = check.past
    intro = (
        f"Would the fitted population have had the past that was seen until {date(past.at)}? As many users, acquired "
        "when they were, were drawn from it again and again. p is the share of these pasts that reach what was seen: "
        "near 0 or 1, the model's law leaves something out."
    )
    figures = tuple(_past_figure(check, aspect, what) for aspect, what in _PICTURED.items())
    return Section(
        name="past",
        title="Would the model have had this past?",
        parts=(Text(text=intro), *figures, _past_table(check)),
    )


def _past_figure(check: LogCheck, aspect: str, what: str) -> FigureView:
    table = check.past.of(aspect)
    table = table[(table["seen"] > 0) | (table["replicated_upper"] > 0)].reset_index(drop=True)
    told = "; ".join(
        f"{row.statistic}: {percent(row.seen)} seen, {percent(row.replicated)} drawn" for row in table.itertuples()
    )
    of = {COUNTS: "users", GAPS: "gaps", SINCE: "users who came back"}[aspect]
    return drawn(
        lambda ax: plot_past(table, what=what, ax=ax),
        name=f"past-{of.split()[0]}-{'since' if aspect == SINCE else 'own'}",
        half=True,
        size=(4.4, 3.2),
        caption=f"Shares of {of}: seen, and the {level(check.ci_prob)} interval of pasts drawn from the model.",
        alt=f"{aspect}: {told}.",
    )


def _past_table(check: LogCheck) -> TableView:
    def write(name: str) -> Any:
        return lambda row: percent(row[name]) if row["share"] else number(row[name])

    def drawn_interval(row: Mapping[str, Any]) -> str:
        lower, upper = (row[name] for name in bounds("replicated"))
        scale, digits = (100, 1) if row["share"] else (1, 2 if upper < 10 else 0)
        sign = "\N{NO-BREAK SPACE}%" if row["share"] else ""
        return f"{scale * row['replicated']:.{digits}f}{sign} [{scale * lower:.{digits}f}, {scale * upper:.{digits}f}]"

    rows = check.past.table[~check.past.twice]
    told = rows.assign(what=[_named(row) for row in rows.to_dict("records")])
    return tabulated(
        told,
        f"The past until {date(check.past.at)}, seen and drawn from the model",
        {"Of the past": "what", "Seen": write("seen"), "Drawn": drawn_interval, "p": lambda row: f"{row['p']:.2f}"},
    )


def _named(row: Mapping[str, Any]) -> str:
    if row["aspect"] == RETURNS:
        return str(row["statistic"])
    if row["aspect"] == COUNTS:
        many = "activity" if row["statistic"] == "1" else "activities"
        return f"users with {row['statistic']} {many} after the first one"
    return f"{row['aspect']}: {row['statistic']}"
