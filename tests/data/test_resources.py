from __future__ import annotations

import gc

import duckdb
import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.resources import Resources
from bayesdecay.errors import MissingExtraError


def setting(resources: Resources, name: str) -> object:
    with resources.open() as connection:
        return connection.execute("SELECT current_setting(?)", [name]).fetchall()[0][0]


@pytest.fixture
def big(tmp_path):
    """A log of three million events of half as many users, which does not fit into 40 MB."""
    path = tmp_path / "log.parquet"
    rows = """SELECT (i * 7919) % 1500007 AS "user", TIMESTAMP '2024-01-01' + to_seconds(i) AS "time"
              FROM range(3000000) t(i)"""
    duckdb.connect().execute(f"COPY ({rows}) TO '{path}'")
    return path


def test_settings_reach_the_database(tmp_path):
    resources = Resources(memory_limit="300MiB", temp_directory=tmp_path, threads=1, progress=True)
    assert setting(resources, "memory_limit") == "300.0 MiB"
    assert setting(resources, "threads") == 1
    assert setting(resources, "enable_progress_bar") is True
    assert str(setting(resources, "temp_directory")).startswith(f"{tmp_path}/bayesdecay-")


def test_progress_is_shown_where_somebody_looks(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert setting(Resources(), "enable_progress_bar") is False
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert setting(Resources(), "enable_progress_bar") is True
    assert setting(Resources(progress=False), "enable_progress_bar") is False


class WithoutWidgets:
    """What DuckDB says in a notebook that has no ipywidgets."""

    def execute(self, statement: str) -> None:
        assert statement == "SET enable_progress_bar = True"
        raise duckdb.InvalidInputException("required package 'ipywidgets' is missing")


def test_a_notebook_without_widgets_has_no_bar(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(duckdb, "connect", lambda **_: WithoutWidgets())
    assert isinstance(Resources().open(), WithoutWidgets)
    with pytest.raises(MissingExtraError, match="needs ipywidgets; install it, or leave out progress=True"):
        Resources(progress=True).open()


@pytest.mark.parametrize("activity", ["day", "session", "event"])
def test_a_log_larger_than_the_memory_is_spilled_and_the_history_is_the_same(big, tmp_path, activity):
    spill = tmp_path / "spill"
    spill.mkdir()
    log = read_events(big, resources=Resources(memory_limit="40MB", temp_directory=spill, threads=1))
    told = {"at": "2024-02-04", "activity": activity}
    assert summarize(log, **told) == summarize(read_events(big), **told)
    assert list(spill.rglob("*"))
    del log
    gc.collect()
    assert not list(spill.rglob("*"))


def test_what_cannot_be_is_refused(tmp_path):
    for text in ("much", "-1GB", "2 apples"):
        with pytest.raises(ValueError, match="memory_limit must be a number and a unit, as in '2GB'"):
            Resources(memory_limit=text)
    with pytest.raises(FileNotFoundError, match="temp_directory: there is no folder"):
        Resources(temp_directory=tmp_path / "none")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        Resources(threads=0)
    frame = pd.DataFrame({"user": [1], "time": pd.to_datetime(["2024-01-01"])})
    assert len(read_events(frame, resources=Resources(threads=1))) == 1
    with duckdb.connect() as connection:
        relation = connection.sql('SELECT 1 AS "user", TIMESTAMP \'2024-01-01\' AS "time"')
        with pytest.raises(ValueError, match="is read on your own connection; set memory_limit and the like there"):
            read_events(relation, resources=Resources(threads=1))
