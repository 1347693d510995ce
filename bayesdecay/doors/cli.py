"""The command line: the main job in one command, and its steps one by one, with the words of the Python API."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

import bayesdecay
from bayesdecay import units
from bayesdecay.doors.options import CampaignOptions, LogOptions, SamplingOptions
from bayesdecay.errors import MissingExtraError, NotConvergedError

if TYPE_CHECKING:
    from bayesdecay.data.events import Events
    from bayesdecay.data.history import History
    from bayesdecay.doors.job import Job
    from bayesdecay.model.decay import DecayFit
    from bayesdecay.model.reactivation import ReactivationFit

__all__ = ["app", "main"]

_HELP = """How each user's interest fades, who will return, and whom to contact, from an event log.

The whole job is one command:

bayesdecay run events.parquet --user customer_id --time ordered_at --horizon 30d,90d --out result

Exit codes: 0 done; 1 the check found the forecasts wanting; 2 the command or the data cannot be used as they are;
3 the sampler did not converge; 4 an optional part is not installed.
"""
_POOR_FORECAST, _UNUSABLE, _NOT_CONVERGED, _NOT_INSTALLED = 1, 2, 3, 4

app = App(name="bayesdecay", help=_HELP, version=bayesdecay.__version__)


_LOG, _CAMPAIGN, _SAMPLING = LogOptions(), CampaignOptions(), SamplingOptions()


@app.command
def run(
    log: str,
    *,
    out: Path,
    horizon: str = "30d,90d",
    lapsed_after: str = "60d",
    log_options: LogOptions = _LOG,
    campaign: CampaignOptions = _CAMPAIGN,
    sampling: SamplingOptions = _SAMPLING,
) -> int:
    """Do the whole job and write scores.parquet, audience.csv, decay.nc, reactivation.nc and report.html.

    Parameters
    ----------
    log
        Event log: a Parquet or CSV file, or a pattern such as 'logs/*.parquet'.
    out
        Folder for the results; made if it is not there.
    horizon
        Windows after the cutoff that the statements are about. A campaign is about the longest.
    lapsed_after
        Silence after which a user counts as lapsed.
    """
    from bayesdecay.doors.job import Job

    with _telling():
        horizons = units.durations(horizon.split(","))
        job = Job(
            at=log_options.at,
            **log_options.counting,
            lapsed_after=lapsed_after,
            horizons=horizons,
            campaign=campaign.campaign(max(horizons, key=lambda label: horizons[label])),
            sampling=sampling.sampling(),
            random_seed=sampling.random_seed,
        )
        _do(log_options.read(log), job, out)
    return 0


@app.command
def demo(*, out: Path = Path("bayesdecay-demo"), random_seed: int = 1) -> int:
    """Do the whole job on the purchases of 23,570 customers of the CD shop CDNOW, seen up to 30 September 1997.

    Parameters
    ----------
    out
        Folder for the results; made if it is not there.
    random_seed
        The same seed gives the same results on the same machine.
    """
    from bayesdecay.doors.job import Job

    with _telling():
        log = bayesdecay.read_events(bayesdecay.load_cdnow(), amount="amount")
        campaign = bayesdecay.Campaign(cost=0.5, value=20.0, budget=500.0, horizon="90d")
        job = Job(at="1997-09-30", campaign=campaign, random_seed=random_seed, title="CDNOW, 30 September 1997")
        _do(log, job, out)
    return 0


@app.command
def summarize(log: str, *, out: Path, log_options: LogOptions = _LOG) -> int:
    """Reduce a log to its history, a row a user, and print what the log is like.

    Parameters
    ----------
    log
        Event log: a Parquet or CSV file, or a pattern such as 'logs/*.parquet'.
    out
        Parquet file to write.
    """
    with _telling():
        events = log_options.read(log)
        print(events.quality)
        history = bayesdecay.summarize(events, at=log_options.at, **log_options.counting)
        history.to_parquet(out)
        print(f"{len(history):,} users up to {history.at}: {out}")
    return 0


@app.command
def fit(history: Path, *, out: Path, restoration: float | None = None, sampling: SamplingOptions = _SAMPLING) -> int:
    """Fit the decay model to a history, write its posterior and print it.

    Parameters
    ----------
    history
        Parquet file written by 'bayesdecay summarize'.
    out
        File to write, .nc or .zarr.
    restoration
        Part of lost interest that a visit restores, 0 to 1; learned if not given.
    """
    with _telling():
        model = bayesdecay.DecayModel(restoration=restoration)
        found = model.fit(_history(history), sampling=sampling.sampling(), random_seed=sampling.random_seed)
        print(found.summary().to_string(float_format="{:.3g}".format))
        found.save(out)
        print(found)
    return 0


@app.command
def score(history: Path, *, decay: Path, out: Path, horizon: str = "30d,90d", random_seed: int | None = None) -> int:
    """Score every user of a history with a saved fit.

    Parameters
    ----------
    history
        Parquet file written by 'bayesdecay summarize'.
    decay
        Fit written by 'bayesdecay fit' or 'bayesdecay run'.
    out
        File to write, .parquet or .csv.
    horizon
        Windows after the cutoff.
    random_seed
        The same seed gives the same scores.
    """
    with _telling():
        if out.suffix not in (".parquet", ".csv"):
            raise ValueError(f"scores are written as .parquet or .csv, not as {out.name!r}")
        options = bayesdecay.ScoreOptions(horizons=units.durations(horizon.split(",")), random_seed=random_seed)
        scores = _decay(decay).score(_history(history), options=options)
        (scores.to_parquet if out.suffix == ".parquet" else scores.to_csv)(out)
        print(f"{len(scores):,} users: {out}")
    return 0


@app.command
def choose(
    log: str,
    *,
    decay: Path,
    reactivation: Path,
    out: Path,
    horizon: str = "90d",
    lapsed_after: str = "60d",
    random_seed: int | None = None,
    log_options: LogOptions = _LOG,
    campaign: CampaignOptions = _CAMPAIGN,
) -> int:
    """Choose the audience of a campaign with saved fits, write it and print what the campaign may bring.

    Parameters
    ----------
    log
        Event log: a Parquet or CSV file, or a pattern such as 'logs/*.parquet'.
    decay, reactivation
        Fits written by 'bayesdecay run'.
    out
        CSV file to write.
    horizon
        Window after the cutoff that the campaign is about.
    lapsed_after
        Silence after which a user counts as lapsed.
    random_seed
        The same seed gives the same plan.
    """
    with _telling():
        wanted = campaign.campaign(horizon)
        if wanted is None:
            raise ValueError("a campaign needs both --cost (of a contact) and --value (of a reactivation)")
        fits, events = _reactivations(reactivation), log_options.read(log)
        if horizon not in fits:
            raise ValueError(f"{reactivation} has no fit for {horizon}, only for {', '.join(fits)}")
        lapsed = bayesdecay.snapshots(
            events,
            cutoffs=log_options.at or events.end,
            horizon=horizon,
            lapsed_after=lapsed_after,
            **log_options.counting,
        )
        p = fits[horizon].draws(lapsed, _decay(decay), random_seed=random_seed)
        plan = bayesdecay.choose(p, wanted, random_seed=random_seed)
        plan.to_csv(out)
        print(plan.statement)
    return 0


@app.command
def report(
    log: str,
    *,
    decay: Path,
    reactivation: Path,
    out: Path,
    lapsed_after: str = "60d",
    random_seed: int | None = None,
    log_options: LogOptions = _LOG,
    campaign: CampaignOptions = _CAMPAIGN,
) -> int:
    """Write the report again from saved fits, such as with another campaign.

    Parameters
    ----------
    log
        Event log: a Parquet or CSV file, or a pattern such as 'logs/*.parquet'.
    decay, reactivation
        Fits written by 'bayesdecay run'; the latter's horizons are the report's.
    out
        HTML file to write.
    lapsed_after
        Silence after which a user counts as lapsed.
    random_seed
        The same seed gives the same figures.
    """
    from bayesdecay.doors.job import Job, report_content, run_job
    from bayesdecay.show.report import write_report

    with _telling():
        fits = _reactivations(reactivation)
        horizons = units.durations(list(fits))
        job = Job(
            at=log_options.at,
            **log_options.counting,
            lapsed_after=lapsed_after,
            horizons=horizons,
            campaign=campaign.campaign(max(horizons, key=lambda label: horizons[label])),
            random_seed=random_seed,
        )
        events = log_options.read(log)
        result = run_job(events, job, decay=_decay(decay), reactivation=fits)
        print(write_report(out, report_content(events, job, result, command=_command())))
    return 0


@app.command
def check(log: str, *, decay: Path, random_seed: int | None = None, log_options: LogOptions = _LOG) -> int:
    """Judge a saved fit's forecasts on what the log shows after the cutoff (--at).

    Parameters
    ----------
    log
        Event log: a Parquet or CSV file, or a pattern such as 'logs/*.parquet'.
    decay
        Fit written by 'bayesdecay fit' or 'bayesdecay run'.
    random_seed
        The same seed gives the same figures.
    """
    from bayesdecay.show.checks import check_forecast
    from bayesdecay.show.later import later_activity, observable_length

    with _telling():
        if log_options.at is None:
            raise ValueError("say with --at at which cutoff the forecasts are made; they are judged on what follows it")
        events = log_options.read(log)
        history = bayesdecay.summarize(events, at=log_options.at, **log_options.counting)
        later = later_activity(events, history, observable_length(events, history.at))
        found = check_forecast(_decay(decay).population(200), history, later, random_seed=random_seed)
        print(found.table.to_string(float_format="{:.4g}".format))
        print(found)
        return 0 if found.trusted else _POOR_FORECAST


def main() -> None:
    """Run the command line."""
    sys.exit(app())


def _do(log: Events, job: Job, out: Path) -> None:
    from bayesdecay.doors.job import run_job, write_job

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder, the results are several files")
    print(log.quality)
    result = run_job(log, job, tell=lambda line: print(line, flush=True))
    report = write_job(log, job, result, out, command=_command())
    print(f"report: {report}")


def _history(path: Path) -> History:
    return bayesdecay.History.from_parquet(path)


def _decay(path: Path) -> DecayFit:
    found = bayesdecay.load(path)
    if not isinstance(found, bayesdecay.DecayFit):
        raise ValueError(f"{path} holds no decay fit; give the file written by 'bayesdecay fit', or decay.nc of 'run'")
    return found


def _reactivations(path: Path) -> dict[str, ReactivationFit]:
    found = bayesdecay.load(path)
    fits = found if isinstance(found, dict) else {"": found}
    by_horizon = {fit.horizon: fit for fit in fits.values() if isinstance(fit, bayesdecay.ReactivationFit)}
    if not by_horizon:
        raise ValueError(f"{path} holds no reactivation fit; give reactivation.nc written by 'bayesdecay run'")
    return by_horizon


def _command() -> str:
    """The command line as it was typed."""
    return shlex.join(["bayesdecay", *sys.argv[1:]])


@contextmanager
def _telling() -> Iterator[None]:
    """Turn the errors that a user can mend into a line and an exit code; any other is a fault of ours and shows."""
    try:
        yield
    except NotConvergedError as error:
        _leave(error, _NOT_CONVERGED)
    except MissingExtraError as error:
        _leave(error, _NOT_INSTALLED)
    except (ValueError, TypeError, OSError) as error:
        _leave(error, _UNUSABLE)


def _leave(error: Exception, code: int) -> None:
    print(f"bayesdecay: {error}", file=sys.stderr)
    raise SystemExit(code) from None
