from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bayesdecay.data import reduction
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, HistoryFile, summarize, summarize_to
from bayesdecay.errors import DataError

AT = "2024-03-01"


@pytest.fixture
def log():
    rng = np.random.default_rng(1)
    user = rng.integers(0, 100, 600)
    days = pd.to_timedelta(rng.uniform(0, 60, 600), unit="D")
    return read_events(
        pd.DataFrame({"user": user, "time": pd.Timestamp("2024-01-01") + days, "kind": "k", "g": "x", "v": user}),
        kind="kind",
        columns=["g", "v"],
    )


@pytest.mark.parametrize("most", [50, 1_000_000])
def test_a_history_written_in_parts_is_the_history(log, tmp_path, monkeypatch, most):
    told = {"at": AT, "activity": "session", "kinds": ["k"], "group": "g", "covariates": ["v"]}
    whole = summarize(log, **told)
    monkeypatch.setattr(reduction, "_ROWS", most)
    file = summarize_to(tmp_path / "history.parquet", log, **told)
    assert History.from_parquet(tmp_path / "history.parquet") == whole
    assert summarize(log, **told) == whole
    assert whole.table["v"].to_pylist() == whole.table["user"].to_pylist()
    assert (len(file), file.at, file.activity, file.head.group) == (len(whole), whole.at, "session", "g")
    assert [path.name for path in tmp_path.iterdir()] == ["history.parquet"]


@pytest.mark.parametrize("size", [1, 7, 99, 100, 101, 1_000])
def test_parts_and_blocks_are_those_of_the_history(log, tmp_path, size):
    whole = summarize(log, at=AT)
    file = HistoryFile.open(whole.to_parquet(tmp_path / "history.parquet"))
    parts = list(file.parts(size))
    assert [len(part) for part in parts] == [len(block) for block in whole.blocks(size)]
    assert whole.over(pa.concat_tables([part.table for part in parts])) == whole
    for own, block in zip(file.blocks(size), whole.blocks(size), strict=True):
        assert own.user.equals(block.user)
        np.testing.assert_array_equal(own.times, block.times)
        np.testing.assert_array_equal(own.offsets, block.offsets)


def test_no_users_are_one_empty_block(log, tmp_path):
    nobody = summarize(log, at=AT).select([])
    file = HistoryFile.open(nobody.to_parquet(tmp_path / "history.parquet"))
    assert [len(block) for block in nobody.blocks()] == [len(block) for block in file.blocks()] == [0]


def test_what_is_no_history_is_refused_and_nothing_is_left(log, tmp_path):
    with pytest.raises(FileNotFoundError, match="no history at"):
        HistoryFile.open(tmp_path / "none.parquet")
    log.query("SELECT * FROM {log}").to_arrow_table().to_pandas().to_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match="is not a history"):
        HistoryFile.open(tmp_path / "log.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(DataError, match="cannot be read as a history"):
        HistoryFile.open(tmp_path / "text.parquet")
    with pytest.raises(DataError, match="no event up to the cutoff"):
        summarize_to(tmp_path / "history.parquet", log, at="2023-01-01")
    assert not (tmp_path / "history.parquet").exists()
