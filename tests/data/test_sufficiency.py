"""Every rule of what a history must hold: broken by a small log, told in its words; and no word where all is well."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.sufficiency import REFUSE, SUFFICIENCY_RULES, require_enough, shortfalls
from bayesdecay.errors import DataError

START = pd.Timestamp("2024-01-01")


def history(users, *, at="2024-07-01", activity="day"):
    """A history of users, each given by the days of the activities since the start."""
    rows = [(user, START + pd.Timedelta(days=day)) for user, days in enumerate(users) for day in days]
    log = read_events(pd.DataFrame(rows, columns=["user", "time"]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the cutoff .* days after the log's last event")
        return summarize(log, at=at, activity=activity)


def spread(number, *, returns=1, over=100.0, until=180.0):
    """Users acquired one after the other, who come back so often."""
    starts = np.linspace(0, over, number)
    return [[start, *(start + (until - start) * (j + 1) / (returns + 1) for j in range(returns))] for start in starts]


BROKEN = {
    "fewest_users": (spread(9), {}, "9 users up to the cutoff, and 10 are the fewest"),
    "no_time": ([[0]] * 20, {"at": "2024-01-01"}, "nobody was seen for longer than the first activity"),
    "no_return": (spread(300, returns=0), {}, "none of 300 users was active again after the first day"),
    "few_users": (spread(100), {}, "100 users: a share of one half is known to ±8 points only"),
    "few_returned": (
        [*spread(300, returns=0), *spread(40)],
        {},
        "only 40 users of 340 ever came back",
    ),
    "short_history": (spread(300, over=20, until=30), {"at": "2024-01-31"}, "longer than 30 days, less than twice the"),
    "acquired_at_once": (spread(300, over=1), {}, "all 300 users were acquired within 1 day"),
    "begins_midway": ([*spread(200, over=2), *spread(300)], {}, "42 % of the users were first seen within 4 days"),
    "one_user": ([*spread(300), list(range(182))], {}, "one user made 181 of 481 activities"),
    "bursts": (
        [[*days, *(days[-1] + j / 1_440 for j in range(1, 4))] for days in spread(300)],
        {"activity": "event"},
        "75 % of the events follow the one before within half an hour",
    ),
}


@pytest.mark.parametrize("rule", SUFFICIENCY_RULES)
def test_every_rule_is_told_with_its_numbers(rule):
    users, how, said = BROKEN[rule]
    found = {one.rule: one for one in shortfalls(history(users, **how), horizon=30.0)}
    assert said in found[rule].text
    assert found[rule].level == SUFFICIENCY_RULES[rule].level
    assert found[rule].sentence.endswith(".")
    assert found[rule].sentence[0] == found[rule].sentence[0].upper()


def test_a_good_log_lacks_nothing():
    assert shortfalls(history(spread(300)), horizon=30.0) == ()
    assert shortfalls(history(spread(300))) == ()


def test_what_is_refused_is_told_at_once_and_the_rest_given_back():
    with pytest.raises(DataError, match=r"not enough to learn from up to 2024-07-01: 5 users .*; none of 5 users"):
        require_enough(history(spread(5, returns=0)))
    (told,) = require_enough(history(spread(100)), horizon=30.0)
    assert told.rule == "few_users"


@pytest.mark.parametrize(("users", "share"), [(10, 26), (199, 6)])
def test_the_margin_is_that_of_a_share_of_one_half(users, share):
    drawn = np.random.default_rng(1).binomial(users, 0.5, size=200_000) / users
    assert 100 * (np.quantile(drawn, 0.95) - 0.5) == pytest.approx(share, abs=5)
    found = shortfalls(history(spread(users)))
    assert f"±{share} points" in found[0].text


def test_no_log_breaks_all_rules():
    levels = [rule.level for rule in SUFFICIENCY_RULES.values()]
    assert levels == sorted(levels)  # what is refused comes first
    assert set(BROKEN) == set(SUFFICIENCY_RULES)
    assert all(one.level == REFUSE for one in itertools.islice(SUFFICIENCY_RULES.values(), 3))
