"""What a fit foresees for all users alike, in words: a season that it learned, a calendar that it was given.

In: a decay fit. Out: sentences, to stand where numbers of all users together are told.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from bayesdecay.data.calendar import Calendar
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.shocks import SHOCKS
from bayesdecay.show.words import date, percent, plural, with_interval

__all__ = ["calendar_of", "in_numbers", "season_told"]

_AHEAD = "log_season"
_WEEKS = 52


def in_numbers(fit: DecayFit) -> str:
    """Say that a season and a calendar are in numbers of all users, to follow on a sentence; nothing without either."""
    calendar = calendar_of(fit)
    known = [] if calendar is None else [f"{plural(len(calendar.factors), 'factor', 'factors')} of the calendar"]
    learned = ["the season that was learned"] if _has_season(fit) else []
    return f"; forecast with {' and '.join(learned + known)}" if learned or known else ""


def calendar_of(fit: DecayFit) -> Calendar | None:
    """Calendar that a fit was made with, as far as it was known at its cutoff."""
    told = json.loads(fit.idata.attrs["model"]).get("calendar")
    return Calendar(**told) if told else None


def season_told(fit: DecayFit, ci_prob: float) -> str:
    """Say when in the year ahead the season is busiest and quietest; nothing where none was learned."""
    if not _has_season(fit):
        return ""
    shocks, tail = fit.idata[SHOCKS].to_dataset(), (1 - ci_prob) / 2
    factors = np.exp(shocks[_AHEAD].to_numpy().reshape(-1, shocks[_AHEAD].shape[-1])[:, :_WEEKS])
    mean, ends = factors.mean(axis=0), np.quantile(factors, [tail, 1 - tail], axis=0)
    cutoff = pd.Timestamp(json.loads(fit.idata.attrs["model"])["at"])

    def week(place: int) -> str:
        begin = cutoff.normalize() + pd.Timedelta(days=1 + 7 * place)
        return f"the week from {date(begin)} on (factor {with_interval(mean[place], *ends[:, place])})"

    share = float(shocks["share_recurring"].mean())
    return (
        "The log is longer than a year, so what comes again with the season was learned too: of what is out of the "
        f"ordinary for some weeks on end {percent(share)} comes again a year later. Beside what users' own pasts "
        f"foretell, {week(int(mean.argmax()))} is expected to be the busiest of the year ahead, and "
        f"{week(int(mean.argmin()))} the quietest."
    )


def _has_season(fit: DecayFit) -> bool:
    return SHOCKS in fit.idata and _AHEAD in fit.idata[SHOCKS]
