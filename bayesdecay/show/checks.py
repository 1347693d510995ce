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
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bayesdecay import names
from bayesdecay.data.history import History
from bayesdecay.decide.risk import check_share, interval
from bayesdecay.model.population import Population
from bayesdecay.model.scoring import Forecast, forecast_counts, forecast_totals
from bayesdecay.show.baselines import Baselines, Forecaster
from bayesdecay.show.judged import Judged, judge
from bayesdecay.show.later import Later, later_activity, observable_length
from bayesdecay.show.scoring_rules import calibration
from bayesdecay.show.verdicts import Finding, findings

__all__ = ["MODEL", "ForecastCheck", "Later", "check_forecast", "later_activity", "observable_length"]

Floats = NDArray[np.float64]

MODEL = "decay model"
RULES = ("crps", "log_score", "brier", "log_loss")
# Upper ends of the groups by number of past activities; the last group is open.
_PAST = (0, 1, 2, 4, 9)


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
        that the forecasts gave to their intervals of whole numbers; ``width`` [counts]; ``total`` with ``_lower`` and
        ``_upper``, and ``seen`` [counts].
    against : DataFrame
        For each other forecaster and score: ``gain``, its mean score less the model's (above zero: the model is
        better), and ``gain_se`` of the differences user by user.
    calibration : DataFrame
        Tenths of the users by forecast P(active): ``predicted``, ``observed`` with ``_lower`` and ``_upper`` (exact
        binomial), ``users``.
    by_history : DataFrame
        By number of past activities: ``users``, ``predicted`` and ``observed`` share of active users, ``brier``,
        ``coverage``, each with ``_se``, and ``claimed``.
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
        The posterior, of a fit that saw nothing after the cutoff; its draws set the precision.
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
    check_share(ci_prob, "ci_prob")
    if not len(history) or len(later.counts) != len(history):
        raise ValueError(f"check: {len(later.counts)} users were seen later, the history has {len(history)}")
    base = Baselines.of(history, samples=population.size)
    forecasters = {MODEL: _ours(population)} | base.forecasters()
    if taken := set(forecasters) & set(others or {}):
        raise ValueError(f"check: {', '.join(map(repr, sorted(taken)))} is the name of a forecaster that is there")
    rng = np.random.default_rng(random_seed)
    judged = {
        name: judge(forecaster, history, later, base=base, ci_prob=ci_prob, rng=rng)
        for name, forecaster in (forecasters | dict(others or {})).items()
    }
    seen, ours = later.counts[:, -1], judged[MODEL]
    return ForecastCheck(
        at=history.at,
        length=later.length,
        users=len(history),
        ci_prob=ci_prob,
        table=pd.DataFrame({name: _row(one, seen, ci_prob) for name, one in judged.items()}).T.rename_axis(
            "forecaster"
        ),
        against=_against(judged),
        calibration=_calibration(ours.p_active, seen > 0, ci_prob),
        by_history=_by_history(ours, history, seen > 0),
        total=_totals(_total_by_window(population, history, later, ours, rng), later, ci_prob),
    )


def _ours(population: Population) -> Forecaster:
    def forecast(history: History, length: float, rng: np.random.Generator) -> Forecast:
        return forecast_counts(population, history, length, random_seed=int(rng.integers(2**63)))

    return forecast


def _row(judged: Judged, seen: NDArray[np.int64], ci_prob: float) -> dict[str, float]:
    """Averages over the users, each with its standard error."""
    row: dict[str, Any] = {}
    for name in RULES:
        row |= _mean(name, getattr(judged, name))
    row |= _calibration_error(judged.p_active, seen > 0)
    row |= {"p_active": judged.p_active.mean(), "active": (seen > 0).mean()}
    row |= _mean("excess", judged.p_active - (seen > 0))
    row |= _mean("coverage", judged.covered)
    row |= {"claimed": judged.claimed.mean(), "width": judged.width.mean(), "total": judged.total.mean()}
    row |= dict(zip(names.bounds("total"), interval(judged.total, ci_prob), strict=True))
    return {name: float(value) for name, value in row.items()} | {"seen": float(seen.sum())}


def _mean(name: str, values: Floats) -> dict[str, float]:
    spread = values.std(ddof=1) if values.size > 1 else np.nan
    return {name: values.mean(), f"{name}_se": spread / np.sqrt(values.size)}


def _calibration_error(p: Floats, active: NDArray[np.bool_]) -> dict[str, float]:
    r"""Expected calibration error, its standard error, and what chance alone makes of a perfect forecast.

    In a bin of share w and n users the observed share has the standard error s; :math:`\sqrt{\sum w^2 s^2}` is the
    error's own. A perfect forecast's distances have the mean :math:`\sqrt{2/\pi} \sum w s` and the variance
    :math:`(1 - 2/\pi) \sum w^2 s^2`.
    """
    bins = calibration(p, active)
    weight = bins.rows / bins.rows.sum()
    own, perfect = (np.sqrt(share * (1 - share) / bins.rows) for share in (bins.observed, bins.predicted))
    return {
        "calibration_error": bins.error,
        "calibration_error_se": np.sqrt(((weight * own) ** 2).sum()),
        "calibration_chance": np.sqrt(2 / np.pi) * (weight * perfect).sum(),
        "calibration_chance_se": np.sqrt((1 - 2 / np.pi) * ((weight * perfect) ** 2).sum()),
    }


def _against(judged: Mapping[str, Judged]) -> pd.DataFrame:
    rows = []
    for name, other in judged.items():
        for rule in RULES if name != MODEL else ():
            difference = _mean("gain", getattr(other, rule) - getattr(judged[MODEL], rule))
            rows.append({"forecaster": name, "score": rule, **difference})
    return pd.DataFrame(rows)


def _calibration(p: Floats, active: NDArray[np.bool_], ci_prob: float) -> pd.DataFrame:
    bins = calibration(p, active)
    happened, tail = np.rint(bins.observed * bins.rows), (1 - ci_prob) / 2
    # Clopper and Pearson's interval; nothing lies beyond none and all.
    lower = np.where(happened > 0, stats.beta.ppf(tail, happened, bins.rows - happened + 1), 0.0)
    upper = np.where(happened < bins.rows, stats.beta.ppf(1 - tail, happened + 1, bins.rows - happened), 1.0)
    columns = dict(zip(("observed", *names.bounds("observed")), (bins.observed, lower, upper), strict=True))
    return pd.DataFrame({"predicted": bins.predicted, **columns, "users": bins.rows})


def _by_history(judged: Judged, history: History, active: NDArray[np.bool_]) -> pd.DataFrame:
    group = np.searchsorted(_PAST, history.table[names.N].to_numpy())
    rows = []
    for g, label in enumerate(_past_labels()):
        inside = group == g
        if inside.any():
            row = {"past_activities": label, "users": int(inside.sum()), "predicted": judged.p_active[inside].mean()}
            row |= _mean("observed", active[inside].astype(float)) | _mean("brier", judged.brier[inside])
            rows.append(row | _mean("coverage", judged.covered[inside]) | {"claimed": judged.claimed[inside].mean()})
    return pd.DataFrame(rows)


def _past_labels() -> list[str]:
    """Groups in words: "0", "1", "2", "3-4", "5-9", "10 or more"."""
    starts = [0, *(end + 1 for end in _PAST[:-1])]
    inner = [f"{end}" if start == end else f"{start}-{end}" for start, end in zip(starts, _PAST, strict=True)]
    return [*inner, f"{_PAST[-1] + 1} or more"]


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
