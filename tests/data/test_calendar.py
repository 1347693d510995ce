"""Calendars: which day has which factor, and what cannot be read."""

from __future__ import annotations

import pandas as pd
import pytest

from bayesdecay.data.calendar import Calendar


def days(factors, start="2024-12-21", size=5):
    return Calendar(factors=factors).daily(pd.Timestamp(start), size).tolist()


def test_factors_of_a_day_multiply():
    assert days({"saturday": 1.5, "December": 2.0, "2024-12-22": 0.5}) == [3.0, 1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2024-12-22/2024-12-23", [1, 9, 9, 1, 1]),
        ("12-22/12-23", [1, 9, 9, 1, 1]),
        ("12-24/01-06", [1, 1, 1, 9, 9]),
        ("12-25", [1, 1, 1, 1, 9]),
        ("02-29", [1, 1, 1, 1, 1]),
        ("2023-12-22", [1, 1, 1, 1, 1]),
        ("sunday", [1, 9, 1, 1, 1]),
    ],
)
def test_what_a_key_means(when, expected):
    assert days({when: 9.0}) == expected


def test_over_the_new_year():
    assert days({"12-30/01-02": 0.0}, "2024-12-29", 6) == [1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ({"chrismas": 1.4}, "calendar: 'chrismas' cannot be read; write a weekday"),
        ({"2024-13-01": 1.4}, "'2024-13-01' cannot be read"),
        ({"2024-12-24 10:00": 1.4}, "cannot be read"),
        ({"2024-12-24/2024-12-01": 1.4}, "ends before it begins"),
        ({"2024-12-24/12-26": 1.4}, "has a year at one end only; give it to both, or to none"),
        ({"monday": -1.0}, "the factor of 'monday' must be finite and not negative, got -1.0"),
        ({"monday": float("nan")}, "must be finite"),
    ],
)
def test_what_cannot_be_read(factors, told):
    with pytest.raises(ValueError, match=told):
        Calendar(factors=factors)
