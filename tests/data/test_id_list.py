"""Lists of ids brought along: read as text, compared in the log's own type."""

from __future__ import annotations

import uuid

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.id_list import ids_in_file, ids_of_log
from bayesdecay.errors import DataError

UUIDS = [uuid.UUID(int=i) for i in range(3)]
DAYS = pd.date_range("2024-01-01", periods=3)


@pytest.mark.parametrize(
    ("own", "asked", "users", "strangers"),
    [
        (pa.array([1, 17, 18], pa.int32()), ["17", "018", " 1.0 "], {1, 17, 18}, ()),
        (pa.array([1, 17, 18]), ["17.5", "x", "99999999999999999999"], set(), ("17.5", "x", "99999999999999999999")),
        (pa.array(["7", "007", "a"]), ["007", "7.0", "A"], {"007"}, ("7.0", "A")),
        (pa.array([b.bytes for b in UUIDS], pa.uuid()), [str(UUIDS[1]).upper(), "1"], {UUIDS[1]}, ("1",)),
        (pa.array([b"a", b"\xff", b"c"]), ["a", "\\xff", "z"], {b"a", b"\xff"}, ("z",)),
        (pa.array(DAYS), ["2024-01-02", "2025-01-02"], {DAYS[1]}, ("2025-01-02",)),
        (pa.array([1, 2, 3]), [], set(), ()),
    ],
    ids=["whole numbers", "not whole", "text", "uuid", "bytes", "timestamp", "nobody"],
)
def test_ids_are_compared_in_the_type_of_the_log(own, asked, users, strangers):
    log = read_events(pa.table({"user": own, "time": pa.array(DAYS)}))
    found = ids_of_log(log, asked)
    assert set(found.users) == users
    assert {type(one) for one in found.users} == {type(one) for one in users}
    assert found.strangers == strangers


def test_a_text_file_has_an_id_a_line(tmp_path):
    path = tmp_path / "out.txt"
    path.write_bytes(b'\xef\xbb\xbf0007, "Jo"\r\n\r\n  17 \r\n17\n')  # as Windows' editor writes it
    assert ids_in_file(path, "unused") == ('0007, "Jo"', "17")
    path.write_bytes(b"")
    assert ids_in_file(path, "unused") == ()
    path.write_bytes(b"J\xf6rg\n")
    with pytest.raises(DataError, match=r"out\.txt is no text in UTF-8"):
        ids_in_file(path, "unused")


def test_a_column_of_a_table_is_read_as_it_is_written(tmp_path):
    frame = pd.DataFrame({"id": ["007", "17", None, " "], "why": ["post", "post", "call", "call"]})
    frame.to_csv(tmp_path / "out.csv", index=False)
    pq.write_table(pa.table({"id": pa.array([17, None, 7])}), tmp_path / "out.parquet")
    assert ids_in_file(tmp_path / "out.csv", "id") == ("007", "17")
    assert set(ids_in_file(tmp_path / "out.parquet", "id")) == {"7", "17"}
    with pytest.raises(ValueError, match="unknown column for user= 'idd'; did you mean 'id'"):
        ids_in_file(tmp_path / "out.csv", "idd")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ids_in_file(tmp_path / "no.csv", "id")
    (tmp_path / "bad.parquet").write_text("no table", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        ids_in_file(tmp_path / "bad.parquet", "id")
