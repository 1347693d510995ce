"""The command line: the main job by one command, the same by steps, and help."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from typing import get_type_hints

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import bayesdecay as bd
from bayesdecay.doors import cli
from tests.doors.conftest import AT, HORIZONS, LAPSED, SEED, Shop, bayesdecay, files

COMMANDS = ("run", "demo", "summarize", "fit", "score", "choose", "report", "check", "drift")
RESULTS = {"scores.parquet", "audience.csv", "decay.nc", "reactivation.nc", "report.html"}
WHOLE = ("interest", "half_life", "p_never")
EACH = ("p_return", "activities", "p_reactivation")


def columns_of_scores() -> list[str]:
    plain = [*WHOLE, *(f"{name}_{label}" for name in EACH for label in HORIZONS)]
    return ["user", *(f"{name}{end}" for name in plain for end in ("", "_lower", "_upper"))]


@pytest.fixture
def scores(shop: Shop) -> pd.DataFrame:
    return pd.read_parquet(shop.out / "scores.parquet").set_index("user")


# --- bayesdecay run: the contract ---


def test_run_writes_every_file_and_nothing_else(shop):
    assert shop.printed.startswith("0\n"), shop.printed
    assert {path.name for path in shop.out.iterdir()} == RESULTS
    assert {path.name for path in shop.out.parent.iterdir()} == {"log.parquet", "results", "printed.txt"}


def test_run_says_what_it_does(shop):
    for part in (
        "users with an activity up to 2024-07-15",
        "decay model: converged",
        "reactivation within 30d, learned from",
        "within 30d",  # the campaign is about the longest horizon
        "ASSUMED to multiply the odds of returning by 1.49 [1.27, 1.76]",  # exp of normal(0.4, 0.1)
        f"report: {shop.out / 'report.html'}",
    ):
        assert part in shop.printed


def test_scores_have_a_row_for_every_user_up_to_the_cutoff(shop, scores):
    known = shop.events.loc[shop.events["ordered_at"] < pd.Timestamp(AT) + pd.Timedelta(days=1), "customer"]
    assert scores.index.is_unique
    assert set(scores.index) == set(known.unique())
    assert pq.read_schema(shop.out / "scores.parquet").field("user").type == "string"


def test_scores_have_the_columns_that_were_promised(shop):
    assert sorted(pq.read_schema(shop.out / "scores.parquet").names) == sorted(columns_of_scores())


def test_scores_are_whole_and_in_order(scores):
    always = [name for name in scores if not name.startswith("p_reactivation")]
    assert scores[always].notna().all(axis=None)
    for name in [*WHOLE, *(f"{name}_{label}" for name in EACH for label in HORIZONS)]:
        part = scores.dropna(subset=name)
        assert (part[f"{name}_lower"] <= part[f"{name}_upper"]).all()
        assert (part[name] >= 0).all()
        if name.startswith("p_"):
            assert (part[f"{name}_upper"] <= 1).all()
    assert (scores["p_return_14d"] <= scores["p_return_30d"]).all()


def test_only_lapsed_users_have_a_chance_of_reactivation(shop, scores):
    seen = shop.events[shop.events["ordered_at"] < pd.Timestamp(AT) + pd.Timedelta(days=1)]
    last = seen.groupby("customer")["ordered_at"].max().dt.normalize()
    lapsed = (pd.Timestamp(AT) - last).dt.days >= 21
    assert 0 < lapsed.sum() < len(lapsed)
    for label in HORIZONS:
        for end in ("", "_lower", "_upper"):
            found = scores[f"p_reactivation_{label}{end}"].notna()
            pd.testing.assert_series_equal(found.sort_index(), lapsed.sort_index(), check_names=False)


def test_scores_come_from_the_saved_fits(shop, scores):
    decay, fits = bd.load(shop.out / "decay.nc"), bd.load(shop.out / "reactivation.nc")
    assert list(fits) == list(HORIZONS)
    log = bd.read_events(shop.log, user="customer", time="ordered_at")
    history = bd.summarize(log, at=AT)
    options = bd.ScoreOptions(horizons={"14d": 14.0, "30d": 30.0}, random_seed=SEED)
    again = decay.score(history, options=options).to_pandas().set_index("user")
    pd.testing.assert_frame_equal(again, scores[list(again)], check_like=True)
    for label, fit in fits.items():
        lapsed = bd.snapshots(log, cutoffs=AT, horizon=label, lapsed_after=LAPSED, observed_until=AT)
        p = fit.draws(lapsed, decay, draws=200, random_seed=SEED)
        found = scores.loc[p["user"].to_numpy(), f"p_reactivation_{label}"]
        np.testing.assert_allclose(p.mean("sample"), found.to_numpy(dtype=float))


def test_saved_fits_saw_nothing_after_the_cutoff(shop):
    for fit in bd.load(shop.out / "reactivation.nc").values():
        last = max(map(pd.Timestamp, fit.description["cutoffs"])) + pd.Timedelta(days=fit.description["horizon"])
        assert last <= pd.Timestamp(AT) + pd.Timedelta(days=1)


def test_audience_is_what_the_budget_pays_for(shop, scores):
    audience = pd.read_csv(shop.out / "audience.csv")
    assert 0 < len(audience) <= 60  # 30 for 0.5 each
    assert audience["cost"].sum() <= 30
    assert audience["rank"].is_monotonic_increasing
    assert (audience["profit"] > 0).all()
    found = scores.loc[audience["user"], "p_reactivation_30d"]  # with commas, quotes and leading zeros
    np.testing.assert_allclose(audience["p_reactivation"], found.to_numpy(dtype=float))
    assert audience["assumption"].str.contains("assumed to multiply the odds of returning by 1.49").all()


def test_report_opens_offline_and_names_the_command(shop):
    page = (shop.out / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "bayesdecay run" in page
    assert "<script src" not in page
    assert "<link" not in page


# --- what run is told, without the run ---


@pytest.fixture
def told(monkeypatch) -> list:
    """Catch what would be done."""
    jobs: list = []
    monkeypatch.setattr(cli, "_do", lambda log, job, out: jobs.append(job))
    return jobs


def test_defaults_of_run(shop, told, tmp_path):
    assert bayesdecay("run", shop.log, *shop.columns, "--out", tmp_path / "out").code == 0
    (job,) = told
    assert job.at is None
    assert list(job.horizons) == ["30d", "90d"]
    assert job.lapsed_after == "60d"
    assert job.activity == "day"
    assert job.campaign is None
    assert job.sampling is None  # each model its own


@pytest.mark.parametrize(
    ("text", "mean", "sd"), [("normal(0.3, 0.2)", 0.3, 0.2), ("0.25", 0.25, 0.0), ("none", 0.0, 0.0)]
)
def test_effect_in_words(shop, told, tmp_path, text, mean, sd):
    campaign = ("--cost", 1, "--value", 10, "--effect", text, "--horizon", "90d,14d")
    assert bayesdecay("run", shop.log, *shop.columns, *campaign, "--out", tmp_path / "out").code == 0
    assert (told[0].campaign.effect.mean, told[0].campaign.effect.sd) == (mean, sd)
    assert told[0].campaign.horizon == told[0].target == "90d"


def test_demo_is_a_campaign_of_a_thousand_contacts(told, tmp_path):
    done = bayesdecay("demo", "--out", tmp_path / "out")
    assert done.code in (0, 4), done.err  # 4: the extra that carries the log is not installed
    if done.code == 0:
        assert told[0].at == "1997-09-30"
        assert told[0].campaign.budget / told[0].campaign.cost == 1000
        assert told[0].target == "90d"


# --- step by step ---


def test_summarize_fit_score(shop, tmp_path):
    history, fit = tmp_path / "history.parquet", tmp_path / "decay.nc"
    done = bayesdecay("summarize", *shop.counting, "--out", history)
    assert done.code == 0, done.err
    assert f"{len(shop.events):,}" in done.out  # the quality of the log
    known = bd.History.from_parquet(history)
    assert f"{len(known):,} users up to 2024-07-15" in done.out
    words = ("--restoration", 0.6, "--draws", 1000, "--tune", 300, "--chains", 2, "--random-seed", 1)
    done = bayesdecay("fit", history, "--out", fit, *words)
    assert done.code == 0, done.err
    assert "mu_log_rate" in done.out
    assert bd.load(fit).verdict.converged
    for name in ("scores.parquet", "scores.csv"):
        words = ("--decay", fit, "--horizon", "7d", "--random-seed", 3, "--out", tmp_path / name)
        assert bayesdecay("score", history, *words).code == 0
    written, text = pd.read_parquet(tmp_path / "scores.parquet"), pd.read_csv(tmp_path / "scores.csv")
    assert written["user"].tolist() == text["user"].tolist() == known.table["user"].to_pylist()
    np.testing.assert_allclose(written["p_return_7d"], text["p_return_7d"])
    assert files(tmp_path) == {"history.parquet", "decay.nc", "scores.parquet", "scores.csv"}


def test_summarize_reads_the_same_from_csv(shop, tmp_path):
    shop.events.to_csv(tmp_path / "log.csv", index=False)
    for log, name in ((shop.log, "a.parquet"), (tmp_path / "log.csv", "b.parquet")):
        assert bayesdecay("summarize", log, *shop.columns, "--at", AT, "--out", tmp_path / name).code == 0
    one, other = (bd.History.from_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert one.table.equals(other.table)


def test_memory_for_the_log_can_be_limited(shop, tmp_path):
    words = (shop.log, *shop.columns, "--at", AT, "--out", tmp_path / "history.parquet")
    done = bayesdecay("summarize", *words, "--memory-limit", "much")
    assert done.code == 2
    assert "memory_limit must be a number and a unit, as in '2GB', got 'much'" in done.err
    assert not files(tmp_path)
    assert bayesdecay("summarize", *words, "--memory-limit", "500MB").code == 0


def test_choose_again_with_another_campaign(shop, tmp_path):
    fits = ("--decay", shop.out / "decay.nc", "--reactivation", shop.out / "reactivation.nc")
    campaign = ("--cost", 0.5, "--value", 20, "--budget", 5, "--lapsed-after", LAPSED, "--random-seed", SEED)
    done = bayesdecay(
        "choose", *shop.counting, *fits, *campaign, "--horizon", "30d", "--out", tmp_path / "audience.csv"
    )
    assert done.code == 0, done.err
    assert done.out.startswith("Contact 10 of ")
    assert len(pd.read_csv(tmp_path / "audience.csv")) == 10
    words = (*shop.counting, *fits, *campaign, "--out", tmp_path / "other.csv")
    done = bayesdecay("choose", *words, "--horizon", "90d")
    assert done.code == 2
    assert "has no fit for 90d, only for 14d, 30d" in done.err
    assert files(tmp_path) == {"audience.csv"}


def test_choose_takes_what_is_not_said_from_the_fits(shop, tmp_path):
    fits = ("--decay", shop.out / "decay.nc", "--reactivation", shop.out / "reactivation.nc")
    campaign = ("--cost", 0.5, "--value", 20, "--effect", "normal(0.4, 0.1)", "--budget", 30, "--random-seed", SEED)
    done = bayesdecay("choose", *shop.counting, *fits, *campaign, "--out", tmp_path / "audience.csv")
    assert done.code == 0, done.err
    # Lapsed after 21 days and within 30 days, the longest: the audience of the run itself.
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "audience.csv"), pd.read_csv(shop.out / "audience.csv"))


def test_report_again_with_another_campaign(shop, tmp_path):
    (tmp_path / "out.txt").write_text(shop.events["customer"][0], encoding="utf-8")
    (tmp_path / "campaign.toml").write_text(
        "value = 20\nbudget = 8\nexclude = 'out.txt'\n"
        "[offers.mail]\ncost = 0.1\neffect = 'normal(0.2, 0.1)'\n"
        "[offers.call]\ncost = 0.4\neffect = 'normal(0.6, 0.3)'",
        encoding="utf-8",
    )
    fits = ("--decay", shop.out / "decay.nc", "--reactivation", shop.out / "reactivation.nc")
    campaign = ("--campaign", tmp_path / "campaign.toml", "--risk", "cvar(0.9, 0.1)")
    words = ("--lapsed-after", LAPSED, "--random-seed", SEED, "--out", tmp_path / "report.html")
    done = bayesdecay("report", *shop.counting, *fits, *campaign, *words)
    assert done.code == 0, done.err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for part in (
        "bayesdecay report",
        "1 user of the log may not be contacted",
        "less 0.1 times the shortfall of the worst 10 % of cases",
        "low interest, likely to return",
        'id="frontier-',
    ):
        assert part in page
    assert files(tmp_path) == {"campaign.toml", "out.txt", "report.html"}


def test_check_tells_by_its_exit_code(shop):
    done = bayesdecay("check", *shop.counting, "--decay", shop.out / "decay.nc", "--random-seed", SEED)
    assert done.code in (0, 1), done.err
    assert "crps" in done.out.lower()
    assert ("The probability that a user comes back" in done.out) or ("trusted" in done.out)
    nothing_later = bayesdecay("check", shop.log, *shop.columns, "--at", "2024-08-28", "--decay", shop.out / "decay.nc")
    assert nothing_later.code == 2
    unsaid = bayesdecay("check", shop.log, *shop.columns, "--decay", shop.out / "decay.nc")
    assert unsaid.code == 2
    assert "say with --at" in unsaid.err


def test_drift_tells_by_its_exit_code_and_in_json(shop, tmp_path):
    words = (shop.log, *shop.columns, "--decay", shop.out / "decay.nc", "--random-seed", SEED)
    done = bayesdecay("drift", *words, "--out", tmp_path / "drift.json")
    assert done.code in (0, 1), done.err
    told = json.loads((tmp_path / "drift.json").read_text(encoding="utf-8"))
    assert done.code == int(told["drifted"])
    assert told["fitted_at"] == "2024-07-15T23:59:59.999999"
    assert told["known_users"] > 300
    assert told["refit"]["users"] == told["known_users"] + told["new_users"]
    for sentence in (
        *told["verdict"],
        "share active since",
        "calibration slope",
        f"written: {tmp_path / 'drift.json'}",
    ):
        assert sentence in done.out
    again = bayesdecay("drift", *words, "--no-try-refit", "--since", "2024-08-01")
    assert again.code in (0, 1), again.err
    assert "A new fit" not in again.out


def test_drift_says_what_it_needs(shop, tmp_path):
    words = (shop.log, *shop.columns, "--decay", shop.out / "decay.nc")
    for more, message in (
        (("--at", AT), "the history ends at 2024-07-15 23:59:59.999999, and the fit saw all up to 2024-07-15"),
        (("--since", "2024-06-01"), "it cannot be judged on what follows 2024-06-01"),
        (("--activity", "event"), "the fit counts each day once, but here each event counts; give --activity day"),
        (("--out", tmp_path / "drift.csv"), "a check for drift is written as .json, not as 'drift.csv'"),
    ):
        done = bayesdecay("drift", *words, *more)
        assert done.code == 2
        assert message in done.err
    assert files(tmp_path) == set()


def test_learning_from_users_acquired_since(shop, told, tmp_path):
    words = (shop.log, *shop.columns, "--out", tmp_path / "out")
    assert bayesdecay("run", *words, "--acquired-from", "2024-02-01").code == 0
    assert told[0].acquired_from == "2024-02-01"
    assert bayesdecay("run", *words, "--acquired-from", "soon").code == 2
    history, fit = tmp_path / "history.parquet", tmp_path / "decay.nc"
    assert bayesdecay("summarize", *shop.counting, "--out", history).code == 0
    learned = ("--method", "laplace", "--restoration", 0.6, "--random-seed", 1, "--acquired-from", "2024-02-01")
    done = bayesdecay("fit", history, "--out", fit, *learned)
    assert done.code == 0, done.err
    known = bd.History.from_parquet(history).acquired_from("2024-02-01")
    assert json.loads(bd.load(fit).idata.attrs["model"])["users"] == len(known)


def test_hindsight_is_refused(shop, tmp_path):
    """A fit that saw what follows the cutoff cannot be judged on it."""
    words = (shop.log, *shop.columns, "--at", "2024-06-01", "--decay", shop.out / "decay.nc")
    page = ("--reactivation", shop.out / "reactivation.nc", "--out", tmp_path / "report.html")
    for done in (bayesdecay("check", *words), bayesdecay("report", *words, *page)):
        assert done.code == 2
        assert "the fit saw the log up to 2024-07-15 23:59:59.999999" in done.err
        assert "give --at 2024-07-15 or later" in done.err
    assert files(tmp_path) == set()


# --- help ---


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_tells_its_options(command):
    done = bayesdecay(command, "--help")
    assert done.code == 0
    function = inspect.unwrap(getattr(cli, command))
    assert function.__doc__.splitlines()[0] in " ".join(done.out.split())
    for name, kind in get_type_hints(function).items():
        group = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else [name]
        for option in group if name != "return" else []:
            wanted = f"--{option.replace('_', '-')}"
            assert wanted in done.out or option.upper() in done.out, wanted


def test_help_names_the_commands_and_the_exit_codes():
    done = bayesdecay("--help")
    assert done.code == 0
    for part in (*COMMANDS, "Exit codes: 0 done", "130 stopped by Ctrl-C", "bayesdecay run events.parquet"):
        assert part in " ".join(done.out.split())
    assert bayesdecay("--version").out.strip() == bd.__version__


def test_as_a_program():
    """The installed script's own way in, in a process of its own."""
    code = "from bayesdecay.doors.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "no.parquet"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--out" in done.stderr
