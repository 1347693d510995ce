"""What comes in from Spark: times of every type as read here, and bad rows refused in the same words."""

from __future__ import annotations

import importlib.util
import uuid

import numpy as np
import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.scale.spark_events import is_spark_frame
from bayesdecay.data.snapshots import snapshots
from bayesdecay.errors import DataError, MissingExtraError

pytestmark = pytest.mark.xdist_group("spark")

# The second lies in a gap of Berlin's clock, the last is the last instant of a day.
TIMES = ["2024-01-01 00:00", "2024-03-31 02:30:00.123456", "2024-03-31 23:59:59", "1969-12-31 23:59:59.999999"]


@pytest.fixture(scope="module")
def times() -> pd.DataFrame:
    naive = pd.to_datetime(pd.Series(TIMES), format="ISO8601").astype("datetime64[us]")
    micros = naive.astype("int64")
    return pd.DataFrame(
        {
            "user": [1, 1, 2, 3],
            "naive": naive,
            "instant": naive.dt.tz_localize("UTC"),
            "text": TIMES,
            "day": naive.dt.date,
            "us": micros,
            "s": micros // 1_000_000,
            "fraction": micros / 1e6,
            "nothing": [None, None, None, None],
        }
    ).astype({"nothing": "str"})


@pytest.fixture
def berlin(spark):
    """The session in another zone, as long as a test lasts."""
    spark.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    yield spark
    spark.conf.set("spark.sql.session.timeZone", "UTC")


@pytest.mark.parametrize(
    ("time", "asked"),
    [
        ("naive", {}),
        ("instant", {"timezone": "UTC"}),
        ("instant", {"timezone": "America/New_York"}),
        ("text", {}),
        ("day", {}),
        ("us", {"time_unit": "us", "timezone": "Europe/Berlin"}),
        ("s", {"time_unit": "s"}),
        ("fraction", {"time_unit": "s"}),
    ],
)
def test_times_are_read_as_here_in_a_session_of_any_zone(berlin, as_frame, times, time, asked):
    """The frame is read in Berlin's session, whose clock has a gap where one of the times is."""
    there = read_events(as_frame(times), time=time, now="2024-06-01", **asked)
    here = read_events(times, time=time, now="2024-06-01", **asked)
    assert (there.span, there.end, len(there)) == (here.span, here.end, len(here))
    found = summarize(there, at="2024-04-02", activity="event").to_history()
    assert found == summarize(here, at="2024-04-02", activity="event")


def test_instants_need_a_zone_where_the_sessions_is_not_utc(berlin, as_frame, times):
    with pytest.raises(DataError, match=r"shows them in Europe/Berlin; say .*: timezone='Europe/Berlin', or"):
        read_events(as_frame(times), time="instant")


def test_the_end_of_the_log_leaves_the_future_aside(spark, as_frame, times):
    log = read_events(as_frame(times), time="naive", now="2024-02-01", kind="text", columns=["s"])
    assert str(log.end) == "2024-01-01 23:59:59.999999"
    assert log.kinds == tuple(sorted(TIMES))
    assert "events" in log._repr_html_()
    with pytest.raises(ValueError, match="unknown kind '2024-01-02'; did you mean"):
        log.known_kinds(["2024-01-02"])
    with pytest.raises(ValueError, match="unknown column 'us'"):
        summarize(log, at="2024-05-01", covariates=["us"])
    with pytest.raises(TypeError, match="takes a log that is here"):
        snapshots(log, cutoffs="2024-02-01", horizon="30d")
    with pytest.raises(DataError, match="no event up to the cutoff 1960-01-01"):
        summarize(log, at="1960-01-01")
    early = read_events(as_frame(times), time="naive", now="1950-01-01")
    with pytest.raises(DataError, match="every event is later than now"):
        _ = early.end


def test_bad_rows_are_refused_in_the_same_words(spark, as_frame):
    bad = pd.DataFrame(
        {
            "who": ["a", " ", None, "b", "c"],
            "when": ["2024-01-01", "2024-02-30", "03/04/2024", None, "2024-01-01 10:00+02:00"],
            "what": ["view", "", "view", "bye", "buy"],
        }
    )
    with pytest.raises(DataError) as told:
        read_events(as_frame(bad), user="who", time="when", kind="what", kinds=["view", "buy"])
    lines = str(told.value).splitlines()
    assert [line.split(";")[0] for line in lines] == [
        "events: column 'who' has 2 missing values (empty, blank or NaN)",
        "column 'when' has 1 missing values",
        "column 'when' has 3 values that are not a point in time (such as '03/04/2024')",
        "column 'what' has 1 missing values (empty or blank)",
        "column 'what' has 1 values that are not among kinds= (such as 'bye')",
    ]
    assert "write times as '2024-01-31 14:05:00' (ISO 8601) or parse them before" in lines[2]
    numbers = pd.DataFrame({"user": [1.0, np.nan], "time": [np.nan, 1e300]})
    with pytest.raises(DataError) as told:
        read_events(as_frame(numbers), time_unit="s")
    for words in ("'user' has 1 missing", "'time' has 1 missing", "'time' has 1 values that are not a point in time"):
        assert words in str(told.value)


def test_what_cannot_be_read_or_asked(spark, as_frame, times, tmp_path):
    frame = as_frame(times)
    with pytest.raises(ValueError, match=r"unknown column for user= 'usr'; did you mean 'user'"):
        read_events(frame, user="usr", time="naive")
    with pytest.raises(DataError, match=r"column 'us' holds bigint, and numbers alone do not tell their unit"):
        read_events(frame, time="us")
    with pytest.raises(ValueError, match="for times that are numbers, and these are timestamp_ntz"):
        read_events(frame, time="naive", time_unit="s")
    with pytest.raises(ValueError, match="unknown time_unit 'week'"):
        read_events(frame, time="us", time_unit="week")
    with pytest.raises(DataError, match="the column of times holds boolean"):
        read_events(frame.selectExpr("user", "true AS time"))
    with pytest.raises(DataError, match="holds no rows; expected at least one row"):
        read_events(frame.limit(0), time="naive")
    with pytest.raises(ValueError, match="amount= is for features, which are not computed on Spark"):
        read_events(frame, time="naive", amount="s")
    with pytest.raises(DataError, match="cannot be read by Spark as Parquet"):
        read_events(tmp_path / "nothing", engine="spark")
    with pytest.raises(TypeError, match="takes a Spark frame or the address of Parquet files, not DataFrame"):
        read_events(times, time="naive", engine="spark")


def test_a_missing_group_is_told_when_the_row_is_computed(spark, as_frame, times):
    history = summarize(read_events(as_frame(times), time="naive", columns=["nothing"]), group="nothing")
    with pytest.raises(Exception, match=r"column 'nothing' is missing at the acquisition of users \(such as"):
        history.to_history()


def test_an_engine_that_is_not_known():
    with pytest.raises(ValueError, match="unknown engine 'spak'; did you mean 'spark'"):
        read_events("events.parquet", engine="spak")
    assert not is_spark_frame(pd.DataFrame())


def test_without_pyspark_the_extra_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "pyspark" else find(name))
    with pytest.raises(MissingExtraError, match=r"install bayesdecay\[spark\], or use engine='duckdb'"):
        read_events(f"{uuid.uuid4()}.parquet", engine="spark")
