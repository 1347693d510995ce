from __future__ import annotations

from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.features import DEFAULT_FEATURES, features, features_table
from bayesdecay.data.history import summarize
from bayesdecay.data.snapshots import snapshots
from bayesdecay.errors import LeakageError

NAN = pytest.approx(np.nan, nan_ok=True)


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        ("a", "2024-01-01 10:00", "view", 5.0, 3, "x"),
        ("a", "2024-01-01 10:20", "view", None, 4, "y"),
        ("a", "2024-01-01 10:50", "buy", 7.0, None, "x"),  # the gap of 30 minutes still goes on
        ("a", "2024-01-03 23:50", "view", None, 8, "x"),
        ("a", "2024-01-04 00:10", "buy", 9.0, None, "z"),
        ("b", "2024-01-02 00:00", "view", None, None, "x"),
        ("c", "2024-02-01 00:00", "gift", 1.0, 1, "x"),
    ]
    table = pd.DataFrame(rows, columns=["user", "time", "kind", "amount", "seconds", "item"])
    return table.astype({"time": "datetime64[us]"})


@pytest.fixture
def log(frame):
    return read_events(frame, kind="kind", amount="amount", columns=["seconds", "item"])


def at_the_seventh(log, names, **told):
    """Features of users a and b, by name."""
    found = features(summarize(log, at="2024-01-07", **told), names, log=log)
    return {name: values.tolist() for name, values in found.items()}


def test_features_of_a_log_counted_by_hand(log):
    expected = {
        "last_gap": [1.0, NAN],  # active on the 1st, 3rd and 4th
        "mean_gap": [1.5, NAN],
        "gap_cv": [pytest.approx(0.5**0.5 / 1.5), NAN],
        "overdue": [2.0, NAN],
        "activity_rate": [2 / 6, 0.0],
        "active_days": [3.0, 1.0],
        "active_days_4d": [1.0, 0.0],
        "events_view": [3.0, 1.0],
        "events_view_5d": [1.0, 0.0],
        "share_buy": [0.4, 0.0],
        "share_buy_5d": [0.5, NAN],
        "recency_buy": [3.0, NAN],
        "time_spent": [70.0, NAN],  # b has dates only
        "time_spent_5d": [20.0, NAN],
        "time_spent_4d": [0.0, NAN],
        "amount": [21.0, 0.0],
        "amount_5d": [9.0, 0.0],
        "mean_amount": [7.0, NAN],
        "last_amount": [9.0, NAN],
        "max_seconds": [8.0, NAN],
        "last_seconds": [8.0, NAN],
        "sum_seconds_2w": [15.0, 0.0],
        "distinct_item": [3.0, 1.0],
        "distinct_kind": [2.0, 1.0],
    }
    assert at_the_seventh(log, list(expected)) == expected
    assert list(at_the_seventh(log, ["events", "recency", "amount"])) == ["events", "recency", "amount"]


def test_of_values_at_the_last_instant_the_smallest_counts(frame):
    times = pd.Timestamp("2024-01-04 00:10")
    tied = pd.DataFrame(
        {"user": "a", "time": times, "kind": "buy", "amount": [8.0, -2.0, None], "seconds": 1, "item": "x"}
    )
    for table in (pd.concat([frame, tied]), pd.concat([tied, frame])):
        assert at_the_seventh(read_events(table, amount="amount"), ["last_amount"])["last_amount"][0] == -2


def test_features_of_events_see_all_kinds_and_those_of_the_history_the_kinds_that_count(log):
    found = at_the_seventh(log, ["frequency", "tenure", "events", "events_view", "active_days"], kinds=["buy"])
    assert found == {"frequency": [1], "tenure": [6], "events": [5], "events_view": [3], "active_days": [3]}


def test_windows_of_event_features_are_those_of_the_activities(log):
    """Of a day all or nothing, if days are counted; else to the microsecond."""
    names = ["active_3d", "active_days_3d", "events_3d"]
    for at, counted in (("2024-01-03 23:55", [[2, 2, 4], [1, 1, 1]]), ("2024-01-04 12:00", [[2, 2, 2], [1, 1, 1]])):
        history = summarize(log, at=at)
        assert np.transpose(list(features(history, names, log=log).values())).tolist() == counted
    history = summarize(log, at="2024-01-04 10:20", activity="event")
    assert [values[0] for values in features(history, names, log=log).values()] == [3, 3, 3]


def test_a_gap_between_windows_belongs_to_none(log):
    history = summarize(log, at="2024-01-04 00:20", activity="session")
    assert features(history, ["time_spent_30min"], log=log)["time_spent_30min"][0] == 0
    assert features(history, ["time_spent_31min"], log=log)["time_spent_31min"][0] == 20
    shorter = summarize(log, at="2024-01-04 00:20", activity="session", session_gap="20min")
    assert features(shorter, ["time_spent"], log=log)["time_spent"][0] == 40


ODD = ["it's", 'a "b"', "{log}", "{0}", "100 %", "a;b--", "größer", "a_30d", "a\nb", "COLUMN", "x KIND", "WINDOW"]


def test_kinds_and_columns_with_odd_characters(frame):
    own = pd.DataFrame({"user": "a", "time": pd.Timestamp("2024-01-05"), "kind": ODD})
    values = {name: np.arange(len(ODD), dtype=float) for name in (*ODD, "instant", "day", "clock", "before", "value_0")}
    log = read_events(own.assign(**values), kind="kind", columns=list(values))
    names = [f"events_{kind}" for kind in ODD] + [f"share_{kind}_7d" for kind in ODD]
    found = at_the_seventh(log, [*names, *(f"sum_{column}" for column in values), "time_spent", "active_days"])
    assert [found[name] for name in names] == [[1.0]] * len(ODD) + [[1 / len(ODD)]] * len(ODD)
    assert {tuple(found[f"sum_{column}"]) for column in values} == {(66.0,)}
    assert (found["time_spent"], found["active_days"]) == ([NAN], [1])


def test_numbers_of_all_types_and_what_is_none(frame):
    table = frame.assign(
        rate=[1.5, np.inf, np.nan, -np.inf, 2.5, 1.0, 1.0],
        price=[Decimal("1.25")] * 7,
        mobile=[True, False, True, True, None, False, False],
    )
    log = read_events(table, columns=["rate", "price", "mobile", "item"])
    found = at_the_seventh(log, ["sum_rate", "mean_rate", "sum_price", "mean_mobile"])
    assert found == {"sum_rate": [4, 1], "mean_rate": [2, 1], "sum_price": [6.25, 1.25], "mean_mobile": [0.75, 0]}
    with pytest.raises(ValueError, match="feature 'mean_item' needs numbers, and column 'item' holds VARCHAR"):
        at_the_seventh(log, ["mean_item"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("recentcy", r"unknown feature 'recentcy'; did you mean 'recency'\? choose from recency, frequency, .*table"),
        ("events_veiw_10d", "unknown feature 'events_veiw_10d'; did you mean 'events_view_10d'"),
        ("active_days_7", "did you mean 'active_days_7d'"),
        ("active_", "did you mean 'active_30d'"),
        ("mean_secnds", r"did you mean 'mean_seconds'.* read by read_events\(..., columns=\['secnds'\]\)"),
        ("sum_user", "unknown feature 'sum_user'"),
        ("", "unknown feature ''; choose from recency"),
        ("events_0d", "the window of feature 'events_0d' is empty; give a duration above zero, as in '30d'"),
    ],
)
def test_names_that_mean_nothing(log, name, told):
    with pytest.raises(ValueError, match=told):
        snapshots(log, cutoffs="2024-01-07", horizon="1d", features=["recency", name])


def test_what_a_log_or_a_history_lacks_is_told(frame, log):
    bare = read_events(frame)
    with pytest.raises(ValueError, match=r"'events_view' needs a column that was not read; name it in .*\(kind=...\)"):
        at_the_seventh(bare, ["events_view"])
    with pytest.raises(ValueError, match=r"'amount_7d' needs a column that was not read; name it in .*\(amount=...\)"):
        at_the_seventh(bare, ["amount_7d"])
    history = summarize(log, at="2024-01-07")
    with pytest.raises(ValueError, match=r"unknown feature 'amount'; .*; a feature of the events needs the log as"):
        features(history, ["recency", "amount"])
    with pytest.raises(ValueError, match=r"unknown feature 'mean_gapp'; did you mean 'mean_gap'.*, overdue; features_"):
        features(history, ["mean_gapp"])
    with pytest.raises(ValueError, match=r"1 users of the history \(such as 'b'\) have no event in the log up to"):
        features(history, ["events"], log=read_events(frame[frame["user"] == "a"]))


def test_lists_of_names_are_checked(log):
    history = summarize(log, at="2024-01-07")
    with pytest.raises(TypeError, match=r"features is a list of names; write \['recency'\]"):
        features(history, "recency")
    with pytest.raises(ValueError, match="features name events, recency more than once; give each one once"):
        features(history, ["recency", "events", "tenure", "events", "recency"])
    assert features(history, []) == {}
    assert list(features(history)) == list(DEFAULT_FEATURES)


def test_names_with_two_meanings_are_refused(frame):
    frame["kind"] = ["view", "view_7d", "7d", "view", "view", "view", "view"]
    log = read_events(frame.assign(gap=1.0), kind="kind", columns=["gap"])
    for name, pair in {
        "events_view_7d": r"events_KIND\[_WINDOW\] .* or events_KIND\[_WINDOW\]",
        "events_7d": r"events\[_WINDOW\] .* or events_KIND",
        "mean_gap": "mean_gap .* or mean_COLUMN",
    }.items():
        with pytest.raises(
            ValueError, match=rf"feature '{name}' can mean {pair}.*; rename the kind or column in the log"
        ):
            at_the_seventh(log, [name])
    assert at_the_seventh(log, ["events_view_7d_7d", "events_view_8d"]) == {
        "events_view_7d_7d": [1, 0],
        "events_view_8d": [3, 1],
    }


def test_a_users_own_relation_and_ids_of_other_types(frame):
    with duckdb.connect() as connection:
        connection.register("mine", frame.assign(user=frame["user"].map({"a": 7, "b": 3, "c": 5})))
        log = read_events(connection.sql("SELECT * FROM mine"), kind="kind", amount="amount")
        assert at_the_seventh(log, ["amount", "events_view"]) == {"amount": [0, 21], "events_view": [1, 3]}


def test_nobody_lapsed_has_no_features(log):
    taken = snapshots(log, cutoffs="2024-01-07", horizon="1d", lapsed_after="60d", features=["overdue", "amount"])
    assert len(taken) == 0
    assert (taken.table[["overdue", "amount"]].dtypes == np.float64).all()


def test_a_history_that_saw_more_than_it_says_is_leakage(log):
    later = summarize(log, at="2024-01-07")
    claims = type(later)(
        table=later.table, at=pd.Timestamp("2024-01-03"), activity="day", session_gap=later.session_gap
    )
    with pytest.raises(
        LeakageError, match=r"the activities of the history at the cutoff 2024-01-03 .* 2024-01-04 00:10"
    ):
        features(claims)


def test_the_table_tells_what_a_feature_needs():
    table = features_table().set_index("name")
    assert table.loc["events_KIND[_WINDOW]", ["source", "needs"]].tolist() == ["events", "kind="]
    assert table.loc["amount[_WINDOW]", "needs"] == "amount="
    assert table.loc["mean_COLUMN[_WINDOW]", "needs"] == "columns= or amount="
    assert table.loc["active_WINDOW", ["source", "needs"]].tolist() == ["history", ""]
    assert set(table["unit"]) == {"days", "count", "1/day", "1", "minutes", "as in the log"}
