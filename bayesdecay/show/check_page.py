"""The page of a check: can the forecasts be trusted on this log, what is wrong, and what to do about it.

In: a :class:`~bayesdecay.show.log_check.LogCheck`. Out: one HTML file, with the verdict first and then the tables and
figures that it rests on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bayesdecay.files import replacing
from bayesdecay.names import bounds
from bayesdecay.show.check_plots import plot_totals
from bayesdecay.show.judged import MODEL
from bayesdecay.show.law_check import LawCheck
from bayesdecay.show.log_check import LogCheck
from bayesdecay.show.page import laid_out
from bayesdecay.show.sections.forecasters import honesty_table, scores_table
from bayesdecay.show.sections.past import past_section
from bayesdecay.show.sections.single_users import users_section
from bayesdecay.show.views import Box, Listing, Part, Section, TableView, Text, drawn, pairs, tabulated
from bayesdecay.show.words import count, counted, date, level, listed, marked, number, percent, plural, window

__all__ = ["render_check", "write_check_page"]

TITLE = "Can the forecasts be trusted on this log?"
_FORECASTERS = (
    (
        "everyone alike",
        "the base rate: the same forecast for all users, from the mean and spread of their rates so far",
    ),
    ("own rate", "each user goes on at the own average rate so far, shrunk towards everyone's"),
    ("last gap", "each user goes on at one activity per last gap, or per present silence if that is longer"),
    ("BG/NBD", "the field's simple model: a constant rate until the user drops out (Fader, Hardie and Lee 2005)"),
    (
        "logistic (recency, frequency, tenure)",
        "a regression that learned from who came back within a horizon before; it says nothing of how often",
    ),
)


def write_check_page(path: str | Path, check: LogCheck, *, settings: Mapping[str, Any] | None = None) -> Path:
    """Write the page to one HTML file, whole or not at all.

    Parameters
    ----------
    path : path
        The file; its folder must exist.
    check : LogCheck
        What was found.
    settings : mapping, optional
        Settings of the run, by name, as they are to be read.
    """
    page = render_check(check, settings=settings)
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return Path(path)


def render_check(check: LogCheck, *, settings: Mapping[str, Any] | None = None) -> str:
    """Make the page's HTML."""
    sections = (
        _totals_section(check),
        users_section(check),
        _forecasters_section(check),
        *(() if check.laws is None else (_laws_section(check.laws),)),
        past_section(check),
        _method_section(check, settings or {}),
    )
    first, last = check.checks[0].at, check.checks[-1].at
    origins = f"from the end of {date(first)}" if first == last else f"between {date(first)} and {date(last)}"
    return laid_out(
        title=TITLE,
        subtitle=f"Forecasts of {window(check.horizon)} made {origins}, with nothing seen of what they are judged on. "
        f"Numbers in brackets are the ends of {level(check.ci_prob)} intervals.",
        boxes=_boxes(check),
        numbers=_numbers(check),
        summary=_summary(check),
        sections=sections,
    )


def _boxes(check: LogCheck) -> tuple[Box, ...]:
    failed = [at for at, verdict in check.verdicts.items() if not verdict.converged]
    alarm = f"Fits that did not converge: {listed(map(date, failed))}. Do not act upon their numbers."
    found = [Box(tone="bad", title="NOT CONVERGED", items=(alarm,))] if failed else []
    found += [Box(tone="remark", title="Remarks on this log", items=check.notes)] if check.notes else []
    return tuple(found)


def _numbers(check: LogCheck) -> list[tuple[str, str, str]]:
    row, held = check.table.loc[MODEL], check.totals["inside"]
    return [
        ("Periods", count(len(check.checks)), f"of {window(check.horizon)}"),
        ("Users forecast", count(check.totals["users"].max()), "at the most in one period"),
        ("Expected to be active", percent(row["p_active"]), f"{percent(row['active'])} were"),
        ("Error of P(active)", f"{100 * row['calibration_error']:.1f} points", _by_chance(row)),
        ("Held by intervals", percent(row["coverage"]), f"{percent(row['claimed'])} claimed"),
        ("Totals foreseen", f"{held.sum()} of {len(held)}", f"within {level(check.ci_prob)} intervals"),
    ]


def _by_chance(row: Any) -> str:
    return f"{100 * row['calibration_chance']:.1f} by chance alone"


def _summary(check: LogCheck) -> tuple[Part, ...]:
    said = tuple(marked(finding.text, good=finding.good) for finding in check.findings)
    parts: list[Part] = [Box(tone="plain", title=check.headline, items=said)]
    if check.advice:
        parts.append(Box(tone="assumption", title="What to do", items=check.advice))
    return tuple(parts)


def _totals_section(check: LogCheck) -> Section:
    rows = {
        "Forecast from the end of": lambda row: date(row["at"]),
        "Users": lambda row: count(row["users"]),
        "Predicted": lambda row: counted(row["predicted"], *(row[name] for name in bounds("predicted"))),
        "Seen": lambda row: count(row["seen"]),
        "Predicted / seen": lambda row: number(row["ratio"]),
        "Within the interval": lambda row: "yes" if row["inside"] else "no",
        "Expected to be active": lambda row: percent(row["p_active"]),
        "Were active": lambda row: percent(row["active"]),
    }
    table = tabulated(check.totals, f"All users together, in the {window(check.horizon)} after each cutoff", rows)
    told = "; ".join(
        f"{date(row.at)}: {count(row.predicted)} predicted, {count(row.seen)} seen" for row in check.totals.itertuples()
    )
    figure = drawn(
        lambda ax: plot_totals(check.totals, ax=ax),
        name="totals",
        caption="Activities of all users in each period, predicted and seen.",
        alt=f"Totals: {told}.",
        size=(6.4, 3.4),
    )
    return Section(name="totals", title="The total, period by period", parts=(figure, table))


def _forecasters_section(check: LogCheck) -> Section:
    table = check.table.reset_index()
    named = tuple((name, meaning) for name, meaning in _FORECASTERS if name in set(check.table.index))
    return Section(
        name="forecasters",
        title="Beside simpler ways",
        parts=(
            scores_table(table),
            _differences(check),
            honesty_table(table, check.ci_prob),
            Listing(items=named),
        ),
    )


def _laws_section(laws: LawCheck) -> Section:
    def gain(name: str) -> Any:
        def write(row: Mapping[str, Any]) -> str:
            if math.isnan(row[name]):
                return "–"
            sign = "−" if row[name] < 0 else "+"
            return f"{sign}{abs(row[name]):.1f} ±\N{NO-BREAK SPACE}{row[f'{name}_se']:.1f}"

        return write

    def share(name: str) -> Any:
        return lambda row: "–" if math.isnan(row[name]) else percent(row[name])

    table = tabulated(
        laws.table.reset_index(),
        "Laws of fading, from "
        + listed(map(date, laws.origins))
        + "; gains over the exponential law in nats, of all users together, ± standard error",
        {
            "Law": "law",
            "Forecasts, gain": gain("gain"),
            "CRPS": lambda row: f"{row['crps']:.4f}",
            "Predicted / seen": lambda row: number(row["ratio"]),
            "Weight": share("weight"),
            "Users left out, gain": gain("loo_gain"),
            "Weight there": share("loo_weight"),
        },
    )
    told = (
        "Which law does interest fall by? Each was fitted to what was known at the same cutoffs. Forecasts are judged "
        "on users' numbers of activities after them; besides, each user's past is judged by a fit without that user. "
        "Weights are those of the mixture of laws that would have scored best."
    )
    doubts = (Listing(items=laws.notes),) if laws.notes else ()
    return Section(name="laws", title="The law of fading", parts=(Text(text=told), table, *doubts))


def _differences(check: LogCheck) -> TableView:
    wide = check.against.set_index(["forecaster", "score"])

    def gain(score: str) -> Any:
        def write(row: Mapping[str, Any]) -> str:
            if (row["forecaster"], score) not in wide.index:
                return "–"
            found = wide.loc[(row["forecaster"], score)]
            sign = "+" if found["gain"] > 0 else "−"
            return f"{sign}{abs(found['gain']):.4f} ±\N{NO-BREAK SPACE}{found['gain_se']:.4f}"

        return write

    frame = check.against[["forecaster"]].drop_duplicates()
    headings = {"CRPS": "crps", "Log score": "log_score", "Brier score": "brier", "Log loss": "log_loss"}
    return tabulated(
        frame,
        "By how much the model's mean score is better (+) or worse (−) than theirs, user by user: ± standard error",
        {"Forecaster": "forecaster", **{heading: gain(score) for heading, score in headings.items()}},
    )


def _method_section(check: LogCheck, settings: Mapping[str, Any]) -> Section:
    how = (
        f"At each of {plural(len(check.checks), 'cutoff', 'cutoffs')} a decay model was fitted to what the log showed "
        "up to it, and every user known then was forecast. Scores are means over users and periods, smaller is "
        "better; the rows of one user count as one observation in the standard errors, which are about other users of "
        "this shop at these times: how other times would differ shows in the periods alone. CRPS and log score judge "
        "the forecast number of activities, Brier score and log loss the probability of any."
    )
    fits = {f"fit at {date(at)}": verdict for at, verdict in check.verdicts.items()}
    facts = {"what counts as an activity": f"the {check.activity}", **fits, **settings}
    table = tabulated(pairs(facts), "Settings and fits", {"What": "what", "Value": "value"})
    return Section(name="method", title="How it was judged", parts=(Text(text=how), table))
