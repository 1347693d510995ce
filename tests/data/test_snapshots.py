from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bayesdecay.data.events import read_events
from bayesdecay.data.features import features
from bayesdecay.data.history import summarize
from bayesdecay.data.snapshots import snapshots
from bayesdecay.errors import DataError, LeakageError
from bayesdecay.units import cutoff_instant, days
from tests.data import logs

UNITS = ("day", "session", "event")
DAY = pd.Timedelta(days=1)
SHARED = Path(os.environ.get("BAYESDECAY_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        ("quiet", "2024-01-01 09:00", "view", "de"),
        ("quiet", "2024-01-03 10:00", "view", "fr"),
        ("back", "2024-01-02 00:00", "view", "it"),
        ("back", "2024-01-20 00:00", "buy", "es"),
        ("busy", "2024-01-09 12:00", "view", "de"),
        ("busy", "2024-01-10 23:59", "view", None),
        ("new", "2024-01-12 00:00", "view", "de"),
        ("last", "2024-02-10 00:00", "view", "de"),
    ]
    return pd.DataFrame(rows, columns=["user", "time", "kind", "country"]).astype({"time": "datetime64[us]"})


@pytest.fixture
def log(frame):
    return read_events(frame, kind="kind", columns=["country"])


def test_lapsed_users_their_features_and_what_became_of_them(log):
    taken = snapshots(
        log,
        cutoffs="2024-01-10",
        horizon="30d",
        lapsed_after="5d",
        features=["recency", "frequency", "tenure", "active_8d", "active_9d"],
    )
    assert taken.table.drop(columns="at").to_dict("list") == {
        "user": ["back", "quiet"],
        "recency": [8.0, 7.0],
        "frequency": [0.0, 1.0],
        "tenure": [8.0, 9.0],
        "active_8d": [0.0, 1.0],
        "active_9d": [1.0, 1.0],
        "returned": [True, False],
    }
    assert (taken.table["at"] == cutoff_instant("2024-01-10")).all()
    assert taken.table["returned"].dtype == "boolean"
    assert (taken.horizon, taken.lapsed_after, taken.observed_until) == (30, 5, cutoff_instant("2024-02-10"))


@pytest.mark.parametrize("everyone", [None, 0, "0d"])
def test_everyone_acquired_by_then_if_nobody_need_be_lapsed(log, everyone):
    taken = snapshots(log, cutoffs="2024-01-10", horizon="30d", lapsed_after=everyone)
    assert taken.table["user"].tolist() == ["back", "busy", "quiet"]
    assert taken.features == ("recency", "frequency", "tenure", "active_7d", "active_30d", "active_90d")


@pytest.mark.parametrize(
    ("cutoff", "horizon", "returned"),
    [
        ("2024-01-10", "9d", False),  # ends with 2024-01-19
        ("2024-01-10", "10d", True),
        ("2024-01-19", "1d", True),
        ("2024-01-10 00:00:01", "9d", False),
        ("2024-01-10 00:00:01", "10d", True),
        ("2024-01-20", "1d", False),  # the cutoff's own day is seen, and is no return
        ("2024-01-19 23:59:59.999999", 1 / 86_400_000_000, True),
    ],
)
def test_the_horizon_begins_after_the_cutoff(log, cutoff, horizon, returned):
    taken = snapshots(log, cutoffs=cutoff, horizon=horizon, lapsed_after=None)
    assert taken.table.set_index("user").loc["back", "returned"] == returned


def test_kinds_count_for_the_return_too(log):
    taken = snapshots(log, cutoffs="2024-01-10", horizon="20d", lapsed_after="5d", kinds=["view"])
    assert taken.table["returned"].tolist() == [False, False]
    assert taken.histories[cutoff_instant("2024-01-10")].kinds == ("view",)


def test_outcomes_that_are_not_wholly_observed_are_missing(log):
    taken = snapshots(log, cutoffs=["2024-01-10", "2024-01-12"], horizon="30d", lapsed_after=None)
    missing = taken.table.groupby("at")["returned"].apply(lambda y: y.isna().all())
    assert missing.tolist() == [False, True]
    limited = snapshots(log, cutoffs="2024-01-10", horizon="10d", lapsed_after=None, observed_until="2024-01-15")
    assert limited.table["returned"].isna().all()
    longer = snapshots(log, cutoffs="2024-02-20", horizon="10d", lapsed_after=None, observed_until="2024-03-01")
    assert longer.table["returned"].tolist() == [False] * 5


def test_training_on_a_horizon_that_is_not_observed_is_leakage(log):
    taken = snapshots(log, cutoffs=["2024-01-10", "2024-01-12"], horizon="30d")
    with pytest.raises(
        LeakageError, match=r"of 30d after the cutoffs 2024-01-12 .* learn from cutoffs up to 2024-01-11"
    ):
        taken.training()
    held_out = snapshots(log, cutoffs="2024-01-10", horizon="30d", observed_until="2024-01-31")
    with pytest.raises(LeakageError, match=r"reaches beyond 2024-01-31 23:59:59.999999"):
        held_out.training()
    known = snapshots(log, cutoffs="2024-01-11", horizon="30d")
    assert known.training() is known


def test_a_cutoff_beyond_what_is_observed_is_leakage(log):
    with pytest.raises(LeakageError, match=r"the cutoff 2024-02-11 .* lies beyond 2024-02-10 23:59:59.999999"):
        snapshots(log, cutoffs=["2024-01-10", "2024-02-11"], horizon="1d")
    with pytest.raises(LeakageError, match="lies beyond 2024-01-15"):
        snapshots(log, cutoffs="2024-01-20", horizon="1d", observed_until="2024-01-15")
    assert len(snapshots(log, cutoffs="2024-02-10", horizon="1d", lapsed_after=None)) == 5


def test_histories_hold_the_users_of_the_table_in_their_order(log):
    taken = snapshots(log, cutoffs=["2024-01-15", "2024-01-10"], horizon="3d", lapsed_after="5d", group="country")
    assert list(taken.histories) == [cutoff_instant("2024-01-10"), cutoff_instant("2024-01-15")]
    for at, history in taken.histories.items():
        rows = taken.table[taken.table["at"] == at]
        assert history.table["user"].to_pylist() == rows["user"].tolist()
        assert history == summarize(log, at=at, group="country").select(rows["user"])
        np.testing.assert_array_equal(features(history)["recency"], rows["recency"])
    assert taken.table["at"].is_monotonic_increasing


def test_columns_of_the_log_are_the_last_known_by_then(log):
    early = snapshots(log, cutoffs="2024-01-10", horizon="1d", lapsed_after=None, columns=["country"]).table
    late = snapshots(log, cutoffs="2024-01-20", horizon="1d", lapsed_after=None, columns=["country"]).table
    assert early.set_index("user")["country"].fillna("-").to_dict() == {"back": "it", "busy": "-", "quiet": "fr"}
    assert late.set_index("user").loc["back", "country"] == "es"


def test_nobody_lapsed_is_an_empty_table(log):
    told = {"horizon": "1d", "lapsed_after": "60d", "columns": ["country"]}
    taken = snapshots(log, cutoffs=["2024-01-10", "2024-01-20"], **told)
    assert len(taken) == 0
    assert taken.table["returned"].dtype == "boolean"
    assert "Snapshots" in taken._repr_html_()


events_after = st.lists(st.tuples(st.integers(0, 7), logs.steps), max_size=20)


@settings(max_examples=30, deadline=None)
@given(
    activity=st.sampled_from(UNITS),
    drawn=logs.rows,
    step=logs.steps,
    one=events_after,
    other=events_after,
    lapsed_after=st.sampled_from([None, "1d"]),
)
def test_events_after_the_cutoff_change_no_feature_and_no_history(activity, drawn, step, one, other, lapsed_after):
    """Whatever happens after the cutoff, added, changed or removed, what was known at it stays as it was."""
    past = [row for row in drawn if row[1] <= step]
    assume(past)
    at = logs.START + step * logs.STEP + pd.Timedelta(seconds=1)
    seen = []
    for future in (one, other, []):
        rows = logs.frame(past + [(user, then) for user, then in future if then > step])
        rows["page"] = rows["time"].dt.strftime("%d %H:%M")
        taken = snapshots(
            read_events(rows, columns=["page"]),
            cutoffs=at,
            horizon="2d",
            lapsed_after=lapsed_after,
            activity=activity,
            columns=["page"],
            observed_until=logs.START + 20 * DAY,
        )
        seen.append((taken.table.drop(columns="returned"), taken.histories[at]))
        came = {user for user, then in future if at < logs.START + then * logs.STEP <= at + 2 * DAY}
        expected = taken.table["user"].isin(came)
        assert (taken.table["returned"] == expected).all()
    for table, history in seen[1:]:
        pd.testing.assert_frame_equal(table, seen[0][0])
        assert history == seen[0][1]


@settings(max_examples=15, deadline=None)
@given(activity=st.sampled_from(UNITS), drawn=logs.rows, step=logs.steps, window=st.sampled_from(["1d", "36h", "3d"]))
def test_trailing_windows_count_activities_of_the_window(activity, drawn, step, window):
    at = logs.START + step * logs.STEP + pd.Timedelta(seconds=1)
    assume(any(row[1] <= step for row in drawn))
    history = summarize(logs.log(drawn), at=at, activity=activity)
    end = at.normalize() if activity == "day" else at
    counted = features(history, [f"active_{window}"])[f"active_{window}"]
    for row, count in zip(history.to_pandas().itertuples(), counted, strict=True):
        times = [row.first, *(row.first + pd.to_timedelta(row.times, unit="us"))]
        assert count == sum((end - time) / DAY < days(window) for time in times)


@pytest.fixture
def brought() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user": ["quiet", "nobody", "back"],
            "as_of": pd.to_datetime(["2024-01-10", "2024-05-01", "2024-01-01"]),
            "score": [3, 4, 5],
            "plan": ["a", "b", "c"],
        }
    )


@pytest.mark.parametrize("library", [pd.DataFrame, pl.from_pandas])
def test_brought_features_are_matched_by_user(log, brought, library):
    taken = snapshots(log, cutoffs="2024-01-10", horizon="1d", lapsed_after=None, brought=library(brought))
    assert taken.columns == ("score", "plan")
    assert taken.table["score"].fillna(-1).tolist() == [5, -1, 3]
    assert taken.table["plan"].fillna("-").tolist() == ["c", "-", "a"]


def test_brought_features_from_after_the_cutoff_are_leakage(log, brought):
    told = {"horizon": "1d", "lapsed_after": None}
    with pytest.raises(LeakageError, match=r"1 rows were known only after the cutoff 2024-01-09.*\(rows 0; the latest"):
        snapshots(log, cutoffs=["2024-01-09", "2024-01-10"], brought=brought, **told)
    zoned = brought.assign(as_of=brought["as_of"].dt.tz_localize("Asia/Tokyo") + pd.Timedelta(hours=32))
    assert len(snapshots(log, cutoffs="2024-01-10", brought=zoned, **told)) == 3  # 23:00 in UTC
    with pytest.raises(LeakageError, match="known only after"):
        snapshots(log, cutoffs="2024-01-10", brought=zoned.assign(as_of=zoned["as_of"] + DAY), **told)


def test_brought_features_for_each_cutoff(log, brought):
    twice = pd.concat([brought.assign(at="2024-01-10"), brought.assign(at="2024-01-12", score=brought["score"] * 10)])
    taken = snapshots(log, cutoffs=["2024-01-10", "2024-01-12"], horizon="1d", lapsed_after="5d", brought=twice)
    assert taken.table["score"].tolist() == [5, 3, 50, 30]
    late = twice.assign(as_of=pd.Timestamp("2024-01-12"))
    with pytest.raises(LeakageError, match="2 rows were known only after the cutoff 2024-01-10"):
        snapshots(log, cutoffs=["2024-01-10", "2024-01-12"], horizon="1d", lapsed_after="5d", brought=late)


def test_brought_tables_that_cannot_be(log, brought):
    def take(table: object) -> None:
        snapshots(log, cutoffs="2024-01-10", horizon="1d", brought=table)

    with pytest.raises(ValueError, match="unknown column of the brought table: 'as_of'; did you mean 'as_off'"):
        take(brought.rename(columns={"as_of": "as_off"}))
    with pytest.raises(DataError, match=r"column 'as_of' has 1 missing values \(rows 1\)"):
        take(brought.assign(as_of=[pd.Timestamp("2024-01-01"), pd.NaT, pd.Timestamp("2024-01-01")]))
    with pytest.raises(DataError, match=r"3 rows repeat a user .* \(rows 3, 4, 5\); give one row a user"):
        take(pd.concat([brought, brought]))
    with pytest.raises(ValueError, match="column 'recency' has the name of another column"):
        take(brought.rename(columns={"score": "recency"}))
    with pytest.raises(TypeError, match="not of the log's type string"):
        take(brought.assign(user=[1, 2, 3]))
    with pytest.raises(TypeError):
        take({"user": [1]})


def test_arguments_are_checked(log):
    with pytest.raises(ValueError, match="one or several different cutoffs"):
        snapshots(log, cutoffs=[], horizon="1d")
    with pytest.raises(ValueError, match="one or several different cutoffs"):
        snapshots(log, cutoffs=["2024-01-10", "2024-01-10 23:59:59.999999"], horizon="1d")
    with pytest.raises(ValueError, match="unknown feature 'recentcy'; did you mean 'recency'"):
        snapshots(log, cutoffs="2024-01-10", horizon="1d", features=["recentcy"])
    with pytest.raises(ValueError, match="unknown column 'city'"):
        snapshots(log, cutoffs="2024-01-10", horizon="1d", columns=["city"])
    with pytest.raises(ValueError, match="different durations above zero"):
        snapshots(log, cutoffs="2024-01-10", horizon=0)
    with pytest.raises(DataError, match="no event up to the cutoff"):
        snapshots(log, cutoffs="2023-01-10", horizon="1d")


def test_snapshots_show_themselves(log):
    html = snapshots(log, cutoffs="2024-01-10", horizon="30d", lapsed_after="5d")._repr_html_()
    assert "1 (50.0%)" in html


@pytest.mark.skipif(not (SHARED / "cdnow").is_dir(), reason="CDNOW is not in the shared data folder")
def test_cdnow_snapshots_are_those_of_a_plain_count():
    log = read_events(SHARED / "cdnow" / "events.parquet", user="user_id", time="timestamp")
    taken = snapshots(log, cutoffs="1997-09-30", horizon="90d")
    events = log.query("SELECT user, time FROM {log}").to_arrow_table().to_pandas()
    past = events[events["time"] <= "1997-09-30"]
    last = past.groupby("user")["time"].max()
    lapsed = last[last <= pd.Timestamp("1997-09-30") - 60 * DAY].index
    assert taken.table["user"].tolist() == lapsed.tolist()
    window = events[(events["time"] > "1997-09-30") & (events["time"] <= pd.Timestamp("1997-09-30") + 90 * DAY)]
    assert taken.table["returned"].sum() == lapsed.isin(window["user"].unique()).sum()


def test_some_users_in_the_order_given(log):
    taken = snapshots(log, cutoffs="2024-01-10", horizon="30d", lapsed_after="5d", columns=["country"])
    some = taken.of_users(["quiet", "back"])
    assert some.table["user"].tolist() == ["quiet", "back"]
    assert some.table["country"].tolist() == ["fr", "it"]
    ((at, history),) = some.histories.items()
    assert (at, history.table["user"].to_pylist()) == (next(iter(taken.histories)), ["quiet", "back"])
    assert (some.horizon, some.features, len(some)) == (taken.horizon, taken.features, 2)
    assert len(taken.of_users([])) == 0
    assert len(taken) == 2


def test_users_who_cannot_be_chosen(log):
    taken = snapshots(log, cutoffs="2024-01-10", horizon="30d", lapsed_after="5d")
    with pytest.raises(ValueError, match=r"1 of 2 users are not in the snapshots, which hold .* were silent for 5d"):
        taken.of_users(["quiet", "busy"])
    two = snapshots(log, cutoffs=["2024-01-10", "2024-01-12"], horizon="5d")
    with pytest.raises(ValueError, match="users are chosen at one cutoff, got 2 cutoffs"):
        two.of_users(["quiet"])
