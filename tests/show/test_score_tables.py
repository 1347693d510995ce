"""Pooled tables: with one cutoff the plain ones, with several the rows of a user are one observation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesdecay.show.baselines import Chances
from bayesdecay.show.checks import MODEL, checked
from bayesdecay.show.later import later_activity
from bayesdecay.show.score_tables import (
    by_activity,
    by_length,
    by_past,
    calibration_table,
    gains,
    score_table,
    together,
)


def half_says(history, length, rng):
    return Chances(p_active=np.full(len(history), 0.5), total=np.full(200, np.nan))


@pytest.fixture(scope="module")
def looked(shop, truth):
    log, history = shop
    later = later_activity(log, history, 40, periods=1)
    return checked(truth, history, later, others={"half": half_says}, random_seed=1)


def test_one_cutoff_is_the_check_itself(looked):
    check, rows = looked
    n = rows.seen.size
    crps = rows.judged[MODEL].crps
    assert check.table.loc[MODEL, "crps_se"] == pytest.approx(crps.std(ddof=1) / np.sqrt(n))
    difference = rows.judged["own rate"].crps - crps
    gain = check.against.query("forecaster == 'own rate' and score == 'crps'").iloc[0]
    assert gain["gain_se"] == pytest.approx(difference.std(ddof=1) / np.sqrt(n))


def test_a_user_with_two_equal_rows_counts_once(looked):
    check, rows = looked
    twice = together([rows, rows], [rows.user, rows.user])
    table = score_table(twice, ci_prob=0.9)
    for name in ("crps", "log_score", "brier", "log_loss", "coverage", "excess"):
        assert table.loc[MODEL, name] == pytest.approx(check.table.loc[MODEL, name])
        assert table.loc[MODEL, f"{name}_se"] == pytest.approx(check.table.loc[MODEL, f"{name}_se"])
    assert table.loc[MODEL, "total"] == pytest.approx(2 * check.table.loc[MODEL, "total"])
    assert table.loc[MODEL, "seen"] == 2 * check.table.loc[MODEL, "seen"]
    apart = together([rows, rows], [rows.user, rows.user + rows.user.size])
    wider = score_table(apart, ci_prob=0.9).loc[MODEL, "crps_se"]
    assert wider == pytest.approx(check.table.loc[MODEL, "crps_se"] / np.sqrt(2), rel=1e-3)


def test_a_forecaster_that_only_says_whether_is_judged_on_that(looked):
    check, _ = looked
    row = check.table.loc["half"]
    assert row["brier"] == pytest.approx(0.25)
    assert row["log_loss"] == pytest.approx(np.log(2), abs=1e-3)
    assert row[["crps", "log_score", "coverage", "claimed", "width", "total", "total_lower"]].isna().all()
    assert set(check.against.query("forecaster == 'half'")["score"]) == {"brier", "log_loss"}


def test_a_forecaster_missing_at_a_cutoff_is_judged_on_the_others(looked):
    check, rows = looked
    without = replace(rows, judged={name: one for name, one in rows.judged.items() if name != "half"})
    both = together([without, rows], [rows.user, rows.user])
    assert score_table(both, ci_prob=0.9).loc["half", "brier"] == pytest.approx(0.25)
    found, own = (table.set_index(["forecaster", "score"]) for table in (gains(both, MODEL), check.against))
    assert found.loc[("half", "brier"), "gain"] == pytest.approx(own.loc[("half", "brier"), "gain"])
    assert found.loc[("own rate", "crps"), "gain"] == pytest.approx(own.loc[("own rate", "crps"), "gain"])


@pytest.mark.parametrize("make", [by_past, by_activity, by_length])
def test_groups_hold_everybody_once(looked, make):
    check, rows = looked
    table = make(rows.judged[MODEL], rows)
    assert table["users"].sum() == check.users
    weights = table["users"] / check.users
    assert weights @ table["expected"] == pytest.approx(rows.judged[MODEL].mean.mean())
    assert weights @ table["seen"] == pytest.approx(rows.seen.mean())
    assert weights @ table["coverage"] == pytest.approx(check.table.loc[MODEL, "coverage"])
    assert weights @ table["width"] == pytest.approx(check.table.loc[MODEL, "width"])


def test_groups_are_cut_where_they_say(looked):
    _, rows = looked
    tenths, fifths = by_activity(rows.judged[MODEL], rows), by_length(rows.judged[MODEL], rows)
    assert len(tenths) == 10
    assert (tenths["users"] == 150).all()
    assert (np.diff(tenths["expected"]) > 0).all()
    newest = np.quantile(rows.T, 0.2, method="inverted_cdf")
    first = newest >= rows.T
    assert fifths["users"].iloc[0] == first.sum()
    assert fifths["seen"].iloc[0] == pytest.approx(rows.seen[first].mean())
    assert fifths["days_known"].iloc[0] == f"{rows.T.min():,.0f} to {rows.T[first].max():,.0f}"
    bins = calibration_table(rows.judged[MODEL], rows, ci_prob=0.9)
    assert bins["users"].sum() == rows.seen.size
