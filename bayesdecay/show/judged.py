r"""One forecaster's forecasts judged user by user, in memory that does not grow with the forecasts.

In: a history, what happened, and a forecaster. Out: :class:`Judged`, a handful of numbers a user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesdecay.data.history import History
from bayesdecay.model.scoring import Forecast
from bayesdecay.show import scoring_rules as rules
from bayesdecay.show.baselines import Baselines, Chances, Forecaster
from bayesdecay.show.later import Later

__all__ = ["MODEL", "PER_USER", "Judged", "judge"]

Floats = NDArray[np.float64]

MODEL = "decay model"
# A forecast is a table (user, count): with 16,000 users and counts up to 300 it takes 38 MB.
_ROWS = 16_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What a forecaster said of each user beside what happened; arrays (user,), but ``total`` (sample,).

    Of a forecaster that only says whether there will be any activity, all that is about numbers is missing (NaN).

    Attributes
    ----------
    p_active
        Forecast probability of any activity.
    mean
        Expected number of activities [counts].
    crps, log_score, brier, log_loss
        Scores, smaller is better: of the count [counts, nats], and of whether there is any activity.
    covered
        Whether the interval holds the count.
    claimed
        Probability that the forecast itself gives to its interval; of whole numbers, at least what was asked for.
    width
        Upper less lower end of the interval [counts].
    total
        Draws of the sum over all users [counts].
    """

    p_active: Floats
    mean: Floats
    crps: Floats
    log_score: Floats
    brier: Floats
    log_loss: Floats
    covered: Floats
    claimed: Floats
    width: Floats
    total: Floats


PER_USER = ("p_active", "mean", "crps", "log_score", "brier", "log_loss", "covered", "claimed", "width")


def judge(
    forecaster: Forecaster,
    history: History,
    later: Later,
    *,
    base: Baselines,
    ci_prob: float,
    rng: np.random.Generator,
) -> Judged:
    r"""Judge the forecasts of the counts within ``later.length``.

    Notes
    -----
    A table of draws rules out counts that were never drawn, and one such user would make the mean log score
    infinite. For the log score and the log loss every forecast, exact or drawn, is therefore mixed with one part of
    the forecast that is the same for all users: :math:`p' = (S p + p_0) / (S + 1)`, S the number of its draws.
    """
    parts, totals = [], []
    for rows, part in _parts(history):
        forecast = forecaster(part, later.length, rng)
        parts.append(_rows(forecast, later.counts[rows, -1], base=base, length=later.length, ci_prob=ci_prob))
        totals.append(forecast.total)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in PER_USER}
    return Judged(**joined, total=np.sum(totals, axis=0))


def _parts(history: History) -> Iterator[tuple[slice, History]]:
    """Cut a history into slices of its rows."""
    for start in range(0, len(history), _ROWS):
        yield slice(start, start + _ROWS), history.over(history.table.slice(start, _ROWS))


def _rows(
    forecast: Forecast | Chances, seen: NDArray[np.int64], *, base: Baselines, length: float, ci_prob: float
) -> dict[str, Floats]:
    share = 1.0 / (1.0 + forecast.total.size)
    p_base = 1.0 - base.base_probability(np.zeros(1, dtype=np.int64), length)
    if isinstance(forecast, Chances):
        unsaid = dict.fromkeys(PER_USER, np.full(seen.size, np.nan))
        return unsaid | _of_chances(forecast.p_active, seen > 0, p_base, share)
    pmf, last = forecast.pmf, forecast.pmf.shape[1] - 1
    lower, upper, claimed = _intervals(pmf, ci_prob)
    p_seen = np.where(seen <= last, pmf[np.arange(seen.size), np.minimum(seen, last)], 0.0)
    return _of_chances(np.clip(1.0 - pmf[:, 0], 0.0, 1.0), seen > 0, p_base, share) | {
        "mean": forecast.mean,
        "crps": rules.crps_of_counts(pmf, seen),
        "log_score": -np.log(_mixed(p_seen, base.base_probability(seen, length), share)),
        "covered": ((lower <= seen) & (seen <= upper)).astype(float),
        "claimed": claimed,
        "width": (upper - lower).astype(float),
    }


def _of_chances(p_active: Floats, active: NDArray[np.bool_], p_base: Floats, share: float) -> dict[str, Floats]:
    """Scores of whether there is any activity."""
    p_mixed = _mixed(p_active, p_base, share)
    return {
        "p_active": p_active,
        "brier": rules.brier_score(p_active, active),
        "log_loss": -np.log(np.where(active, p_mixed, 1.0 - p_mixed)),
    }


def _mixed(p: Floats, p_base: Floats, share: float) -> Floats:
    # The floor is for a count so far out that even the forecast for everyone rounds to nothing.
    return np.maximum((1.0 - share) * p + share * p_base, 1e-300)


def _intervals(pmf: Floats, ci_prob: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Equal-tailed intervals of whole numbers: lower and upper end, and the probability of what they hold."""
    below = np.cumsum(pmf, axis=1)
    tail = (1.0 - ci_prob) / 2.0
    # A sum of draws that should be 0.05 may fall short of it by rounding.
    lower, upper = (np.argmax(below >= level - 1e-9, axis=1) for level in (tail, 1.0 - tail))
    row = np.arange(len(pmf))
    return lower, upper, np.minimum(below[row, upper] - below[row, lower] + pmf[row, lower], 1.0)
