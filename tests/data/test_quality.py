from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.quality import QUALITY_RULES, refusal, rules_table
from bayesdecay.errors import DataError

TIMES = pd.date_range("2024-01-01", periods=8)


def refused(message: str, frame: object, **told: object) -> None:
    with pytest.raises(DataError, match=f"^events: .*{re.escape(message)}"):
        read_events(frame, **told)


def frame(**columns: object) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"user": np.arange(size), "time": TIMES[:size], **columns})


def test_every_rule_has_an_answer_and_a_remedy():
    table = rules_table()
    assert set(table["answer"]) == {"refused", "kept and counted"}
    assert len(table) == len(QUALITY_RULES)
    assert (table[["what", "remedy"]].map(len) > 0).all(axis=None)


def test_a_refusal_names_column_count_first_rows_and_remedy():
    assert refusal("missing_time", "when", 3, [4, 9, 17]) == (
        "column 'when' has 3 missing values (rows 4, 9, 17); drop these rows, or fill in their time"
    )
    assert "(rows 0: 'x', ...)" in refusal("unreadable_time", "when", 2_000, [0], ["x"])


@pytest.mark.parametrize(
    "users",
    [
        ["a", None, "b", "", "  "],
        [1.0, np.nan, 2.0, None, np.nan],
        pd.Categorical(["a", None, "b", None, None]),
        pd.array([1, None, 2, None, None], dtype="Int64"),
        [b"a", None, b"b", None, None],
    ],
)
def test_missing_users(users):
    refused("column 'user' has 3 missing values (empty, blank or NaN) (rows 1, 3, 4); drop", frame(user=users))


def test_nan_that_is_no_null_is_missing_too():
    table = pa.table({"user": [1.0, float("nan")], "time": TIMES[:2]})
    refused("column 'user' has 1 missing values (empty, blank or NaN) (rows 1)", table)
    refused("column 'user' has 1 missing values (empty, blank or NaN) (rows 1)", pl.from_arrow(table))


def test_first_five_rows_are_listed(tmp_path):
    table = frame(user=[None, "a", None, None, None, None, None, None])
    message = "has 7 missing values (empty, blank or NaN) (rows 0, 2, 3, 4, 5, ...)"
    refused(message, table)
    table.to_csv(tmp_path / "log.csv", index=False)
    table.to_parquet(tmp_path / "log.parquet")
    refused(message, tmp_path / "log.csv")
    refused(message, tmp_path / "log.parquet")


def test_rows_are_counted_through_a_large_file_in_order(tmp_path):
    size = 300_000
    users = pd.Series(np.arange(size)).astype("Int64")
    users[[150_000, 299_999]] = pd.NA
    path = tmp_path / "log.parquet"
    pd.DataFrame({"id": users, "time": TIMES[0]}).to_parquet(path, row_group_size=10_000)
    refused("column 'id' has 2 missing values (empty, blank or NaN) (rows 150000, 299999)", path, user="id")


def test_missing_times():
    refused("column 'time' has 2 missing values (rows 0, 2)", frame(time=[None, TIMES[0], None]))
    refused("column 'time' has 2 missing values (rows 0, 2)", frame(time=["", "2024-01-01", None]))
    refused("column 'time' has 1 missing values (rows 1)", frame(time=[1.0, np.nan]), time_unit="s")
    refused("column 'time' has 2 missing values", frame(time=[None, None]))


@pytest.mark.parametrize("bad", ["31/01/2024", "2024-02-30", "20240131", "yesterday", "infinity", "2024-01-31 25:00"])
def test_text_that_is_no_time(bad):
    refused(
        f"column 'time' has 1 values that are not a point in time (rows 1: '{bad}'); write times as",
        frame(time=["2024-01-01", bad]),
    )


def test_numbers_that_are_no_time():
    refused("has 1 values that are not a point in time (rows 1: 'inf')", frame(time=[1.0, np.inf]), time_unit="s")
    refused("has 1 values that are not a point in time", frame(time=[1, 2**62]), time_unit="s")
    refused("column 'time' has 2 numbers, and numbers alone do not tell their unit (rows 0: '5'", frame(time=[5, 6]))
    refused("say what they count since 1970: time_unit='s'", frame(time=[5.0, np.nan]))


def test_types_that_hold_no_times_or_amounts():
    refused("the column of times holds BOOLEAN; expected timestamps", frame(time=[True, False]))
    refused("the column of times holds BIGINT[]", pa.table({"user": [1], "time": [[1]]}))
    refused("column 'amount' of amounts holds BOOLEAN; expected numbers", frame(amount=[True]), amount="amount")


def test_offsets_that_differ_need_a_zone():
    summer = frame(time=["2024-01-01 00:00+01:00", "2024-07-01 00:00+02:00", "2024-01-02 00:00+0100"])
    refused(
        "column 'time' has 1 times with another offset from UTC than the rest (rows 1: '2024-07-01 00:00+02:00'); "
        "give timezone='Europe/Berlin'",
        summer,
    )
    log = read_events(summer, timezone="Europe/Berlin")
    assert log.query("SELECT max(time)::VARCHAR FROM {log}").fetchall() == [("2024-07-01 00:00:00",)]


def test_offsets_that_are_partly_missing_are_refused_whatever_the_zone():
    partly = frame(time=["2024-01-01 00:00+01:00", "2024-01-02 00:00"])
    message = (
        "column 'time' has 1 times without an offset from UTC, while the rest have one (rows 1: '2024-01-02 00:00')"
    )
    refused(message, partly)
    refused(message, partly, timezone="Europe/Berlin")
    same = frame(time=["2024-01-01 00:00Z", "2024-01-02 00:00+00", "2024-01-03 00:00 UTC"])
    assert len(read_events(same)) == 3


def test_objects_of_several_zones_are_refused():
    berlin = pd.Timestamp("2024-01-01", tz="Europe/Berlin")
    utc = pd.Timestamp("2024-01-01", tz="UTC")
    zones = frame(time=pd.Series([berlin, utc, berlin], dtype=object))
    refused("column 'time' has 1 times with another offset from UTC than the rest (rows 1: 'UTC')", zones)
    assert len(read_events(zones, timezone="UTC")) == 3
    partly = frame(time=pd.Series([berlin.to_pydatetime(), dt.datetime(2024, 1, 1), None], dtype=object))
    refused("column 'time' has 1 times without an offset from UTC, while the rest have one (rows 1: 'none')", partly)


@pytest.mark.parametrize("column", ["user", "time", "kind", "amount"])
def test_objects_of_several_types_are_refused(column):
    mixed = frame(kind=["a", "b", "c"], amount=[1, 2, 3])
    mixed[column] = pd.Series([mixed[column][0], mixed[column][1], {"odd": 1}], dtype=object)
    refused(
        f"column '{column}' has 1 values of another type than the rest (rows 2: 'dict'); bring the column to one type",
        mixed,
        kind="kind",
        amount="amount",
    )


def test_numbers_among_text_ids_are_refused():
    refused("column 'user' has 1 values of another type than the rest (rows 1: 'int')", frame(user=["a", 1, "b"]))


def test_missing_and_unknown_kinds():
    kinds = frame(kind=["view", None, " ", "purchse"])
    refused("column 'kind' has 2 missing values (empty or blank) (rows 1, 2)", kinds, kind="kind")
    known = kinds.assign(kind=["view", "purchse", "view", "purchase"])
    message = "column 'kind' has 1 values that are not among kinds= (rows 1: 'purchse')"
    refused(message, known, kind="kind", kinds=["view", "purchase"])
    with pytest.raises(DataError, match="unknown kind 'purchse'; did you mean 'purchase'"):
        read_events(known, kind="kind", kinds=["view", "purchase"])
    assert read_events(known, kind="kind").kinds == ("purchase", "purchse", "view")


def test_amounts_that_are_no_finite_numbers():
    refused(
        "column 'amount' has 2 values that are not finite numbers (rows 0: '12 EUR', 2: '1,5')",
        frame(amount=["12 EUR", "3.5", "1,5", None]),
        amount="amount",
    )
    refused(
        "column 'amount' has 1 values that are not finite numbers (rows 1: 'inf')",
        frame(amount=[1, np.inf]),
        amount="amount",
    )


def test_all_that_is_wrong_is_told_at_once():
    bad = frame(user=["a", None], time=["2024-01-01", "soon"], amount=["x", "1"])
    with pytest.raises(DataError) as caught:
        read_events(bad, amount="amount")
    assert [line.split(" has")[0] for line in str(caught.value).splitlines()] == [
        "events: column 'user'",
        "column 'time'",
        "column 'amount'",
    ]


def test_empty_logs(tmp_path):
    empty = frame(amount=[1.0]).iloc[:0]
    empty.to_csv(tmp_path / "log.csv", index=False)
    empty.to_parquet(tmp_path / "log.parquet")
    for source in (empty, pl.from_pandas(empty), tmp_path / "log.csv", tmp_path / "log.parquet"):
        with pytest.raises(DataError, match="holds no rows; expected at least one row"):
            read_events(source, amount="amount")
    with pytest.raises(DataError, match="holds no rows"):
        read_events(frame(time=[1]).iloc[:0])
    (tmp_path / "nothing.csv").write_text("")
    with pytest.raises((DataError, ValueError)):
        read_events(tmp_path / "nothing.csv")


def test_what_is_kept_is_counted_and_printed():
    log = read_events(
        pd.DataFrame(
            {
                "user": [1, 1, 1, 2, 2, 3],
                "time": pd.to_datetime(["2024-01-01"] * 3 + ["2024-01-02"] * 2 + ["2030-01-01"]),
                "amount": [5.0, 5.0, 5.0, 0.0, -1.0, np.nan],
            }
        ),
        amount="amount",
        now="2025-01-01",
    )
    quality = log.quality
    assert quality.counts == {
        "duplicates": 2,
        "crowded_day": 0,
        "future": 1,
        "zero_amount": 1,
        "negative_amount": 1,
        "missing_amount": 1,
    }
    assert (quality.n_rows, quality.n_users) == (6, 3)
    table = quality.table().set_index("rule")
    assert table.loc["duplicates", "share"] == pytest.approx(2 / 6)
    assert re.search(r"rows with a negative amount \(returned goods\?\) +1 \(16\.7%\) kept", str(quality))
    assert "2024-01-01 to 2030-01-01 (2,193 days)" in quality._repr_html_()


def test_duplicates_are_equal_in_every_column_read():
    same = frame(item=["x", "x", "y"]).assign(user=1, time=TIMES[0])
    assert read_events(same).quality.counts["duplicates"] == 2
    assert read_events(same, columns=["item"]).quality.counts["duplicates"] == 1
    assert "zero_amount" not in read_events(same).quality.counts


def test_the_summary_reads_easily():
    days = pd.to_datetime(["2024-01-01"] * 2 + ["2024-03-01"] * 1_999)
    quality = read_events(
        pd.DataFrame({"user": range(2_001), "time": days, "amount": [0.0] + [1.0] * 2_000}), amount="amount"
    ).quality
    assert quality.facts()["events"] == "2,001"
    assert quality.facts()["span"] == "2024-01-01 to 2024-03-01 (61 days)"
    assert quality.facts()["rows with an amount of zero"].startswith("1 (below 0.1%) kept")
    instants = pd.to_datetime(["2024-01-01 09:30:01.123456", "2024-01-01 17:00:00"], format="ISO8601")
    log = read_events(pd.DataFrame({"user": [1, 2], "time": instants}))
    assert log.quality.facts()["span"] == "2024-01-01 09:30:01 to 2024-01-01 17:00:00 (1 day)"
    assert "2024-01-01 09:30:01 to 2024-01-01 17:00:00 (1 day)" in log._repr_html_()
