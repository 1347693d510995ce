"""The report's parts about what P(reactivation) rests on: the doubt, what goes with a return, why some users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from bayesdecay import names
from bayesdecay.model.coefficients import BASELINE
from bayesdecay.show import explanation_plots
from bayesdecay.show.dependence import CHANGE, ONE_SD, VALUE
from bayesdecay.show.explain import Explanation
from bayesdecay.show.feature_words import PER_DAYS, feature_named
from bayesdecay.show.reasons import Reasons
from bayesdecay.show.views import FigureView, Listing, Part, TableView, Text, drawn, tabulated
from bayesdecay.show.words import count, level, listed, number, percent, signed_interval, window
from bayesdecay.units import days

__all__ = ["doubt", "effects_table", "explanations", "missing_table"]

_SOURCES = {
    "interest": "the user's interest, which is not known exactly,",
    "missing features": "features that are not known",
    "coefficients": "the coefficients of the model",
}
_TREATMENTS = {
    "model": "averaged over what it may be, given the rest",
    "mean": "replaced by the mean",
    "median": "replaced by the median",
    "indicator": "replaced by the mean, and marked",
}


def doubt(reasons: Reasons) -> Text:
    """Say where the doubt comes from, and how much wider honest intervals are."""
    others = sorted(((reasons.shares[source], told) for source, told in _SOURCES.items()), reverse=True)
    rest = listed(f"{told} {percent(share)}" for share, told in others if share > 0)
    said = (
        f"Of the doubt about whether a single lapsed user returns, {percent(reasons.shares['chance'])} is chance: even "
        f"who knew P could not say. The rest is doubt about P itself: {rest} of the whole."
    )
    wider, low, high = reasons.times_wider
    wide = (
        f"Intervals of P that admit how little is known of a user's interest are {wider:.1f} times as wide as those "
        f"that take it as known (for the middle half of the users {low:.1f} to {high:.1f} times)."
    )
    # Without interest in the formula nothing gets wider.
    return Text(text=f"{said} {wide}" if wider > 1 else said)


def missing_table(reasons: Reasons) -> TableView:
    """What was missing in the data of the fit."""
    return tabulated(
        reasons.missing.assign(done=[_TREATMENTS.get(name, name) for name in reasons.missing["treatment"]]),
        "Features that were not known in some of the snapshots that the model learned from",
        {
            "Feature": "column",
            "Snapshots without it": lambda row: count(row["missing"]),
            "Share": lambda row: percent(row["share"]),
            "What was done": "done",
        },
    )


def effects_table(reasons: Reasons, label: str, ci_prob: float) -> TableView:
    """How much P changes with each feature."""
    effects = reasons.effects
    usual = effects[effects["step"] == ONE_SD].set_index("feature")
    rows = effects[effects["step"] != ONE_SD].assign(
        named=[_named(row) for row in effects.to_dict("records") if row["step"] != ONE_SD]
    )

    def of_sd(write: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: write(usual.loc[row["feature"]]) if row["feature"] in usual.index else ""

    return tabulated(
        rows,
        f"By how many percentage points the lapsed users' P(return within {window(days(label))}) changes on average "
        f"with more of a feature, all others being as they are: mean [{level(ci_prob)} interval]. This too is "
        "association, not effect.",
        {
            "Feature": "named",
            "One step": _step,
            "Change of P": _points,
            "One standard deviation": of_sd(_step),
            "Change of P with it": of_sd(_points),
        },
    )


def explanations(reasons: Reasons) -> tuple[Part, ...]:
    """Why the likeliest users are so likely, and how P goes with the features that matter most."""
    told = reasons.explanation
    if told is None:
        return ()
    within = window(days(told.horizon))
    users = told.chances[names.USER].tolist()
    return (
        Text(
            heading=f"Why these users, within {within}",
            text=f"The lapsed users most likely to return within {within}, and what their probability is made of.",
        ),
        Listing(items=tuple((f"User {user}", " ".join(told.sentences(user))) for user in users)),
        *(_explained(told, user, f"why-{i + 1}") for i, user in enumerate(users)),
        Listing(items=told.notes),
        *(_curve(curve, feature, told) for feature, curve in reasons.curves.items()),
    )


def _explained(told: Explanation, user: Any, name: str) -> FigureView:
    parts = told.of(user)
    parts = parts[parts["part"] != BASELINE]
    sizes = listed(
        f"{row['words']} {signed_interval(row['mean'], row['lower'], row['upper'])}" for row in parts.to_dict("records")
    )
    return drawn(
        lambda ax: explanation_plots.plot_explanation(parts, ax=ax),
        name=name,
        half=True,
        size=(4.8, 0.9 + 0.45 * len(parts)),
        caption=f"User {user}: what speaks for a return and, hatched, against it; the lines are {level(told.ci_prob)} "
        "intervals.",
        alt=f"Parts of the log-odds of one user: {sizes}.",
    )


def _curve(curve: pd.DataFrame, feature: str, told: Explanation) -> FigureView:
    # A table has interest per day, people think of a month.
    shown = curve.assign(value=PER_DAYS * curve[VALUE]) if feature == names.INTEREST else curve
    what, first, last = feature_named(feature), shown.iloc[0], shown.iloc[-1]
    return drawn(
        lambda ax: explanation_plots.plot_partial_dependence(shown, what=what, ax=ax),
        name=f"curve-{''.join(letter if letter.isalnum() else '-' for letter in feature)}",
        half=True,
        caption=f"Average P(return within {window(days(told.horizon))}) of the lapsed users by {what}, all else being "
        f"as it is, with {level(told.ci_prob)} band.",
        alt=f"Average P by {what}: from {percent(first['p'])} to {percent(last['p'])}.",
    )


def _named(row: Mapping[str, Any]) -> str:
    return feature_named(row["feature"]).partition(", in ")[0]


def _step(row: Mapping[str, Any]) -> str:
    """Write the size of a step; a step without a size is one value instead of another."""
    if pd.isna(row["size"]):
        return str(row["step"])
    if row["unit"] == "times":
        return f"× {number(row['size'])}"
    size = count(row["size"]) if row["size"] == round(row["size"]) else number(row["size"])
    return f"+{size} {row['unit']}".rstrip()


def _points(row: Mapping[str, Any]) -> str:
    """Write a change of a probability in percentage points."""
    return signed_interval(*(100 * row[name] for name in (CHANGE, *names.bounds(CHANGE))))
