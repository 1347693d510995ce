from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bayesdecay.data import event_features, history
from bayesdecay.data import snapshots as snapshots_module
from bayesdecay.data.activities import seen_sql
from bayesdecay.data.events import Events, read_events
from bayesdecay.data.feature_library import FEATURES
from bayesdecay.data.feature_names import read_names
from bayesdecay.data.features import features, features_table
from bayesdecay.data.history import summarize
from bayesdecay.data.snapshots import snapshots
from bayesdecay.errors import LeakageError
from bayesdecay.units import cutoff_instant
from tests.data import logs

UNITS = ("day", "session", "event")
KINDS = ("view", "buy")
DAY, MINUTE = pd.Timedelta(days=1), pd.Timedelta(minutes=1)
LENGTHS = {
    "1d": DAY,
    "36h": pd.Timedelta(hours=36),
    "3d": 3 * DAY,
    "10min": 10 * MINUTE,
    "always": 10_000 * DAY,
}
GAP = 3 * logs.STEP
ANCHOR = 99  # a user with an event of every kind at the start, so that all names have a meaning at every cutoff

# Quarters, and halves of them, add up exactly in any order.
quarters = st.one_of(st.none(), st.integers(-8, 40).map(lambda number: number / 4))
# Few users with many events, or ties, gaps and the ends of windows would hardly ever be met.
rows = st.lists(
    st.tuples(st.integers(0, 2), logs.steps, st.sampled_from(KINDS), quarters, quarters, st.sampled_from("abc")),
    min_size=5,
    max_size=40,
)
cutoffs = logs.steps.map(lambda step: cutoff_instant(logs.START + step * logs.STEP))


def frame_of(drawn: list[tuple[object, ...]]) -> pd.DataFrame:
    """Make a log of drawn rows, the anchor's first."""
    anchored = [*((ANCHOR, 0, kind, 1.0, None, "a") for kind in KINDS), *drawn]
    table = pd.DataFrame(anchored, columns=["user", "step", "kind", "amount", "duration", "item"])
    times = logs.START + table.pop("step") * logs.STEP
    return table.assign(time=times).astype({"amount": "float64", "duration": "float64"})


def read(frame: pd.DataFrame) -> Events:
    return read_events(frame, kind="kind", amount="amount", columns=["duration", "item"])


def names_of_all(windows: tuple[str, ...]) -> list[str]:
    """Write every name of the library for the drawn logs, with these windows."""
    found = []
    for pattern in FEATURES:
        optional = "[" in pattern
        bare = pattern.replace("[", "").replace("]", "")
        forms = [bare.replace("WINDOW", window) for window in windows] if "WINDOW" in bare else [bare]
        forms += [bare.replace("_WINDOW", "")] if optional else []
        column = "item" if pattern.startswith("distinct") else "duration"
        found += [form.replace("KIND", "buy").replace("COLUMN", column) for form in forms]
    return [*found, "mean_amount", "last_amount", "events_view", "share_view_1d", "distinct_kind"]


def by_hand(name: str, seen: pd.DataFrame, opened: list[pd.Timestamp], end: pd.Timestamp, midnights: bool) -> float:
    """Compute a feature of one user the plainest way: from all rows seen, and the activities."""
    stem, _, window = name.rpartition("_")
    if window not in LENGTHS:
        stem, window = name, "always"

    def age(times: pd.Series) -> pd.Series:
        return end - (times.dt.normalize() if midnights else times)

    gaps = pd.Series(opened, dtype="datetime64[us]").diff().dropna() / DAY
    rows = seen[age(seen["time"]) < LENGTHS[window]].sort_values("time")
    word, _, what = stem.partition("_")
    if stem in (
        "recency",
        "frequency",
        "tenure",
        "active",
        "activity_rate",
        "mean_gap",
        "last_gap",
        "gap_cv",
        "overdue",
    ):
        recency, tenure, mean = (end - opened[-1]) / DAY, (end - opened[0]) / DAY, gaps.mean()
        return {
            "recency": lambda: recency,
            "frequency": lambda: len(gaps),
            "tenure": lambda: tenure,
            "active": lambda: sum(end - time < LENGTHS[window] for time in opened),
            "activity_rate": lambda: len(gaps) / tenure if tenure else np.nan,
            "mean_gap": lambda: mean,
            "last_gap": lambda: gaps.iloc[-1] if len(gaps) else np.nan,
            "gap_cv": lambda: gaps.std() / mean,
            "overdue": lambda: recency / mean,
        }[stem]()
    of_kind = rows[rows["kind"] == what]
    column = rows.get(stem if stem == "amount" else what)
    last = rows[column.notna() & (rows["time"] == rows["time"][column.notna()].max())] if column is not None else rows
    between = rows["time"].diff()
    has_times = (seen["time"] != seen["time"].dt.normalize()).any()
    return {
        "active": lambda: rows["time"].dt.normalize().nunique(),
        "events": lambda: len(of_kind) if what else len(rows),
        "share": lambda: len(of_kind) / len(rows) if len(rows) else np.nan,
        "recency": lambda: (age(of_kind["time"]) / DAY).min(),
        "time": lambda: between[between <= GAP].sum() / MINUTE if has_times else np.nan,
        "amount": lambda: column.sum(),
        "sum": lambda: column.sum(),
        "mean": lambda: column.mean(),
        "max": lambda: column.max(),
        "last": lambda: last[what].min(),
        "distinct": lambda: column.nunique(),
    }[word]()


@settings(max_examples=20, deadline=None)
@example(  # ten minutes before the cutoff to the microsecond: outside of a window of ten minutes
    activity="session",
    kinds=None,
    drawn=[(0, 0, "view", None, None, "a")] * 5,
    at=cutoff_instant(logs.START + logs.STEP),
    windows=("3d", "10min"),
)
@given(
    activity=st.sampled_from(UNITS),
    kinds=st.sampled_from([None, ["buy"]]),
    drawn=rows,
    at=cutoffs,
    windows=st.sampled_from([("1d", "36h"), ("3d", "10min")]),
)
def test_every_feature_is_the_plain_definition(activity, kinds, drawn, at, windows):
    frame, names = frame_of(drawn), names_of_all(windows)
    log = read(frame)
    users = summarize(log, at=at, activity=activity, session_gap=GAP, kinds=kinds)
    found = pd.DataFrame(features(users, names, log=log), index=users.table["user"].to_pylist())
    assert list(found) == names
    end = at.normalize() if activity == "day" else at
    for user, computed in found.iterrows():
        seen = frame[(frame["user"] == user) & (frame["time"] <= at)]
        counted = seen if kinds is None else seen[seen["kind"].isin(kinds)]
        opened = logs.activities(counted["time"].tolist(), activity, GAP)
        expected = [by_hand(name, seen, opened, end, activity == "day") for name in names]
        np.testing.assert_allclose(
            computed, np.array(expected, dtype=float), rtol=1e-12, atol=1e-12, err_msg=str(names)
        )


def test_every_documented_feature_can_be_computed():
    frame = frame_of([(1, step, "view", 2.0, 0.5, "b") for step in (3, 5, 200, 500)])
    table, log = features_table(), read(frame)
    assert table["name"].is_unique
    assert (table[["name", "meaning", "unit", "missing", "source"]] != "").all(axis=None)
    names = names_of_all(("30d",))
    taken = snapshots(log, cutoffs="1969-12-31", horizon="1d", lapsed_after=None, features=names)
    assert {asked.pattern for asked in read_names(names, log)} == set(table["name"])
    assert taken.features == tuple(names)
    assert (taken.table[names].dtypes == np.float64).all()
    known = taken.table.set_index("user")[names].notna()
    assert known.loc[1].sum() == len(names) - 1  # user 1 has bought nothing
    assert not known.loc[1, "recency_buy"]


@pytest.mark.parametrize("activity", UNITS)
@settings(max_examples=8, deadline=None)
@given(kinds=st.sampled_from([None, ["buy"]]), drawn=rows, at=cutoffs, future=rows, shuffle=st.integers(0, 3))
def test_nothing_after_the_cutoff_changes_any_feature(activity, kinds, drawn, at, future, shuffle):
    """Whatever is added, changed or removed after the cutoff, and wherever in the log it stands."""
    last = (at - logs.START) // logs.STEP
    past = [row for row in drawn if row[1] <= last]
    seen = []
    for later in ([], future, [(*row[:2], "refund", 1e300, -1.0, "z") for row in future]):
        frame = frame_of(past + [row for row in later if row[1] > last]).sample(frac=1, random_state=shuffle)
        taken = snapshots(
            read(frame),
            cutoffs=at,
            horizon="1d",
            lapsed_after=None,
            activity=activity,
            session_gap=GAP,
            kinds=kinds,
            features=names_of_all(("36h",)),
            columns=["duration", "item"],
            observed_until=logs.START + 20 * DAY,
        )
        seen.append(taken.table.drop(columns="returned"))
    for table in seen[1:]:
        pd.testing.assert_frame_equal(table, seen[0], check_exact=True)


@pytest.mark.parametrize("module", [event_features, history, snapshots_module])
@settings(max_examples=10, deadline=None)
@given(activity=st.sampled_from(UNITS), drawn=rows, at=cutoffs)
def test_the_guard_fails_loudly_where_a_query_sees_too_much(module, activity, drawn, at):
    """Break the filter of one query, so that it sees two days too many; what came in them must not pass."""
    log = read(frame_of(drawn))
    leaking = any(at < logs.START + row[1] * logs.STEP <= at + 2 * DAY for row in drawn)

    def take() -> int:
        told = {"cutoffs": at, "horizon": "1d", "lapsed_after": None, "activity": activity, "columns": ["item"]}
        return len(snapshots(log, features=["recency", "events"], observed_until=at + 9 * DAY, **told))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "seen_sql", lambda until, kinds=None: seen_sql(until + 2 * DAY, kinds))
        if leaking:
            with pytest.raises(LeakageError, match=r"at the cutoff .* rest on an event of .*, which nobody could have"):
                take()
        else:
            assert take() > 0


def test_a_history_under_another_cutoff_is_leakage():
    log = read(frame_of([(1, 200, "view", None, None, "a")]))
    taken = snapshots(log, cutoffs=["1969-12-29", "1969-12-30"], horizon="1d", lapsed_after=None, observed_until="1970")
    early, late = taken.histories
    assert (early, late) == (cutoff_instant("1969-12-29"), cutoff_instant("1969-12-30"))
    swapped = {early: taken.histories[late], late: taken.histories[late]}
    with pytest.raises(
        LeakageError, match=r"under the cutoff 1969-12-29 .* is one of 1969-12-30 .*; summarize the log"
    ):
        type(taken)(**{name: getattr(taken, name) for name in taken.__slots__} | {"histories": swapped})
