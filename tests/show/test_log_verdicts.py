"""Verdicts over several origins: every sentence follows from its figures, and what is bad comes with what to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesdecay.show.log_verdicts import of_convergence, of_groups, of_totals
from tests.show import made

ENDS = (0.9, 1.1)  # of each interval, times what is predicted


def totals(*ratios):
    """Periods of 100 predicted activities, by predicted over seen."""
    seen = np.array([100 / ratio if ratio else 0.0 for ratio in ratios])
    table = pd.DataFrame({"predicted": 100.0, "predicted_lower": 90.0, "predicted_upper": 110.0, "seen": seen})
    table["ratio"] = [ratio or np.nan for ratio in ratios]
    return table.assign(inside=(seen >= 90) & (seen <= 110))


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("ratios", "good", "short", "advice"),
    [
        ((1.0, 1.05, 0.95), True, "the total was foreseen in each of 3 periods", ""),
        ((1.0, 1.0, 1.0, 0.8), True, "the total was foreseen in 3 of 4 periods", ""),  # chance has it in one of four
        ((1.0,), True, "the total was foreseen in the period", ""),
        ((0.91, 0.85, 0.8) * 2, False, "the total was 17 % low in 4 of 6 periods", "plan with 1.10 to 1.25 times"),
        ((0.8, 0.8), False, "the total was 20 % low in each of 2 periods", "1.25 times in the middle"),
        ((0.8,), False, "the total was 20 % low", "too low: plan with 1.25 times what is predicted"),
        ((1.5, 1.25), False, "the total was 38 % high in each of 2 periods", "too high: plan with 0.67 to 0.80 times"),
        (
            (0.8, 1.25, 1.0),
            False,
            "the total was 20 % low in 1 of 3 periods and 25 % high in 1 of 3 periods",
            "with the band that was seen here, 0.80 to 1.25 times what is predicted",
        ),
        ((None,), False, "the total was high", "Do not add up the forecasts"),
    ],
)
def test_totals_are_told_by_side_size_and_number(ratios, good, short, advice):
    found = of_totals(totals(*ratios), 30.0, 0.9)
    assert found.good == good
    assert plain(found.short) == short
    assert advice in plain(found.advice)
    assert bool(found.advice) != good
    assert "predicted over seen is" in found.text


def test_a_large_log_may_miss_by_two_per_cent():
    table = totals(0.985, 0.985)
    assert of_totals(table.assign(inside=False), 30.0, 0.9).good
    assert not of_totals(totals(0.97, 0.97).assign(inside=False), 30.0, 0.9).good


WHOLE = pd.Series({"excess": 0.0, "coverage": 0.95})
GROUPS = pd.DataFrame(
    {
        "past_activities": ["0", "1", "2 or more"],
        "users": [500, 300, 200],
        "predicted": [0.1, 0.3, 0.5],
        "observed": [0.1, 0.3, 0.5],
        "observed_se": 0.01,
        "coverage": 0.95,
        "coverage_se": 0.005,
    }
)


def groups_with(column, values, whole=WHOLE, **changes):
    table = GROUPS.assign(**{column: values}, **changes)
    return of_groups(table, "past_activities", whole, 0.9)


def test_groups_that_are_forecast_worse_are_named():
    assert groups_with("predicted", [0.1, 0.3, 0.5]) is None
    found = groups_with("predicted", [0.1, 0.3, 0.4])
    assert "of those with 2 or more of them, 40 % were expected to be active and 50 % were" in plain(found.text)
    assert "Do not rely on the numbers of single users with 2 or more past activities" in found.advice
    assert not found.good
    narrow = groups_with("coverage", [0.95, 0.95, 0.8])
    assert "intervals of those with 2 or more of them held 80 %" in plain(narrow.text)


def test_groups_that_are_as_wrong_as_all_are_not_named():
    whole = WHOLE.replace({0.0: -0.1})
    assert groups_with("predicted", [0.0, 0.2, 0.4], whole) is None
    assert groups_with("coverage", [0.8, 0.8, 0.8], pd.Series({"excess": 0.0, "coverage": 0.8})) is None


def test_small_and_noisy_groups_are_not_named():
    assert groups_with("predicted", [0.1, 0.3, 0.4], observed_se=0.04) is None
    assert groups_with("predicted", [0.1, 0.3, 0.4], users=[50_000, 300, 100]) is None


def test_new_users_have_advice_of_their_own():
    table = GROUPS.rename(columns={"past_activities": "days_known"}).assign(predicted=[0.3, 0.3, 0.5])
    found = of_groups(table, "days_known", WHOLE, 0.9)
    assert "Users differ by their days since the acquisition" in found.text
    assert "as --group" in found.advice


def test_fits_that_did_not_converge_are_told():
    at = [pd.Timestamp("2024-03-31"), pd.Timestamp("2024-06-30")]
    assert of_convergence(dict.fromkeys(at, made.GOOD), at) is None
    bad = replace(made.GOOD, worst_rhat=1.2)
    found = of_convergence({at[0]: made.GOOD, at[1]: bad}, at[:1])
    assert "1 of 2 fits did not converge (30 June 2024): R-hat is 1.2" in found.text
    assert "no forecast from there was judged" in found.text
    assert "--draws 1000" in found.advice
    assert "its forecasts are among those judged" in of_convergence({at[1]: bad}, at).text
