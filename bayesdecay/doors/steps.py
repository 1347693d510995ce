"""The steps of the main job as commands of their own, and what is done again with saved fits.

summarize → fit → score;   choose, report and drift with the fits of a run
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import bayesdecay
from bayesdecay import units
from bayesdecay.doors.exits import POOR_FORECAST, command_line, remarks, say, telling
from bayesdecay.doors.options import (
    CalendarOptions,
    CampaignOptions,
    DecayFile,
    FitFiles,
    HistoryFile,
    LogOptions,
    LogSource,
    ModelOptions,
    ResultOptions,
    SamplingOptions,
)
from bayesdecay.doors.outputs import check_file

if TYPE_CHECKING:
    from bayesdecay.doors.job import Job
    from bayesdecay.model.returning import ReactivationFit

__all__ = ["choose", "drift", "fit", "report", "score", "summarize"]

# Posterior draws that scores rest on, as in a job.
_DRAWS = 200
_LOG, _CAMPAIGN, _SAMPLING, _RESULT = LogOptions(), CampaignOptions(), SamplingOptions(), ResultOptions()
_CALENDAR, _MODEL = CalendarOptions(), ModelOptions()


@telling()
def summarize(log: LogSource, *, out: Path, log_options: LogOptions = _LOG) -> int:
    """Reduce a log to its history, a row a user, and print what the log is like.

    Parameters
    ----------
    out
        Parquet file to write, for 'bayesdecay fit' and 'bayesdecay score'.
    """
    check_file(out, suffixes=(".parquet",), what="a history", log=log)
    events = log_options.read(log)
    say(events.quality)
    history = bayesdecay.summarize_to(out, events, **log_options.counting)
    say(f"{len(history):,} users up to {history.at}: {out}")
    return 0


@telling()
def fit(
    history: HistoryFile,
    *,
    out: Path,
    restoration: float | None = None,
    acquired_from: str | None = None,
    method: str = "nuts",
    model: ModelOptions = _MODEL,
    sampling: SamplingOptions = _SAMPLING,
    result: ResultOptions = _RESULT,
) -> int:
    """Fit the decay model to a history, write its posterior and print it.

    Parameters
    ----------
    out
        File to write, .nc (NetCDF) or .zarr.
    restoration
        Part of lost interest that a visit restores: 0 (none) to 1 (all), such as 0.8; learned if not given.
    acquired_from
        Learn only from users first seen on or after this date, such as 2024-03-01: for a log that begins later than
        the shop, whose first users are mostly old customers. Score all with it.
    method
        nuts; laplace, an approximation for very many users that tells whether it is good; or auto, which takes it
        where NUTS would take long.
    """
    from bayesdecay.data.sufficiency import require_enough
    from bayesdecay.doors.saved import history_of

    check_file(out, suffixes=(".nc", ".zarr"), what="a fit")
    described = model.model(restoration=restoration)
    how, users = sampling.sampling(), history_of(history)
    say(*remarks(one.sentence for one in require_enough(users)))
    users = users if acquired_from is None else users.acquired_from(acquired_from)
    found = described.fit(users, method=method, sampling=how, random_seed=result.random_seed)
    summary = found.summary(allow_unconverged=result.allow_unconverged)
    say(summary.to_string(float_format="{:.3g}".format))
    found.save(out)
    say(f"{found.verdict}: {out}", *remarks(found.remarks))
    return 0


@telling()
def score(
    history: HistoryFile,
    *,
    decay: DecayFile,
    out: Path,
    horizon: str = "30d,90d",
    calendar: CalendarOptions = _CALENDAR,
    result: ResultOptions = _RESULT,
) -> int:
    """Score every user of a history with a saved fit: interest, half-life, chance of a return.

    A calendar that is given takes the place of the fit's own.

    Parameters
    ----------
    out
        File to write, .parquet or .csv.
    horizon
        Windows after the cutoff in which users return or not, as in 30d,90d.
    """
    from bayesdecay.doors.job import check_horizons
    from bayesdecay.doors.marks import marked_scores
    from bayesdecay.doors.saved import decay_fit, refuse_other_unit, stored_history
    from bayesdecay.model.scores import write_scores
    from bayesdecay.model.scoring import score_parts

    check_file(out, suffixes=(".parquet", ".csv"), what="a table of scores")
    horizons = units.durations(horizon.split(","))
    options = bayesdecay.ScoreOptions(horizons=horizons, random_seed=result.random_seed, calendar=calendar.read())
    fitted, users = decay_fit(decay), stored_history(history)
    refuse_other_unit(fitted, users.activity)
    check_horizons(horizons, users.activity)
    population = fitted.population(_DRAWS, allow_unconverged=result.allow_unconverged)
    parts, verdicts = score_parts(population, users, options), {"decay model": fitted.verdict}
    write_scores((marked_scores(part, verdicts) for part in parts), out)
    say(f"{len(users):,} users: {out}")
    return 0


@telling()
def choose(
    log: LogSource,
    *,
    fits: FitFiles,
    out: Path,
    horizon: str | None = None,
    lapsed_after: str | None = None,
    log_options: LogOptions = _LOG,
    campaign: CampaignOptions = _CAMPAIGN,
    result: ResultOptions = _RESULT,
) -> int:
    """Choose the audience of a campaign with saved fits, write it and print what the campaign may bring.

    Parameters
    ----------
    out
        CSV file to write, a row a user to contact. Where a control group is held out, it is written beside, into a
        file whose name ends in -control.csv.
    horizon
        Window after the cutoff that the campaign is about, such as 90d; the longest of the fits if not given.
    lapsed_after
        Silence after which a user counts as lapsed, such as 60d; as when the fits were made if not given.
    """
    from bayesdecay.doors.pipeline import plan_for
    from bayesdecay.doors.results import write_audience
    from bayesdecay.doors.saved import decay_fit, reactivation_fit, refuse_other_unit

    check_file(out, suffixes=(".csv",), what="an audience", log=log)
    decay, reactivation = decay_fit(fits.decay), reactivation_fit(fits.reactivation, horizon)
    described = campaign.required(reactivation.horizon, log_options.user)
    job = _job_again([reactivation], lapsed_after, log_options, result)
    refuse_other_unit(decay, job.activity)
    events = log_options.read(log)
    plan, notes = plan_for(events, described.job(job, events), decay, reactivation)
    write_audience(plan, out)
    say(plan.statement, *remarks(notes))
    return 0


@telling()
def report(
    log: LogSource,
    *,
    fits: FitFiles,
    out: Path,
    lapsed_after: str | None = None,
    log_options: LogOptions = _LOG,
    campaign: CampaignOptions = _CAMPAIGN,
    result: ResultOptions = _RESULT,
) -> int:
    """Write the report again from saved fits, such as with another campaign.

    Parameters
    ----------
    out
        HTML file to write. Its horizons are those of the fits.
    lapsed_after
        Silence after which a user counts as lapsed, such as 60d; as when the fits were made if not given.
    """
    from bayesdecay.doors.pipeline import run_job
    from bayesdecay.doors.results import report_content
    from bayesdecay.doors.saved import decay_fit, reactivation_fits, refuse_hindsight, refuse_other_unit
    from bayesdecay.show.report import write_report

    check_file(out, suffixes=(".html", ".htm"), what="a report", log=log)
    decay, reactivation = decay_fit(fits.decay), reactivation_fits(fits.reactivation)
    job = _job_again(reactivation.values(), lapsed_after, log_options, result)
    described = campaign.described(job.target, log_options.user)
    refuse_other_unit(decay, job.activity)
    events = log_options.read(log)
    job = described.job(job, events) if described else job
    refuse_hindsight(decay, units.cutoff_instant(job.at) if job.at else events.end)
    found = run_job(events, job, decay=decay, reactivation=reactivation)
    write_report(out, report_content(events, job, found, command=command_line()))
    say(*remarks(found.remarks), f"report: {out}")
    return 0


@telling()
def drift(
    log: LogSource,
    *,
    decay: DecayFile,
    out: Path | None = None,
    since: str | None = None,
    try_refit: bool = True,
    random_seed: int | None = None,
    log_options: LogOptions = _LOG,
) -> int:
    """Compare a saved fit with newer data and say whether to refit; exit code 1 if the fit no longer holds.

    Parameters
    ----------
    out
        File to write all figures and the verdict to, .json; nothing is written if not given.
    since
        Cutoff from which users' forecasts are judged, as in 2024-06-30; that of the fit if not given.
    try_refit
        Fit again, by a quick approximation, and tell what that would change.
    random_seed
        The same seed gives the same results on the same machine.
    """
    from bayesdecay.doors.saved import decay_fit, refuse_other_unit

    if out is not None:
        check_file(out, suffixes=(".json",), what="a check for drift", log=log)
    fitted = decay_fit(decay)
    refuse_other_unit(fitted, log_options.activity)
    history = bayesdecay.summarize(log_options.read(log), **log_options.counting)
    found = bayesdecay.drift(fitted, history, since=since, try_refit=try_refit, random_seed=random_seed)
    say(found.table.to_string(index=False, float_format="{:.4g}".format), found)
    if out is not None:
        found.to_json(out)
        say(f"written: {out}")
    return POOR_FORECAST if found.drifted else 0


def _job_again(
    fits: Iterable[ReactivationFit], lapsed_after: str | None, log_options: LogOptions, result: ResultOptions
) -> Job:
    """Describe the job for fits that are there; no campaign yet."""
    from bayesdecay.doors.job import Job
    from bayesdecay.doors.saved import lapsed_after_of

    known = list(fits)
    return Job(
        **log_options.counting,
        lapsed_after=lapsed_after or lapsed_after_of(known),
        horizons=units.durations([fit.horizon for fit in known]),
        random_seed=result.random_seed,
        allow_unconverged=result.allow_unconverged,
    )
