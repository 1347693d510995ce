r"""Tables of judged forecasts: scores, differences, calibration, and how single groups of users fared.

In: :class:`Rows`, what each forecaster said of each user at one cutoff or several, beside what happened. Out: tables
with standard errors in which the rows of one user count as one observation (:mod:`bayesdecay.show.clustered`); with a
single cutoff these are the plain ones. A forecaster that is missing at a cutoff is judged on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bayesdecay import names
from bayesdecay.data.history import History
from bayesdecay.decide.risk import interval
from bayesdecay.show import clustered
from bayesdecay.show.judged import PER_USER, Judged
from bayesdecay.show.rivals import recency_frequency
from bayesdecay.show.scoring_rules import calibration

__all__ = [
    "RULES",
    "Rows",
    "by_activity",
    "by_length",
    "by_past",
    "calibration_table",
    "gains",
    "score_table",
    "together",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

RULES = ("crps", "log_score", "brier", "log_loss")
# Upper ends of the groups by number of past activities; the last group is open.
_PAST = (0, 1, 2, 4, 9)
_TENTHS, _FIFTHS = 10, 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Judged forecasts, a row a user and cutoff.

    ``judged`` by forecaster; ``seen`` (row,) activities that happened; ``n`` and ``T`` [days] (row,) of the histories;
    ``user`` (row,) a number that the rows of one user share.
    """

    judged: Mapping[str, Judged]
    seen: Integers
    n: Floats
    T: Floats
    user: Integers

    @classmethod
    def of(cls, judged: Mapping[str, Judged], history: History, seen: Integers) -> Rows:
        """Put together what was judged at one cutoff, where every user has one row."""
        n, _, T = recency_frequency(history)
        return cls(judged=judged, seen=seen, n=n, T=T, user=np.arange(seen.size))

    @property
    def active(self) -> Booleans:
        """Whether there was any activity (row,)."""
        return np.asarray(self.seen > 0)


def together(parts: Sequence[Rows], users: Sequence[Integers]) -> Rows:
    """Put the rows of several cutoffs below each other; ``users`` tells the numbers of their users.

    Totals are summed draw by draw, as fits that were made apart are independent.
    """
    known = dict.fromkeys(name for part in parts for name in part.judged)
    draws = min(one.total.size for part in parts for one in part.judged.values())
    judged = {}
    for name in known:
        here = [part.judged.get(name) or _unsaid(part.seen.size, draws) for part in parts]
        columns = {column: np.concatenate([getattr(one, column) for one in here]) for column in PER_USER}
        judged[name] = Judged(**columns, total=np.sum([one.total[:draws] for one in here], axis=0))
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("seen", "n", "T")}
    return Rows(judged=judged, user=np.concatenate(list(users)), **columns)


def _unsaid(rows: int, draws: int) -> Judged:
    return Judged(**dict.fromkeys(PER_USER, np.full(rows, np.nan)), total=np.full(draws, np.nan))


def score_table(rows: Rows, *, ci_prob: float) -> pd.DataFrame:
    """Make a row a forecaster; the columns are those of :class:`bayesdecay.show.checks.ForecastCheck`."""
    found = {name: _row(one, rows, ci_prob) for name, one in rows.judged.items()}
    return pd.DataFrame(found).T.rename_axis("forecaster")


def _row(judged: Judged, rows: Rows, ci_prob: float) -> dict[str, float]:
    """Averages over the rows, each with its standard error."""
    row: dict[str, float] = {}
    for name in RULES:
        row |= _mean(name, getattr(judged, name), rows.user)
    here = np.isfinite(judged.p_active)
    p, active, user = judged.p_active[here], rows.active[here], rows.user[here]
    row |= _calibration_error(p, active, user)
    row |= {"p_active": p.mean(), "active": active.mean()}
    row |= _mean("excess", p - active, user)
    row |= _mean("coverage", judged.covered, rows.user)
    row |= _mean("width", judged.width, rows.user)
    row |= {"claimed": _average(judged.claimed), "total": judged.total.mean()}
    ends = interval(judged.total, ci_prob) if np.isfinite(judged.total).all() else (np.nan, np.nan)
    row |= dict(zip(names.bounds("total"), ends, strict=True))
    return {name: float(value) for name, value in row.items()} | {"seen": float(rows.seen.sum())}


def _mean(name: str, values: Floats, user: Integers) -> dict[str, float]:
    """Mean over the rows of which something is said, with its standard error; missing where there are none."""
    here = np.isfinite(values)
    if not here.any():
        return {name: np.nan, f"{name}_se": np.nan}
    value, error = clustered.mean(values[here], user[here])
    return {name: value, f"{name}_se": error}


def _average(values: Floats) -> float:
    here = np.isfinite(values)
    return float(values[here].mean()) if here.any() else np.nan


def _calibration_error(p: Floats, active: Booleans, user: Integers) -> dict[str, float]:
    r"""Expected calibration error, its standard error, and what chance alone makes of a perfect forecast.

    In a bin of share w and n users the mean distance of a perfect forecast has the standard error s; its distances
    have the mean :math:`\sqrt{2/\pi} \sum w s` and the variance :math:`(1 - 2/\pi) \sum w^2 s^2`, also where a user has
    several rows: what a perfect forecast leaves of them is not correlated.
    """
    bins = calibration(p, active)
    weight, perfect = bins.rows / bins.rows.sum(), np.sqrt(bins.predicted * (1 - bins.predicted) / bins.rows)
    return {
        "calibration_error": bins.error,
        "calibration_error_se": clustered.calibration_error(p, active, user)[1],
        "calibration_chance": np.sqrt(2 / np.pi) * (weight * perfect).sum(),
        "calibration_chance_se": np.sqrt((1 - 2 / np.pi) * ((weight * perfect) ** 2).sum()),
    }


def gains(rows: Rows, model: str) -> pd.DataFrame:
    """Mean score of each other forecaster less the model's, ``gain``, with ``gain_se`` of the differences."""
    found = []
    for name, other in rows.judged.items():
        for rule in RULES if name != model else ():
            difference = getattr(other, rule) - getattr(rows.judged[model], rule)
            if np.isfinite(difference).any():
                found.append({"forecaster": name, "score": rule, **_mean("gain", difference, rows.user)})
    return pd.DataFrame(found, columns=["forecaster", "score", "gain", "gain_se"])


def calibration_table(judged: Judged, rows: Rows, *, ci_prob: float) -> pd.DataFrame:
    """Tenths of the rows by forecast P(active), beside what was seen, with exact binomial intervals."""
    bins, tail = calibration(judged.p_active, rows.active), (1 - ci_prob) / 2
    happened = np.rint(bins.observed * bins.rows)
    # Clopper and Pearson's interval; nothing lies beyond none and all.
    lower = np.where(happened > 0, stats.beta.ppf(tail, happened, bins.rows - happened + 1), 0.0)
    upper = np.where(happened < bins.rows, stats.beta.ppf(1 - tail, happened + 1, bins.rows - happened), 1.0)
    columns = dict(zip(("observed", *names.bounds("observed")), (bins.observed, lower, upper), strict=True))
    return pd.DataFrame({"predicted": bins.predicted, **columns, "users": bins.rows})


def by_past(judged: Judged, rows: Rows) -> pd.DataFrame:
    """How users fared by their number of past activities: "0", "1", "2", "3-4", "5-9", "10 or more"."""
    starts = [0, *(end + 1 for end in _PAST[:-1])]
    inner = [f"{end}" if start == end else f"{start}-{end}" for start, end in zip(starts, _PAST, strict=True)]
    labels = [*inner, f"{_PAST[-1] + 1} or more"]
    return _grouped(judged, rows, "past_activities", labels, np.searchsorted(_PAST, rows.n))


def by_activity(judged: Judged, rows: Rows) -> pd.DataFrame:
    """How users fared by tenths of their predicted number of activities, the quietest first."""
    labels, group = _parts(judged.mean, _TENTHS, digits=2)
    return _grouped(judged, rows, "predicted_activities", labels, group)


def by_length(judged: Judged, rows: Rows) -> pd.DataFrame:
    """How users fared by fifths of the time from their acquisition to the cutoff [days], the newest first."""
    labels, group = _parts(rows.T, _FIFTHS, digits=0)
    return _grouped(judged, rows, "days_known", labels, group)


def _parts(values: Floats, parts: int, *, digits: int) -> tuple[list[str], Integers]:
    """Cut rows into parts of about equal size, equal values staying together; the parts' ranges as labels."""
    edges = np.unique(np.quantile(values, np.arange(1, parts) / parts, method="inverted_cdf"))
    group = np.searchsorted(edges, values, side="left")
    labels = []
    for g in range(edges.size + 1):
        inside = values[group == g]
        low, high = (f"{end:,.{digits}f}" for end in ((inside.min(), inside.max()) if inside.size else (0.0, 0.0)))
        labels.append(low if low == high else f"{low} to {high}")
    return labels, group


def _grouped(judged: Judged, rows: Rows, what: str, labels: Sequence[str], group: Integers) -> pd.DataFrame:
    """Make a row a group that has users: P(active), numbers and intervals, forecast and seen."""
    found = []
    for g, label in enumerate(labels):
        inside = group == g
        if not inside.any():
            continue
        user = rows.user[inside]
        row: dict[str, float | str] = {what: label, "users": int(inside.sum())}
        row |= {"predicted": judged.p_active[inside].mean()}
        row |= _mean("observed", rows.active[inside].astype(float), user) | _mean("brier", judged.brier[inside], user)
        row |= {"expected": judged.mean[inside].mean()} | _mean("seen", rows.seen[inside].astype(float), user)
        row |= _mean("coverage", judged.covered[inside], user) | _mean("width", judged.width[inside], user)
        found.append(row | {"claimed": judged.claimed[inside].mean()})
    return pd.DataFrame(found)
