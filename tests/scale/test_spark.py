"""Spark against the local road: the same histories and the same scores, whatever happens to the partitions."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bayesdecay.data.calendar import Calendar
from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.scale.spark_history import SparkHistory
from bayesdecay.data.scale.unloaded import read_history
from bayesdecay.data.scale.warehouse import warehouse_sql
from bayesdecay.errors import DataError
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.population import Population
from bayesdecay.model.scores import ScoreOptions
from bayesdecay.model.scoring import score
from bayesdecay.model.spark_scoring import score_on_spark
from tests.model.worlds import SHOP, population_at, simulated

pytestmark = pytest.mark.xdist_group("spark")  # one session for all of them

CUTOFF = "2024-05-01"
BUSY = 100_000
OPTIONS = ScoreOptions(horizons=["30d", "90d"], silent=["30d"], floor=0.01, random_seed=5)


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    """300 users with text for ids, one of them a robot; some events lie after the cutoff, some before 1970."""
    table = simulated(300, random_seed=3).events[["user", "time"]]
    rng = np.random.default_rng(1)
    seconds = rng.choice(4 * 86_400, BUSY, replace=False)
    robot = pd.DataFrame({"user": 1, "time": pd.Timestamp("2024-04-20 20:00") + pd.to_timedelta(seconds, unit="s")})
    old = pd.DataFrame({"user": 2, "time": pd.to_datetime(["1969-12-30 23:59:59.999999", "1970-01-01 00:00:00.5"])})
    log = pd.concat([table, robot, old], ignore_index=True)
    log["kind"] = rng.choice(["view", "buy", "it's"], len(log))
    log["channel"] = rng.choice(["web", "app"], len(log))
    log["age"] = log["user"] % 50 + rng.integers(0, 2, len(log)) * 0.5
    log["user"] = "u" + log["user"].astype("str")
    return log


@pytest.fixture(scope="module")
def crowd(spark, events, tmp_path_factory) -> SparkHistory:
    """The history of active days, kept on Spark in a few partitions of which some are empty."""
    path = tmp_path_factory.mktemp("events") / "events.parquet"
    events.to_parquet(path, coerce_timestamps="us")
    history = summarize(read_events(str(path), engine="spark"), at=CUTOFF)
    history.frame.persist()
    return history


@pytest.fixture(scope="module")
def population() -> Population:
    return replace(population_at(SHOP, draws=40), activity="day")


@pytest.fixture(scope="module")
def local(events, population) -> pa.Table:
    """The scores as made here."""
    return score(population, summarize(read_events(events), at=CUTOFF), OPTIONS).table


def same_scores(frame, expected: pa.Table) -> None:
    found = frame.toArrow().sort_by("user")
    assert found.column_names == expected.column_names
    assert found["user"].to_pylist() == expected["user"].to_pylist()
    for name in expected.column_names[1:]:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_histories_of_days_are_the_local_ones(crowd, events):
    expected = summarize(read_events(events), at=CUTOFF)
    assert max(expected.table["n"].to_pylist()) < 1_000
    assert crowd.to_history() == expected
    assert crowd.to_history().table.schema.equals(expected.table.schema)


@pytest.mark.parametrize("activity", ["session", "event"])
def test_histories_of_other_units_with_groups_are_the_local_ones(activity, as_frame, events):
    columns = {"kind": "kind", "columns": ["channel", "age"]}
    asked = {"at": CUTOFF, "activity": activity, "session_gap": "12s", "kinds": ["view", "it's"]}
    asked |= {"group": "channel", "covariates": ["age"]}
    found = summarize(read_events(as_frame(events), **columns), **asked).to_history()
    assert found == summarize(read_events(events, **columns), **asked)
    assert max(found.table["n"].to_pylist()) > BUSY // 30


def test_whole_numbers_for_ids_stay_what_they_are(as_frame, events, population):
    some = events[events["user"] != "u1"].assign(user=events["user"].str[1:].astype("int32"))
    history = summarize(read_events(as_frame(some)), at=CUTOFF)
    here = summarize(read_events(some), at=CUTOFF)
    assert history.to_history() == here
    same_scores(score_on_spark(population, history, OPTIONS), score(population, here, OPTIONS).table)


@pytest.mark.parametrize("partitions", [1, 9])
def test_scores_are_the_local_ones_however_the_rows_lie(crowd, population, local, partitions):
    # One partition of all, and nine of which those of the first 30 users are the only ones that are not empty.
    rows = crowd.frame.coalesce(1) if partitions == 1 else crowd.frame.limit(4).repartition(9)
    found = score_on_spark(population, replace(crowd, frame=rows), OPTIONS)
    assert found.rdd.getNumPartitions() == partitions
    users = [row[0] for row in rows.select("user").collect()]
    same_scores(found, local.filter(pa.compute.is_in(local["user"], pa.array(users))))


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_tasks_that_fail_and_are_run_again_give_the_same(crowd, population, local, tmp_path):
    def failing(batches):
        from pyspark import TaskContext

        told = TaskContext.get()
        for batch in batches:
            yield batch
            if told.attemptNumber() == 0:
                (tmp_path / str(told.partitionId())).touch()
                if told.partitionId() == 1:
                    os._exit(1)  # the worker is gone, with what it had done
                raise RuntimeError("the disk is full")

    rows = crowd.frame.repartition(2).mapInArrow(failing, crowd.frame.schema)
    same_scores(score_on_spark(population, replace(crowd, frame=rows), OPTIONS), local)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}


def test_seasons_and_calendars_are_forecast_there_as_here(crowd, events, population):
    path = np.exp(0.3 * np.random.default_rng(4).standard_normal((population.size, 260)))
    calendar = Calendar(factors={"saturday": 1.5, "2024-05-09": 0.0})
    known = replace(population, path=path, fitted_at=crowd.at, calendar=calendar, calendar_level=1.1)
    here = score(known, summarize(read_events(events), at=CUTOFF), OPTIONS).table
    assert not here.equals(score(population, summarize(read_events(events), at=CUTOFF), OPTIONS).table)
    same_scores(score_on_spark(known, crowd, OPTIONS), here)


def test_a_fit_scores_there_and_a_stage_without_a_seed_can_be_run_again(crowd, population):
    fit = SimpleNamespace(population=lambda draws, allow_unconverged: population)
    found = DecayFit.score(fit, replace(crowd, frame=crowd.frame.limit(20)))
    once, again = (found.toArrow().sort_by("user") for _ in range(2))
    assert once.equals(again)
    assert once.column_names[:2] == ["user", "interest"]


def test_another_unit_of_activity_is_told_before_anything_runs(crowd, population):
    with pytest.raises(DataError, match="its unit of activity is the day, but the model was fitted to the unit event"):
        score_on_spark(replace(population, activity="event"), crowd, OPTIONS)


def test_a_sample_is_of_the_users_whatever_the_partitions(crowd, events):
    whole = summarize(read_events(events), at=CUTOFF)
    one = crowd.sample(50, random_seed=1)
    again = crowd.repartition(5).sample(50, random_seed=1)
    other = crowd.sample(50, random_seed=2)
    assert one == again
    assert one == whole.select(one.table["user"])
    assert len(set(one.table["user"].to_pylist()) - set(other.table["user"].to_pylist())) > 25
    with pytest.raises(ValueError, match="n_users must be at least 1, got 0"):
        crowd.sample(0)


def test_the_text_for_spark_runs_there(spark, as_frame, events, tmp_path):
    as_frame(events).createOrReplaceTempView("my_events")
    asked = {"at": CUTOFF, "activity": "session", "kinds": ["it's"], "group": "channel", "covariates": ["age"]}
    frame = spark.sql(warehouse_sql("spark", table="my_events", kind="kind", **asked))
    frame.write.parquet(str(tmp_path / "unloaded"))
    log = read_events(events, kind="kind", columns=["channel", "age"])
    assert read_history(tmp_path / "unloaded") == summarize(log, **asked)


def test_it_shows_itself(crowd):
    assert "2024-05-01 23:59:59.999999" in crowd._repr_html_()
