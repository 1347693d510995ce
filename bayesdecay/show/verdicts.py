"""The verdict of a held-out check: from its figures to sentences that somebody may act upon.

In: the tables of :class:`~bayesdecay.show.checks.ForecastCheck`. Out: sentences, good and bad alike. What counts as
good is set here once: within two points, or within what chance explains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from bayesdecay.names import bounds
from bayesdecay.show.words import count, counted, level, percent

__all__ = ["ERRORS", "TOLERANCE", "Finding", "findings", "of_intervals", "of_probabilities", "of_rivals"]

# Nobody decides otherwise because of two percentage points.
TOLERANCE = 0.02
# Differences within two standard errors are no differences.
ERRORS = 2.0
_SCORES = {"crps": "CRPS", "log_score": "log score", "brier": "Brier score", "log_loss": "log loss"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A sentence, and whether it is good news; ``short``: the same within another sentence; ``advice``: what to do."""

    good: bool
    text: str
    short: str = ""
    advice: str = ""


def findings(table: pd.DataFrame, against: pd.DataFrame, model: str, *, ci_prob: float) -> tuple[Finding, ...]:
    """Say whether probabilities, intervals and totals can be trusted, and whether the simple ways are beaten."""
    row = table.loc[model]
    return (of_probabilities(row), of_intervals(row, ci_prob), of_rivals(against), _of_total(row, ci_prob))


def of_probabilities(row: pd.Series) -> Finding:
    """Judge P(active) of single users."""
    off = row["calibration_error"]
    said = f"{percent(row['p_active'])} of users were expected to be active and {percent(row['active'])} were"
    distance = (
        f"over tenths of the users the forecasts are off by {100 * off:.1f} points on average "
        f"({100 * row['calibration_chance']:.1f} by chance alone)"
    )
    bias, chance = row["excess"], row["calibration_chance"] + ERRORS * row["calibration_chance_se"]
    what = "The probability that a user comes back"
    if abs(bias) > max(TOLERANCE, ERRORS * row["excess_se"]):
        side = "high" if bias > 0 else "low"
        return Finding(
            good=False,
            text=f"{what} is too {side}: {said}; {distance}.",
            short=f"the probability that a user comes back is {100 * abs(bias):.1f} points too {side}",
            advice=f"Order users by their probability to come back, but do not read it as a share: it is too {side}. "
            "Where the number itself matters, take P(reactivation) of 'bayesdecay run' (ReactivationModel), which "
            "learns from earlier cutoffs how many did come back.",
        )
    if off > max(TOLERANCE, chance):
        return Finding(
            good=False,
            text=f"{what} is right on average only: {said}, but {distance}.",
            short="the probability that a user comes back is right on average only",
            advice="Order users by their probability to come back; that of a single user is off, see the table of "
            "tenths for where. P(reactivation) of 'bayesdecay run' (ReactivationModel) learns it from earlier cutoffs.",
        )
    good = "forecasts of single users can be trusted"
    return Finding(good=True, text=f"{what} can be trusted: {said}; {distance}.", short=good)


def of_intervals(row: pd.Series, ci_prob: float) -> Finding:
    """Judge the intervals of single users' numbers of activities."""
    held, claimed, noise = row["coverage"], row["claimed"], max(TOLERANCE, ERRORS * row["coverage_se"])
    said = (
        f"the {level(ci_prob)} intervals of users' numbers of activities held {percent(held)} of what happened and "
        f"claimed {percent(claimed)} (more than {level(ci_prob)}, as counts are whole numbers)"
    )
    what = "Intervals of single users"
    if held < ci_prob - noise:
        return Finding(
            good=False,
            text=f"{what} are too narrow: {said}.",
            short=f"{level(ci_prob)} intervals of single users held {percent(held)}",
            advice=f"Read the {level(ci_prob)} intervals of single users as {percent(held)} intervals, or ask for "
            "wider ones (ci_prob).",
        )
    if held < claimed - noise:
        return Finding(good=True, text=f"{what} hold what they promise, but less than they should: {said}.")
    if held > claimed + noise:
        return Finding(good=True, text=f"{what} are wider than they need to be: {said}.")
    return Finding(good=True, text=f"{what} can be trusted: {said}.")


def of_rivals(against: pd.DataFrame) -> Finding:
    """Judge the model beside other forecasters."""
    worse = against[against["gain"] < -ERRORS * against["gain_se"]]
    level_with = against[against["gain"].abs() <= ERRORS * against["gain_se"]]
    if worse.empty and level_with.empty:
        # A forecaster that says nothing of numbers is beaten on what it says.
        return Finding(good=True, text=f"The model beats every other forecaster on {_listed(_SCORES.values())}.")
    told = []
    if not worse.empty:
        most = (worse["gain"] / worse["gain_se"]).abs().max()
        told.append(f"is worse than {_pairs(worse)}, by up to {most:.1f} standard errors,")
    if not level_with.empty:
        told.append(f"is no better than {_pairs(level_with)}")
    rest = "; it beats the others" if len(worse) + len(level_with) < len(against) else ""
    text = f"Beyond what chance explains, the model {' and '.join(told).removesuffix(',')}{rest}."
    if worse.empty:
        return Finding(good=True, text=text)
    names = _listed(f"“{name}”" for name in worse["forecaster"].unique())
    return Finding(
        good=False,
        text=text,
        short=f"{names} did better on {_listed(_SCORES[score] for score in worse['score'].unique())}",
        advice="See by bayesdecay.compare() whether other settings do better here: another unit of activity, a group "
        "such as the channel, a fixed restoration; and for who comes back, whether the reactivation model of "
        "'bayesdecay run' with features of your own does.",
    )


def _of_total(row: pd.Series, ci_prob: float) -> Finding:
    lower, upper = (row[name] for name in bounds("total"))
    predicted = counted(row["total"], lower, upper)
    if lower <= row["seen"] <= upper:
        text = f"The total was foreseen: {predicted} activities were predicted and {count(row['seen'])} seen."
        return Finding(good=True, text=text)
    off = row["total"] / row["seen"] - 1 if row["seen"] else math.inf
    size = f"{percent(abs(off))} too" if row["seen"] else "too"
    text = (
        f"The total was predicted {size} {'high' if off > 0 else 'low'}: {predicted} activities were predicted and "
        f"{count(row['seen'])} seen, outside the {level(ci_prob)} interval."
    )
    return Finding(good=False, text=text)


def _pairs(rows: pd.DataFrame) -> str:
    """Forecasters with the scores meant: ``"own rate" (CRPS, Brier score)``."""
    groups = rows.groupby("forecaster", sort=False)["score"]
    return _listed(f"“{name}” ({', '.join(_SCORES[score] for score in scores)})" for name, scores in groups)


def _listed(parts: Iterable[str]) -> str:
    """Join as in speech: a, b and c."""
    listed = list(parts)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
