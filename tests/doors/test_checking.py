"""`bayesdecay check` on a log: what it prints and writes, how it ends, and what it refuses. Nothing is sampled."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from bayesdecay.data.simulate import simulate
from tests.doors.conftest import SEED, bayesdecay, files
from tests.show import made
from tests.show.stand_ins import ToldDecay

TABLES = (
    "scores",
    "differences",
    "calibration",
    "by-activity",
    "by-past",
    "by-length",
    "totals",
    "scores-by-origin",
    "past",
)
WRITTEN = {"check.html", "check.json", *(f"check-{name}.csv" for name in TABLES)}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "log.parquet"
    simulate(200, population=made.SHOP, random_seed=1).events.to_parquet(path)
    return path


@pytest.fixture(autouse=True)
def told(monkeypatch):
    monkeypatch.setattr("bayesdecay.DecayModel", lambda **_: ToldDecay(), raising=False)


def test_check_prints_the_verdict_and_writes_page_json_and_tables(log, tmp_path):
    out = tmp_path / "new" / "folder"
    words = ("--horizon", "40d", "--origins", 2, "--activity", "event", "--random-seed", SEED, "--out", out)
    done = bayesdecay("check", log, *words)
    assert done.err == ""
    assert files(out) == WRITTEN
    written = json.loads((out / "check.json").read_text(encoding="utf-8"))
    assert done.code == (0 if written["trusted"] else 1)
    assert written["headline"] in done.out
    assert "forecasts of 40 days from 2024-" in done.out
    assert f"page: {out / 'check.html'}" in done.out
    assert written["settings"]["random seed"] == SEED
    assert written["settings"]["command"].startswith("bayesdecay check")
    assert [len(fit["at"]) for fit in written["fits"]] == [26, 26]
    totals = pd.read_csv(out / "check-totals.csv")
    assert totals["seen"].tolist() == [row["seen"] for row in written["tables"]["totals"]]
    again = bayesdecay("check", log, *words)
    assert json.loads((out / "check.json").read_text(encoding="utf-8")) == written
    assert again.out == done.out


def test_check_without_a_folder_writes_nothing_and_looks_no_further_than_at(log, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = bayesdecay(
        "check", log, "--at", "2024-07-31", "--origins", "2024-05-31,2024-06-30", "--horizon", "30d", *_EVENT
    )
    assert done.code in (0, 1)
    assert "forecasts of 30 days from 2024-05-31, 2024-06-30" in done.out
    assert files(tmp_path) == set()
    late = bayesdecay("check", log, "--at", "2024-07-31", "--origins", "2024-07-15", "--horizon", "30d", *_EVENT)
    assert late.code == 2
    assert "2024-07-15 cannot be judged" in late.err


_EVENT = ("--activity", "event", "--random-seed", SEED)


def test_what_goes_wrong_leaves_nothing(log, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr("bayesdecay.show.check_page.replacing", broken)
    out = tmp_path / "result"
    done = bayesdecay("check", log, "--horizon", "40d", "--origins", 1, *_EVENT, "--out", out)
    assert done.code == 2
    assert "the disk is full" in done.err
    assert files(tmp_path) == set()


def test_poor_forecasts_and_poor_fits_have_their_exit_codes(log, monkeypatch):
    class Low(ToldDecay):
        def fit(self, history, **how):
            fit = made.fit(history, mu_log_interest=-4.0, mu_log_rate=-3.0)
            fit.idata.attrs["tune"] = 200
            return fit

    monkeypatch.setattr("bayesdecay.DecayModel", lambda **_: Low(), raising=False)
    poor = bayesdecay("check", log, "--horizon", "40d", "--origins", 1, *_EVENT)
    assert poor.code == 1
    assert "What to do:" in poor.out
    monkeypatch.setattr("bayesdecay.DecayModel", lambda **_: ToldDecay(verdict=made.BAD), raising=False)
    failed = bayesdecay("check", log, "--horizon", "40d", "--origins", 1, *_EVENT)
    assert failed.code == 3
    assert "add --allow-unconverged" in failed.err
    allowed = bayesdecay("check", log, "--horizon", "40d", "--origins", 1, *_EVENT, "--allow-unconverged")
    assert allowed.code == 1
    assert "1 of 1 fit did NOT converge" in allowed.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--horizon", "900d"), "no forecast of 900d can be checked on it; take a shorter horizon"),
        (("--horizon", "soon"), "duration 'soon' cannot be read"),
        (("--origins", "0"), "origins must be at least 1, got 0"),
        (("--origins", "soonish"), "cutoff 'soonish' cannot be read as a date"),
        (("--decay", "x.nc", "--horizon", "30d", "--out", "y"), "leave out --horizon and --out, or --decay"),
        (
            ("--at", "2024-01-20", "--horizon", "5d", "--origins", "2024-01-02"),
            "not enough to learn from up to 2024-01-02",
        ),
    ],
)
def test_refusals_name_the_remedy(log, words, said):
    done = bayesdecay("check", log, *words)
    assert done.code == 2
    assert said in done.err


def test_fit_says_what_is_lacking(tmp_path):
    alone = pd.DataFrame({"user": range(50), "time": pd.date_range("2024-01-01", periods=50)})
    alone.to_parquet(tmp_path / "log.parquet")
    history = tmp_path / "history.parquet"
    assert bayesdecay("summarize", tmp_path / "log.parquet", "--out", history).code == 0
    done = bayesdecay("fit", history, "--out", tmp_path / "decay.nc")
    assert done.code == 2
    assert "none of 50 users was active again after the first day" in done.err
    assert not (tmp_path / "decay.nc").exists()
