"""The main job with fits made before: any ids, no campaign, nobody lapsed, a log too short; all or nothing."""

from __future__ import annotations

import copy
import json
import re
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bayesdecay as bd
from bayesdecay import units
from bayesdecay.doors import results
from bayesdecay.doors.job import Job
from bayesdecay.doors.pipeline import run_job
from bayesdecay.doors.results import report_content, write_job
from bayesdecay.model.retry import fitted
from tests.doors.conftest import AT, HORIZONS, LAPSED, SEED, Shop

CAMPAIGN = bd.Campaign(cost=0.5, value=20.0, budget=30.0, horizon="30d")


@pytest.fixture(scope="session")
def fits(shop: Shop) -> dict:
    return {"decay": bd.load(shop.out / "decay.nc"), "reactivation": bd.load(shop.out / "reactivation.nc")}


@pytest.fixture(scope="session")
def log(shop: Shop) -> bd.Events:
    return bd.read_events(shop.log, user="customer", time="ordered_at")


def asked(**changes) -> Job:
    usual = {"at": AT, "lapsed_after": LAPSED, "horizons": units.durations(HORIZONS), "campaign": CAMPAIGN}
    return Job(**{**usual, "random_seed": SEED, **changes})


def numbers(table: pa.Table) -> pd.DataFrame:
    return table.drop_columns(["user"]).to_pandas()


def test_fits_made_before_give_the_scores_of_the_run(shop, log, fits):
    result = run_job(log, asked(), **fits)
    assert result.decay is fits["decay"]
    assert result.notes == ()
    written = pq.read_table(shop.out / "scores.parquet")
    pd.testing.assert_frame_equal(result.scores.to_pandas(), written.to_pandas())


def as_type(shop: Shop, kind: str) -> tuple[pa.Array, dict]:
    """Ids of another type for the same events, and the users' number by id; in the same order of users."""
    number = shop.events["customer"].str[:4].astype(int).to_numpy()
    if kind == "uuid":
        ids = [uuid.UUID(int=int(i)) for i in number]
        return pa.array([one.bytes for one in ids], pa.uuid()), dict(zip(ids, number, strict=True))
    if kind == "uuid objects":
        ids = [uuid.UUID(int=int(i)) for i in number]
        return np.array(ids, dtype=object), dict(zip(ids, number, strict=True))
    if kind == "int32":
        return pa.array(number, pa.int32()), {int(i): int(i) for i in number}
    if kind == "bytes":
        ids = [b"%04d" % i for i in number]
        return pa.array(ids, pa.binary()), dict(zip(ids, number, strict=True))
    instants = pd.Timestamp("2020-01-01") + pd.to_timedelta(number, unit="D")
    return pa.array(instants), dict(zip(instants, number, strict=True))


@pytest.mark.parametrize("kind", ["uuid", "uuid objects", "int32", "bytes", "timestamp"])
def test_users_keep_their_own_ids(shop, fits, tmp_path, kind):
    ids, number = as_type(shop, kind)
    if isinstance(ids, np.ndarray):
        source = pd.DataFrame({"user": ids, "time": shop.events["ordered_at"]})
    else:
        source = pa.table({"user": ids, "time": pa.array(shop.events["ordered_at"])})
    log = bd.read_events(source)
    result = run_job(log, asked(), **fits)
    write_job(log, asked(), result, tmp_path / "out")
    usual, found = pq.read_table(shop.out / "scores.parquet"), pq.read_table(tmp_path / "out" / "scores.parquet")
    if not isinstance(ids, np.ndarray):
        wanted = pa.timestamp("us") if kind == "timestamp" else ids.type
        assert found.schema.field("user").type == wanted
    own = [number[one] for one in found["user"].to_pylist()]
    assert own == [int(one[:4]) for one in usual["user"].to_pylist()]
    # Random numbers follow from the id; what has a closed form is the same whatever it is.
    closed = [name for name in numbers(usual) if name == "p_never" or re.fullmatch(r"p_return_\w+d", name)]
    assert len(closed) == 3
    pd.testing.assert_frame_equal(numbers(found)[closed], numbers(usual)[closed])
    audience = pd.read_csv(tmp_path / "out" / "audience.csv")
    assert len(audience) == len(result.plan.audience)


def test_without_a_campaign_the_lapsed_are_ranked(log, fits, tmp_path):
    result = run_job(log, asked(campaign=None), **fits)
    write_job(log, asked(campaign=None), result, tmp_path / "out")
    assert result.plan is None
    audience = pd.read_csv(tmp_path / "out" / "audience.csv")
    assert set(audience["user"]) == set(result.candidates["user"].to_numpy())
    assert audience["p_reactivation_30d"].is_monotonic_decreasing
    assert audience["rank"].tolist() == list(range(1, len(audience) + 1))
    assert audience["reason"].str.contains("no campaign was described").all()
    assert not any("profit" in name for name in audience)


@pytest.mark.parametrize("campaign", [CAMPAIGN, None], ids=["campaign", "none"])
@pytest.mark.parametrize("learned", [True, False], ids=["learned before", "not learned"])
def test_nobody_lapsed(log, fits, tmp_path, campaign, learned):
    job = asked(lapsed_after="300d", campaign=campaign)
    result = run_job(log, job, decay=fits["decay"], reactivation=fits["reactivation"] if learned else None)
    write_job(log, job, result, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert table.num_rows == len(result.history)
    assert table["p_reactivation_30d"].null_count == table.num_rows
    assert len(pd.read_csv(tmp_path / "out" / "audience.csv")) == 0


def test_log_too_short_to_learn_from_falls_back_and_says_so(log, fits):
    heard: list[str] = []
    result = run_job(log, asked(at="2024-02-10"), decay=fits["decay"], tell=heard.append)
    assert result.reactivation == {}
    *lacking, first, second = result.notes
    assert [note[:9] for note in lacking] == ["175 users", "Nobody wa"]  # what the history lacks
    for label, note in zip(HORIZONS, (first, second), strict=True):
        assert note.startswith(
            f"P(reactivation) within {label} is the decay model's own P(return): a reactivation model"
        )
        assert f"reactivation within {label}: not learned, see the remark at the end" in heard
    assert "the log begins on 2024-01-01, too late for users lapsed on 2024-01-11" in second
    assert result.remarks == result.notes == report_content(log, asked(at="2024-02-10"), result).notes
    table = result.scores.to_pandas().dropna(subset=["p_reactivation_30d"])
    assert len(table) > 0
    # The same quantity by another road: by draws here, in closed form there.
    np.testing.assert_allclose(table["p_reactivation_30d"], table["p_return_30d"], atol=0.12)
    assert np.mean(table["p_reactivation_30d"] - table["p_return_30d"]) == pytest.approx(0, abs=0.02)


def test_without_a_cutoff_the_log_is_taken_to_its_end(log, fits):
    result = run_job(log, asked(at=None), **fits)
    assert result.history.at == log.end
    assert result.check is None
    assert len(result.scores) == log.n_users
    assert run_job(log, asked(), **fits).check is not None


# --- whole or not at all ---


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_replaces_the_results_of_the_last(log, fits, tmp_path):
    out = tmp_path / "deep" / "out"
    for campaign in (None, CAMPAIGN):
        job = asked(campaign=campaign)
        write_job(log, job, run_job(log, job, **fits), out)
        before = contents(tmp_path)
    assert set(before) == {
        f"deep/out/{name}" for name in ("scores.parquet", "audience.csv", "decay.nc", "reactivation.nc", "report.html")
    }
    assert b"assumption" in before["deep/out/audience.csv"]


def test_a_control_group_has_a_file_of_its_own_for_as_long_as_there_is_one(log, fits, tmp_path):
    for control, held_out in ((0.2, True), (0.0, False)):
        job = asked(campaign=replace(CAMPAIGN, control=control), notes=("known beforehand",))
        result = run_job(log, job, **fits)
        assert result.notes == ("known beforehand",)
        write_job(log, job, result, tmp_path)
        assert (tmp_path / "audience-control.csv").exists() == held_out
        if held_out:
            held = set(pd.read_csv(tmp_path / "audience-control.csv")["user"])
            assert len(held) == round(0.2 * len(result.plan.table))
            assert not held & set(pd.read_csv(tmp_path / "audience.csv")["user"])


def test_a_failure_leaves_the_last_results(log, fits, tmp_path, monkeypatch):
    job = asked()
    result = run_job(log, job, **fits)
    write_job(log, job, result, tmp_path / "out")
    before = contents(tmp_path)

    def failing(path, content):
        raise OSError("the disk is full")

    monkeypatch.setattr(results, "write_report", failing)
    with pytest.raises(OSError, match="the disk is full"):
        write_job(log, asked(campaign=None), result, tmp_path / "out")
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- the description ---


def test_job_is_checked_when_made():
    assert asked().target == "30d"
    assert asked(campaign_horizon="14d").target == "14d"
    with pytest.raises(ValueError, match="campaign horizon '7d' is not among 14d, 30d"):
        asked(campaign_horizon="7d")
    with pytest.raises(ValueError, match="duration 'long' cannot be read"):
        asked(lapsed_after="long")
    with pytest.raises(ValueError, match="unknown activity 'week'"):
        asked(activity="week")
    with pytest.raises(ValueError, match="cutoff 'soon' cannot be read"):
        asked(at="soon")


def test_horizons_shorter_than_what_counts_are_refused():
    short = units.durations(["12h", "30d"])
    with pytest.raises(ValueError, match=r"horizon 12h is shorter than a day.*--activity session or --activity event"):
        asked(horizons=short, campaign=None)
    assert asked(horizons=short, activity="session", campaign=None).target == "30d"


# --- fits that did not converge ---


@pytest.fixture
def unconverged(fits) -> dict:
    """The same fits, with a verdict that failed."""
    decay, reactivation = copy.deepcopy((fits["decay"], fits["reactivation"]))
    for fit in (decay, reactivation["30d"]):
        fit.idata.attrs["verdict"] = json.dumps({**json.loads(fit.idata.attrs["verdict"]), "worst_rhat": 1.2})
    return {"decay": decay, "reactivation": reactivation}


@pytest.mark.parametrize("better", [True, False])
def test_a_fit_that_did_not_converge_is_made_once_more(better):
    heard: list[str] = []

    def fit(sampling: bd.Sampling | None) -> SimpleNamespace:
        how = sampling or bd.Sampling(draws=10, tune=7)  # a model's own
        converged = better and how.draws == 20
        verdict = SimpleNamespace(converged=converged, draws=how.draws * how.chains, chains=how.chains, proposals=0)
        return SimpleNamespace(sampling=how, verdict=verdict, idata=SimpleNamespace(attrs={"tune": how.tune}))

    again = fitted(fit, None, heard.append).sampling
    assert (again.draws, again.tune, again.chains) == (20, 14, 4)
    heard.clear()
    asked_for = bd.Sampling(draws=10, tune=7, chains=3)
    found = fitted(fit, asked_for, heard.append)
    assert (found.sampling.draws, found.sampling.tune, found.sampling.chains) == (20, 14, 3)
    assert found.verdict.converged is better
    assert len(heard) == 1
    assert "once more, with 20 draws after 14 warm-up draws of each chain" in heard[0]
    assert fitted(fit, found.sampling, heard.append).sampling.draws == (20 if better else 40)


def test_unconverged_fits_are_refused_unless_allowed(log, unconverged):
    with pytest.raises(bd.NotConvergedError, match=r"R-hat is 1\.200"):
        run_job(log, asked(), **unconverged)


@pytest.mark.parametrize("campaign", [CAMPAIGN, None], ids=["campaign", "none"])
def test_allowed_unconverged_fits_are_marked_everywhere(log, unconverged, tmp_path, campaign):
    job = asked(allow_unconverged=True, campaign=campaign)
    result = run_job(log, job, **unconverged)
    warned = "NOT CONVERGED: the decay model and the reactivation model (30d). Do not act upon these numbers."
    assert result.remarks == (warned,)
    write_job(log, job, result, tmp_path / "out")
    scores = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert set(scores["converged"].to_pylist()) == {False}
    assert b"decay model: NOT CONVERGED: R-hat is 1.200" in scores.schema.metadata[b"verdict"]
    assert not pd.read_csv(tmp_path / "out" / "audience.csv")["converged"].any()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "NOT CONVERGED: do not act upon the numbers in this report" in page


def test_converged_results_bear_no_mark(shop):
    scores = pq.read_schema(shop.out / "scores.parquet")
    assert "converged" not in scores.names
    assert scores.metadata[b"verdict"].startswith(b"decay model: converged")
    assert "converged" not in pd.read_csv(shop.out / "audience.csv")
