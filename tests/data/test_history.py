from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.data.events import Events, read_events
from bayesdecay.data.history import Block, History, summarize
from bayesdecay.errors import DataError
from bayesdecay.units import cutoff_instant
from tests.data import logs

UNITS = ("day", "session", "event")
MICROSECOND = pd.Timedelta(microseconds=1)
DAY = pd.Timedelta(days=1)
SHARED = Path(os.environ.get("BAYESDECAY_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def shop() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user": ["b", "a", "a", "a", "a", "c"],
            "time": pd.to_datetime(
                [
                    "2024-01-03 12:00",
                    "2024-01-01 23:50",
                    "2024-01-02 00:10",
                    "2024-01-02 00:10",
                    "2024-01-05 08:00",
                    "2024-02-01 00:00",
                ]
            ),
            "kind": ["buy", "view", "view", "buy", "view", "view"],
            "country": ["de", "fr", "fr", "it", "it", "es"],
            "age": [30, 40, 41, 42, 43, 50],
        }
    )


def test_days_sessions_and_events_of_one_user(shop):
    log = read_events(shop)
    by_unit = {unit: summarize(log, at="2024-01-07", activity=unit).to_pandas().set_index("user") for unit in UNITS}
    assert [by_unit[unit].loc["a", "n"] for unit in UNITS] == [2, 1, 2]
    assert [by_unit[unit].loc["a", "first"] for unit in UNITS] == [
        pd.Timestamp("2024-01-01"),
        pd.Timestamp("2024-01-01 23:50"),
        pd.Timestamp("2024-01-01 23:50"),
    ]
    assert by_unit["day"].loc["a", "T"] == 6
    assert by_unit["day"].loc["a", "sum_times"] == 1 + 4
    until = pd.Timestamp("2024-01-08") - MICROSECOND - pd.Timestamp("2024-01-01 23:50")
    assert by_unit["event"].loc["a", "T"] == until / DAY
    assert by_unit["event"].loc["a", "times"].tolist() == [20 * 60_000_000, (80 * 60 + 10) * 60_000_000]
    assert by_unit["session"].loc["a", "last_event"] == pd.Timestamp("2024-01-05 08:00")
    assert list(by_unit["day"].index) == ["a", "b"]


@settings(max_examples=40, deadline=None)
@given(activity=st.sampled_from(UNITS), drawn=logs.rows, step=logs.steps, gap=st.sampled_from([1, 6, 30]))
def test_summarize_is_the_plain_definition(activity, drawn, step, gap):
    at = logs.START + step * logs.STEP + pd.Timedelta(seconds=1)
    seen = logs.frame(drawn).query("time <= @at")
    if seen.empty:
        with pytest.raises(DataError, match="no event up to the cutoff"):
            summarize(logs.log(drawn), at=at, activity=activity)
        return
    table = summarize(logs.log(drawn), at=at, activity=activity, session_gap=gap * logs.STEP).to_pandas()
    end = at.normalize() if activity == "day" else at
    assert table["user"].tolist() == sorted(seen["user"].unique())
    for row in table.itertuples():
        times = seen.loc[seen["user"] == row.user, "time"].tolist()
        expected = logs.activities(times, activity, gap * logs.STEP)
        since = [(time - expected[0]) // MICROSECOND for time in expected[1:]]
        assert (row.n, row.first, row.last, row.last_event) == (len(since), expected[0], expected[-1], max(times))
        assert row.times.tolist() == since
        assert (end - expected[0]) / DAY == row.T
        assert row.sum_times == sum(since) / 86_400_000_000


@pytest.mark.parametrize("share", [0.0, 1e9])
@settings(max_examples=20, deadline=None)
@given(drawn=logs.rows)
def test_days_are_the_same_put_together_first_or_sorted_as_they_are(share, drawn):
    whole = summarize(logs.log(drawn))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesdecay.data.history._CROWDED", share)
        assert summarize(logs.log(drawn)) == whole


@pytest.mark.parametrize(("events", "sql"), [(1, "AS ended"), (5, "max(")])
def test_crowded_days_are_put_together(monkeypatch, events, sql):
    asked, query = [], Events.query
    monkeypatch.setattr(Events, "query", lambda log, sql: (asked.append(sql), query(log, sql))[1])
    hours = pd.to_timedelta(np.tile(np.arange(events), 1_000), unit="h")
    frame = pd.DataFrame({"user": np.repeat(np.arange(1_000), events), "time": pd.Timestamp("2024-01-01") + hours})
    history = summarize(read_events(frame))
    assert history.table["last_event"].to_pylist() == [frame["time"].max()] * 1_000
    assert sql in asked[-1]


def test_nothing_after_the_cutoff_is_seen_and_a_date_sees_its_whole_day(shop):
    log = read_events(shop)
    early = summarize(log, at="2024-01-02")
    assert early.table["user"].to_pylist() == ["a"]
    assert early.at == pd.Timestamp("2024-01-03") - MICROSECOND
    assert summarize(log, at="2024-01-02 00:05").table["n"].to_pylist() == [0]
    assert summarize(log).at == cutoff_instant("2024-02-01")
    with pytest.raises(DataError, match="the log starts at 2024-01-01 23:50:00"):
        summarize(log, at="2023-12-31")


def test_default_cutoff_leaves_the_future_aside(shop):
    log = read_events(shop, now="2024-01-10")
    assert log.quality.counts["future"] == 1
    assert summarize(log).at == cutoff_instant("2024-01-05")
    everything_ahead = read_events(shop, now="2023-01-01")
    with pytest.raises(DataError, match="every event is later than now"):
        summarize(everything_ahead)
    assert len(summarize(everything_ahead, at="2024-02-01")) == 3


def test_kinds_count_only_if_they_are_in_the_log(shop):
    log = read_events(shop, kind="kind")
    bought = summarize(log, kinds=["buy"])
    assert bought.table["user"].to_pylist() == ["a", "b"]
    assert bought.kinds == ("buy",)
    with pytest.raises(ValueError, match="unknown kind 'buys'; did you mean 'buy'"):
        summarize(log, kinds=["buys"])
    with pytest.raises(TypeError, match=r"kinds is a list; write \['buy'\]"):
        summarize(log, kinds="buy")
    with pytest.raises(ValueError, match="kinds is empty"):
        summarize(log, kinds=[])
    with pytest.raises(ValueError, match="read without kinds"):
        summarize(read_events(shop), kinds=["buy"])


def test_group_and_covariates_are_those_of_the_acquisition(shop):
    log = read_events(shop, columns=["country", "age"])
    history = summarize(log, group="country", covariates=["age"])
    assert history.table["group"].to_pylist() == ["fr", "de", "es"]
    assert history.table["age"].to_pylist() == [40.0, 30.0, 50.0]
    block = next(history.blocks())
    assert block.group.tolist() == ["fr", "de", "es"]
    np.testing.assert_array_equal(block.covariates["age"], [40.0, 30.0, 50.0])


def test_rows_that_tie_at_the_acquisition_do_not_depend_on_their_order():
    frame = pd.DataFrame({"user": 1, "time": pd.Timestamp("2024-01-01"), "g": ["b", None, "a"], "x": [3, 1, 2]})
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        history = summarize(read_events(frame.iloc[order], columns=["g", "x"]), group="g", covariates=["x"])
        assert history.table.select(["group", "x"]).to_pylist() == [{"group": "a", "x": 1.0}]


def test_group_and_covariates_must_be_known(shop):
    shop.loc[shop["user"] == "b", "country"] = None
    log = read_events(shop, columns=["country", "age"])
    with pytest.raises(DataError, match=r"'country' is missing at the acquisition of 1 users .such as 'b'"):
        summarize(log, group="country")
    with pytest.raises(DataError, match="'country' is missing or not a finite number at the acquisition of 3 users"):
        summarize(log, covariates=["country"])
    with pytest.raises(ValueError, match=r"unknown column 'agee'; did you mean 'age'.*columns=\['agee'\]"):
        summarize(log, covariates=["agee"])
    with pytest.raises(TypeError, match=r"write \['age'\]"):
        summarize(log, covariates="age")
    with pytest.raises(ValueError, match="covariates name a column twice: age, age; give each one once"):
        summarize(log, covariates=["age", "age"])


@pytest.mark.parametrize("name", ["t", "T", "N", "first", "times", "group", "weight", "_opened"])
def test_covariates_must_not_take_a_historys_names(shop, name):
    renamed = read_events(shop.rename(columns={"age": name}), columns=[name])
    with pytest.raises(ValueError, match=f"covariate '{name}' has the name of a history's own column .*; rename it"):
        summarize(renamed, covariates=[name])
    for own in ("user", "time"):
        with pytest.raises(ValueError, match=f"covariate '{own}' has the name of a history's own column '{own}'"):
            summarize(renamed, covariates=[own])


@pytest.mark.parametrize("name", ["x", "at", "began", "ended", "e", "value", "rate", 'two "words"'])
def test_covariates_may_have_the_names_inside_the_queries(shop, name):
    log = read_events(shop.rename(columns={"age": name}), columns=[name])
    history = summarize(log, covariates=[name])
    assert history.table[name].to_pylist() == [40.0, 30.0, 50.0]
    assert sorted(history.distinct()[0].covariates[name]) == [30.0, 40.0, 50.0]


def test_silence_beyond_the_log_is_told(shop):
    log = read_events(shop)  # 31 days, to 2024-02-01
    told = r"cutoff 2024-03-04 is 32 days after the log's last event, on 2024-02-01, .* take at='2024-02-01'"
    with pytest.warns(UserWarning, match=told):
        assert summarize(log, at="2024-03-04").table["T"].to_pylist()[-1] == 32.0
    summarize(log, at="2024-03-01")  # warnings are errors here
    years = pd.DataFrame({"user": [1, 1], "time": pd.to_datetime(["2020-01-01", "2024-01-01"])})
    summarize(read_events(years), at="2024-05-20")
    with pytest.warns(UserWarning, match="cutoff 2099-01-01 is 27,394 days after"):
        summarize(read_events(years), at="2099-01-01")


def test_a_session_needs_a_gap(shop):
    log = read_events(shop)
    with pytest.raises(ValueError, match=r"session_gap '0s' lets no session go on; .* take activity='event'"):
        summarize(log, activity="session", session_gap="0s")
    assert len(summarize(log, activity="event", session_gap="0s")) == 3


def test_arguments_are_checked(shop):
    with pytest.raises(TypeError, match="takes a log that read_events has checked, not DataFrame"):
        summarize(shop)
    with pytest.raises(ValueError, match="unknown activity 'dya'; did you mean 'day'"):
        summarize(read_events(shop), activity="dya")


def test_blocks_hold_the_table_in_days(shop):
    history = summarize(read_events(shop), at="2024-02-03")
    blocks = list(history.blocks(size=2))
    assert [len(block) for block in blocks] == [2, 1]
    first, second = blocks
    assert isinstance(first, Block)
    assert first.user.to_pylist() == ["a", "b"]
    np.testing.assert_array_equal(first.n, [2, 0])
    np.testing.assert_array_equal(first.last, [4, 0])
    np.testing.assert_array_equal(first.times, [1, 4])
    np.testing.assert_array_equal(first.offsets, [0, 2, 2])
    np.testing.assert_array_equal(first.sum_times, [5, 0])
    np.testing.assert_array_equal(second.T, [2])
    assert (first.n.dtype, first.T.dtype, first.offsets.dtype) == (np.int64, np.float64, np.int64)
    assert first.group is None
    np.testing.assert_array_equal(np.concatenate([b.n for b in history.blocks(1)]), next(history.blocks()).n)


@settings(max_examples=10, deadline=None)
@given(drawn=logs.rows)
def test_distinct_rows_and_weights_hold_the_same_sums(drawn):
    history = summarize(logs.log(drawn))
    merged, weight = history.distinct()
    whole = next(history.blocks())
    assert weight.sum() == len(history)
    assert (weight @ merged.n, weight @ merged.T) == (whole.n.sum(), pytest.approx(whole.T.sum()))
    keys = [(t, *merged.times[a:b]) for t, a, b in zip(merged.T, merged.offsets, merged.offsets[1:], strict=False)]
    assert len(set(keys)) == len(keys)
    np.testing.assert_array_equal(merged.last, [key[-1] if len(key) > 1 else 0 for key in keys])


def test_distinct_keeps_groups_and_covariates_apart(shop):
    shop["time"] = pd.Timestamp("2024-01-01")
    history = summarize(read_events(shop, columns=["country"]), group="country")
    block, weight = history.distinct()
    assert sorted(block.group) == ["de", "es", "fr"]
    np.testing.assert_array_equal(weight, 1)


def test_select_keeps_the_order_given_and_names_strangers(shop):
    history = summarize(read_events(shop))
    assert history.select(["c", "a"]).table["user"].to_pylist() == ["c", "a"]
    assert history.select(pd.Series(["b"])).table.equals(history.table.slice(1, 1))
    assert len(history.select([])) == 0
    with pytest.raises(ValueError, match=r"1 users are not in the history .such as 'z'"):
        history.select(["a", "z"])
    with pytest.raises(TypeError, match="not of the log's type string"):
        history.select([1])


def test_parquet_brings_the_same_history_back(shop, tmp_path):
    log = read_events(shop, kind="kind", columns=["country", "age"])
    history = summarize(log, kinds=["view", "buy"], activity="session", group="country", covariates=["age"])
    back = History.from_parquet(history.to_parquet(tmp_path / "history.parquet"))
    assert back == history
    assert back.table.schema.equals(history.table.schema, check_metadata=True)
    assert [path.name for path in tmp_path.iterdir()] == ["history.parquet"]
    shop.to_parquet(tmp_path / "shop.parquet")
    with pytest.raises(DataError, match=r"is not a history; write one with History\.to_parquet"):
        History.from_parquet(tmp_path / "shop.parquet")


def test_table_has_the_types_of_the_contract(shop):
    schema = summarize(read_events(shop)).table.schema
    stamp = pa.timestamp("us")
    assert schema.types == [
        *(pa.string(), pa.int64(), stamp, stamp, stamp, pa.float64(), pa.float64()),
        pa.list_(pa.int64()),
    ]


def test_history_shows_itself(shop):
    html = summarize(read_events(shop, kind="kind"), kinds=["view"])._repr_html_()
    assert "day of view" in html
    assert "2024-02-01 23:59:59.999999" in html


@pytest.mark.skipif(not (SHARED / "cdnow").is_dir(), reason="CDNOW is not in the shared data folder")
def test_cdnow_is_the_cohort_of_the_literature():
    log = read_events(SHARED / "cdnow" / "events.parquet", user="user_id", time="timestamp", amount="amount")
    history = summarize(log, at="1997-09-30")
    block = next(history.blocks())
    assert (log.n_rows, log.n_users, len(history)) == (69_659, 23_570, 23_570)
    assert log.quality.counts["zero_amount"] == 80
    # Acquired from 1997-01-01 to 1997-03-25; the sums are those of the published customer-days.
    assert (block.T.max(), block.T.min()) == (272, 189)
    frame = log.query("SELECT DISTINCT user, time FROM {log} WHERE time < '1997-10-01'").to_arrow_table().to_pandas()
    assert block.n.sum() == len(frame) - 23_570
    since = (frame["time"] - frame.groupby("user")["time"].transform("min")) / DAY
    assert block.sum_times.sum() == since.sum()
    merged, weight = history.distinct()
    assert (weight.sum(), weight @ merged.n) == (23_570, block.n.sum())
    assert len(merged) < 9_000
