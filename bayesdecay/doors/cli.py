"""The command line: the main job in one command; its steps one by one are in :mod:`bayesdecay.doors.steps`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

import bayesdecay
from bayesdecay import units
from bayesdecay.doors.checking import check
from bayesdecay.doors.exits import command_line, remarks, say, telling
from bayesdecay.doors.options import (
    CampaignOptions,
    LogOptions,
    LogSource,
    ModelOptions,
    ResultOptions,
    SamplingOptions,
    WindowOptions,
)
from bayesdecay.doors.outputs import check_folder
from bayesdecay.doors.steps import choose, drift, fit, report, score, summarize

if TYPE_CHECKING:
    from bayesdecay.data.events import Events
    from bayesdecay.doors.job import Job

__all__ = ["app", "main"]

_HELP = """How each user's interest fades, who will return, and whom to contact, from an event log.

The whole job is one command:

bayesdecay run events.parquet --user customer_id --time ordered_at --horizon 30d,90d --cost 0.5 --value 20 --out result

Can it be trusted on this log? bayesdecay check events.parquet --user customer_id --time ordered_at --horizon 90d

Step by step, to score again without fitting or to plan another campaign: summarize → fit → score, and choose, report
and drift with the fits of a run. 'bayesdecay COMMAND --help' tells more of each.

Exit codes: 0 done; 1 check found the forecasts wanting, or drift the fit outdated; 2 the command or the data cannot be
used as they are; 3 the sampler did not converge; 4 an optional part is not installed; 130 stopped by Ctrl-C.
"""

app = App(name="bayesdecay", help=_HELP, version=bayesdecay.__version__)

_LOG, _WINDOW, _CAMPAIGN = LogOptions(), WindowOptions(), CampaignOptions()
_SAMPLING, _RESULT, _MODEL = SamplingOptions(), ResultOptions(), ModelOptions()


@app.command
@telling()
def run(
    log: LogSource,
    *,
    out: Path,
    window: WindowOptions = _WINDOW,
    model: ModelOptions = _MODEL,
    log_options: LogOptions = _LOG,
    campaign: CampaignOptions = _CAMPAIGN,
    sampling: SamplingOptions = _SAMPLING,
    result: ResultOptions = _RESULT,
) -> int:
    """Do the whole job and write scores.parquet, audience.csv, decay.nc, reactivation.nc and report.html.

    Parameters
    ----------
    out
        Folder for the results; made if it is not there. Results of an earlier run in it are replaced.
    """
    from bayesdecay.doors.job import Job

    check_folder(out)
    job = Job(
        **log_options.counting,
        acquired_from=window.acquired_from,
        lapsed_after=window.lapsed_after,
        horizons=units.durations(window.horizon.split(",")),
        decay=model.model(),
        sampling=sampling.sampling(),
        random_seed=result.random_seed,
        allow_unconverged=result.allow_unconverged,
    )
    described = campaign.described(job.target, log_options.user)
    events = log_options.read(log)
    _do(events, described.job(job, events) if described else job, out)
    return 0


@app.command
@telling()
def demo(
    *,
    out: Path = Path("bayesdecay-demo"),
    random_seed: int = 1,
    allow_unconverged: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Do the whole job on the purchases of 23,570 customers of the CD shop CDNOW, seen up to 30 September 1997.

    Parameters
    ----------
    out
        Folder for the results; made if it is not there.
    random_seed
        The same seed gives the same results on the same machine.
    allow_unconverged
        Go on although the sampler did not converge; all results then say so.
    """
    from bayesdecay.doors.job import Job

    check_folder(out)
    log = bayesdecay.read_events(bayesdecay.load_cdnow(), amount="amount")
    job = Job(
        at="1997-09-30",
        campaign=bayesdecay.Campaign(cost=0.5, value=20.0, budget=500.0, horizon="90d"),
        random_seed=random_seed,
        allow_unconverged=allow_unconverged,
        title="CDNOW, 30 September 1997",
    )
    _do(log, job, out)
    return 0


for _step in (summarize, fit, score, choose, report, check, drift):
    app.command(_step)


def main() -> None:
    """Run the command line."""
    sys.exit(app())


def _do(log: Events, job: Job, out: Path) -> None:
    """Do the job, telling of each step, and write all of it."""
    from bayesdecay.doors.pipeline import run_job
    from bayesdecay.doors.results import write_job

    say(log.quality)
    found = run_job(log, job, tell=say)
    written = write_job(log, job, found, out, command=command_line())
    say(*remarks(found.remarks), f"report: {written}")
