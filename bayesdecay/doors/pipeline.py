"""The main job in one go: from a log to scores, fits, a plan and a check, all in memory.

    log → history → decay fit → scores → (per horizon) snapshots → reactivation fit → P(reactivation)
        → plan → check on what the log shows after the cutoff

In: a log and a :class:`~bayesdecay.doors.job.Job`. Out: a :class:`~bayesdecay.doors.job.JobResult`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import xarray as xr

from bayesdecay import names, units
from bayesdecay.data.events import Events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.ids import as_ids, positions
from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.data.sufficiency import require_enough, shortfalls
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.targeting import choose
from bayesdecay.doors.job import Job, JobResult, verdicts_of
from bayesdecay.doors.marks import marked_plan, marked_scores, warnings_of
from bayesdecay.errors import DataError
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.retry import fitted
from bayesdecay.model.returning import ReactivationFit, score_reactivation
from bayesdecay.model.scoring import ScoreOptions, Scores, user_draws
from bayesdecay.show.checks import ForecastCheck, check_forecast
from bayesdecay.show.foreseen import calendar_of
from bayesdecay.show.later import later_activity, observable_length

__all__ = ["lapsed_users", "plan_for", "run_job", "summarized"]

# Rolling cutoffs that the reactivation model learns from, one horizon apart.
_CUTOFFS = 3
# P(reactivation) is held as draws x lapsed users; above this many numbers (0.3 GB) fewer draws are taken.
_MOST_NUMBERS = 40_000_000
_LEAST_DRAWS = 50
_WITHOUT_CALENDAR = (
    "the calendar is in P(return) and in the numbers of activities; P(reactivation) was learned from earlier cutoffs "
    "and knows nothing of it"
)


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
        If a fit did not converge and the job does not allow it; nothing is made of it then.
    """
    history = summarized(log, job)
    tell(f"{len(history):,} users with an activity up to {history.at}")
    # A fit that is there was made of something; what is lacking is said all the same.
    enough = shortfalls if decay else require_enough
    lacking = tuple(one.sentence for one in enough(history, horizon=max(job.horizons.values())))
    known = history if job.acquired_from is None else history.acquired_from(job.acquired_from)
    decay = decay or fitted(
        lambda sampling: job.decay.fit(known, method="auto", sampling=sampling, random_seed=job.random_seed),
        job.sampling,
        tell,
    )
    tell(f"decay model: {decay.verdict}")
    options = ScoreOptions(horizons=job.horizons, ci_prob=job.ci_prob, random_seed=job.random_seed)
    scores = decay.score(history, options=options, draws=job.draws, allow_unconverged=job.allow_unconverged)
    tell("scores of every user: done")
    lapsed = lapsed_users(log, job, history.at, job.horizons[job.target])
    fits, chances, notes = _reactivations(log, job, lapsed, decay, reactivation or {}, tell)
    for part in chances.values():
        scores = _with_columns(scores, score_reactivation(part, ci_prob=job.ci_prob))
    if fits and calendar_of(decay) is not None:
        notes = (*notes, _WITHOUT_CALENDAR)
    plan = _plan(chances[job.target], job, _interest(scores, lapsed))
    tell(plan.statement if plan else "no campaign was described: the lapsed users are ranked by P(reactivation)")
    check = _checked(log, job, history, decay)
    tell(str(check) if check else "the log ends at the cutoff, so there is nothing yet to check the forecasts on")
    return _marked(
        JobResult(
            history=history,
            decay=decay,
            reactivation=fits,
            scores=scores,
            lapsed=lapsed,
            candidates=chances[job.target],
            plan=plan,
            check=check,
            notes=(*job.notes, *lacking, *decay.remarks, *notes),
        )
    )


def plan_for(log: Events, job: Job, decay: DecayFit, reactivation: ReactivationFit) -> tuple[Plan, tuple[str, ...]]:
    """Plan the job's campaign with fits made before; nothing is fitted.

    Returns
    -------
    Plan, tuple of str
        The plan, and what must be told with it: warnings of fits that did not converge, and the job's notes.
    """
    at = log.end if job.at is None else units.cutoff_instant(job.at)
    lapsed = lapsed_users(log, job, at, job.horizons[job.target])
    p = reactivation.draws(
        lapsed, decay, draws=job.draws, random_seed=job.random_seed, allow_unconverged=job.allow_unconverged
    )
    plan = _plan(p, job)
    if plan is None:
        raise ValueError("the job describes no campaign to plan; give it one")
    verdicts = verdicts_of(decay, {job.target: reactivation})
    return marked_plan(plan, verdicts), (*warnings_of(verdicts), *job.notes)


def _marked(result: JobResult) -> JobResult:
    """Mark what rests on fits that did not converge, which the job must have allowed."""
    verdicts = result.verdicts
    plan = result.plan and marked_plan(result.plan, verdicts)
    return replace(result, scores=marked_scores(result.scores, verdicts), plan=plan)


def summarized(log: Events, job: Job) -> History:
    """Summarize the log as the job says."""
    return summarize(
        log, at=job.at, activity=job.activity, session_gap=job.session_gap, kinds=job.kinds, group=job.group
    )


def lapsed_users(log: Events, job: Job, at: pd.Timestamp, length: float) -> Snapshots:
    """Users who are lapsed at the cutoff, the candidates of a campaign; what follows it is not looked at."""
    return _snapshots(log, job, [at], length, at)


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
    lapsed: Snapshots,
    decay: DecayFit,
    given: Mapping[str, ReactivationFit],
    tell: Callable[[str], None],
) -> tuple[dict[str, ReactivationFit], dict[str, xr.DataArray], tuple[str, ...]]:
    """Fit each horizon on earlier cutoffs and draw P(reactivation) of the users lapsed at the cutoff."""
    fits: dict[str, ReactivationFit] = {}
    chances: dict[str, xr.DataArray] = {}
    notes: list[str] = []
    (at,) = lapsed.histories
    for label, length in job.horizons.items():
        draws = min(max(_MOST_NUMBERS // max(len(lapsed), 1), _LEAST_DRAWS), job.draws)
        if draws < job.draws:
            notes.append(f"P(reactivation) within {label} rests on {draws} draws, not {job.draws}, to fit into memory")
        try:
            fits[label] = given.get(label) or _learned(log, job, at, length, decay, tell)
        except DataError as error:
            notes.append(
                f"P(reactivation) within {label} is the decay model's own P(return): a reactivation model could not be "
                f"learned from earlier cutoffs ({error})"
            )
            tell(f"reactivation within {label}: not learned, see the remark at the end")
            chances[label] = _p_return(lapsed, decay, label, length, job, draws)
        else:
            rows = fits[label].description["rows"]
            tell(f"reactivation within {label}, learned from {rows:,} snapshots: {fits[label].verdict}")
            chances[label] = fits[label].draws(
                lapsed, decay, draws=draws, random_seed=job.random_seed, allow_unconverged=job.allow_unconverged
            )
    return fits, chances, tuple(notes)


def _learned(
    log: Events, job: Job, at: pd.Timestamp, length: float, decay: DecayFit, tell: Callable[[str], None]
) -> ReactivationFit:
    past = _snapshots(log, job, _training_cutoffs(log, at, length, job), length, at)
    return fitted(
        lambda sampling: ReactivationModel().fit(
            past,
            decay,
            sampling=sampling,
            random_seed=job.random_seed,
            allow_unconverged=job.allow_unconverged,
        ),
        job.sampling,
        tell,
    )


def _training_cutoffs(log: Events, at: pd.Timestamp, length: float, job: Job) -> list[pd.Timestamp]:
    """Cutoffs before ``at``, one horizon apart, at which somebody can have lapsed already."""
    earliest = log.span[0] + pd.Timedelta(days=units.days(job.lapsed_after))
    cutoffs = [at - pd.Timedelta(days=length) * (i + 1) for i in range(_CUTOFFS)]
    usable = [cutoff for cutoff in cutoffs if cutoff > earliest]
    if not usable:
        raise DataError(
            f"the log begins on {log.span[0].date()}, too late for users lapsed on {cutoffs[0].date()}; a shorter "
            "horizon or lapsed_after, or a later cutoff, would do"
        )
    return usable


def _p_return(lapsed: Snapshots, decay: DecayFit, label: str, length: float, job: Job, draws: int) -> xr.DataArray:
    """Draws (sample, user) of the decay model's P(return) of lapsed users."""
    options = ScoreOptions(horizons={label: length}, random_seed=job.random_seed)
    (history,) = lapsed.histories.values()
    population = decay.population(draws, allow_unconverged=job.allow_unconverged)
    found = user_draws(population, history, options)[names.P_RETURN].isel(horizon=0, drop=True)
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
    return replace(scores, table=table)


def _plan(candidates: xr.DataArray, job: Job, interest: pd.Series | None = None) -> Plan | None:
    if job.campaign is None:
        return None
    return choose(
        candidates,
        job.campaign,
        risk=job.risk,
        interest=interest,
        ci_prob=job.ci_prob,
        random_seed=job.random_seed,
    )


def _interest(scores: Scores, lapsed: Snapshots) -> pd.Series | None:
    """Interest of the lapsed users, for the field's coupon rule beside the plan; None where nobody is lapsed."""
    (history,) = lapsed.histories.values()
    if not len(history):
        return None
    rows = positions(history.table[names.USER], scores.table[names.USER])
    interest = scores.table[names.INTEREST].to_numpy()[rows]
    return pd.Series(interest, index=pd.Index(lapsed.table[names.USER].to_numpy()))


def _checked(log: Events, job: Job, history: History, decay: DecayFit) -> ForecastCheck | None:
    """Judge the forecast on all that the log shows after the cutoff, if it shows anything."""
    length = observable_length(log, history.at)
    if length < 1:
        return None
    later = later_activity(log, history, length)
    population = decay.population(job.draws, allow_unconverged=job.allow_unconverged)
    return check_forecast(population, history, later, ci_prob=job.ci_prob, random_seed=job.random_seed)
