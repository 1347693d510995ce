"""`--calendar FILE.csv`: it reaches fits, scores and checks, and a wrong file is told before any work."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

import bayesdecay as bd
from bayesdecay.data.simulate import simulate
from bayesdecay.doors.job import Job
from bayesdecay.doors.pipeline import run_job
from bayesdecay.show.foreseen import calendar_of
from tests.doors.conftest import AT, HORIZONS, LAPSED, SEED, bayesdecay, files
from tests.show import made
from tests.show.stand_ins import ToldDecay

CLOSED = "from,until,factor\n2024-07-16,2024-08-20,0\n"


@pytest.fixture
def calendar(tmp_path):
    path = tmp_path / "calendar.csv"
    path.write_text(CLOSED, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("calendar") / "log.parquet"
    simulate(200, population=made.SHOP, random_seed=1).events.to_parquet(path)
    return path


def test_scores_with_a_saved_fit_know_the_calendar(shop, calendar, tmp_path):
    history, out = tmp_path / "history.parquet", tmp_path / "scores.csv"
    assert bayesdecay("summarize", *shop.counting, "--out", history).code == 0
    words = ("score", history, "--decay", shop.out / "decay.nc", "--out", out, "--horizon", "30d")
    assert bayesdecay(*words, "--random-seed", SEED).code == 0
    assert pd.read_csv(out)["activities_30d"].max() > 0
    done = bayesdecay(*words, "--random-seed", SEED, "--calendar", calendar)
    assert done.err == ""
    closed = pd.read_csv(out)
    assert closed["activities_30d_upper"].max() == 0
    assert closed["p_return_30d"].max() < 1e-6


def test_a_check_knows_of_the_calendar_what_was_known(log, tmp_path, monkeypatch):
    models = []

    def told(*, calendar, restoration, shoulder, regulars):
        assert (restoration, shoulder, regulars) == (None, None, None)
        models.append(ToldDecay(calendar=calendar))
        return models[-1]

    monkeypatch.setattr("bayesdecay.DecayModel", told, raising=False)
    path = tmp_path / "calendar.csv"
    path.write_text("from,factor,known\nsaturday,1.2,\n2024-07-01,0.5,2024-06-30\n", encoding="utf-8")
    words = ("--activity", "event", "--horizon", "30d", "--origins", "2024-05-31,2024-07-31", "--random-seed", SEED)
    done = bayesdecay("check", log, *words, "--calendar", path)
    assert done.code in (0, 1)
    assert models[0].calendar == bd.read_calendar(path)
    assert "Forecast with 2 factors of the calendar; at 1 origin some were not known yet, and left out." in done.out


def test_a_saved_fit_is_judged_with_the_calendar(shop, tmp_path):
    path, out = tmp_path / "calendar.csv", []
    for known in ("2024-07-01", "2024-08-01"):  # before and after the cutoff
        path.write_text(f"from,until,factor,known\n2024-07-16,2024-12-31,0.001,{known}\n", encoding="utf-8")
        words = ("check", *shop.counting, "--decay", shop.out / "decay.nc", "--random-seed", SEED)
        out.append(bayesdecay(*words, "--calendar", path).out)
    assert out[1] == bayesdecay(*words).out != out[0]


def test_options_make_the_model_that_is_fitted(log, tmp_path, monkeypatch, calendar):
    """Of `run`, `fit` and `check` alike: what is told of the model reaches it."""
    jobs = []

    def stop(events, job, out):
        jobs.append(job)

    monkeypatch.setattr("bayesdecay.doors.cli._do", stop)
    told = ("--shoulder", "30d", "--regulars", "--calendar", calendar)
    done = bayesdecay("run", log, "--activity", "event", "--out", tmp_path / "out", *told)
    assert done.code == 0
    assert jobs[0].decay == bd.DecayModel(shoulder="30d", regulars=True, calendar=bd.read_calendar(calendar))
    bayesdecay("run", log, "--activity", "event", "--out", tmp_path / "out", "--shoulder", "none")
    assert jobs[1].decay == bd.DecayModel(shoulder=math.inf)
    bayesdecay("run", log, "--activity", "event", "--out", tmp_path / "out", "--no-regulars")
    assert jobs[2].decay == bd.DecayModel(regulars=False)
    wrong = bayesdecay("run", log, "--activity", "event", "--out", tmp_path / "out", "--shoulder", "30 days")
    assert wrong.code == 2
    assert "duration '30 days' cannot be read" in wrong.err


def test_what_the_calendar_is_not_in_is_said(shop):
    log = bd.read_events(shop.log, user="customer", time="ordered_at")
    decay = bd.load(shop.out / "decay.nc")
    described = json.loads(decay.idata.attrs["model"])
    described["calendar"] = {"factors": {"saturday": 1.3}, "known": {}}
    decay.idata.attrs["model"] = json.dumps(described)
    assert calendar_of(decay) == bd.Calendar(factors={"saturday": 1.3})
    job = Job(at=AT, lapsed_after=LAPSED, horizons=bd.units.durations(HORIZONS), random_seed=SEED)
    result = run_job(log, job, decay=decay, reactivation=bd.load(shop.out / "reactivation.nc"))
    assert result.notes[-1].endswith("P(reactivation) was learned from earlier cutoffs and knows nothing of it")


@pytest.mark.parametrize("command", ["run", "fit", "score", "check"])
def test_what_is_wrong_with_the_file_is_told_first(command, shop, tmp_path):
    history = tmp_path / "history.parquet"
    bayesdecay("summarize", *shop.counting, "--out", history)
    path, out = tmp_path / "calendar.csv", tmp_path / "out"
    path.write_text("from,factor\nchrismas,0\n", encoding="utf-8")
    words = {
        "run": (*shop.counting, "--out", out),
        "fit": (history, "--out", tmp_path / "out.nc"),
        "score": (history, "--decay", shop.out / "decay.nc", "--out", tmp_path / "out.csv"),
        "check": (*shop.counting,),
    }[command]
    before = files(tmp_path)
    done = bayesdecay(command, *words, "--calendar", path)
    assert done.code == 2
    assert done.err.startswith(f"bayesdecay: calendar {path}: column 'from' has a value that cannot be read (row 0 (")
    missing = bayesdecay(command, *words, "--calendar", tmp_path / "none.csv")
    assert missing.code == 2
    assert "there is no such file; check the path" in missing.err
    assert files(tmp_path) == before
