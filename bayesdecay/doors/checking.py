"""The command that checks: can the forecasts be trusted on this log, and if not, what to do about it.

In: a log, and a horizon or a saved fit. Out: a verdict that is printed, an exit code that tells it, and with ``--out``
a folder with the page ``check.html``, all of it for machines in ``check.json``, and every table as ``check-NAME.csv``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

import bayesdecay
from bayesdecay import units
from bayesdecay.doors.exits import POOR_FORECAST, command_line, remarks, say, telling
from bayesdecay.doors.options import LogOptions, LogSource, ModelOptions, ResultOptions, SamplingOptions
from bayesdecay.doors.outputs import check_folder
from bayesdecay.files import filling

if TYPE_CHECKING:
    from bayesdecay.data.calendar import Calendar
    from bayesdecay.show.log_check import LogCheck

__all__ = ["check", "write_check"]

# Posterior draws that the forecasts of a saved fit rest on, as in a job.
_DRAWS = 200
_HORIZON, _ORIGINS = "90d", "6"
_LOG, _SAMPLING, _RESULT, _MODEL = LogOptions(), SamplingOptions(), ResultOptions(), ModelOptions()


@telling()
def check(  # noqa: PLR0913 - an option each
    log: LogSource,
    *,
    horizon: str | None = None,
    origins: str | None = None,
    laws: bool = False,
    out: Path | None = None,
    decay: Annotated[Path | None, Parameter(help="Judge this saved fit instead, at the one cutoff --at.")] = None,
    model: ModelOptions = _MODEL,
    log_options: LogOptions = _LOG,
    sampling: SamplingOptions = _SAMPLING,
    result: ResultOptions = _RESULT,
) -> int:
    """Judge forecasts made at earlier cutoffs on what the log shows after them; exit code 1 if found wanting.

    At each of up to six cutoffs the decay model is fitted to what was known then; its forecasts are judged beside
    simpler ways, user by user and in total. Nothing after --at is looked at.

    Parameters
    ----------
    horizon
        How far is forecast from each cutoff, such as 30d; 90d if not given.
    origins
        The most cutoffs to forecast from, such as 4, or which, as in 2024-03-31,2024-06-30; 6 if not given.
    laws
        Compare laws of fading too: exponential or a power law, and whether some users never fade.
    out
        Folder for check.html, check.json and the tables as CSV; made if it is not there. Printed only if not given.
    """
    if decay is not None:
        told = {"--horizon": horizon, "--origins": origins, "--laws": laws or None, "--out": out}
        if given := [name for name, value in told.items() if value is not None]:
            raise ValueError(
                f"--decay judges a saved fit at the cutoff --at, on all that follows; leave out {' and '.join(given)}, "
                "or --decay"
            )
        return _judge_saved(log, decay, model.calendar.read(), log_options, result)
    from bayesdecay.show.log_check import check_log
    from bayesdecay.show.origin_work import CheckOptions

    if out is not None:
        check_folder(out)
    options = CheckOptions(
        **{name: value for name, value in log_options.counting.items() if name != "at"},
        until=log_options.at,
        sampling=sampling.sampling(),
        laws=laws,
        random_seed=result.random_seed,
        allow_unconverged=result.allow_unconverged,
        tell=say,
    )
    length, wanted = units.duration_label(horizon or _HORIZON), _origins(origins or _ORIGINS)
    found = check_log(log_options.read(log), horizon=length, origins=wanted, model=model.model(), options=options)
    say("", found, *remarks(found.notes))
    if out is not None:
        seed = result.random_seed
        settings = {"command": command_line(), "random seed": "another one each time" if seed is None else seed}
        say(f"page: {write_check(found, out, settings=settings)}")
    return 0 if found.trusted else POOR_FORECAST


def write_check(check: LogCheck, out: str | Path, *, settings: Mapping[str, Any] | None = None) -> Path:
    """Write page, JSON and tables of a check into a folder; all of them or none.

    Returns
    -------
    Path
        The page.
    """
    from bayesdecay.show.check_page import write_check_page

    folder = Path(out)
    check_folder(folder)
    with filling(folder) as part:
        write_check_page(part / "check.html", check, settings=settings)
        told = json.dumps(check.described(settings), indent=1, allow_nan=False)
        (part / "check.json").write_text(told, encoding="utf-8")
        for name, table in check.tables.items():
            table.to_csv(part / f"check-{name}.csv", index=False)
    return folder / "check.html"


def _origins(told: str) -> int | list[str]:
    """Read a number of origins, or their dates."""
    text = told.strip()
    return int(text) if text.isdigit() else [one.strip() for one in text.split(",")]


def _judge_saved(
    log: str, decay: Path, calendar: Calendar | None, log_options: LogOptions, result: ResultOptions
) -> int:
    """Judge a saved fit's forecasts on what the log shows after the cutoff; a calendar takes the place of its own."""
    from bayesdecay.doors.marks import warnings_of
    from bayesdecay.doors.saved import decay_fit, refuse_hindsight, refuse_other_unit
    from bayesdecay.show.checks import check_forecast
    from bayesdecay.show.later import later_activity, observable_length

    if log_options.at is None:
        raise ValueError("say with --at at which cutoff the forecasts are made; they are judged on what follows it")
    fitted = decay_fit(decay)
    refuse_other_unit(fitted, log_options.activity)
    refuse_hindsight(fitted, at := units.cutoff_instant(log_options.at))
    population = fitted.population(_DRAWS, allow_unconverged=result.allow_unconverged)
    population = population.knowing(None if calendar is None else calendar.known_at(at))
    events = log_options.read(log)
    history = bayesdecay.summarize(events, **log_options.counting)
    later = later_activity(events, history, observable_length(events, history.at))
    found = check_forecast(population, history, later, random_seed=result.random_seed)
    say(found.table.to_string(float_format="{:.4g}".format))
    say(found, *remarks(warnings_of({"decay model": fitted.verdict})))
    return 0 if found.trusted else POOR_FORECAST
