"""Rolling origins: as many as fit without overlap, after a third of the log, and no further than it can be seen."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.errors import DataError
from bayesdecay.show.origins import origins_of, overlapping

DAY = pd.Timedelta(days=1)


def log_of(days, *, start="2024-01-01"):
    times = pd.Timestamp(start) + pd.to_timedelta([0, days - 1], unit="D")
    return read_events(pd.DataFrame({"user": [1, 1], "time": times, "kind": ["view", "buy"]}), kind="kind")


@pytest.mark.parametrize(
    ("days", "length", "asked", "apart"),
    [
        (545, 90.0, 6, [91, 91, 91]),  # four fit into the last two thirds
        (545, 30.0, 6, [66, 66, 66, 66, 66]),  # more than six would: spread evenly
        (545, 30.0, 2, [333]),
        (545, 273.0, 6, []),
        (120, 100.0, 6, []),  # longer than two thirds: the one that can be judged
    ],
)
def test_origins_are_spread_without_overlap(days, length, asked, apart):
    log = log_of(days)
    found = origins_of(log, length, asked=asked)
    assert [(b - a) / DAY for a, b in itertools.pairwise(found)] == apart
    assert found[-1] + length * DAY == log.end
    assert not overlapping(found, length)
    if days == 545:
        assert (found[0] - log.span[0]) / DAY >= days / 3


def test_a_log_is_looked_at_until_a_date():
    found = origins_of(log_of(545), 30.0, until="2024-12-31")
    assert str(found[-1].date()) == "2024-12-01"


def test_a_log_begins_with_what_counts():
    log = log_of(100)
    with pytest.raises(DataError, match="the log goes from 2024-04-09 to 2024-04-09, 1 days, so no forecast of 30d"):
        origins_of(log, 30.0, kinds=["buy"])


def test_chosen_origins_are_taken_or_refused():
    log = log_of(200)
    found = origins_of(log, 30.0, asked=["2024-05-31", "2024-04-30"])
    assert [str(one.date()) for one in found] == ["2024-04-30", "2024-05-31"]
    assert not overlapping(found, 30.0)
    assert overlapping(found, 32.0)
    assert origins_of(log, 30.0, asked="2024-05-31") == found[1:]
    with pytest.raises(DataError, match=r"2024-07-10 cannot be judged; .* so choose origins up to 2024-06-18"):
        origins_of(log, 30.0, asked=["2024-03-01", "2024-07-10"])
    with pytest.raises(ValueError, match="one or several different dates"):
        origins_of(log, 30.0, asked=["2024-03-01", "2024-03-01"])
    with pytest.raises(ValueError, match="origins must be at least 1, got 0"):
        origins_of(log, 30.0, asked=0)
    with pytest.raises(DataError, match="200 days, so no forecast of 250d can be checked on it; take a shorter"):
        origins_of(log, 250.0)
