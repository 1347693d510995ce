"""Kinds counted in SQL against the plainest count in Python, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.kinds import KindCounts, count_kinds
from bayesdecay.errors import DataError
from tests.data.logs import START, STEP, steps, users

RANKED = ["purchase", "cart", "view"]
GAP = pd.Timedelta(minutes=30)
AT = START + 5 * pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
rows = st.lists(st.tuples(users, steps, st.sampled_from(RANKED)), min_size=1, max_size=40)


def shop(*events: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(events, columns=["user", "time", "kind"])


SMALL = shop(
    ("a", "2024-01-01 10:00", "purchase"),
    ("a", "2024-01-03 10:00", "view"),
    ("a", "2024-01-03 10:10", "purchase"),
    ("a", "2024-01-03 12:00", "cart"),
    ("a", "2024-01-09 12:00", "purchase"),
    ("b", "2024-01-02 10:00", "view"),
)


def by_hand(events: list[tuple[pd.Timestamp, str]], activity: str, *, acquisition: bool) -> list[int]:
    """Numbers of one user, an event after the other."""
    best: list[int] = []
    before: pd.Timestamp | None = None
    for time, kind in sorted(events, key=lambda event: event[0]):
        same = (
            before is not None
            and {
                "day": lambda time=time, before=before: time.normalize() == before.normalize(),
                "event": lambda time=time, before=before: time == before,
                "session": lambda time=time, before=before: time - before <= GAP,
            }[activity]()
        )
        rank = RANKED.index(kind)
        best = [*best[:-1], min(best[-1], rank)] if same else [*best, rank]
        before = time
    kept = best if acquisition else best[1:]
    return [kept.count(rank) for rank in range(len(RANKED))]


@pytest.mark.parametrize("activity", ["day", "session", "event"])
@settings(max_examples=25, deadline=None)
@given(drawn=rows, acquisition=st.booleans())
def test_counts_are_those_counted_by_hand(activity, drawn, acquisition):
    frame = pd.DataFrame(
        {
            "user": [row[0] for row in drawn],
            "time": [START + row[1] * STEP for row in drawn],
            "kind": [r[2] for r in drawn],
        }
    )
    kept = frame[frame["time"] <= AT]
    if kept.empty:
        return
    log = read_events(frame, kind="kind", kinds=RANKED)
    history = summarize(log, at=AT, activity=activity, session_gap=GAP)
    there = [kind for kind in RANKED if kind in log.kinds]
    if len(there) < 2:
        return
    found = count_kinds(log, history, there, acquisition=acquisition)
    places = [RANKED.index(kind) for kind in there]
    for row, user in enumerate(history.table["user"].to_pylist()):
        own = kept[kept["user"] == user]
        expected = by_hand(list(zip(own["time"], own["kind"], strict=True)), activity, acquisition=acquisition)
        assert found.counts[row].tolist() == [expected[place] for place in places]


def test_an_activity_is_of_the_first_kind_in_the_ranking():
    log = read_events(SMALL, kind="kind")
    history = summarize(log, at="2024-01-05")
    assert count_kinds(log, history, RANKED).to_pandas().to_dict("records") == [
        {"user": "a", "n_purchase": 1, "n_cart": 0, "n_view": 0},
        {"user": "b", "n_purchase": 0, "n_cart": 0, "n_view": 0},
    ]
    turned = count_kinds(log, history, ["view", "cart", "purchase"])
    assert turned.counts.tolist() == [[1, 0, 0], [0, 0, 0]]
    with_first = count_kinds(log, history, RANKED, acquisition=True)
    assert with_first.counts.tolist() == [[2, 0, 0], [0, 0, 1]]


def test_what_is_not_named_is_counted_together():
    log = read_events(SMALL, kind="kind")
    found = count_kinds(log, summarize(log, at="2024-01-05", activity="event"), ["purchase"])
    assert found.kinds == ("purchase", "other")
    assert found.counts.tolist() == [[1, 2], [0, 0]]
    named = read_events(SMALL.replace("cart", "other"), kind="kind")
    with pytest.raises(ValueError, match=r"'other' is a kind of this log, so .* name other, view too"):
        count_kinds(named, summarize(named), ["purchase"])


def test_only_the_kinds_of_the_history_count():
    log = read_events(SMALL, kind="kind")
    history = summarize(log, at="2024-01-05", kinds=["purchase", "cart"], activity="event")
    assert count_kinds(log, history, ["purchase", "cart"]).counts.tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="the history counts purchase, cart only; leave out view"):
        count_kinds(log, history, RANKED)


def test_kinds_of_any_text_are_counted():
    odd = {"purchase": "{log}", "cart": "it's", "view": 'a "b"'}
    log = read_events(SMALL.replace(odd), kind="kind")
    found = count_kinds(log, summarize(log, activity="event"), [odd[kind] for kind in RANKED])
    assert found.counts.tolist() == [[2, 1, 1], [0, 0, 0]]


def test_some_users_are_kept_in_the_order_given():
    log = read_events(SMALL, kind="kind")
    found = count_kinds(log, summarize(log, activity="event"), RANKED)
    turned = found.select(["b", "a"])
    assert turned.history.table["user"].to_pylist() == ["b", "a"]
    np.testing.assert_array_equal(turned.counts, found.counts[::-1])
    assert found.acquired_from("2024-01-02").counts.tolist() == [[0, 0, 0]]


def test_what_cannot_be_counted_is_refused():
    log = read_events(SMALL, kind="kind")
    history = summarize(log)
    with pytest.raises(ValueError, match=r"unknown kind 'purchases'; did you mean 'purchase'\? choose from cart, purc"):
        count_kinds(log, history, ["purchases", "view"])
    with pytest.raises(
        ValueError, match=r"read without kinds of events; name their column in read_events\(kind=\.\.\."
    ):
        count_kinds(read_events(SMALL), history, RANKED)
    with pytest.raises(DataError, match="column 'kind' has 1 missing value"):
        read_events(SMALL.assign(kind=["view", None, "view", "view", "view", "view"]), kind="kind")
    with pytest.raises(TypeError, match="counted in a log that is read here, not in DataFrame"):
        count_kinds(SMALL, history, RANKED)
    alike = read_events(SMALL.assign(kind="view"), kind="kind")
    with pytest.raises(ValueError, match="there must be two or more; got view"):
        count_kinds(alike, history, ["view"])


def test_a_log_that_the_history_does_not_come_from_is_refused():
    log = read_events(SMALL, kind="kind")
    fewer = read_events(SMALL.drop(index=[4]), kind="kind")
    with pytest.raises(DataError, match=r"of 1 users are not those of the history \(such as user 'a': 1 counted, 2 in"):
        count_kinds(fewer, summarize(log), RANKED)
    without = read_events(SMALL[SMALL["user"] == "a"], kind="kind")
    with pytest.raises(DataError, match=r"1 users of the history \(such as 'b'\) have no event in the log"):
        count_kinds(without, summarize(log), RANKED)
    with pytest.raises(ValueError, match=r"expected int64\[2, 3\], got int64\[1, 3\]"):
        KindCounts(history=summarize(log), kinds=tuple(RANKED), counts=np.zeros((1, 3), np.int64))


def test_the_order_of_the_rows_does_not_matter():
    tied = shop(*[("a", f"2024-01-0{day} 10:00", kind) for day, kind in itertools.product((1, 2, 3), RANKED)])
    for events in (tied, tied[::-1]):
        log = read_events(events, kind="kind")
        for activity in ("day", "session", "event"):
            assert count_kinds(log, summarize(log, activity=activity), RANKED).counts.tolist() == [[2, 0, 0]]
