from __future__ import annotations

import datetime as dt
import decimal
import uuid

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bayesdecay.data.combining import combine
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.errors import DataError

NAMES = {"user": "who", "time": "when", "kind": "what", "amount": "paid", "columns": ["shop"]}


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "who": ["b", "a", "a"],
            "when": pd.to_datetime(["2024-01-01 10:00", "2024-01-02", "2024-03-01 23:59:59.999999"], format="ISO8601"),
            "what": ["view", "buy", "view"],
            "paid": [0.0, 12.5, np.nan],
            "shop": ["x", "y", "y"],
            "unused": [object(), object(), object()],
        }
    )


def content(log) -> list[tuple]:
    return log.query("SELECT * FROM {log} ORDER BY time").fetchall()


EXPECTED = [
    ("b", dt.datetime(2024, 1, 1, 10), "view", 0.0, "x"),
    ("a", dt.datetime(2024, 1, 2), "buy", 12.5, "y"),
    ("a", dt.datetime(2024, 3, 1, 23, 59, 59, 999999), "view", None, "y"),
]


def used(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="unused")


class ArrowStream:
    """Nothing but the Arrow protocol."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


IN_MEMORY = {
    "pandas": lambda frame: frame,
    "pandas categories": lambda frame: frame.astype({"who": "category", "what": "category", "shop": "category"}),
    "pandas nanoseconds": lambda frame: frame.astype({"when": "datetime64[ns]"}),
    "pandas objects": lambda frame: frame.astype(object),
    "polars": lambda frame: pl.from_pandas(used(frame)),
    "polars categories": lambda frame: pl.from_pandas(used(frame)).cast({"who": pl.Categorical}),
    "polars lazy": lambda frame: pl.from_pandas(used(frame)).lazy(),
    "arrow": lambda frame: pa.Table.from_pandas(used(frame)),
    "arrow stream": lambda frame: ArrowStream(pa.Table.from_pandas(used(frame))),
    "arrow reader": lambda frame: pa.Table.from_pandas(used(frame)).to_reader(),
}


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_tables_in_memory(frame, kind):
    log = read_events(IN_MEMORY[kind](frame), **NAMES)
    assert content(log) == EXPECTED
    assert log.columns == ("user", "time", "kind", "amount", "shop")
    assert (len(log), log.n_users, log.kinds) == (3, 2, ("buy", "view"))
    assert log.span == (pd.Timestamp("2024-01-01 10:00"), pd.Timestamp("2024-03-01 23:59:59.999999"))


def test_files_and_patterns(frame, tmp_path):
    frame = used(frame)
    frame.iloc[:2].to_parquet(tmp_path / "one.parquet")
    frame.iloc[2:].to_parquet(tmp_path / "two.parquet")
    frame.to_csv(tmp_path / "log [1].csv", index=False)
    frame.to_csv(tmp_path / "log.tsv.gz", index=False, sep="\t")
    assert content(read_events(tmp_path / "*.parquet", **NAMES)) == EXPECTED
    assert content(read_events([tmp_path / "one.parquet", str(tmp_path / "two.parquet")], **NAMES)) == EXPECTED
    assert content(read_events(str(tmp_path / "log [1].csv"), **NAMES)) == EXPECTED
    assert content(read_events(tmp_path / "log.tsv.gz", **NAMES)) == EXPECTED
    assert len(read_events(tmp_path / "one.parquet", **NAMES)) == 2


def test_csv_files_with_columns_in_another_order(frame, tmp_path):
    used(frame).iloc[:2].to_csv(tmp_path / "1.csv", index=False)
    used(frame).iloc[2:, ::-1].to_csv(tmp_path / "2.csv", index=False)
    assert content(read_events(tmp_path / "*.csv", **NAMES)) == EXPECTED


def test_files_that_cannot_be(frame, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file matches .*none.parquet.*check the path, or the pattern"):
        read_events(tmp_path / "none.parquet")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        read_events(str(tmp_path / "*.csv"))
    with pytest.raises(ValueError, match=r"is a folder; name its files by a pattern, as in .*\*\.parquet"):
        read_events(tmp_path)
    (tmp_path / "log.xlsx").write_text("no")
    with pytest.raises(ValueError, match=r"named \.parquet or \.csv, got log\.xlsx"):
        read_events(tmp_path / "log.xlsx")
    (tmp_path / "log.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_events(tmp_path / "log.parquet")
    used(frame).to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(ValueError, match=r"expected files of one format.*got log\.csv, log\.parquet"):
        read_events([tmp_path / "log.csv", tmp_path / "log.parquet"])
    rows = "1,2024-01-01\n" * 30_000
    (tmp_path / "ragged.csv").write_text(f"user,time\n{rows}2,2024-01-02,3,4\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_events(tmp_path / "ragged.csv")


@pytest.mark.parametrize("told", [{}, {"columns": ["rank"]}])
def test_csv_ids_are_numbers_only_if_all_are_written_so(tmp_path, told):
    path = tmp_path / "log.csv"
    path.write_text("user,time,rank\n7,2024-01-01,1\n-12,2024-01-02,2\n")
    assert summarize(read_events(path, **told)).table["user"].to_pylist() == [-12, 7]
    path.write_text("user,time,rank\n7,2024-01-01,1\n007,2024-01-02,2\n")
    assert summarize(read_events(path, **told)).table["user"].to_pylist() == ["007", "7"]
    path.write_text("user,time,rank\n7,2024-01-01,1\n99999999999999999999,2024-01-02,2\n")
    assert summarize(read_events(path, **told)).table["user"].to_pylist() == ["7", "99999999999999999999"]


def test_csv_types_of_further_columns_are_told_by_the_whole_file(tmp_path):
    rows = "".join(f"{i},2024-01-01,{i}\n" for i in range(30_000))
    (tmp_path / "log.csv").write_text(f"user,time,code\n{rows}1,2024-01-02,A1\n")
    log = read_events(tmp_path / "log.csv", columns=["code"])
    assert log.query("SELECT max(code) FROM {log}").fetchall() == [("A1",)]


def test_duckdb_relation_stays_on_its_connection_and_leaves_nothing_there(frame):
    table = pa.Table.from_pandas(used(frame))
    with duckdb.connect() as connection:
        connection.execute("CREATE TYPE kind AS ENUM ('view', 'buy')")
        connection.register("given", table)
        connection.execute("CREATE TABLE mine AS SELECT * REPLACE (what::kind AS what) FROM given")
        before = connection.execute("SELECT count(*) FROM duckdb_views()").fetchall()
        log = read_events(connection.table("mine").filter("who IS NOT NULL"), **NAMES)
        assert content(log) == EXPECTED
        assert log.kinds == ("buy", "view")
        assert summarize(log, at="2024-02-01").table["user"].to_pylist() == ["a", "b"]
        assert connection.execute("SELECT count(*) FROM duckdb_views()").fetchall() == before


def test_other_sources_are_refused(frame):
    for source in (3, {"user": [1]}, None, []):
        with pytest.raises(TypeError, match="events come as a path, a pandas, polars or Arrow table, or a DuckDB"):
            read_events(source)


def test_missing_columns_are_named_with_their_nearest(frame, tmp_path):
    used(frame).to_parquet(tmp_path / "log.parquet")
    used(frame).to_csv(tmp_path / "log.csv", index=False)
    sources = [frame, pl.from_pandas(used(frame)), tmp_path / "log.parquet", tmp_path / "log.csv"]
    for source in [*sources, duckdb.from_arrow(pa.Table.from_pandas(used(frame)))]:
        with pytest.raises(ValueError, match="unknown column for user= 'whom'; did you mean 'who'"):
            read_events(source, user="whom", time="when")
        with pytest.raises(ValueError, match="unknown column 'shops'; did you mean 'shop'"):
            read_events(source, user="who", time="when", columns=["shops"])


def test_arguments_that_cannot_be(frame):
    told = {"user": "who", "time": "when"}
    with pytest.raises(ValueError, match="name the column that holds them too"):
        read_events(frame, **told, kinds=["view"])
    with pytest.raises(TypeError, match=r"kinds is a list; write \['view'\]"):
        read_events(frame, **told, kind="what", kinds="view")
    with pytest.raises(TypeError, match=r"columns is a list; write \['shop'\]"):
        read_events(frame, **told, columns="shop")
    with pytest.raises(ValueError, match="unknown timezone 'Europe/Berlinn'; did you mean 'Europe/Berlin'"):
        read_events(frame, **told, timezone="Europe/Berlinn")
    with pytest.raises(ValueError, match="unknown time_unit 'sec'"):
        read_events(frame, **told, time_unit="sec")
    with pytest.raises(ValueError, match="time_unit='s' is for times that are numbers"):
        read_events(frame, **told, time_unit="s")
    with pytest.raises(ValueError, match="column 'Time' has the name of the log's own column 'time'"):
        read_events(frame.rename(columns={"shop": "Time"}), **told, columns=["Time"])
    doubled = pd.concat([frame, frame[["who"]]], axis=1)
    with pytest.raises(ValueError, match="column 'who' is there 2 times"):
        read_events(doubled, **told)


IDS = {
    "int64": [3, 1, 2],
    "int8": np.array([3, 1, 2], dtype=np.int8),
    "text": ["c", "a", "b"],
    "bytes": [b"\x03", b"\x01\x00", b"\x02"],
    "uuid": [uuid.UUID(int=3 << 70), uuid.UUID(int=1), uuid.UUID(int=2)],
    "float": [3.5, 1.0, 2.0],
    "date": [dt.date(2003, 1, 1), dt.date(2001, 1, 1), dt.date(2002, 1, 1)],
    "decimal": [decimal.Decimal("3.10"), decimal.Decimal("1.10"), decimal.Decimal("2.10")],
    "bool": [True, False, True],
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_keep_their_type_to_the_very_end(kind, tmp_path):
    frame = pd.DataFrame({"user": IDS[kind], "time": pd.date_range("2024-01-01", periods=3)})
    history = summarize(read_events(frame), at="2024-01-10")
    table = pa.Table.from_pandas(frame)
    plain = pa.string() if kind == "text" else table["user"].type  # pandas makes large strings
    assert history.table["user"].type == plain
    expected = sorted(set(table["user"].to_pylist()))
    assert history.table["user"].to_pylist() == expected
    back = History.from_parquet(history.to_parquet(tmp_path / "history.parquet"))
    assert back.table["user"].to_pylist() == expected
    assert history.select(expected[::-1]).table["user"].to_pylist() == expected[::-1]
    assert history.distinct()[1].sum() == len(history)
    one, other = history.select(expected[:1]), history.select(expected[1:])
    assert combine(one, other) == history


def test_uuids_in_parquet_and_in_a_relation(tmp_path):
    ids = sorted([uuid.uuid4(), uuid.uuid4()])
    table = pa.table({"user": pa.array(ids, pa.uuid()), "time": pa.array([0, 1], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "log.parquet")
    with duckdb.connect() as connection:
        connection.execute("SET arrow_lossless_conversion = false")
        relation = connection.read_parquet(str(tmp_path / "log.parquet"))
        for source in (table, tmp_path / "log.parquet", relation):
            assert summarize(read_events(source)).table["user"].to_pylist() == ids
            assert summarize(read_events(source)).table["user"].type == pa.uuid()


def test_amounts_as_text_and_kinds_as_numbers(tmp_path):
    (tmp_path / "log.csv").write_text("user,time,kind,amount\n1,2024-01-01,3,1e2\n1,2024-01-02,4,\n1,2024-01-03,3,-1\n")
    log = read_events(tmp_path / "log.csv", kind="kind", amount="amount", kinds=[3, 4])
    assert log.query("SELECT kind, amount FROM {log} ORDER BY time").fetchall() == [
        ("3", 100.0),
        ("4", None),
        ("3", -1.0),
    ]
    assert summarize(log, kinds=[3]).table["n"].to_pylist() == [1]


def test_the_frame_given_is_not_changed(frame):
    before = frame.copy()
    summarize(read_events(frame, **NAMES))
    pd.testing.assert_frame_equal(frame, before)


def test_log_shows_itself(frame):
    html = read_events(frame.assign(shop="<b>"), **NAMES)._repr_html_()
    assert "2024-01-01 10:00:00 to 2024-03-01 23:59:59 (61 days)" in html
    assert "missing amount" in html
