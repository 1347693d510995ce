"""The verdict of a check over several origins: from its figures to sentences, and what to do about what is bad.

In: the tables of :class:`~bayesdecay.show.log_check.LogCheck`. Out: findings. What counts as good for single users is
set in :mod:`bayesdecay.show.verdicts`; for totals, groups of users and the past it is set here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from bayesdecay.model.posterior import Verdict
from bayesdecay.show.judged import MODEL
from bayesdecay.show.past_check import COUNTS, GAPS, RETURNS, SINCE, PastCheck
from bayesdecay.show.verdicts import TOLERANCE, Finding, of_intervals, of_probabilities, of_rivals
from bayesdecay.show.words import date, level, listed, number, percent, plural, window

if TYPE_CHECKING:
    from bayesdecay.show.law_check import LawCheck
    from bayesdecay.show.log_check import LogCheck

__all__ = ["log_findings", "of_convergence", "of_groups", "of_past", "of_totals"]

# A group of users is off if it is by five points and by three standard errors: several groups are looked at.
_GROUP_TOLERANCE, _GROUP_ERRORS, _LEAST_SHARE = 0.05, 3.0, 0.01
# Totals may leave their intervals as often as chance has it; beyond this it is not chance.
_RARE = 0.05
# What no replicated past in a hundred reaches is a misfit, if it is one that somebody would notice.
_UNREACHED, _RELATIVE = 0.005, 0.1
_AT_MOST = 3


def log_findings(check: LogCheck) -> tuple[Finding, ...]:
    """Say of fits, single users, groups of them, rivals, totals and the past whether they are as they should be."""
    row = check.table.loc[MODEL]
    found = (
        of_convergence(check.verdicts, [one.at for one in check.checks]),
        of_probabilities(row),
        of_intervals(row, check.ci_prob),
        of_groups(check.by_past, "past_activities", row, check.ci_prob),
        of_groups(check.by_length, "days_known", row, check.ci_prob),
        of_totals(check.totals, check.horizon, check.ci_prob),
        of_rivals(check.against),
        of_past(check.past, check.activity),
        None if check.laws is None else of_laws(check.laws),
    )
    return tuple(one for one in found if one is not None)


def of_convergence(verdicts: Mapping[pd.Timestamp, Verdict], judged: Sequence[pd.Timestamp]) -> Finding | None:
    """Judge the sampler; nothing where every fit converged. ``judged`` are the origins whose forecasts were judged."""
    failed = {at: verdict for at, verdict in verdicts.items() if not verdict.converged}
    if not failed:
        return None
    (at, first), *_ = failed.items()
    of = plural(len(verdicts), "fit", "fits")
    then = "its forecasts are among those judged" if at in judged else "no forecast from there was judged"
    return Finding(
        good=False,
        text=f"{len(failed)} of {of} did not converge ({listed(map(date, failed))}): {'; '.join(first.faults[:2])}; "
        f"{then}.",
        short=f"{len(failed)} of {of} did NOT converge",
        advice="Sample longer where fits did not converge, such as by --draws 1000 --tune 500; if that does not help, "
        "the log tells too little of what was asked, such as of groups.",
    )


def of_groups(table: pd.DataFrame, column: str, whole: pd.Series, ci_prob: float) -> Finding | None:
    """Tell the groups of users that are forecast worse than all together; None where none are.

    Parameters
    ----------
    table : DataFrame
        A row a group.
    column : str
        The column with the groups' names, ``"past_activities"`` or ``"days_known"``.
    whole : Series
        The model's row of all users.
    ci_prob : float
        Probability of the intervals.
    """
    large = table[table["users"] >= _LEAST_SHARE * table["users"].sum()]
    off = large["predicted"] - large["observed"]
    apart = np.minimum(off.abs(), (off - whole["excess"]).abs())
    wrong = large[apart > np.maximum(_GROUP_TOLERANCE, _GROUP_ERRORS * large["observed_se"])]
    lacks = np.minimum(ci_prob, whole["coverage"]) - large["coverage"]
    narrow = large[lacks > np.maximum(_GROUP_TOLERANCE, _GROUP_ERRORS * large["coverage_se"])]
    if wrong.empty and narrow.empty:
        return None
    what, named = _PARTED_BY[column]
    worst = wrong.loc[off[wrong.index].abs().sort_values(ascending=False).index[:_AT_MOST]].sort_index()
    told = [
        f"of those {named.format(row[column])}, {percent(row['predicted'])} were expected to be active and "
        f"{percent(row['observed'])} were"
        for _, row in worst.iterrows()
    ]
    least = narrow.sort_values("coverage").head(_AT_MOST).sort_index()
    told += [
        f"intervals of those {named.format(row[column])} held {percent(row['coverage'])}" for _, row in least.iterrows()
    ]
    return Finding(
        good=False,
        text=f"Users differ by their {what} in how well they are forecast: {'; '.join(told)}.",
        short=f"users differ by their {what} in how well they are forecast",
        advice=_advice_on_groups(column, [str(row[column]) for _, row in pd.concat([worst, least]).iterrows()]),
    )


_PARTED_BY = {
    "past_activities": ("past activities", "with {} of them"),
    "days_known": ("days since the acquisition", "known for {} days"),
}


def _advice_on_groups(column: str, labels: list[str]) -> str:
    if column == "days_known":
        return (
            "New and old users are forecast differently well: give a column that tells them apart, such as the channel "
            "or the quarter of the acquisition, as --group, or look at the cohort alone that you decide about."
        )
    which = listed(dict.fromkeys(labels))
    return (
        f"Do not rely on the numbers of single users with {which} past activities. Where these are the busiest, see "
        "whether they are persons: bots, tills and resellers do not belong into the log."
    )


def of_totals(totals: pd.DataFrame, horizon: float, ci_prob: float) -> Finding:
    """Judge the totals of all users, period by period."""
    ratio = totals["ratio"].fillna(np.inf)
    missed = totals[~totals["inside"] & ((ratio - 1).abs() > TOLERANCE)]
    low, high = int((ratio[missed.index] < 1).sum()), int((ratio[missed.index] > 1).sum())
    periods, chance = len(totals), stats.binom.sf(len(missed) - 1, len(totals), 1 - ci_prob)
    if missed.empty or (chance >= _RARE and 2 * len(missed) <= periods):
        often = f"{periods - len(missed)} of {periods}" if len(missed) else f"each of {periods}"
        when = f"{often} periods" if periods > 1 else "the period"
        text = (
            f"The total of all users' activities was foreseen in {when} of {window(horizon)}: {_ratios(totals)} "
            f"({level(ci_prob)} intervals)."
        )
        return Finding(good=True, text=text, short=f"the total was foreseen in {when}")
    side = _side(low, high, periods, ratio[missed.index])
    of = f" in {len(missed)} of {periods}" if len(missed) < periods else " in each" if periods > 1 else ""
    text = f"The total was {side}: {_ratios(totals)}, outside its {level(ci_prob)} interval{of}."
    return Finding(good=False, text=text, short=f"the total was {side}", advice=_advice_on_totals(totals, low, high))


def _side(low: int, high: int, periods: int, ratio: pd.Series) -> str:
    """How far totals were off, and how often: "9 % low in each of 6 periods"."""

    def one(side: str, times: int, part: pd.Series) -> str:
        off = float((part - 1).abs().median())
        size = f"{percent(off)} " if np.isfinite(off) else ""
        often = f"each of {periods} periods" if times == periods > 1 else f"{times} of {periods} periods"
        return f"{size}{side}" if periods == 1 else f"{size}{side} in {often}"

    parts = [one("low", low, ratio[ratio < 1])] if low else []
    return " and ".join([*parts, *([one("high", high, ratio[ratio > 1])] if high else [])])


def _ratios(totals: pd.DataFrame) -> str:
    found = ", ".join("–" if np.isnan(one) else f"{one:.2f}" for one in totals["ratio"])
    return f"predicted over seen is {found}"


def _advice_on_totals(totals: pd.DataFrame, low: int, high: int) -> str:
    factors = (1 / totals["ratio"]).replace([np.inf, -np.inf], np.nan).dropna()
    if factors.empty:
        return "Do not add up the forecasts of users to a forecast of the total: nothing was seen of it."
    band = f"{factors.min():.2f} to {factors.max():.2f} times"
    if low and high:
        return (
            "Totals moved by more than the users' own chance: a season, campaigns, or a change of the shop moves all "
            f"of them at once. Plan totals with the band that was seen here, {band} what is predicted."
        )
    wrong = "low" if low else "high"
    middle = f"{factors.median():.2f} times"
    band = f"{band} what is predicted, {middle} in the middle" if len(totals) > 1 else f"{middle} what is predicted"
    return (
        f"Do not read the sum of the forecasts as a forecast of the total, it is too {wrong}: plan with {band}. "
        "Users may be ordered and compared by their forecasts all the same."
    )


def of_past(past: PastCheck, activity: str) -> Finding:
    """Judge whether the fitted population would have had the past that was seen."""
    table = past.table[~past.twice]
    wrong = table[_noticed(table)]
    counted = len(table)
    if wrong.empty:
        text = (
            "The past is one that the fitted population would have had: so many users never seen again, so many "
            f"activities, gaps and silences; {counted} numbers were compared."
        )
        return Finding(good=True, text=text)
    told = [_misfit(row) for _, row in _worst(wrong).iterrows()]
    text = (
        f"The past differs from what the fitted population would have had, in {len(wrong)} of {counted} numbers: "
        f"{'; '.join(told)}."
    )
    short = f"the past differs from the model's in {len(wrong)} of {counted} numbers"
    return Finding(good=False, text=text, short=short, advice=_advice_on_past(wrong, activity))


def of_laws(laws: LawCheck) -> Finding:
    """Tell which law of fading suits the log; one that is clearly better is to be told to the model."""
    how = next((laws.told.get(str(name)) for name in laws.better.index[:1]), None)
    advice = f"Take the law that did best, {how}, and check again." if how else ""
    return Finding(good=True, text=laws.verdict, advice=advice)


def _noticed(table: pd.DataFrame) -> pd.Series:
    """What is beyond the replicated pasts, by two points of a share or a tenth of another number."""
    beyond = (table["p"] < _UNREACHED) | (table["p"] > 1 - _UNREACHED)
    off = (table["seen"] - table["replicated"]).abs()
    return beyond & np.where(table["share"], off > TOLERANCE, off > _RELATIVE * table["replicated"])


def _worst(wrong: pd.DataFrame) -> pd.DataFrame:
    """Take what is told of how many came back, and of each other aspect the greatest misfit."""
    others = wrong[wrong["aspect"] != RETURNS]
    size = (others["seen"] - others["replicated"]).abs()
    return pd.concat([wrong[wrong["aspect"] == RETURNS], others.loc[size.groupby(others["aspect"]).idxmax()]])


def _misfit(row: pd.Series) -> str:
    write = percent if row["share"] else number
    what = {GAPS: "gaps of ", SINCE: "of users with a return, last active ", COUNTS: "users with "}.get(
        row["aspect"], ""
    )
    name = f"{what}{row['statistic']}{' activities' if row['aspect'] == COUNTS else ''}"
    if row["aspect"] == SINCE:
        name = f"{name} before the cutoff"
    return f"{name}: {write(row['seen'])} seen, {write(row['replicated'])} expected"


def _advice_on_past(wrong: pd.DataFrame, activity: str) -> str:
    aspects, advice = set(wrong["aspect"]), []
    if GAPS in aspects:
        unit = "sessions or days" if activity == "event" else "days" if activity == "session" else "a longer unit"
        advice.append(
            "Gaps: activities follow each other otherwise than by chance alone, in bursts or by a rhythm"
            + (f"; if in bursts, count {unit}." if activity != "day" else ", which interest alone does not tell.")
        )
    if SINCE in aspects:
        advice.append(
            "Silences: look for what moved all users shortly before the cutoff, such as a season or an offer."
        )
    busiest = wrong["statistic"].str.contains("busiest")
    if busiest.any():
        advice.append("Busiest users: look at them; bots, tills and resellers do not belong into the log.")
    if (wrong["aspect"].isin([RETURNS, COUNTS]) & ~busiest).any():
        advice.append(
            "Numbers of activities: look for two kinds of users in one log, such as one-time buyers and regulars, and "
            "give what tells them apart as --group."
        )
    return " ".join(advice)
