from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.data.combining import combine
from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from tests.data import logs

UNITS = ("day", "session", "event")
AT = logs.START + pd.Timedelta(days=logs.DAYS)


@st.composite
def cut_in_time(draw, parts):
    """A log, cut at the ends of all parts but the last; one row of each part is drawn first, so that none is empty."""
    anchors = sorted(draw(st.sets(logs.steps, min_size=parts, max_size=parts)))
    cuts = [draw(st.integers(low, high - 1)) for low, high in pairwise(anchors)]
    return draw(logs.rows) + [(draw(logs.users), step) for step in anchors], cuts


def end_of(step):
    return logs.START + step * logs.STEP + pd.Timedelta(seconds=1)


@settings(max_examples=25, deadline=None)
@given(
    activity=st.sampled_from(UNITS),
    drawn=logs.rows,
    order=st.permutations(range(6)),
    size=st.integers(1, 5),
    anchors=st.tuples(logs.steps, logs.steps),
)
def test_disjoint_users_combine_to_the_whole(activity, drawn, order, size, anchors):
    left = order[:size]
    drawn = [*drawn, (order[0], anchors[0]), (order[-1], anchors[1])]  # one row of each part, so that none is empty
    one = [row for row in drawn if row[0] in left]
    other = [row for row in drawn if row[0] not in left]
    parts = [summarize(logs.log(part), at=AT, activity=activity) for part in (one, other)]
    whole = summarize(logs.log(drawn), at=AT, activity=activity)
    assert combine(*parts) == whole
    assert combine(*reversed(parts)) == whole


@settings(max_examples=60, deadline=None)
@given(activity=st.sampled_from(UNITS), log=cut_in_time(2), gap=st.sampled_from([1, 3, 30]))
def test_halves_in_time_combine_to_the_whole(activity, log, gap):
    drawn, [step] = log
    early = [row for row in drawn if row[1] <= step]
    late = [row for row in drawn if row[1] > step]
    told = {"activity": activity, "session_gap": gap * logs.STEP}
    earlier = summarize(logs.log(early), at=end_of(step), **told)
    later = summarize(logs.log(late), at=AT, **told)
    whole = summarize(logs.log(drawn), at=AT, **told)
    combined = combine(earlier, later)
    assert combined == whole
    assert combined.table.schema == whole.table.schema


@settings(max_examples=10, deadline=None)
@given(log=cut_in_time(3))
def test_three_parts_combine_in_either_order(log):
    drawn, [low, high] = log
    parts = [
        [row for row in drawn if row[1] <= low],
        [row for row in drawn if low < row[1] <= high],
        [row for row in drawn if high < row[1]],
    ]
    first, second, third = (
        summarize(logs.log(part), at=at, activity="session")
        for part, at in zip(parts, [end_of(low), end_of(high), AT], strict=True)
    )
    assert combine(combine(first, second), third) == combine(first, combine(second, third))


def test_the_acquisition_keeps_its_group_and_covariates():
    frame = pd.DataFrame(
        {
            "user": ["a", "a", "b"],
            "time": pd.date_range("2024-01-01", periods=3),
            "g": list("xyz"),
            "v": [1.0, 2.0, 3.0],
        }
    )
    told = {"group": "g", "covariates": ["v"]}
    parts = (frame.iloc[:1], "2024-01-01"), (frame.iloc[1:], "2024-01-03")
    earlier, later = (summarize(read_events(part, columns=["g", "v"]), at=at, **told) for part, at in parts)
    combined = combine(earlier, later)
    assert combined == summarize(read_events(frame, columns=["g", "v"]), at="2024-01-03", **told)
    assert combined.table["group"].to_pylist() == ["x", "z"]


def test_a_day_that_was_split_is_one_activity_and_a_session_goes_on():
    times = pd.to_datetime(["2024-01-01 10:00", "2024-01-01 10:20", "2024-01-01 10:40"])
    frame = pd.DataFrame({"user": 1, "time": times})
    for activity in ("day", "session"):
        earlier = summarize(read_events(frame.iloc[:2]), at="2024-01-01 10:30", activity=activity)
        later = summarize(read_events(frame.iloc[2:]), at="2024-01-02", activity=activity)
        combined = combine(earlier, later)
        assert combined.table["n"].to_pylist() == [0]
        assert combined.table["last_event"].to_pylist() == [times[2]]


@pytest.fixture
def halves():
    frame = pd.DataFrame({"user": [1, 1, 2], "time": pd.to_datetime(["2024-01-20", "2024-02-01", "2024-02-03"])})
    return read_events(frame.iloc[:1]), read_events(frame.iloc[1:])


def test_what_does_not_fit_is_refused(halves):
    early, late = halves
    earlier, later = summarize(early, at="2024-01-25"), summarize(late, at="2024-02-15")
    with pytest.raises(ValueError, match="different activity cannot be combined: 'day' and 'event'"):
        combine(earlier, summarize(late, activity="event"))
    with pytest.raises(ValueError, match=r"is after the later one's .* swap the two"):
        combine(later, earlier)
    with pytest.raises(ValueError, match="1 users are in both histories"):
        combine(summarize(early, at="2024-02-15"), later)
    with pytest.raises(ValueError, match="starts at 2024-02-01 00:00:00, before the cutoff"):
        combine(summarize(early, at="2024-02-10"), later)
    named = summarize(read_events(pd.DataFrame({"user": ["x"], "time": ["2024-02-01"]})), at="2024-02-15")
    with pytest.raises(ValueError, match="ids differ in type: int64 and string"):
        combine(earlier, named)
