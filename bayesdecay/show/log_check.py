"""Can the forecasts be trusted on this log? Forecasts from several earlier cutoffs, judged on what followed each.

In: a log and a horizon. At each origin a decay model is fitted to what was known then, and its forecast of every user
is judged beside those of simpler ways. Out: :class:`LogCheck`, tables over all origins, the totals of each, whether the
fitted population would have had the past that was seen, and a verdict in plain words with what to do about it.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import names, units
from bayesdecay.data.events import Events
from bayesdecay.data.history import History
from bayesdecay.data.ids import positions
from bayesdecay.errors import DataError, NotConvergedError
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.posterior import Verdict
from bayesdecay.show.checks import MODEL, ForecastCheck
from bayesdecay.show.law_check import LawCheck, check_laws
from bayesdecay.show.log_verdicts import log_findings
from bayesdecay.show.origin_work import CheckOptions, Look, Work
from bayesdecay.show.origins import MOST_ORIGINS, Origins, origins_of, overlapping
from bayesdecay.show.past_check import PastCheck, check_past
from bayesdecay.show.score_tables import (
    by_activity,
    by_length,
    by_past,
    calibration_table,
    gains,
    score_table,
    together,
)
from bayesdecay.show.verdicts import Finding
from bayesdecay.show.words import window

__all__ = ["LogCheck", "check_log"]


# Draws of the past; with 200 of them, p is known to 0.035.
_PASTS = 200


# No slots: findings are worked out when first asked for, and kept.
@dataclass(frozen=True, kw_only=True, eq=False)
class LogCheck:
    """Forecasts from several origins beside what happened.

    Attributes
    ----------
    horizon : float
        Length of each time that was forecast [days].
    ci_prob : float
        Probability of every interval.
    checks : tuple of ForecastCheck
        The check at each origin, the earliest first.
    verdicts : mapping of Timestamp to Verdict
        Whether the fit at each origin converged, those left out for it included.
    table, against, calibration
        As in :class:`ForecastCheck`, over the users of all origins; the rows of one user count as one observation in
        the standard errors. A forecaster that is missing at an origin is judged on the others.
    by_past, by_activity, by_length : DataFrame
        By number of past activities, by tenths of the predicted number, by fifths of the days since the acquisition:
        P(active), numbers of activities, coverage and width.
    totals : DataFrame
        A row an origin: ``at``, ``users``, ``predicted`` with its interval, ``seen``, ``ratio`` of the two,
        ``inside``; and the same two of the share of active users, ``p_active`` and ``active``.
    past : PastCheck
        The past up to the last origin, beside what the fitted population would have had.
    notes : tuple of str
        What must be said with it: what the log lacks, what could not be done.
    activity : str
        The unit that was counted.
    laws : LawCheck, optional
        Laws of fading beside each other, if they were asked for.
    """

    horizon: float
    ci_prob: float
    checks: tuple[ForecastCheck, ...]
    verdicts: Mapping[pd.Timestamp, Verdict]
    table: pd.DataFrame
    against: pd.DataFrame
    calibration: pd.DataFrame
    by_past: pd.DataFrame
    by_activity: pd.DataFrame
    by_length: pd.DataFrame
    totals: pd.DataFrame
    past: PastCheck
    notes: tuple[str, ...]
    activity: str = "day"
    laws: LawCheck | None = None

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the figures say, good or bad, and what to do about what is bad."""
        return log_findings(self)

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        said = "; ".join(finding.short for finding in self.findings if finding.short)
        return f"{said[:1].upper()}{said[1:]}."

    @property
    def verdict(self) -> tuple[str, ...]:
        """The findings in plain sentences."""
        return tuple(finding.text for finding in self.findings)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do about what is bad, each thing once."""
        return tuple(dict.fromkeys(finding.advice for finding in self.findings if finding.advice))

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name, as they are written to files."""
        own = {"scores": self.table.reset_index(), "differences": self.against, "calibration": self.calibration}
        own |= {"by-activity": self.by_activity, "by-past": self.by_past, "by-length": self.by_length}
        each = [check.table.reset_index().assign(at=check.at) for check in self.checks]
        own |= {"totals": self.totals, "scores-by-origin": pd.concat(each), "past": self.past.table}
        return own | ({} if self.laws is None else {"laws": self.laws.table.reset_index()})

    def described(self, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Put all of it into what JSON knows; what is missing is null."""
        return {
            "trusted": self.trusted,
            "headline": self.headline,
            "findings": [asdict(finding) for finding in self.findings],
            "advice": list(self.advice),
            "notes": list(self.notes),
            "horizon_days": self.horizon,
            "activity": self.activity,
            "ci_prob": self.ci_prob,
            "fits": [
                {"at": at.isoformat(), "converged": verdict.converged, "verdict": str(verdict)}
                for at, verdict in self.verdicts.items()
            ],
            "settings": dict(settings or {}),
            "tables": {name: json.loads(_as_json(table)) for name, table in self.tables.items()},
        }

    @property
    def trusted(self) -> bool:
        """Whether no finding is bad."""
        return all(finding.good for finding in self.findings)

    def __str__(self) -> str:
        """Say the verdict, and what to do."""
        lines = [self.headline, "", *self.verdict]
        return "\n".join([*lines, "", "What to do:", *(f"- {one}" for one in self.advice)] if self.advice else lines)

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in (*self.verdict, *self.advice))
        told = self.table.to_html(float_format="{:,.3f}".format)
        return f"<p>{html.escape(self.headline)}</p><ul>{said}</ul>{told}"


def check_log(
    log: Events,
    *,
    horizon: units.Duration,
    origins: Origins = MOST_ORIGINS,
    model: DecayModel | None = None,
    options: CheckOptions | None = None,
) -> LogCheck:
    """Judge the forecasts of a decay model on a log, from several origins.

    Parameters
    ----------
    log : Events
        What :func:`bayesdecay.read_events` gives.
    horizon : duration
        How far is forecast from each origin, such as ``"90d"``.
    origins : int, date or several dates
        How many at most, chosen so that the times forecast do not overlap; or which.
    model : DecayModel, optional
        The model; the default one unless told. What its calendar tells is in the forecasts of each origin, as far as it
        was known there.
    options : CheckOptions, optional
        What counts, sampling, seed, progress.

    Returns
    -------
    LogCheck

    Raises
    ------
    DataError
        If the log is not longer than the horizon, or too little is known at every origin to learn from.
    NotConvergedError
        If no fit converged and ``allow_unconverged`` is not set.

    Examples
    --------
    >>> print(check_log(read_events(load_cdnow(sample=True)), horizon="90d"))  # doctest: +SKIP
    """
    told = options or CheckOptions()
    (length,) = units.durations(horizon).values()
    if told.activity == "day" and length < 1.0:
        raise ValueError(f"horizon {horizon!r} is shorter than a day, but whole days count; give 1d or more")
    cutoffs = origins_of(log, length, asked=origins, until=told.until, kinds=told.kinds)
    work = Work(log=log, length=length, model=model or DecayModel(), options=told)
    told.tell(f"forecasts of {window(length)} from {', '.join(f'{at:%Y-%m-%d}' for at in cutoffs)}")
    looked, refused = [], []
    for at in cutoffs:
        try:
            looked += [found] if (found := work.look(at)) is not None else []
        except DataError as error:
            told.tell(f"{at:%Y-%m-%d}: left out: {error}")
            work.missing.setdefault(f"this origin: {error}", []).append(at)
            refused.append(error)
    if not looked and refused:
        raise DataError(str(refused[-1]))
    if not looked:
        raise NotConvergedError(
            f"no fit converged ({'; '.join(map(str, work.verdicts.values()))}); pass allow_unconverged=True to judge "
            "the forecasts all the same"
        )
    return _put_together(work, looked)


def _as_json(table: pd.DataFrame) -> str:
    return str(table.to_json(orient="records", date_format="iso", double_precision=10))


def _put_together(work: Work, looked: list[Look]) -> LogCheck:
    rows = together([look.rows for look in looked], _users([look.history for look in looked]))
    ours, last, told = rows.judged[MODEL], looked[-1], work.options
    population = last.fit.population(_PASTS, allow_unconverged=True)
    overlap: tuple[str, ...] = ()
    if overlapping([look.check.at for look in looked], work.length):
        overlap = ("The times that are forecast overlap, so the periods do not speak independently.",)
    return LogCheck(
        horizon=work.length,
        ci_prob=told.ci_prob,
        checks=tuple(look.check for look in looked),
        verdicts=work.verdicts,
        table=score_table(rows, ci_prob=told.ci_prob),
        against=gains(rows, MODEL),
        calibration=calibration_table(ours, rows, ci_prob=told.ci_prob),
        by_past=by_past(ours, rows),
        by_activity=by_activity(ours, rows),
        by_length=by_length(ours, rows),
        totals=_totals([look.check for look in looked]),
        past=check_past(population, last.history, ci_prob=told.ci_prob, random_seed=told.random_seed),
        notes=(*overlap, *work.notes()),
        activity=told.activity,
        laws=_laws(work, [look.check.at for look in looked]),
    )


def _laws(work: Work, origins: list[pd.Timestamp]) -> LawCheck | None:
    """Compare laws at the last origins, if that was asked for."""
    if not work.options.laws:
        return None
    return check_laws(work.log, horizon=work.length, origins=origins[-2:], model=work.model, options=work.options)


def _users(histories: list[History]) -> list[NDArray[np.int64]]:
    """Numbers of the users of each history that are the same wherever a user is: places among the last one's."""
    last = histories[-1].table[names.USER]
    return [positions(history.table[names.USER], last) for history in histories]


def _totals(checks: list[ForecastCheck]) -> pd.DataFrame:
    found = []
    for check in checks:
        row, ends = check.table.loc[MODEL], names.bounds("total")
        lower, upper, seen = row[ends[0]], row[ends[1]], row["seen"]
        told = {"at": check.at, "users": check.users, "predicted": row["total"], "predicted_lower": lower}
        told |= {"predicted_upper": upper, "seen": seen, "ratio": row["total"] / seen if seen else np.nan}
        told |= {"inside": bool(lower <= seen <= upper), "p_active": row["p_active"], "active": row["active"]}
        found.append(told)
    return pd.DataFrame(found)
