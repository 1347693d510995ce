from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.history_times import summarize_times
from bayesdecay.errors import DataError
from tests.data import logs


@settings(max_examples=40, deadline=None)
@given(activity=st.sampled_from(["day", "session", "event"]), drawn=logs.rows, step=logs.steps)
def test_the_history_is_that_of_the_log(activity, drawn, step):
    at = logs.START + step * logs.STEP + pd.Timedelta(seconds=1)
    frame = logs.frame(drawn)
    times = {user: own.tolist() for user, own in frame.groupby("user", sort=False)["time"]}
    told = {"at": at, "activity": activity, "session_gap": "1h"}
    if frame["time"].min() > at:
        with pytest.raises(DataError, match="no event up to the cutoff"):
            summarize_times(times, **told)
        return
    made = summarize_times(times, **told)
    assert made == summarize(logs.log(drawn), **told)
    assert made.table.schema == summarize(logs.log(drawn), **told).table.schema


def test_groups_are_those_of_the_users():
    frame = pd.DataFrame(
        {"user": ["b", "a"], "time": pd.to_datetime(["2024-01-01", "2024-01-02"]), "group": ["x", "y"]}
    )
    times = {"b": ["2024-01-01"], "a": ["2024-01-02 10:00"], "later": ["2024-02-02"]}
    made = summarize_times(times, at="2024-01-05", groups={"a": "y", "b": "x"})
    known = summarize(read_events(frame, columns=["group"]), at="2024-01-05", group="group")
    assert made.table.drop_columns("last_event") == known.table.drop_columns("last_event")
    with pytest.raises(DataError, match="groups= has none for user 'a'"):
        summarize_times(times, at="2024-01-05", groups={"b": "x"})


def test_times_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="times of user 1 cannot be read"):
        summarize_times({1: ["yesterday"]}, at="2024-01-05")
    with pytest.raises(DataError, match="times of user 1: 1 are missing"):
        summarize_times({1: ["2024-01-01", None]}, at="2024-01-05")
    with pytest.raises(DataError, match="times of user 1 tell their zone, UTC"):
        summarize_times({1: ["2024-01-01 10:00+00:00"]}, at="2024-01-05")
    with pytest.raises(ValueError, match="unknown activity 'dya'"):
        summarize_times({1: ["2024-01-01"]}, at="2024-01-05", activity="dya")
