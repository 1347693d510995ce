r"""Held-out check: what was said at a cutoff, beside what happened after it, and whether to believe the next one.

In: a population's posterior, the history at the cutoff, and what the log shows later. Out: :class:`ForecastCheck`,
tables of scores with standard errors for the decay model and for forecasters that anybody could make by hand, and
a verdict in plain words.

References
----------
Gneiting, T., Balabdaoui, F. and Raftery, A. E. (2007). Probabilistic forecasts, calibration and sharpness. *J. R.
Stat. Soc. B* 69(2), 243-268. https://doi.org/10.1111/j.1467-9868.2007.00587.x
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.data.history import History
from bayesdecay.decide.risk import check_share, interval
from bayesdecay.model.population import Population
from bayesdecay.model.scoring import Forecast, forecast_counts, forecast_totals
from bayesdecay.show.baselines import Baselines, Forecaster
from bayesdecay.show.judged import MODEL, Judged, judge
from bayesdecay.show.later import Later, later_activity, observable_length
from bayesdecay.show.score_tables import Rows, by_past, calibration_table, gains, score_table
from bayesdecay.show.verdicts import Finding, findings

__all__ = [
    "MODEL",
    "ForecastCheck",
    "Later",
    "check_forecast",
    "checked",
    "later_activity",
    "model_forecaster",
    "observable_length",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForecastCheck:
    """Forecasts beside what happened.

    Attributes
    ----------
    at : Timestamp
        The cutoff that was forecast from.
    length : float
        Length of the time that was forecast [days].
    users : int
        Users that were forecast.
    ci_prob : float
        Probability of every interval.
    table : DataFrame
        A row a forecaster: ``crps`` [counts], ``log_score`` [nats] of the count; ``brier``, ``log_loss`` [nats] and
        ``calibration_error`` of P(active); ``coverage`` of the intervals of counts; each with ``_se``. Beside them
        ``calibration_chance`` with ``_se``, the calibration error that even a perfect forecast would show;
        ``p_active`` and ``active``, forecast and seen, with their difference ``excess``; ``claimed``, the coverage
        that the forecasts gave to their intervals of whole numbers; ``width`` [counts] with ``_se``; ``total`` with
        ``_lower`` and ``_upper``, and ``seen`` [counts].
    against : DataFrame
        For each other forecaster and score: ``gain``, its mean score less the model's (above zero: the model is
        better), and ``gain_se`` of the differences user by user.
    calibration : DataFrame
        Tenths of the users by forecast P(active): ``predicted``, ``observed`` with ``_lower`` and ``_upper`` (exact
        binomial), ``users``.
    by_history : DataFrame
        By number of past activities: ``users``, ``predicted`` and ``observed`` share of active users, ``brier``,
        ``expected`` and ``seen`` activities a user, ``coverage`` and ``width``, each but the forecasts with ``_se``,
        and ``claimed``.
    total : DataFrame
        All users together from the cutoff to each end of a window [days]: ``predicted`` with ``_lower`` and
        ``_upper``, ``seen``; ``predicted_within`` and ``seen_within``, of the window alone [counts].
    """

    at: pd.Timestamp
    length: float
    users: int
    ci_prob: float
    table: pd.DataFrame
    against: pd.DataFrame
    calibration: pd.DataFrame
    by_history: pd.DataFrame
    total: pd.DataFrame

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the figures say of probabilities, intervals, simpler ways and the total, each good or bad."""
        return findings(self.table, self.against, MODEL, ci_prob=self.ci_prob)

    @property
    def verdict(self) -> tuple[str, ...]:
        """The findings in plain sentences."""
        return tuple(finding.text for finding in self.findings)

    @property
    def trusted(self) -> bool:
        """Whether no finding is bad."""
        return all(finding.good for finding in self.findings)

    def __str__(self) -> str:
        """Say the verdict."""
        return "\n".join(self.verdict)

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.verdict)
        return f"<ul>{said}</ul>{self.table.to_html(float_format='{:,.3f}'.format)}"


def check_forecast(
    population: Population,
    history: History,
    later: Later,
    *,
    others: Mapping[str, Forecaster] | None = None,
    ci_prob: float = 0.9,
    random_seed: int | None = None,
) -> ForecastCheck:
    """Judge the forecasts made at the cutoff of a history by what the log shows after it.

    Parameters
    ----------
    population : Population
        The posterior, of a fit that saw nothing after the cutoff; its draws set the precision. It has the calendar of
        its fit; ``population.knowing(calendar)`` has another one.
    history : History
        The users as the log stood at the cutoff.
    later : Later
        What happened, see :func:`later_activity`.
    others : mapping of str to forecaster, optional
        Judged beside the model and the simple ones of :mod:`bayesdecay.show.baselines`.
    ci_prob : float
        Probability of the equal-tailed intervals.
    random_seed : int, optional
        The same seed gives the same check.

    Raises
    ------
    ValueError
        If there are no users, ``later`` is about other users, or another forecaster takes the name of ours.

    Notes
    -----
    Forecasts are made and judged some thousand users at a time; memory holds a few numbers a user.
    """
    found, _ = checked(population, history, later, others=others, ci_prob=ci_prob, random_seed=random_seed)
    return found


def checked(
    population: Population,
    history: History,
    later: Later,
    *,
    others: Mapping[str, Forecaster] | None = None,
    ci_prob: float = 0.9,
    random_seed: int | None = None,
) -> tuple[ForecastCheck, Rows]:
    """Judge as :func:`check_forecast` does, and give what was judged of each user too."""
    check_share(ci_prob, "ci_prob")
    if not len(history) or len(later.counts) != len(history):
        raise ValueError(f"check: {len(later.counts)} users were seen later, the history has {len(history)}")
    base = Baselines.of(history, samples=population.size)
    forecasters = {MODEL: model_forecaster(population)} | base.forecasters()
    if taken := set(forecasters) & set(others or {}):
        raise ValueError(f"check: {', '.join(map(repr, sorted(taken)))} is the name of a forecaster that is there")
    rng = np.random.default_rng(random_seed)
    judged = {
        name: judge(forecaster, history, later, base=base, ci_prob=ci_prob, rng=rng)
        for name, forecaster in (forecasters | dict(others or {})).items()
    }
    rows, ours = Rows.of(judged, history, later.counts[:, -1]), judged[MODEL]
    found = ForecastCheck(
        at=history.at,
        length=later.length,
        users=len(history),
        ci_prob=ci_prob,
        table=score_table(rows, ci_prob=ci_prob),
        against=gains(rows, MODEL),
        calibration=calibration_table(ours, rows, ci_prob=ci_prob),
        by_history=by_past(ours, rows),
        total=_totals(_total_by_window(population, history, later, ours, rng), later, ci_prob),
    )
    return found, rows


def model_forecaster(population: Population) -> Forecaster:
    """Make a forecaster of a posterior."""

    def forecast(history: History, length: float, rng: np.random.Generator) -> Forecast:
        return forecast_counts(population, history, length, random_seed=int(rng.integers(2**63)))

    return forecast


def _total_by_window(
    population: Population, history: History, later: Later, ours: Judged, rng: np.random.Generator
) -> list[Floats]:
    """Draws of the total up to each window's end; the last one is there already."""
    lengths = {f"{length}": float(length) for length in later.lengths[:-1]}
    if not lengths:
        return [ours.total]
    totals = forecast_totals(population, history, lengths, random_seed=int(rng.integers(2**63)))
    return [*totals.T, ours.total]


def _totals(totals: list[Floats], later: Later, ci_prob: float) -> pd.DataFrame:
    predicted, seen = np.array([total.mean() for total in totals]), later.counts.sum(axis=0)
    lower, upper = zip(*(interval(total, ci_prob) for total in totals), strict=True)
    columns = dict(zip(("predicted", *names.bounds("predicted")), (predicted, lower, upper), strict=True))
    within = {"predicted_within": np.diff(predicted, prepend=0.0), "seen_within": np.diff(seen, prepend=0)}
    return pd.DataFrame({"from": [0.0, *later.lengths[:-1]], "to": later.lengths, **columns, "seen": seen, **within})
