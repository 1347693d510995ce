"""The report's section about returns: all users, and the lapsed ones with what goes with their return."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay import names
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.show import plots, users
from bayesdecay.show.content import Digest, ReportContent
from bayesdecay.show.feature_words import feature_named
from bayesdecay.show.foreseen import in_numbers
from bayesdecay.show.reasons import Reasons
from bayesdecay.show.sections.reasons import doubt, effects_table, explanations, missing_table
from bayesdecay.show.views import FigureView, Part, Section, TableView, Text, drawn, tabulated
from bayesdecay.show.words import (
    count,
    counted,
    date,
    interval_of,
    level,
    number,
    of_all,
    percent,
    percent_of,
    window,
    with_interval,
)
from bayesdecay.units import days

__all__ = ["returning_section"]

_TOP = 10
_LOG = " (logarithm)"
_CALLED = {"intercept": "baseline: a user who is average in all", "slope_interest": f"interest{_LOG}"}


def returning_section(content: ReportContent, digest: Digest) -> Section:
    """Who comes back: all users, and the lapsed ones with what speaks for their return."""
    table = content.scores.table
    parts: list[Part] = []
    if digest.longest is None:
        parts.append(Text(text="The scores hold no horizon, so nothing is said about returns; score with horizons."))
    else:
        parts += [_returns_table(content, digest), *_return_figures(content, digest), _top_table(content, digest)]
    labels = users.horizons(table, names.P_REACTIVATION)
    if not labels and not content.reactivation:
        parts.append(Text(heading="Lapsed users", text="No reactivation model was fitted for the lapsed users."))
    for label in labels:
        parts += _lapsed_parts(content, label)
    for label, fit in content.reactivation.items():
        parts.append(_coefficients(fit, label, content.scores.ci_prob))
        parts += _reasons(digest.reasons.get(label), label, content.scores.ci_prob)
    return Section(name="returning", title="Who comes back", parts=tuple(parts))


def _returns_table(content: ReportContent, digest: Digest) -> TableView:
    table, total, foreseen = content.scores.table, len(content.history), in_numbers(content.decay)
    frame = digest.returns.assign(
        activities=[table[names.per_horizon(names.ACTIVITIES, label)].to_numpy().sum() for label in digest.labels]
    )
    return tabulated(
        frame,
        f"Expected returns of all {count(total)} users after {date(content.history.at)}, with the "
        f"{level(content.scores.ci_prob)} interval{foreseen}",
        {
            "Within": lambda row: window(digest.labels[row[names.HORIZON]]),
            "Users active at least once": lambda row: counted(row["users"], row["users_lower"], row["users_upper"]),
            "Share of all users": lambda row: percent(row["users"] / total),
            "Their activities": lambda row: count(row["activities"]),
        },
    )


def _return_figures(content: ReportContent, digest: Digest) -> tuple[FigureView, ...]:
    label, table = str(digest.longest), content.scores.table
    column, within = names.per_horizon(names.P_RETURN, label), window(digest.labels[label])
    histogram, ranked = users.probability_histogram(table, column), users.ranking(table, column)
    what = f"probability of a return within {within}"
    high = histogram["users"][histogram["from"] >= 0.5].sum()
    return (
        drawn(
            lambda ax: plots.plot_probabilities(histogram, what=what, ax=ax),
            name="p-return",
            half=True,
            caption=f"Users by their {what}.",
            alt=f"Histogram of the {what}: {of_all(high, len(table))} users have 50 % or more.",
        ),
        drawn(
            lambda ax: plots.plot_ranking(ranked, what=what, ax=ax),
            name="ranking",
            half=True,
            caption=f"The same, the likeliest first; the band is the mean {level(content.scores.ci_prob)} interval.",
            alt=f"Falling curve of the {what}, from {percent(ranked['p'].iloc[0])} to {percent(ranked['p'].iloc[-1])}.",
        ),
    )


def _top_table(content: ReportContent, digest: Digest) -> TableView:
    label = str(digest.longest)
    best = _with_history(users.top(content.scores.table, names.per_horizon(names.P_RETURN, label), _TOP), content)
    columns = {
        f"P(return in {window(length)})": percent_of(names.per_horizon(names.P_RETURN, horizon))
        for horizon, length in digest.labels.items()
    }
    return tabulated(
        best,
        f"The {len(best)} users most likely to return within {window(digest.labels[label])}",
        {
            "User": names.USER,
            "Last activity": "last_seen",
            "Past activities": lambda row: count(row[names.N]),
            "Interest per 30 days": interval_of(names.INTEREST, 30.0),
            **columns,
            f"Activities in {window(digest.labels[label])}": _activities(names.per_horizon(names.ACTIVITIES, label)),
        },
    )


def _lapsed_parts(content: ReportContent, label: str) -> tuple[Part, ...]:
    table, column = content.scores.table, names.per_horizon(names.P_REACTIVATION, label)
    known, within = table[column].drop_null().to_numpy(), window(days(label))
    if not known.size:
        return (Text(heading=f"Lapsed users, within {within}", text="No user is lapsed at the cutoff."),)
    histogram = users.probability_histogram(table, column)
    best = _with_history(users.top(table, column, _TOP), content)
    return (
        Text(
            heading=f"Lapsed users, within {within}",
            text=f"Of {count(known.size)} lapsed users {count(known.sum())} are expected to return within {within} if "
            f"they are left alone ({percent(known.mean())}; of the likeliest tenth, {percent(_top_tenth(known))}).",
        ),
        drawn(
            lambda ax: plots.plot_probabilities(histogram, what=f"probability of a return within {within}", ax=ax),
            name=f"reactivation-{label}",
            size=(5.4, 2.3),
            caption=f"Lapsed users by their probability of returning within {within} if left alone.",
            alt=f"Histogram of P(reactivation within {within}) of {count(known.size)} users.",
        ),
        tabulated(
            best,
            f"The {len(best)} lapsed users most likely to return within {within}",
            {
                "User": names.USER,
                "Last activity": "last_seen",
                "Past activities": lambda row: count(row[names.N]),
                "Interest per 30 days": interval_of(names.INTEREST, 30.0),
                "P(reactivation)": percent_of(column),
            },
        ),
    )


def _reasons(reasons: Reasons | None, label: str, ci_prob: float) -> tuple[Part, ...]:
    """What the probabilities of the lapsed users rest on, where it was found out."""
    if reasons is None:
        return ()
    missing = () if reasons.missing.empty else (missing_table(reasons),)
    return (effects_table(reasons, label, ci_prob), *missing, doubt(reasons), *explanations(reasons))


def _coefficients(fit: ReactivationFit, label: str, ci_prob: float) -> TableView:
    """Coefficients of a fit as factors on the odds of returning."""
    summary = fit.summary(ci_prob=ci_prob, allow_unconverged=True)
    lower, upper = (column for column in summary.columns if str(column).endswith(" %"))
    frame = summary.reset_index(names="parameter").rename(columns={lower: "lower", upper: "upper"})
    frame["called"] = [_called(str(name)) for name in frame["parameter"]]

    def effect(row: dict[str, Any]) -> str:
        return with_interval(row["mean"], row["lower"], row["upper"])

    def odds(row: dict[str, Any]) -> str:
        slope = str(row["parameter"]).startswith("slope")
        return with_interval(*np.exp([row["mean"], row["lower"], row["upper"]])) if slope else ""

    def step(row: dict[str, Any]) -> str:
        size = row.get("unit", math.nan)
        if not math.isfinite(size):
            return ""
        # A step of a logarithm is a factor on the thing itself.
        return f"× {number(math.exp(size))}" if row["called"].endswith(_LOG) else number(size)

    return tabulated(
        frame,
        f"What goes with a return of lapsed users within {window(days(label))}, mean [{level(ci_prob)} interval]. A "
        "step is one standard deviation of the feature, all others being equal; a factor above 1 goes with more "
        "returns. This is association, not effect.",
        {"Feature": "called", "Factor on the odds, a step": odds, "Size of a step": step, "Log-odds, a step": effect},
    )


def _activities(column: str) -> Callable[[Mapping[str, Any]], str]:
    """Write a mean number of activities with its interval, whose ends are whole numbers."""
    lower, upper = names.bounds(column)
    return lambda row: f"{row[column]:.1f} [{count(row[lower])}, {count(row[upper])}]"


def _called(parameter: str) -> str:
    """Name a coefficient by its feature, in words where the feature is one of ours."""
    if parameter in _CALLED:
        return _CALLED[parameter]
    if not parameter.startswith("slope["):
        return parameter
    feature = parameter.removeprefix("slope[").removesuffix("]")
    inner = feature.removeprefix("log1p(").removesuffix(")")
    named = feature_named(inner)
    return f"{named}{_LOG if inner != feature else ''}" if named != inner else feature


def _with_history(scores: pa.Table, content: ReportContent) -> pd.DataFrame:
    """Rows of the scores with the number of past activities and the day of the last one."""
    known = content.history.select(scores[names.USER]).table
    frame: pd.DataFrame = scores.to_pandas()
    seen = [date(when, short=True) for when in known[names.LAST].to_pylist()]
    return frame.assign(**{names.N: known[names.N].to_numpy(), "last_seen": seen})


def _top_tenth(p: np.ndarray) -> float:
    return float(np.sort(p)[-max(p.size // 10, 1) :].mean())
