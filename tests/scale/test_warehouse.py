"""The reduction as plain SQL: parsed for every dialect, run on DuckDB against the local reduction, and read back."""

from __future__ import annotations

import json

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.scale.dialects import DIALECTS
from bayesdecay.data.scale.unloaded import read_history
from bayesdecay.data.scale.warehouse import DESCRIPTION, warehouse_sql
from bayesdecay.doors.saved import history_of, stored_history
from bayesdecay.errors import DataError
from tests.data import logs

OURS = ["user", "n", "first", "last", "last_event", "T", "sum_times", "times"]
ACTIVITIES = ("day", "session", "event")
# Of BigQuery, and the commonest of the others; the parser here is more lenient than their own.
RESERVED = """
ALL AND ANY ARRAY AS ASC AT BETWEEN BY CASE CAST CHECK COLLATE COLUMN CONSTRAINT CONTAINS CREATE CROSS CUBE
CURRENT DEFAULT DEFINE DESC DISTINCT DO ELSE END ENUM ESCAPE EXCEPT EXCLUDE EXISTS EXTRACT FALSE FETCH
FOLLOWING FOR FOREIGN FROM FULL GRANT GROUP GROUPING GROUPS HASH HAVING IF IGNORE IN INNER INTERSECT INTERVAL
INTO IS JOIN LATERAL LEFT LIKE LIMIT LOOKUP MERGE MINUS NATURAL NEW NO NOT NULL NULLS OF OFFSET ON ONLY OR
ORDER OUTER OVER PARTITION PRECEDING PRIMARY PROTO QUALIFY RANGE RECURSIVE REFERENCES RESPECT RIGHT ROLLUP ROW
ROWS SAMPLE SELECT SET SOME START STRUCT TABLE TABLESAMPLE THEN TO TREAT TRIGGER TRUE UNBOUNDED UNION UNIQUE
UNNEST USER USING VALUES WHEN WHERE WINDOW WITH WITHIN
""".lower().split()
TRICKY = ["it's", 'a "b"', "back\\slash", "line\nbreak", "');DROP TABLE x;--", "grün", "{x}"]


@pytest.fixture
def shop() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "who": ["b", "b", "b", "a", "a", "c"],
            "when": pd.to_datetime(
                [
                    *("2024-01-03 23:50", "2024-01-04 00:10", "2024-01-09 08:00"),
                    *("1969-12-31 12:00", "1970-01-01 00:00:00.000001", "2024-01-08 10:00"),
                ],
                format="ISO8601",
            ),
            "what": ["view", "buy", "view", "view", "view", "buy"],
            "channel": ["web", "app", "app", "app", "app", "web"],
            "age": [30, 30, 30, 41, 41, 25],
        }
    )


def unloaded(frame: pd.DataFrame | pa.Table, folder, **asked) -> History:
    """Run the SELECT on DuckDB and read what it unloads."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Kolkata'")
        connection.register("events", frame)
        path = folder / "unloaded.parquet"
        connection.sql(warehouse_sql("duckdb", table="events", **asked)).write_parquet(str(path))
    return read_history(path)


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_the_select_gives_the_local_history(shop, activity, tmp_path):
    log = read_events(shop, user="who", time="when", kind="what", columns=["channel", "age"])
    same = {"at": "2024-01-08", "activity": activity, "session_gap": "20min"}
    same |= {"kinds": ["view", "buy"], "group": "channel", "covariates": ["age"]}
    found = unloaded(shop, tmp_path, user="who", time="when", kind="what", **same)
    assert found == summarize(log, **same)
    assert found.table.schema.equals(summarize(log, **same).table.schema)


@settings(max_examples=40, deadline=None)
@given(drawn=logs.rows, activity=st.sampled_from(ACTIVITIES), gap=st.sampled_from([10, 30, 145]))
def test_any_log_gives_the_local_history(drawn, activity, gap, tmp_path_factory):
    at = logs.START + 5 * pd.Timedelta(days=1)
    frame = pd.concat([logs.frame(drawn), logs.frame([(99, 0)])])
    asked = {"at": at, "activity": activity, "session_gap": f"{gap}min"}
    assert unloaded(frame, tmp_path_factory.mktemp("unloaded"), **asked) == summarize(read_events(frame), **asked)


def test_points_in_time_are_brought_to_the_logs_zone(tmp_path):
    when = pd.to_datetime(["2024-03-30 23:30", "2024-03-31 00:30", "2024-03-31 22:30"], utc=True)
    frame = pd.DataFrame({"user": [1, 1, 2], "time": when})
    found = unloaded(frame, tmp_path, at="2024-04-01", timezone="Europe/Berlin")
    assert found == summarize(read_events(frame, timezone="Europe/Berlin"), at="2024-04-01")
    assert found.table["n"].to_pylist() == [0, 0]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("activity", ACTIVITIES)
@pytest.mark.parametrize("timezone", [None, "Europe/Berlin"])
def test_every_dialect_parses_and_says_what_was_meant(dialect, activity, timezone):
    sql = warehouse_sql(
        dialect,
        table="my shop.events",
        user="customer id",
        time="when",
        kind="kind",
        kinds=TRICKY,
        at="2024-06-30",
        activity=activity,
        group="channel",
        covariates=["age"],
        timezone=timezone,
    )
    statements = sqlglot.parse(sql, dialect=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert len(statements) == 1
    tree = statements[0]
    assert isinstance(tree, exp.Select)
    if dialect in ("snowflake", "bigquery", "postgres"):  # the others are run; here every function must be a known one
        assert not list(tree.find_all(exp.Command, exp.Anonymous, exp.Placeholder))
    own = [*OURS, "group", "age", "refused_rows", DESCRIPTION]
    assert [select.alias for select in tree.selects] == own
    literals = {literal.this for literal in tree.find_all(exp.Literal) if literal.is_string}
    assert set(TRICKY) <= literals
    told = [json.loads(literal) for literal in literals if literal.startswith("{") and literal != "{x}"]
    assert [(t["at"], t["kinds"]) for t in told] == [("2024-06-30T23:59:59.999999", TRICKY)]
    assert (timezone in literals) == (timezone is not None)
    plain = {name.name.lower() for name in tree.find_all(exp.Identifier) if not name.quoted}
    assert "since" in plain
    assert not plain & set(RESERVED)
    tables = {table.name: table.db for table in tree.find_all(exp.Table)}
    assert tables.pop("events") == "my shop"
    assert set(tables) <= {"seen", "ticks", "openings", "placed", "acquired", "known"}
    assert {"customer id", "when", "kind", "channel", "age"} <= {column.name for column in tree.find_all(exp.Column)}


def test_tricky_kinds_and_names_are_only_text(tmp_path):
    names = {"user": 'who "is" it', "time": "when; --", "kind": "what's"}
    frame = pd.DataFrame(
        {names["user"]: range(7), names["time"]: pd.Timestamp("2024-01-01"), names["kind"]: TRICKY},
    )
    for kind in TRICKY:
        found = unloaded(frame, tmp_path, at="2024-01-02", kinds=[kind], **names)
        assert found.table["user"].to_pylist() == [TRICKY.index(kind)]


@pytest.mark.parametrize("dialect", ["bigquery", "spark"])
@pytest.mark.parametrize("name", ["a`b", "a\\b", "a\nb", ""])
def test_names_that_cannot_be_are_refused(dialect, name):
    with pytest.raises(ValueError, match="cannot be the name of a table or column"):
        warehouse_sql(dialect, table=[name], at="2024-01-01")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dialect": "snowflak"}, "unknown dialect 'snowflak'; did you mean 'snowflake'"),
        ({"activity": "week"}, "unknown activity 'week'"),
        ({"kinds": ["buy"]}, "name the column that holds their kind too"),
        ({"kinds": [], "kind": "what"}, "kinds is empty"),
        ({"activity": "session", "session_gap": 0}, "session_gap 0 lets no session go on"),
        ({"covariates": ["N"]}, "covariate 'N' has the name of another column"),
        ({"covariates": ["age", "Age"]}, "covariate 'Age' has the name of another column"),
        ({"timezone": "Berlin"}, "unknown timezone 'Berlin'"),
    ],
)
def test_what_cannot_be_asked(asked, message):
    with pytest.raises(ValueError, match=message):
        warehouse_sql(**{"dialect": "duckdb", "table": "events", "at": "2024-01-01"} | asked)


def test_rows_that_cannot_be_used_are_refused_when_read_back(shop, tmp_path):
    asked = {"user": "who", "time": "when", "at": "2024-01-20"}
    shop.loc[[1, 3], "when"] = pd.NaT
    with pytest.raises(DataError, match="2 rows of 2 users have no time, or no kind; drop them"):
        unloaded(shop, tmp_path, **asked)
    shop = shop.dropna().assign(who=[None, "b", "a", "c"])
    with pytest.raises(DataError, match="the log has rows without a user; drop them"):
        unloaded(shop, tmp_path, **asked)
    shop = shop.assign(who=list("abcd"), what=["view", None, "view", "view"], channel=["web", "web", None, "app"])
    with pytest.raises(DataError, match="1 rows of 1 users have no time, or no kind"):
        unloaded(shop, tmp_path, **asked, kind="what", kinds=["buy"])
    with pytest.raises(DataError, match=r"column 'channel' is missing .* of 1 users \(such as 'c'\)"):
        unloaded(shop, tmp_path, **asked, group="channel")


def test_what_warehouses_make_of_types_is_undone(shop, tmp_path):
    """Decimals of Snowflake, lists as JSON text, times with a zone, several files, other columns beside ours."""
    shop = shop.assign(who=[2, 2, 2, 1, 1, 3])
    asked = {"user": "who", "time": "when", "at": "2024-01-20"}
    expected = unloaded(shop, tmp_path, **asked)
    written = pq.read_table(tmp_path / "unloaded.parquet")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("written", written)
        folder = tmp_path / "several"
        folder.mkdir()
        table = connection.sql("""
            SELECT description, "user"::DECIMAL(38, 0) AS "user", n::DECIMAL(38, 0) AS n,
                   "first"::TIMESTAMPTZ AS "first", "last"::VARCHAR AS "last", last_event, T, sum_times,
                   refused_rows::DECIMAL(38, 0) AS refused_rows,
                   CASE WHEN n > 0 THEN to_json(times)::VARCHAR END AS times, 7 AS another
            FROM written""").to_arrow_table()
    pq.write_table(table.slice(1), folder / "b.parquet")
    pq.write_table(table.slice(0, 1), folder / "a.parquet")
    assert read_history(folder) == expected
    assert read_history(folder / "*.parquet") == expected
    pq.write_table(table.slice(0, 2), folder / "c.parquet")
    with pytest.raises(DataError, match="holds 2 users twice; are the files of two unloads in one place"):
        read_history(folder)


def test_reading_back_says_what_is_wrong(shop, tmp_path):
    asked = {"user": "who", "time": "when"}
    history = unloaded(shop, tmp_path, **asked, at="2024-01-20")
    for read in (history_of, stored_history):  # what the command line reads
        assert read(tmp_path / "unloaded.parquet") == history
    assert read_history(history.to_parquet(tmp_path / "own.parquet")) == history
    with pytest.raises(FileNotFoundError, match="no history at"):
        read_history(tmp_path / "nothing.parquet")
    shop.to_csv(tmp_path / "log.csv")
    with pytest.raises(DataError, match=r"cannot be read as a history in Parquet: [^\n]*$"):
        read_history(tmp_path / "log.csv")
    shop.to_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"is not a history; expected a file of History\.to_parquet"):
        read_history(tmp_path / "log.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match="cannot be read as a history in Parquet"):
        read_history(tmp_path / "text.parquet")
    table = pq.read_table(tmp_path / "unloaded.parquet")
    pq.write_table(table.drop_columns(["n"]), tmp_path / "less.parquet")
    with pytest.raises(DataError, match="has no column 'n'; unload all that the SELECT gives"):
        read_history(tmp_path / "less.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="holds no rows; expected those of one"):
        read_history(tmp_path / "none.parquet")
    unloaded(shop, tmp_path, **asked, at="2024-01-21")
    both = pa.concat_tables([table, pq.read_table(tmp_path / "unloaded.parquet")])
    pq.write_table(both, tmp_path / "both.parquet")
    with pytest.raises(DataError, match="holds rows of several histories"):
        read_history(tmp_path / "both.parquet")
