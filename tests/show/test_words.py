"""Numbers for people: rounding, thousands, minus signs, units."""

from __future__ import annotations

import math

import pytest

from bayesdecay.show import words

SHARE = "\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("value", "lower", "upper", "said"),
    [
        (0.3123, 0.0812, 0.5623, "0.31 [0.08, 0.56]"),
        (1442.3, 1232.9, 1652.2, "1,442 [1,233, 1,652]"),
        (2.68, 1.83, 4.11, "2.7 [1.8, 4.1]"),
        (-0.001, -0.23, 0.22, "0.00 [−0.23, 0.22]"),
        (5.0, 5.0, 5.0, "5.00"),
        (math.inf, 1.0, math.inf, "∞ [1.00, ∞]"),
    ],
)
def test_with_interval(value, lower, upper, said):
    assert words.with_interval(value, lower, upper) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (1882.4, "1,882"), (-12.34, "−12.3"), (0.123456789, "0.12"), (0.00123, "0.0012"), (math.nan, "–")],
)
def test_number(value, said):
    assert words.number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.265, "27"), (0.0, "0"), (1.0, "100"), (0.042, "4.2"), (0.00004, "<0.1"), (0.9999, ">99.9"), (0.95, "95.0")],
)
def test_percent(value, said):
    assert words.percent(value) == said + SHARE


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (0.2, "4.8 hours"),
        (1.0, "1 day"),
        (90.0, "90 days"),
        (156.0, "5.1 months"),
        (1e3, "2.7 years"),
        (1e9, "over 100 years"),
    ],
)
def test_span(days, said):
    assert words.span(days) == said


@pytest.mark.parametrize(
    ("days", "said"), [(120.0, "120 days"), (1.0, "1 day"), (0.5, "12 hours"), (730.5, "2 years"), (1e3, "2.7 years")]
)
def test_window(days, said):
    assert words.window(days) == said


def test_span_interval_names_the_unit_once_where_it_can():
    assert words.span_interval(156, 120, 200) == "5.1 months [3.9, 6.6]"
    assert words.span_interval(80, 57, 130) == "80 days [57 days, 4.3 months]"
    assert words.span_interval(30, 30, 30) == "30 days"


def test_percent_interval_and_money():
    assert words.percent_interval(0.72, 0.51, 0.84) == f"72{SHARE} [51, 84]"
    assert words.percent_interval(0.004, 0.001, 0.041) == f"0.4{SHARE} [0.1, 4.1]"
    assert words.percent_of("p")({"p": 0.5, "p_lower": 0.2, "p_upper": 0.9}) == f"50{SHARE} [20, 90]"
    assert words.moneyed(262.83, -356, 1065) == "263 [−356, 1,065]"
    assert words.moneyed(0.5, -0.25, 1.5) == "0.50 [−0.25, 1.50]"
    assert words.moneyed(0, 0, 0) == "0"
    assert words.of_all(1411, 2357) == f"1,411 (60{SHARE})"
