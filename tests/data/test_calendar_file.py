"""Calendars in CSV files: what a row means, and every way in which one cannot be read."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from bayesdecay.data.calendar import Calendar
from bayesdecay.data.calendar_file import read_calendar
from bayesdecay.errors import DataError


def written(tmp_path, text):
    path = tmp_path / "calendar.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_a_factor(tmp_path):
    path = written(
        tmp_path,
        "\ufefffrom,until,factor,known\nSaturday,,1.2,\n11-24, 12-24,1.4,\n2020-03-16,2020-05-03,0.2,2020-03-13\n",
    )
    assert read_calendar(path) == Calendar(
        factors={"Saturday": 1.2, "11-24/12-24": 1.4, "2020-03-16/2020-05-03": 0.2},
        known={"2020-03-16/2020-05-03": "2020-03-13"},
    )


def test_two_columns_are_enough(tmp_path):
    assert read_calendar(written(tmp_path, "factor,from\n0,12-25\n")).factors == {"12-25": 0.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "from,until\n12-25,\n",
            "column 'factor' is missing; the columns are from, until, factor, known, of which from",
        ),
        ("", "column 'from' is missing"),
        ("from,factr\n12-25,0\n", "unknown column 'factr'; did you mean 'factor'?"),
        ("from,until,factor\n", "has no rows; write one a factor, or leave the calendar out"),
        (
            "from,until,factor\n12-25,,much\n12-26,,-1\n12-27,,1\n",
            "column 'factor' has 2 values that cannot be read (rows 0 ('much'), 1 ('-1')); write a number, 0 (closed)",
        ),
        ("from,factor\n12-25,nan\n", "column 'factor' has a value that cannot be read (row 0 ('nan'))"),
        (
            "from,factor\nchrismas,2\n,1\n24.12.,1\nx,1\n",
            "column 'from' has 4 values that cannot be read (rows 0 ('chrismas'), 1 (''), 2 ('24.12.') and 1 more)",
        ),
        (
            "from,until,factor\n2024-12-24,2024-12-01,2\n",
            "column 'until' has a value that cannot be read (row 0 ('2024-12-01')); write the last day as",
        ),
        ("from,until,factor\nmonday,friday,2\n", "column 'until' has a value that cannot be read (row 0 ('friday'))"),
        (
            "from,factor,known\n2020-03-16,0.2,03-13\n",
            "column 'known' has a value that cannot be read (row 0 ('03-13')); write the date since when it is known",
        ),
        (
            "from,factor\n12-25,x\nyule,1\n",
            "such as 1.4; column 'from' has a value that cannot be read (row 1 ('yule'))",
        ),
        ("from,factor\nMonday,2\nmonday,3\n", "rows 0 and 1 are both about 'monday'; write one row with the product"),
    ],
)
def test_what_cannot_be_read(tmp_path, text, told):
    with pytest.raises(DataError, match=re.escape(told)) as error:
        read_calendar(written(tmp_path, text))
    assert str(tmp_path / "calendar.csv") in str(error.value)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"calendar .*nothing\.csv: there is no such file; check the path"):
        read_calendar(tmp_path / "nothing.csv")
    path = tmp_path / "latin.csv"
    path.write_bytes("from,factor\nM\xe4rz,2\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"cannot be read: .*; write it as CSV in UTF-8"):
        read_calendar(path)


def test_what_nobody_could_know_is_left_out():
    calendar = Calendar(factors={"2020-03-16": 0.2, "saturday": 1.5}, known={"2020-03-16": "2020-03-13"})
    day = pd.Timestamp("2020-03-16")
    assert calendar.known_at(pd.Timestamp("2020-03-12 23:59")).daily(day, 1).tolist() == [1.0]
    assert calendar.known_at(pd.Timestamp("2020-03-13")).daily(day, 1).tolist() == [0.2]
    with pytest.raises(ValueError, match="'sunday' is said to be known, but has no factor; give it one"):
        Calendar(factors={"saturday": 1.5}, known={"sunday": "2020-03-13"})
    with pytest.raises(ValueError, match="must have a year, as in 2020-03-11, got '03-13'"):
        Calendar(factors={"saturday": 1.5}, known={"saturday": "03-13"})
