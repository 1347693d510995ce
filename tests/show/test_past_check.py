"""The past of a shop beside pasts drawn from the truth, which it could be one of, and from something else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.model.past_counts import Tally
from bayesdecay.show.log_verdicts import of_past
from bayesdecay.show.past_check import COUNTS, GAPS, RETURNS, SINCE, _statistics, check_past
from tests.show import made


@pytest.fixture(scope="module")
def past(truth, history):
    return check_past(truth, history, random_seed=1)


def test_the_truth_would_have_had_this_past(past):
    table = past.table
    inside = (table["replicated_lower"] <= table["seen"]) & (table["seen"] <= table["replicated_upper"])
    assert inside.mean() > 0.75
    assert table["p"].between(0.003, 0.997).all()
    assert set(table["aspect"]) == {RETURNS, COUNTS, GAPS, SINCE}
    found = of_past(past, "event")
    assert found.good
    assert "The past is one that the fitted population would have had" in found.text


def test_what_was_seen_is_what_the_history_has(past, history):
    seen = past.table.set_index(["aspect", "statistic"])["seen"]
    n = history.table["n"].to_numpy()
    assert seen[RETURNS, "users never seen again"] == pytest.approx((n == 0).mean())
    assert seen[RETURNS, "activities a user"] == pytest.approx(n.mean())
    assert seen[RETURNS, "activities of the busiest user"] == n.max()
    assert seen[COUNTS, "3-4"] == pytest.approx(((n == 3) | (n == 4)).mean())
    top = np.sort(n)[::-1][:15].sum() / n.sum()  # a hundredth of 1,500 users
    assert past.of(RETURNS)["seen"].iloc[3] == pytest.approx(top)
    shares = past.of(GAPS)["seen"]
    assert shares.is_monotonic_increasing
    assert shares.iloc[2] == pytest.approx(0.5, abs=0.02)


def test_bursts_are_seen_and_what_to_do_is_said(truth, history):
    frame = history.to_pandas()
    rows = []
    for user, first, n in zip(frame["user"], frame["first"], frame["n"], strict=True):
        rows += [(user, first + pd.Timedelta(minutes=5 * j)) for j in range(n + 1)]
    rows.append((user, history.at))  # so that the log goes on until the cutoff
    log = read_events(pd.DataFrame(rows, columns=["user", "time"]))
    bursting = summarize(log, at=history.at, activity="event")
    found = of_past(check_past(truth, bursting, random_seed=1), "event")
    assert not found.good
    assert "gaps of at most 0.1 hours" in found.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "count sessions or days" in found.advice
    assert "Silences:" in found.advice


def test_another_population_is_told_by_its_numbers(history):
    few = made.fit(history, mu_log_interest=np.log(0.15 / 3)).population(200)
    found = of_past(check_past(few, history, random_seed=1), "event")
    assert not found.good
    assert "users never seen again" in found.text
    assert "Numbers of activities: look for two kinds of users" in found.advice


def test_ties_count_by_half():
    tally = Tally(users=np.array([[8, 2, 0]]), gaps=np.array([[2, 0]]), since=np.array([[1, 1]]))
    (_, name, share, value), *rest = _statistics(tally, np.array([1.0]), np.array([0.5]))
    assert (name, share, value[0]) == ("users never seen again", True, 0.8)
    assert [row[1] for row in rest if row[0] == GAPS] == ["at most 1 day"]
    assert [row[1] for row in rest if row[0] == SINCE] == ["at most 12.0 hours"]


def test_nobody_coming_back_has_no_past_to_compare(truth):
    log = read_events(pd.DataFrame({"user": range(20), "time": pd.Timestamp("2024-01-01")}))
    with pytest.raises(ValueError, match="nobody was active again after the acquisition"):
        check_past(truth, summarize(log, at="2024-01-20", activity="event"))
