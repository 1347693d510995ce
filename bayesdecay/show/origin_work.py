"""The work at one origin of a check: fit what was known then, forecast, judge beside simpler ways on what followed.

In: a log, a horizon, :class:`CheckOptions`, an origin. Out: :class:`Look`, what was found there; the verdicts of the
fits and all that must be said with it are gathered in :class:`Work`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from bayesdecay import units
from bayesdecay.data.events import Date, Events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.sufficiency import Shortfall, require_enough
from bayesdecay.errors import DataError, NotConvergedError
from bayesdecay.model.bgnbd import fit_bgnbd
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.posterior import Verdict
from bayesdecay.model.retry import fitted
from bayesdecay.model.sampling import Sampling
from bayesdecay.show.baselines import Forecaster
from bayesdecay.show.checks import ForecastCheck, checked
from bayesdecay.show.later import later_activity
from bayesdecay.show.rivals import BG, LOGISTIC, Logistic, classic_forecaster, recency_frequency
from bayesdecay.show.score_tables import Rows
from bayesdecay.show.words import date, listed, plural

__all__ = ["CheckOptions", "Look", "Work"]


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """How a log is checked.

    Parameters
    ----------
    until : date, optional
        Last instant of the log that is looked at; its end unless told.
    activity, session_gap, kinds, group
        As in :func:`bayesdecay.summarize`.
    sampling : Sampling, optional
        Draws and chains of each fit; the model's own unless told.
    draws : int
        Posterior draws that a forecast rests on. Numbers of activities are drawn, and what is drawn too rarely costs a
        forecast some of its log score: on CDNOW 0.03 with 200 draws, 0.01 with 1,000.
    ci_prob : float
        Probability of every interval.
    random_seed : int, optional
        The same seed gives the same check on the same machine.
    laws : bool
        Compare laws of fading at the last two origins too, see :func:`bayesdecay.check_laws`; takes four fits each.
    allow_unconverged : bool
        Judge the forecasts of fits that did not converge too; their origins are left out otherwise.
    tell : callable
        Called with a line at each step.
    """

    until: Date | None = None
    activity: str = "day"
    session_gap: units.Duration = "30min"
    kinds: tuple[str, ...] | None = None
    group: str | None = None
    sampling: Sampling | None = None
    draws: int = 1_000
    ci_prob: float = 0.9
    random_seed: int | None = None
    laws: bool = False
    allow_unconverged: bool = False
    tell: Callable[[str], None] = _silent

    def __post_init__(self) -> None:
        if self.draws < 100:
            raise ValueError(f"draws must be at least 100, got {self.draws}: fewer tell little of a tail")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What was found at one origin."""

    history: History
    check: ForecastCheck
    rows: Rows
    fit: DecayFit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """A check at work; what is found on the way is gathered.

    ``verdicts`` of the fits by origin; ``lacking``, what each origin's past lacks; ``missing``, what could not be done
    and the origins where it could not.
    """

    log: Events
    length: float
    model: DecayModel
    options: CheckOptions
    verdicts: dict[pd.Timestamp, Verdict] = field(default_factory=dict)
    lacking: dict[pd.Timestamp, tuple[Shortfall, ...]] = field(default_factory=dict)
    missing: dict[str, list[pd.Timestamp]] = field(default_factory=dict)

    def look(self, at: pd.Timestamp) -> Look | None:
        """Fit, forecast and judge at one origin; None where the fit did not converge.

        Raises
        ------
        DataError
            If too little is known there to learn from.
        """
        told, history = self.options, self.history(at)
        self.lacking[at] = require_enough(history, horizon=self.length)
        fit = self.fit(history)
        self.verdicts[at] = fit.verdict
        if not (fit.verdict.converged or told.allow_unconverged):
            return None
        population = fit.population(told.draws, allow_unconverged=True)
        later = later_activity(self.log, history, self.length, periods=1)
        others = self.others(history, population.size)
        found, rows = checked(
            population, history, later, others=others, ci_prob=told.ci_prob, random_seed=told.random_seed
        )
        told.tell(f"{at:%Y-%m-%d}: {' '.join(found.verdict[-1:])}")
        return Look(history=history, check=found, rows=rows, fit=fit)

    def fit(self, history: History) -> DecayFit:
        """Fit the model to what was known then."""
        told = self.options
        fit = fitted(
            lambda sampling: self.model.fit(history, method="auto", sampling=sampling, random_seed=told.random_seed),
            told.sampling,
            told.tell,
        )
        told.tell(f"{date(history.at)}: {plural(len(history), 'user', 'users')}, decay model: {fit.verdict}")
        return fit

    def history(self, at: pd.Timestamp) -> History:
        """All users as they stood at a cutoff."""
        told = self.options
        return summarize(
            self.log, at=at, activity=told.activity, session_gap=told.session_gap, kinds=told.kinds, group=told.group
        )

    def others(self, history: History, samples: int) -> dict[str, Forecaster]:
        """Fit the forecasters that take some fitting; one that cannot be fitted is left out, and said so."""
        found: dict[str, Forecaster] = {}
        try:
            found[BG] = classic_forecaster(fit_bgnbd(*recency_frequency(history)), samples=samples)
        except NotConvergedError:
            self.missing.setdefault(f"{BG}, as no maximum of its likelihood was found", []).append(history.at)
        try:
            found[LOGISTIC] = self.logistic(history.at).forecaster(samples=samples)
        except DataError:
            why = "the logistic regression, as there are no outcomes before from which it could learn"
            self.missing.setdefault(why, []).append(history.at)
        return found

    def logistic(self, at: pd.Timestamp) -> Logistic:
        """Learn from the users as they stood a horizon earlier, and who of them was active until the origin."""
        past = self.history(at - pd.Timedelta(days=self.length))
        came = later_activity(self.log, past, self.length, periods=1).counts[:, -1] > 0
        return Logistic.fit(past, came)

    def notes(self) -> tuple[str, ...]:
        """Say what is lacking, in the numbers of the latest origin that lacks it, and what is missing."""
        latest = {one.rule: (at, one.sentence) for at, all_of in self.lacking.items() for one in all_of}
        several = len(self.lacking) > 1
        notes = [f"{f'At {date(at)}: ' if several else ''}{sentence}" for at, sentence in latest.values()]
        if (calendar := self.model.calendar) is not None:
            late = sum(len(calendar.known_at(at).factors) < len(calendar.factors) for at in self.verdicts)
            left = f"; at {plural(late, 'origin', 'origins')} some were not known yet, and left out" if late else ""
            notes.append(f"Forecast with {plural(len(calendar.factors), 'factor', 'factors')} of the calendar{left}.")
        return (*notes, *(f"Missing at {listed(map(date, at))}: {what}." for what, at in self.missing.items()))
