"""The main job: what it is to do, checked when it is described, and all that it found.

:mod:`bayesdecay.doors.pipeline` does it, :mod:`bayesdecay.doors.results` writes what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import xarray as xr

from bayesdecay import units
from bayesdecay.data.activities import check_activity
from bayesdecay.data.history import History
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.risk import Risk
from bayesdecay.doors.marks import warnings_of
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.posterior import Verdict
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import Scores
from bayesdecay.show.checks import ForecastCheck

__all__ = ["Job", "JobResult", "check_horizons", "verdicts_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the main job is to do; every length is a duration such as ``"30d"``.

    Parameters
    ----------
    at : str, optional
        Cutoff; the end of the log unless told.
    activity, session_gap, kinds, group
        As in :func:`bayesdecay.summarize`.
    acquired_from : str, optional
        The decay model learns only from users first seen on or after this date; all are scored. For a log that begins
        in the middle, see :meth:`bayesdecay.History.acquired_from`.
    lapsed_after : duration
        Silence after which a user counts as lapsed, and is a candidate of the campaign.
    horizons : mapping of str to float
        Labels and lengths [days], see :func:`bayesdecay.units.durations`.
    decay : DecayModel
        How interest fades, and what is known of days past and to come.
    campaign : Campaign, optional
        Costs, value, budget and the assumed effect; without one the lapsed users are ranked, and no profit is stated.
    risk : Risk
        The risk appetite that the audience is chosen by.
    campaign_horizon : str, optional
        Label of the horizon that the campaign is about; the longest unless told.
    sampling : Sampling, optional
        Draws and chains of both models; each model's own unless told.
    draws : int
        Posterior draws that the scores and the campaign rest on.
    ci_prob : float
        Probability of every interval.
    random_seed : int, optional
        The same seed gives the same results on the same machine.
    allow_unconverged : bool
        Go on although a fit did not converge; all results then say so.
    title : str
        Title of the report.
    notes : tuple of str
        What is known beforehand and must be told with the results, in sentences.
    """

    at: str | None = None
    activity: str = "day"
    session_gap: units.Duration = "30min"
    kinds: tuple[str, ...] | None = None
    group: str | None = None
    acquired_from: str | None = None
    lapsed_after: units.Duration = "60d"
    horizons: Mapping[str, float] = field(default_factory=lambda: units.durations(["30d", "90d"]))
    decay: DecayModel = field(default_factory=DecayModel)
    campaign: Campaign | None = None
    risk: Risk = field(default_factory=Risk.neutral)
    campaign_horizon: str | None = None
    sampling: Sampling | None = None
    draws: int = 200
    ci_prob: float = 0.9
    random_seed: int | None = None
    allow_unconverged: bool = False
    title: str = "Who is losing interest, who will return, whom to contact"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        units.days(self.lapsed_after)
        units.days(self.session_gap)
        for date in (self.at, self.acquired_from):
            if date is not None:
                units.cutoff_instant(date)
        check_horizons(self.horizons, check_activity(self.activity))
        if self.campaign_horizon is not None and self.campaign_horizon not in self.horizons:
            raise ValueError(f"campaign horizon {self.campaign_horizon!r} is not among {', '.join(self.horizons)}")

    @property
    def target(self) -> str:
        """Label of the horizon that the campaign is about."""
        return self.campaign_horizon or max(self.horizons, key=lambda label: self.horizons[label])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """All that the main job found.

    ``scores`` has a row for every user of the history; ``lapsed`` are those lapsed at the cutoff, and ``candidates``
    their draws (sample, user) of P(reactivation) within the campaign's horizon; ``notes`` are those of the job, then in
    sentences what could not be done, and why.
    """

    history: History
    decay: DecayFit
    reactivation: Mapping[str, ReactivationFit]
    scores: Scores
    lapsed: Snapshots
    candidates: xr.DataArray
    plan: Plan | None
    check: ForecastCheck | None
    notes: tuple[str, ...]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Whether each fit converged, by its name."""
        return verdicts_of(self.decay, self.reactivation)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What must be known before the results are used: fits that did not converge, then the notes."""
        return (*warnings_of(self.verdicts), *self.notes)


def verdicts_of(decay: DecayFit, reactivation: Mapping[str, ReactivationFit]) -> dict[str, Verdict]:
    """Whether each fit converged, by its name; reactivation fits by the label of their horizon."""
    of_returns = {f"reactivation model ({label})": fit.verdict for label, fit in reactivation.items()}
    return {"decay model": decay.verdict} | of_returns


def check_horizons(horizons: Mapping[str, float], activity: str) -> None:
    """Refuse horizons [days] that are shorter than the unit of activity.

    Raises
    ------
    ValueError
        If activities are days and a horizon is less than one.
    """
    short = [label for label, length in horizons.items() if length < 1.0]
    if activity == "day" and short:
        raise ValueError(
            f"horizon {', '.join(short)} is shorter than a day, but whole days are what counts (activity 'day'); give "
            "horizons of 1d or more, or count something shorter: --activity session or --activity event"
        )
