"""The main job in one go: from a log to scores, an audience, saved fits and a report.

    log → history → decay fit → scores → (per horizon) snapshots → reactivation fit → P(reactivation)
        → plan → check on what the log shows after the cutoff → files

``run_job`` computes, ``write_job`` writes; the command line calls one after the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import xarray as xr

from bayesdecay import names, units
from bayesdecay.data.events import Events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.ids import as_ids, positions
from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.targeting import choose
from bayesdecay.errors import DataError
from bayesdecay.model.decay import DecayFit, DecayModel
from bayesdecay.model.fits import save_fits
from bayesdecay.model.reactivation import ReactivationFit, ReactivationModel, score_reactivation
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import ScoreOptions, Scores, user_draws
from bayesdecay.show.checks import ForecastCheck, check_forecast
from bayesdecay.show.later import later_activity, observable_length
from bayesdecay.show.report import ReportContent, write_report

__all__ = ["Job", "JobResult", "report_content", "run_job", "write_job"]

# Rolling cutoffs that the reactivation model learns from, one horizon apart.
_CUTOFFS = 3
# P(reactivation) is held as draws x lapsed users; above this many numbers (0.3 GB) fewer draws are taken.
_MOST_NUMBERS = 40_000_000
_LEAST_DRAWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the main job is to do; every length is a duration such as ``"30d"``.

    Parameters
    ----------
    at : str, optional
        Cutoff; the end of the log unless told.
    activity, session_gap, kinds, group
        As in :func:`bayesdecay.summarize`.
    lapsed_after : duration
        Silence after which a user counts as lapsed, and is a candidate of the campaign.
    horizons : mapping of str to float
        Labels and lengths [days], see :func:`bayesdecay.units.durations`.
    campaign : Campaign, optional
        Costs, value, budget and the assumed effect; without one the lapsed users are ranked, and no profit is stated.
    campaign_horizon : str, optional
        Label of the horizon that the campaign is about; the longest unless told.
    sampling : Sampling
        Draws and chains of both models.
    draws : int
        Posterior draws that the scores and the campaign rest on.
    ci_prob : float
        Probability of every interval.
    random_seed : int, optional
        The same seed gives the same results on the same machine.
    title : str
        Title of the report.
    """

    at: str | None = None
    activity: str = "day"
    session_gap: units.Duration = "30min"
    kinds: tuple[str, ...] | None = None
    group: str | None = None
    lapsed_after: units.Duration = "60d"
    horizons: Mapping[str, float] = field(default_factory=lambda: units.durations(["30d", "90d"]))
    campaign: Campaign | None = None
    campaign_horizon: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    draws: int = 200
    ci_prob: float = 0.9
    random_seed: int | None = None
    title: str = "Who is losing interest, who will return, whom to contact"

    def __post_init__(self) -> None:
        units.days(self.lapsed_after)
        if self.campaign_horizon is not None and self.campaign_horizon not in self.horizons:
            raise ValueError(f"campaign horizon {self.campaign_horizon!r} is not among {', '.join(self.horizons)}")

    @property
    def target(self) -> str:
        """Label of the horizon that the campaign is about."""
        return self.campaign_horizon or max(self.horizons, key=lambda label: self.horizons[label])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """All that the main job found.

    ``scores`` has a row for every user of the history; ``candidates`` are the draws (sample, user) of P(reactivation)
    of the lapsed users within the campaign's horizon; ``notes`` says in sentences what could not be done, and why.
    """

    history: History
    decay: DecayFit
    reactivation: Mapping[str, ReactivationFit]
    scores: Scores
    candidates: xr.DataArray
    plan: Plan | None
    check: ForecastCheck | None
    notes: tuple[str, ...]


def run_job(
    log: Events,
    job: Job,
    *,
    decay: DecayFit | None = None,
    reactivation: Mapping[str, ReactivationFit] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> JobResult:
    """Do the main job.

    Parameters
    ----------
    log : Events
        The log.
    job : Job
        What to do.
    decay, reactivation : optional
        Fits made before, the latter by horizon, to be used instead of new ones.
    tell : callable
        Called with a line at each step.

    Raises
    ------
    DataError, ValueError
        If the log cannot be used.
    NotConvergedError
        If a fit did not converge; nothing is made of it then.
    """
    history = _summarized(log, job, job.at)
    tell(f"{len(history):,} users with an activity up to {history.at}")
    decay = decay or DecayModel().fit(history, sampling=job.sampling, random_seed=job.random_seed)
    tell(f"decay model: {decay.verdict}")
    options = ScoreOptions(horizons=job.horizons, ci_prob=job.ci_prob, random_seed=job.random_seed)
    scores = decay.score(history, options=options, draws=job.draws)
    tell("scores of every user: done")
    fits, chances, notes = _reactivations(log, job, history, decay, reactivation or {}, tell)
    for part in chances.values():
        scores = _with_columns(scores, score_reactivation(part, ci_prob=job.ci_prob))
    candidates = chances[job.target]
    plan = _plan(candidates, job)
    tell(plan.statement if plan else "no campaign was described: the lapsed users are ranked by P(reactivation)")
    check = _checked(log, job, history, decay)
    tell(str(check) if check else "the log ends at the cutoff, so there is nothing yet to check the forecasts on")
    return JobResult(
        history=history,
        decay=decay,
        reactivation=fits,
        scores=scores,
        candidates=candidates,
        plan=plan,
        check=check,
        notes=notes,
    )


def _summarized(log: Events, job: Job, at: Any) -> History:
    return summarize(log, at=at, activity=job.activity, session_gap=job.session_gap, kinds=job.kinds, group=job.group)


def _snapshots(log: Events, job: Job, cutoffs: list[pd.Timestamp], horizon: float, until: pd.Timestamp) -> Snapshots:
    return snapshots(
        log,
        cutoffs=cutoffs,
        horizon=horizon,
        lapsed_after=job.lapsed_after,
        activity=job.activity,
        session_gap=job.session_gap,
        kinds=job.kinds,
        group=job.group,
        observed_until=until,
    )


def _reactivations(
    log: Events,
    job: Job,
    history: History,
    decay: DecayFit,
    given: Mapping[str, ReactivationFit],
    tell: Callable[[str], None],
) -> tuple[dict[str, ReactivationFit], dict[str, xr.DataArray], tuple[str, ...]]:
    """Fit each horizon on earlier cutoffs and draw P(reactivation) of the users lapsed at the cutoff."""
    fits: dict[str, ReactivationFit] = {}
    chances: dict[str, xr.DataArray] = {}
    notes: list[str] = []
    for label, length in job.horizons.items():
        lapsed = _snapshots(log, job, [history.at], length, history.at)
        draws = int(np.clip(_MOST_NUMBERS // max(len(lapsed), 1), _LEAST_DRAWS, job.draws))
        try:
            fits[label] = given.get(label) or _learned(log, job, history.at, length, decay)
        except DataError as error:
            notes.append(
                f"P(reactivation) within {label} is the decay model's own P(return): a reactivation model could not be "
                f"learned from earlier cutoffs ({error})"
            )
            tell(notes[-1])
            chances[label] = _p_return(lapsed, decay, label, length, job, draws)
        else:
            rows = fits[label].description["rows"]
            tell(f"reactivation within {label}, learned from {rows:,} snapshots: {fits[label].verdict}")
            chances[label] = fits[label].draws(lapsed, decay, draws=draws, random_seed=job.random_seed)
    return fits, chances, tuple(notes)


def _learned(log: Events, job: Job, at: pd.Timestamp, length: float, decay: DecayFit) -> ReactivationFit:
    past = _snapshots(log, job, _training_cutoffs(log, at, length, job), length, at)
    return ReactivationModel().fit(past, decay, sampling=job.sampling, random_seed=job.random_seed)


def _training_cutoffs(log: Events, at: pd.Timestamp, length: float, job: Job) -> list[pd.Timestamp]:
    """Cutoffs before ``at``, one horizon apart, at which somebody can have lapsed already."""
    earliest = log.span[0] + pd.Timedelta(days=units.days(job.lapsed_after))
    cutoffs = [at - pd.Timedelta(days=length) * (i + 1) for i in range(_CUTOFFS)]
    usable = [cutoff for cutoff in cutoffs if cutoff > earliest]
    if not usable:
        raise DataError(f"the log begins at {log.span[0]}, too late for users lapsed at {cutoffs[0]}")
    return usable


def _p_return(lapsed: Snapshots, decay: DecayFit, label: str, length: float, job: Job, draws: int) -> xr.DataArray:
    """Draws (sample, user) of the decay model's P(return) of lapsed users."""
    options = ScoreOptions(horizons={label: length}, random_seed=job.random_seed)
    (history,) = lapsed.histories.values()
    found = user_draws(decay.population(draws), history, options)[names.P_RETURN].isel(horizon=0, drop=True)
    return found.assign_attrs(horizon=label)


def _with_columns(scores: Scores, part: Scores) -> Scores:
    """Join the columns of some users' scores to those of all; the others have none."""
    own = scores.table[names.USER]
    # Ids of nobody have no type of their own.
    rows = positions(own, pa.chunked_array([as_ids(part.table[names.USER], own.type)]))
    taken = pa.array(np.where(rows < 0, 0, rows), mask=rows < 0)
    table = scores.table
    for name in part.table.column_names[1:]:
        table = table.append_column(name, part.table[name].take(taken))
    return Scores(table=table, ci_prob=scores.ci_prob)


def _plan(candidates: xr.DataArray, job: Job) -> Plan | None:
    if job.campaign is None:
        return None
    return choose(candidates, job.campaign, ci_prob=job.ci_prob, random_seed=job.random_seed)


def _checked(log: Events, job: Job, history: History, decay: DecayFit) -> ForecastCheck | None:
    """Judge the forecast on all that the log shows after the cutoff, if it shows anything."""
    length = observable_length(log, history.at)
    if length < 1:
        return None
    later = later_activity(log, history, length)
    return check_forecast(decay.population(job.draws), history, later, ci_prob=job.ci_prob, random_seed=job.random_seed)


def write_job(log: Events, job: Job, result: JobResult, out: str | Path, *, command: str = "") -> Path:
    """Write scores, audience, fits and report into a folder; all of them or none.

    Returns
    -------
    Path
        The report.
    """
    folder = Path(out)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as name:
        part = Path(name)
        result.scores.to_parquet(part / "scores.parquet")
        if result.plan is not None:
            result.plan.to_csv(part / "audience.csv")
        else:
            _ranked(result).to_csv(part / "audience.csv", index=False)
        result.decay.save(part / "decay.nc")
        save_fits(result.reactivation, part / "reactivation.nc")
        write_report(part / "report.html", report_content(log, job, result, command=command))
        folder.mkdir(exist_ok=True)
        for made in part.iterdir():
            made.replace(folder / made.name)
    return folder / "report.html"


def _ranked(result: JobResult) -> pd.DataFrame:
    """Lapsed users by P(reactivation), the audience where no campaign was described."""
    table = score_reactivation(result.candidates, ci_prob=result.scores.ci_prob).to_pandas()
    table = table.sort_values(table.columns[1], ascending=False, kind="stable")
    return table.assign(
        rank=np.arange(1, len(table) + 1), reason="ranked by P(reactivation); no campaign was described"
    )


def report_content(log: Events, job: Job, result: JobResult, *, command: str = "") -> ReportContent:
    """Gather what the report of a job shows."""
    settings = {
        "command": command,
        "cutoff": str(result.history.at),
        "activity": job.activity,
        "lapsed after": str(job.lapsed_after),
        "horizons": ", ".join(job.horizons),
        "campaign horizon": job.target,
        "intervals": f"{job.ci_prob:.0%}, equal-tailed",
        "posterior draws used": str(job.draws),
        "random seed": str(job.random_seed),
        "left undone": " ".join(result.notes),
    }
    return ReportContent(
        title=job.title,
        log=log,
        history=result.history,
        decay=result.decay,
        scores=result.scores,
        reactivation=result.reactivation,
        plan=result.plan,
        check=result.check,
        settings={name: value for name, value in settings.items() if value},
        lapsed_after=job.lapsed_after,
        random_seed=job.random_seed,
    )
