from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from bayesdecay.data.events import read_events


def first_time(times: object, **told: object) -> dt.datetime:
    source = times if isinstance(times, pd.DataFrame | Path) else pd.DataFrame({"time": times}).assign(user=1)
    return read_events(source, **told).query("SELECT min(time) FROM {log}").fetchall()[0][0]


def test_zoned_times_are_converted_to_the_zone_or_utc():
    zoned = pd.Series(pd.to_datetime(["2024-07-01 00:30"])).dt.tz_localize("Europe/Berlin")
    assert first_time(zoned) == dt.datetime(2024, 6, 30, 22, 30)
    assert first_time(zoned, timezone="Europe/Berlin") == dt.datetime(2024, 7, 1, 0, 30)
    assert first_time(zoned.astype(object), timezone="America/New_York") == dt.datetime(2024, 6, 30, 18, 30)
    assert first_time(zoned.dt.as_unit("ns"), timezone="Europe/Berlin") == dt.datetime(2024, 7, 1, 0, 30)


@pytest.mark.parametrize("text", ["2024-07-01T00:30:00+02:00", "2024-06-30 22:30Z", "2024-06-30 22:30:00.000 UTC"])
def test_text_with_offsets_is_converted_to_the_zone_or_utc(text):
    assert first_time([text]) == dt.datetime(2024, 6, 30, 22, 30)
    assert first_time([text], timezone="Europe/Berlin") == dt.datetime(2024, 7, 1, 0, 30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-05", dt.datetime(2024, 1, 5)),
        ("2024-1-5 7:30", dt.datetime(2024, 1, 5, 7, 30)),
        (" 2024-01-05T07:30:15.123456789 ", dt.datetime(2024, 1, 5, 7, 30, 15, 123456)),
    ],
)
def test_text_without_an_offset_is_in_the_zone_already(text, expected):
    assert first_time([text]) == expected
    assert first_time([text], timezone="Europe/Berlin") == expected


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_numbers_since_1970_with_their_unit(unit, per_second, tmp_path):
    number = 1_700_000_000 * per_second
    expected = dt.datetime(2023, 11, 14, 22, 13, 20)
    assert first_time([number], time_unit=unit) == expected
    assert first_time([float(number)], time_unit=unit) == expected
    assert first_time([number], time_unit=unit, timezone="Europe/Berlin") == expected + dt.timedelta(hours=1)
    pd.DataFrame({"user": [1], "time": [number]}).to_csv(tmp_path / "log.csv", index=False)
    log = read_events(tmp_path / "log.csv", time_unit=unit)
    assert log.span[0] == pd.Timestamp(expected)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_every_resolution(unit, tmp_path):
    frame = pd.DataFrame({"user": [1], "time": pd.to_datetime(["1969-07-20 20:17:40"]).as_unit(unit)})
    frame.to_parquet(tmp_path / "log.parquet")
    for source in (frame, tmp_path / "log.parquet"):
        assert first_time(source) == dt.datetime(1969, 7, 20, 20, 17, 40)


def test_dates_nanoseconds_and_days_since_1970():
    assert first_time([dt.date(2024, 1, 5)]) == dt.datetime(2024, 1, 5)
    assert first_time(pd.to_datetime(["2024-01-05 00:00:00.123456789"])) == dt.datetime(2024, 1, 5, 0, 0, 0, 123456)
    assert first_time([19_727], time_unit="d") == dt.datetime(2024, 1, 5)
    nearly = pd.to_datetime(["1969-12-31 23:59:59.999999999"])
    assert first_time(nearly) == first_time([-1], time_unit="ns") == dt.datetime(1969, 12, 31, 23, 59, 59, 999999)
    assert first_time([1.5], time_unit="s") == dt.datetime(1970, 1, 1, 0, 0, 1, 500_000)


def test_the_clock_is_read_in_the_zone_of_the_log():
    soon = pd.Timestamp.now("UTC") + pd.Timedelta(hours=5)
    naive = pd.DataFrame({"user": [1], "time": [soon.tz_localize(None)]})
    assert read_events(naive).counts["future"] == 0  # it is past in Kiribati
    assert read_events(naive, timezone="UTC").counts["future"] == 1
    assert read_events(naive, timezone="Pacific/Kiritimati").counts["future"] == 0
    assert read_events(naive.assign(time=soon)).counts["future"] == 1
    assert read_events(naive.assign(time=soon.isoformat())).counts["future"] == 1
