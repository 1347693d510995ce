"""Held-out checks: numbers by a second road, and verdicts that tell a good forecast from a bad one."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.model.scoring import Forecast
from bayesdecay.show import judged
from bayesdecay.show.baselines import Baselines
from bayesdecay.show.checks import MODEL, Later, check_forecast, later_activity, observable_length
from bayesdecay.show.score_tables import _calibration_error
from bayesdecay.show.verdicts import findings
from tests.data import logs
from tests.show import made


@pytest.fixture(scope="module")
def later(shop):
    log, history = shop
    return later_activity(log, history, 80, periods=2)


@pytest.fixture(scope="module")
def check(truth, history, later):
    return check_forecast(truth, history, later, random_seed=1)


@pytest.mark.parametrize("activity", ["day", "session", "event"])
@pytest.mark.parametrize("at", ["1969-12-30", "1969-12-31 00:15"])
def test_later_activity_is_the_plain_count(activity, at):
    rng = np.random.default_rng(5)
    drawn = list(zip(rng.integers(0, 6, 300).tolist(), rng.integers(0, 1_152, 300).tolist(), strict=True))
    log, frame = logs.log(drawn), logs.frame(drawn)
    history = summarize(log, at=at, activity=activity)
    length = np.floor(observable_length(log, history.at))
    later = later_activity(log, history, length, periods=2)
    start = history.at.normalize() if activity == "day" else history.at
    for row, user in enumerate(history.table["user"].to_pylist()):
        times = frame.loc[frame["user"] == user, "time"].tolist()
        opened = logs.activities(times, activity, pd.Timedelta(minutes=30))
        for window, end in enumerate(later.lengths):
            seen = sum(start < when <= start + pd.Timedelta(days=end) for when in opened)
            assert later.counts[row, window] == seen
    assert later.counts[:, -1].sum() > 20


def test_later_activity_keeps_to_users_known_at_the_cutoff_and_their_ids():
    frame = pd.DataFrame(
        {"user": ["b", "a", "a", "new", "a"], "time": pd.to_datetime(["2024-01-01"] * 2 + ["2024-01-05"] * 3)}
    )
    log = read_events(frame)
    later = later_activity(log, summarize(log, at="2024-01-02"), 3, periods=1)
    np.testing.assert_array_equal(later.counts, [[1], [0]])  # a, b; the day counts once


def test_observable_length_is_what_can_be_looked_at(shop):
    log, history = shop
    assert observable_length(log, "2024-06-28") == pytest.approx(89.0, abs=1.0)
    with pytest.raises(ValueError, match=r"the log goes on for .* days after the cutoff .* cannot check 200 days"):
        later_activity(log, history, "200d")


@pytest.mark.parametrize(
    ("lengths", "counts", "message"),
    [
        ((), np.zeros((2, 0)), "must rise from above zero"),
        ((2.0, 1.0), np.zeros((2, 2)), "must rise from above zero"),
        ((1.0,), np.zeros((2, 2)), r"expected counts \(user, 1\)"),
        ((1.0, 2.0), np.array([[2, 1]]), "a longer window holds fewer"),
    ],
)
def test_later_refuses_what_does_not_fit(lengths, counts, message):
    with pytest.raises(ValueError, match=message):
        Later(lengths=lengths, counts=counts)


PMF = np.array([[0.6, 0.3, 0.1], [0.96, 0.04, 0.0], [0.1, 0.2, 0.7]])
SEEN = np.array([1, 0, 5])


def stated(history, length, rng):
    """Three users with three known forecasts."""
    return Forecast(pmf=PMF, total=np.array([3.0, 5.0, 4.0, 4.0]))


def test_scores_of_a_hand_made_case(shop):
    history = shop[1].over(shop[1].table.slice(0, 3))
    base = Baselines(shape=1.0, exposure=10.0, samples=4)
    later = Later(lengths=(10.0,), counts=SEEN[:, None])
    found = judged.judge(stated, history, later, base=base, ci_prob=0.9, rng=np.random.default_rng(1))
    below = np.cumsum(PMF, axis=1)
    crps = [sum((below[u, min(k, 2)] - (SEEN[u] <= k)) ** 2 for k in range(50)) for u in range(3)]
    np.testing.assert_allclose(found.crps, crps)
    np.testing.assert_allclose(found.p_active, [0.4, 0.04, 0.9])
    np.testing.assert_allclose(found.brier, [0.36, 0.0016, 0.01])
    # 4 draws of 5 parts, and one part of the geometric distribution with ratio 10 / (10 + 10).
    mixed = 0.8 * np.array([0.3, 0.96, 0.0]) + 0.2 * 0.5 ** (SEEN + 1.0)
    np.testing.assert_allclose(found.log_score, -np.log(mixed))
    np.testing.assert_allclose(found.log_loss, -np.log(0.8 * np.array([0.4, 0.96, 0.9]) + 0.2 * 0.5))
    np.testing.assert_array_equal(found.width, [2, 0, 2])  # [0, 2], [0, 0], [0, 2]
    np.testing.assert_array_equal(found.covered, [1, 1, 0])
    np.testing.assert_allclose(found.claimed, [1.0, 0.96, 1.0])


def test_the_truth_is_trusted(check):
    row = check.table.loc[MODEL]
    assert abs(row["coverage"] - row["claimed"]) < 3 * row["coverage_se"] + 0.01
    assert row["calibration_error"] < 2 * row["calibration_chance"] + 0.01
    assert row["total_lower"] < row["seen"] < row["total_upper"]
    said = str(check)
    assert "a user comes back can be trusted" in said
    assert "Intervals of single users can be trusted" in said
    assert "worse than" not in said
    assert (check.against["gain"] > -check.against["gain_se"]).all()
    assert "The total was foreseen" in said
    assert len(check.verdict) == 4
    assert check.trusted


def test_a_forecast_of_half_the_truth_is_told_so(history, later, truth):
    # All users alike at half the interest, whatever their past: the shape of 200 lets nothing be learned of a user.
    half = made.fit(history, alpha=200.0, mu_log_interest=np.log(0.15 / 2)).population(200)

    def told_truth(part, length, rng):
        from bayesdecay.model.scoring import forecast_counts

        return forecast_counts(truth, part, length, random_seed=int(rng.integers(2**63)))

    check = check_forecast(half, history, later, others={"truth": told_truth}, random_seed=1)
    said = str(check)
    assert "a user comes back is too high: 58" in said  # no user is known to be idle
    assert "is worse than" in said
    assert not check.trusted
    gains = check.against.query("forecaster == 'truth'")
    assert (gains["gain"] < -2 * gains["gain_se"]).all()
    low = made.fit(history, mu_log_interest=np.log(0.15 / 2), alpha=20.0, mu_log_rate=np.log(np.log(2) / 15))
    assert "too low" in check_forecast(low.population(100), history, later, random_seed=1).verdict[3]


def test_a_perfect_forecaster_beats_a_shuffled_one(history, later, truth):
    seen = later.counts[:, -1]
    order = np.random.default_rng(3).permutation(seen.size)
    table = np.eye(seen.max() + 1)

    def forecasting(counts):
        return lambda part, length, rng: Forecast(pmf=table[counts], total=np.full(10, float(counts.sum())))

    others = {"perfect": forecasting(seen), "shuffled": forecasting(seen[order])}
    check = check_forecast(truth, history, later, others=others, random_seed=1)
    perfect, shuffled = check.table.loc["perfect"], check.table.loc["shuffled"]
    for rule in ("crps", "log_score", "brier", "log_loss"):
        assert perfect[rule] < check.table.loc[MODEL, rule] < shuffled[rule]
    assert perfect["crps"] == perfect["brier"] == 0.0
    assert "is worse than “perfect”" in str(check)


def test_tables_agree_with_each_other(check, history, later):
    row = check.table.loc[MODEL]
    users = check.calibration["users"]
    assert users.sum() == check.by_history["users"].sum() == check.users == len(history)
    assert np.average(check.calibration["predicted"], weights=users) == pytest.approx(row["p_active"])
    assert np.average(check.calibration["observed"], weights=users) == pytest.approx(row["active"])
    assert np.average(check.by_history["brier"], weights=check.by_history["users"]) == pytest.approx(row["brier"])
    assert np.average(check.by_history["coverage"], weights=check.by_history["users"]) == pytest.approx(row["coverage"])
    assert (check.calibration["observed_lower"] <= check.calibration["observed"]).all()
    assert (check.calibration["observed"] <= check.calibration["observed_upper"]).all()
    assert check.total["to"].tolist() == list(later.lengths) == [40.0, 80.0]
    assert check.total["seen_within"].sum() == later.counts[:, -1].sum() == row["seen"]
    assert check.total["predicted"].iloc[-1] == row["total"]
    assert check.total["predicted_within"].sum() == pytest.approx(row["total"])
    past = history.table["n"].to_numpy()
    assert check.by_history.set_index("past_activities")["users"]["3-4"] == ((past == 3) | (past == 4)).sum()


def test_a_check_is_the_same_in_slices_and_with_one_seed(truth, history, later, check, monkeypatch):
    again = check_forecast(truth, history, later, random_seed=1)
    pd.testing.assert_frame_equal(again.table, check.table)
    monkeypatch.setattr(judged, "_ROWS", 400)
    sliced = check_forecast(truth, history, later, random_seed=1)
    exact = ["crps", "log_score", "brier", "claimed", "coverage"]
    pd.testing.assert_frame_equal(sliced.table[exact].drop(MODEL), check.table[exact].drop(MODEL))
    assert sliced.table.loc[MODEL, "crps"] == pytest.approx(check.table.loc[MODEL, "crps"], abs=0.02)


def test_baselines_are_the_laws_they_say(history):
    base = Baselines.of(history)
    rng = np.random.default_rng(1)
    n, T = history.table["n"].to_numpy(), history.table["T"].to_numpy()
    own = base.own_rate(history, 30.0, rng)
    user = int(np.argmax(n))
    law = stats.nbinom(base.shape + n[user], (base.exposure + T[user]) / (base.exposure + T[user] + 30.0))
    np.testing.assert_allclose(own.pmf[user, :20], law.pmf(np.arange(20)), rtol=1e-6)
    np.testing.assert_allclose(own.mean, 30 * (base.shape + n) / (base.exposure + T), rtol=1e-4)
    assert own.total.mean() == pytest.approx(own.mean.sum(), rel=0.05)
    alike = base.everyone_alike(history, 30.0, rng)
    np.testing.assert_allclose(alike.pmf, np.broadcast_to(alike.pmf[0], alike.pmf.shape))
    np.testing.assert_allclose(alike.pmf[0, :5], base.base_probability(np.arange(5), 30.0))


def test_baselines_find_the_spread_of_rates():
    rng, days = np.random.default_rng(2), pd.Timestamp("2024-01-01")
    rate = rng.gamma(2.0, 1 / 40, size=4_000)  # per day
    gaps = [days + pd.to_timedelta(np.sort(100 * rng.random(rng.poisson(100 * r))), unit="D") for r in rate]
    users = np.repeat(np.arange(rate.size), [1 + len(gap) for gap in gaps])
    times = list(itertools.chain.from_iterable([days, *gap] for gap in gaps))
    history = summarize(read_events(pd.DataFrame({"user": users, "time": times})), at="2024-04-09", activity="event")
    base = Baselines.of(history)
    assert base.shape == pytest.approx(2.0, rel=0.15)
    assert base.shape / base.exposure == pytest.approx(0.05, rel=0.05)


def test_last_gap_by_hand():
    frame = pd.DataFrame({"user": list("aaabbc"), "time": pd.to_datetime(
        ["2024-01-01", "2024-01-03", "2024-01-09", "2024-01-01", "2024-01-02", "2024-01-11"])})  # fmt: skip
    history = summarize(read_events(frame), at="2024-01-11")
    base = Baselines(shape=1.0, exposure=4.0, samples=10)
    mean = base.last_gap(history, 6.0, np.random.default_rng(0)).mean
    # a: last gap 6 days, silent for 2; b: last gap 1 day, silent for 9; c: nothing known, so the average rate of 1/4.
    np.testing.assert_allclose(mean, [1.0, 6 / 9, 6 / 4], rtol=1e-5)


def test_chance_alone_explains_the_error_of_a_perfect_forecast():
    rng = np.random.default_rng(4)
    p = rng.beta(0.5, 2.0, size=2_000)
    found = [_calibration_error(p, rng.random(p.size) < p, np.arange(p.size)) for _ in range(300)]
    errors = np.array([row["calibration_error"] for row in found])
    assert errors.mean() == pytest.approx(found[0]["calibration_chance"], rel=0.05)
    assert errors.std() < 2 * found[0]["calibration_error_se"]


def test_check_refuses_other_users_and_taken_names(truth, history, later):
    with pytest.raises(ValueError, match="1499 users were seen later, the history has 1500"):
        check_forecast(truth, history, Later(lengths=later.lengths, counts=later.counts[1:]))
    with pytest.raises(ValueError, match="'own rate' is the name of a forecaster"):
        check_forecast(truth, history, later, others={"own rate": stated})


def row_of(**changes):
    """A row of a check's table that is good news all over, with some changes."""
    good = {"p_active": 0.3, "active": 0.3, "excess": 0.0, "excess_se": 0.01, "calibration_error": 0.01}
    good |= {"calibration_chance": 0.01, "calibration_chance_se": 0.002, "coverage": 0.95, "claimed": 0.95}
    good |= {"coverage_se": 0.005, "total": 100.0, "total_lower": 80.0, "total_upper": 120.0, "seen": 100.0}
    return pd.DataFrame([good | changes], index=[MODEL])


LEVEL = pd.DataFrame({"forecaster": ["own rate"], "score": ["crps"], "gain": [0.1], "gain_se": [0.01]})


@pytest.mark.parametrize(
    ("changes", "good", "said"),
    [
        ({}, True, "The probability that a user comes back can be trusted: 30 %"),
        ({"excess": -0.1, "p_active": 0.2}, False, "comes back is too low: 20 % of users were expected"),
        ({"calibration_error": 0.1}, False, "right on average only"),
        ({"coverage": 0.8}, False, "Intervals of single users are too narrow: the 90 % intervals"),
        ({"coverage": 0.91}, True, "hold what they promise, but less than they should"),
        ({"coverage": 0.99}, True, "wider than they need to be"),
        ({"seen": 60.0}, False, "predicted 67 % too high: 100 [80, 120] activities were predicted and 60 seen"),
        ({"seen": 200.0}, False, "predicted 50 % too low"),
        ({"seen": 0.0}, False, "predicted too high: 100 [80, 120] activities were predicted and 0 seen"),
    ],
)
def test_every_verdict_follows_from_its_figures(changes, good, said):
    found = findings(row_of(**changes), LEVEL, MODEL, ci_prob=0.9)
    assert said in " ".join(finding.text for finding in found).replace("\N{NO-BREAK SPACE}", " ")
    assert all(finding.good for finding in found) == good


@pytest.mark.parametrize(
    ("gain", "good", "said"),
    [
        (0.1, True, "beats every other forecaster"),
        (0.01, True, "no better than “own rate” (CRPS)"),
        (-0.1, False, "worse than “own rate” (CRPS)"),
    ],
)
def test_rivals_are_named(gain, good, said):
    found = findings(row_of(), LEVEL.assign(gain=gain), MODEL, ci_prob=0.9)
    assert said in found[2].text
    assert found[2].good == good
