"""The report's section about interest: the population in words, half-lives, and some users' curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay import names
from bayesdecay.data.history import History
from bayesdecay.data.ids import positions
from bayesdecay.show import plots, users
from bayesdecay.show.content import Digest, ReportContent
from bayesdecay.show.outlook import DAYS, SHARE, half_life_shares, parameters_in_words
from bayesdecay.show.views import FigureView, Section, Text, drawn, tabulated
from bayesdecay.show.words import (
    date,
    interval_of,
    level,
    percent,
    percent_interval,
    percent_of,
    plural,
    span,
    span_interval,
    window,
    with_interval,
)

__all__ = ["interest_section", "restoration_sentence"]

# As far ahead as a curve is of use to somebody who plans, and no further than the past is known [days].
_MOST_AHEAD = 180.0


def interest_section(content: ReportContent, digest: Digest) -> Section:
    """How interest fades: the population in words, half-lives, and some users' curves."""
    ci_prob = content.scores.ci_prob
    told = parameters_in_words(digest.population, content.history, ci_prob=ci_prob)
    shares = half_life_shares(digest.population, content.history, ci_prob=ci_prob)
    half_lives = drawn(
        lambda ax: plots.plot_half_life(shares, ax=ax),
        name="half-life",
        size=(5.6, 3.0),
        caption=f"Half-lives of users' interest: the share of users in each range, with its {level(ci_prob)} interval.",
        alt="Bar chart of the half-lives: "
        + "; ".join(f"{row.half_life}: {percent(row.share)}".replace("\n", " ") for row in shares.itertuples()),
    )
    return Section(
        name="interest",
        title="Interest and how it fades",
        parts=(
            Text(
                text="Interest is the number of activities per unit of time that a user is heading for. It fades while "
                "nothing happens, faster for some users than for others, and a visit brings part of it back. "
                + restoration_sentence(digest, ci_prob)
            ),
            tabulated(
                told.assign(said=[_said(row) for row in told.to_dict("records")]),
                f"The population in words: posterior median [{level(ci_prob)} interval]",
                {"Statement": "what", "Value": "said"},
            ),
            half_lives,
            Text(
                heading="Some users",
                text="Each curve is the user's mean interest with its interval; to the right of the cutoff it shows "
                "how the interest fades if nothing happens. Chosen as different examples, not as typical users.",
            ),
            *_example_figures(content, digest),
        ),
    )


def restoration_sentence(digest: Digest, ci_prob: float) -> str:
    """What a visit restores, in a sentence."""
    rho = digest.population.rho
    lower, middle, upper = np.quantile(rho, [(1 - ci_prob) / 2, 0.5, (1 + ci_prob) / 2])
    if lower == upper:
        return f"A visit restores {percent(middle)} of lost interest (fixed, not learned)."
    return f"A visit restores {percent_interval(middle, lower, upper)} of lost interest."


def _example_figures(content: ReportContent, digest: Digest) -> list[FigureView]:
    figures = []
    chosen = users.examples(content.scores.table, content.history, lapsed_after=digest.lapsed_after)
    for i, (what, user) in enumerate(chosen.items()):
        history = content.history.select(pa.array([user.as_py()], type=content.history.table[names.USER].type))
        figures.append(_curve(content, digest, history, name=f"user-{i + 1}", what=what))
    return figures


def _curve(content: ReportContent, digest: Digest, history: History, *, name: str, what: str) -> FigureView:
    row = history.table.to_pylist()[0]
    ahead = min(max(row[names.T], 30.0), _MOST_AHEAD)
    ci_prob, at = content.scores.ci_prob, history.at
    curve = users.interest_curve(
        digest.population, history, ahead=ahead, ci_prob=ci_prob, random_seed=content.random_seed
    )
    visits = row[names.FIRST] + pd.to_timedelta([0, *row[names.TIMES]], unit="us")
    scored = content.scores.table.take(positions([row[names.USER]], content.scores.table[names.USER]))
    score = scored.to_pylist()[0]
    told = f"interest {interval_of(names.INTEREST, 30.0)(score)} per 30 days, half-life {span(score[names.HALF_LIFE])}"
    if digest.longest:
        p = percent_of(names.per_horizon(names.P_RETURN, digest.longest))(score)
        told += f", probability of a return within {window(digest.labels[digest.longest])} {p}"
    past = f"{plural(row[names.N] + 1, 'activity', 'activities')}, last on {date(row[names.LAST])}"
    return drawn(
        lambda ax: plots.plot_interest(curve, pd.Series(visits), at=at, ax=ax),
        name=name,
        half=True,
        caption=f"{what}: user {row[names.USER]}. {past}. At the cutoff {told}.",
        alt=f"Interest over time of one user: {told}.",
    )


def _said(row: dict[str, Any]) -> str:
    """Write a population parameter with its interval and unit."""
    numbers = (row["value"], *(row[name] for name in names.bounds("value")))
    if row["unit"] in (DAYS, SHARE):
        return (span_interval if row["unit"] == DAYS else percent_interval)(*numbers)
    return f"{with_interval(*numbers)} {row['unit']}"
