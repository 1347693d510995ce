from __future__ import annotations

import datetime as dt
import decimal
import uuid
from itertools import pairwise

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.data import reduction
from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.reduction import history_columns, reduced

DAY = 86_400_000_000
IDS = {
    "BOOLEAN": [False, True],
    "DATE": [dt.date(2024, 1, 1), dt.date(2024, 1, 2)],
    "DECIMAL(9, 2)": [decimal.Decimal("1.50"), decimal.Decimal("2.50")],
    "DOUBLE": [1.5, 2.5],
    "BLOB": [b"a", b"b"],
    "UUID": [uuid.UUID(int=1), uuid.UUID(int=2)],
    "VARCHAR": ["a", "b"],
    "UTINYINT": [1, 2],
}


def batches(users: list[int], began: list[int], cuts: list[int]) -> list[pa.RecordBatch]:
    whole = pa.record_batch({"user": users, "began": pa.array(began, pa.timestamp("us"))})
    edges = [0, *sorted(cut % (len(users) + 1) for cut in cuts), len(users)]
    return [whole.slice(a, b - a) for a, b in pairwise(edges)]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(-20, 20)), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 1_000), max_size=12),
    most=st.integers(1, 10),
)
def test_where_the_stream_is_cut_does_not_matter(rows, cuts, most):
    users, began = map(list, zip(*sorted(rows), strict=True))
    [whole] = reduced(batches(users, began, []), gap=1, end=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "_ROWS", most)
        parts = list(reduced(batches(users, began, cuts), gap=1, end=20))
    assert pa.concat_tables(parts) == whole
    assert whole["user"].to_pylist() == sorted(set(users))


def test_no_visits_are_no_rows():
    assert list(reduced([], gap=0, end=0)) == []


def test_sums_beyond_64_bits_are_rounded_once():
    rng = np.random.default_rng(1)
    opened = np.sort(rng.integers(0, 2**55, 3_000))
    sizes = np.array([1_000, 2_000])
    table = history_columns(
        pa.array([1, 2]),
        opened=np.concatenate([opened[:1_000], opened[1_000:]]),
        counts=sizes,
        last_event=opened[[999, 2_999]],
        end=2**55,
    )
    exact = [sum(int(t) - int(own[0]) for t in own) for own in (opened[:1_000], opened[1_000:])]
    assert max(exact) > 2**63
    assert table["sum_times"].to_pylist() == [float(total) / DAY for total in exact]


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_any_type_are_told_apart(kind):
    with duckdb.connect() as connection:
        connection.execute(f'CREATE TABLE log ("user" {kind}, "time" TIMESTAMP)')
        rows = [(user, dt.datetime(2024, 1, 1 + day)) for user in reversed(IDS[kind]) for day in (0, 2)]
        connection.executemany("INSERT INTO log VALUES (?, ?)", rows)
        history = summarize(read_events(connection.table("log")), at="2024-01-05")
    assert history.table["user"].to_pylist() == IDS[kind]
    assert history.table["times"].to_pylist() == [[2 * DAY], [2 * DAY]]


@pytest.mark.parametrize("start", ["1969-12-31 23:50", "1970-01-01 00:00", "2024-03-01 12:34:56.789"])
@pytest.mark.parametrize("gap", ["1us", "7min", "30min", "960h"])
def test_a_session_goes_on_for_exactly_its_gap(start, gap):
    pause = pd.Timedelta(gap)
    times = pd.Timestamp(start) + pause * np.array([0, 1, 2, 3])
    late = times + np.arange(4) * pd.Timedelta("1us")
    frame = pd.DataFrame({"user": ["on"] * 4 + ["off"] * 4, "time": [*times, *late]})
    history = summarize(read_events(frame), at=frame["time"].max(), activity="session", session_gap=pause)
    assert history.table.select(["user", "n"]).to_pylist() == [{"user": "off", "n": 3}, {"user": "on", "n": 0}]
