"""The main job's results as files: scores, audience, fits and report, all of them or none.

In: the log, the job and what :func:`~bayesdecay.doors.job.run_job` found. Out: a folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bayesdecay import units
from bayesdecay.data.events import Events
from bayesdecay.decide.columns import CHOSEN
from bayesdecay.decide.plan import Plan
from bayesdecay.doors.job import Job, JobResult
from bayesdecay.doors.marks import marked_frame
from bayesdecay.doors.outputs import check_folder
from bayesdecay.files import filling, replacing
from bayesdecay.model.fits import save_fits
from bayesdecay.model.returning import score_reactivation
from bayesdecay.show.report import ReportContent, write_report
from bayesdecay.show.words import level, window

__all__ = ["report_content", "write_audience", "write_job"]


def write_job(log: Events, job: Job, result: JobResult, out: str | Path, *, command: str = "") -> Path:
    """Write scores, audience, fits and report into a folder; all of them or none.

    Returns
    -------
    Path
        The report.
    """
    folder = Path(out)
    check_folder(folder)
    with filling(folder) as part:
        result.scores.to_parquet(part / "scores.parquet")
        if result.plan is not None:
            write_audience(result.plan, part / "audience.csv")
        else:
            _ranked(result).to_csv(part / "audience.csv", index=False)
        result.decay.save(part / "decay.nc")
        save_fits(result.reactivation, part / "reactivation.nc")
        write_report(part / "report.html", report_content(log, job, result, command=command))
        # Of an earlier run's audience; that of this run has none, or another.
        _control_file(folder / "audience.csv").unlink(missing_ok=True)
    return folder / "report.html"


def write_audience(plan: Plan, path: Path) -> None:
    """Write whom to contact and, where a control group is held out, its users in a file beside."""
    plan.to_csv(path)
    if plan.campaign.control > 0:
        with replacing(_control_file(path)) as part:
            plan.control.drop(columns=CHOSEN).to_csv(part, index=False)


def _control_file(audience: Path) -> Path:
    return audience.with_name(f"{audience.stem}-control.csv")


def _ranked(result: JobResult) -> pd.DataFrame:
    """Lapsed users by P(reactivation), the audience where no campaign was described."""
    table = score_reactivation(result.candidates, ci_prob=result.scores.ci_prob).to_pandas()
    table = table.sort_values(table.columns[1], ascending=False, kind="stable")
    table = table.assign(
        rank=np.arange(1, len(table) + 1), reason="ranked by P(reactivation); no campaign was described"
    )
    return marked_frame(table, result.verdicts)


def report_content(log: Events, job: Job, result: JobResult, *, command: str = "") -> ReportContent:
    """Gather what the report of a job shows."""
    settings = {
        "command": command,
        "lapsed after": window(units.days(job.lapsed_after)),
        "horizons": ", ".join(window(length) for length in job.horizons.values()),
        "the campaign is about": window(job.horizons[job.target]) if job.campaign else "",
        "intervals": f"{level(job.ci_prob)}, equal-tailed",
        "posterior draws that scores and campaign rest on": str(job.draws),
        "random seed": "another one each time" if job.random_seed is None else str(job.random_seed),
    }
    return ReportContent(
        title=job.title,
        log=log,
        history=result.history,
        decay=result.decay,
        scores=result.scores,
        reactivation=result.reactivation,
        lapsed=result.lapsed,
        plan=result.plan,
        check=result.check,
        settings={name: value for name, value in settings.items() if value},
        notes=result.notes,
        lapsed_after=job.lapsed_after,
        draws=job.draws,
        random_seed=job.random_seed,
    )
