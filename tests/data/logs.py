"""Logs drawn by hypothesis, and the plainest possible way to summarize them, for the tests of this folder."""

from __future__ import annotations

import pandas as pd
from hypothesis import strategies as st

from bayesdecay.data.events import Events, read_events

# Times cross 1970, where whole-number division changes its rounding, and are coarse enough to tie and to touch gaps.
START = pd.Timestamp("1969-12-28")
STEP = pd.Timedelta(minutes=10)
STEPS_PER_DAY = 144
DAYS = 8

steps = st.one_of(
    st.integers(0, DAYS * STEPS_PER_DAY - 1),
    st.integers(0, DAYS - 1).map(lambda day: day * STEPS_PER_DAY),  # midnights
    st.integers(3 * STEPS_PER_DAY, 3 * STEPS_PER_DAY + 20),  # a burst around a midnight
)
users = st.integers(0, 5)
rows = st.lists(st.tuples(users, steps), min_size=1, max_size=40)


def frame(drawn: list[tuple[int, int]]) -> pd.DataFrame:
    """Make a log of drawn (user, step) pairs."""
    table = pd.DataFrame(drawn, columns=["user", "step"])
    return pd.DataFrame({"user": table["user"], "time": START + table["step"] * STEP})


def log(drawn: list[tuple[int, int]]) -> Events:
    """Read a log of drawn (user, step) pairs."""
    return read_events(frame(drawn))


def activities(times: list[pd.Timestamp], activity: str, gap: pd.Timedelta) -> list[pd.Timestamp]:
    """List one user's activities, an event after the other."""
    found: list[pd.Timestamp] = []
    before: pd.Timestamp | None = None
    for time in sorted(times):
        if activity == "day":
            opens, opened = before is None or time.normalize() != before.normalize(), time.normalize()
        elif activity == "event":
            opens, opened = before is None or time != before, time
        else:
            opens, opened = before is None or time - before > gap, time
        if opens:
            found.append(opened)
        before = time
    return found
