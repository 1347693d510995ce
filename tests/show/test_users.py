"""Tables behind the figures: a user's curve follows the law, and sums over users agree with drawing them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from bayesdecay import units
from bayesdecay.model.scoring import ScoreOptions, score, user_draws
from bayesdecay.show import outlook, users
from tests.show import made


@pytest.fixture(scope="module")
def scores(truth, history):
    return score(truth, history, ScoreOptions(random_seed=1)).table


@pytest.fixture(scope="module")
def busy(history):
    """One user with several activities, silent at the end."""
    n, silent = history.table["n"].to_numpy(), [block.T - block.last for block in history.blocks()]
    row = int(np.flatnonzero((n >= 4) & (np.concatenate(silent) > 5.0))[0])
    return history.select(history.table["user"].slice(row, 1))


def test_a_curve_jumps_at_activities_and_fades_between_them(truth, busy):
    curve = users.interest_curve(truth, busy, ahead=60.0, random_seed=1)
    assert curve["time"].is_monotonic_increasing
    jumps = curve.loc[curve["time"].diff().dt.total_seconds() == 0, "time"]
    block = next(busy.blocks())
    first = busy.table["first"][0].as_py()
    ages = (jumps - first).dt.total_seconds().to_numpy() / 86_400
    assert all(np.isclose(ages, t, atol=1e-6).any() for t in block.times)
    rising = curve["interest"].diff() > 0
    assert rising.sum() == block.n[0]  # restored at each activity, and never in between
    assert (curve["interest_lower"] <= curve["interest_upper"]).all()


def test_a_curve_passes_through_the_score_and_goes_on_by_the_law(truth, busy):
    curve = users.interest_curve(truth, busy, ahead=60.0, random_seed=1)
    drawn = user_draws(truth, busy, ScoreOptions(horizons={"now": 1.0}, random_seed=1))
    interest, rate = drawn["interest"].to_numpy()[:, 0], drawn["rate"].to_numpy()[:, 0]
    now, later = curve.iloc[-60], curve.iloc[-1]
    assert now["interest"] == pytest.approx(interest.mean())
    assert later["interest"] == pytest.approx((interest * np.exp(-rate * 60.0)).mean())
    assert later["interest_upper"] == pytest.approx(
        np.quantile(interest * np.exp(-rate * 60.0), 0.95, method="weibull")
    )
    # Back at the acquisition the effective age is 0: I0 = I e^{r V(T)}.
    block = next(busy.blocks())
    initial = interest * np.exp(rate * (block.T[0] - truth.rho * block.last[0]))
    assert curve["interest"].iloc[0] == pytest.approx(initial.mean())


def test_a_curve_is_of_one_user(truth, history):
    with pytest.raises(ValueError, match="a curve is of one user, the history has 1500"):
        users.interest_curve(truth, history, ahead=30.0)


def test_examples_are_different_users_of_their_kind(scores, history):
    chosen = users.examples(scores, history, lapsed_after=30.0)
    ids = [user.as_py() for user in chosen.values()]
    assert len(set(ids)) == len(ids) == 4
    best = scores["user"][int(np.argmax(scores["interest"].to_numpy()))].as_py()
    assert chosen["The most interested"].as_py() == best
    silent = dict(
        zip(history.table["user"].to_pylist(), np.concatenate([b.T - b.last for b in history.blocks()]), strict=True)
    )
    assert all(silent[user.as_py()] >= 30.0 for what, user in chosen.items() if what.startswith("Lapsed"))


def test_examples_do_not_depend_on_the_order_of_the_scores(scores, history):
    turned = scores.take(pa.array(np.arange(len(history))[::-1]))
    assert users.examples(turned, history, lapsed_after=30.0) == users.examples(scores, history, lapsed_after=30.0)


def test_a_lone_new_user_is_the_only_example(scores, history):
    row = int(np.flatnonzero(history.table["n"].to_numpy() == 0)[0])
    alone = history.select(history.table["user"].slice(row, 1))
    assert len(users.examples(scores, alone, lapsed_after=1e6)) == 1


def test_ranking_falls_and_keeps_the_mean(scores):
    ranked = users.ranking(scores, "p_return_30d", points=50)
    assert (ranked["p"].diff().dropna() <= 0).all()
    assert ranked["rank"].iloc[0] < 50
    assert ranked["p"].mean() == pytest.approx(scores["p_return_30d"].to_numpy().mean())  # 50 bins of 30 users


def test_histogram_counts_every_user_that_has_a_value():
    table = pa.table({"p": pa.array([0.0, 0.04, 0.5, None, 1.0])})
    histogram = users.probability_histogram(table, "p")
    assert histogram["users"].sum() == 4
    assert histogram["users"].iloc[[0, 10, 19]].tolist() == [2, 1, 1]


def test_histogram_of_small_probabilities_is_drawn_large():
    histogram = users.probability_histogram(pa.table({"p": pa.array([0.01, 0.13])}), "p")
    assert histogram["to"].iloc[-1] == pytest.approx(0.2)
    assert histogram["users"].sum() == 2
    assert users.probability_histogram(pa.table({"p": pa.array([], pa.float64())}), "p")["users"].sum() == 0


def test_horizons_are_read_off_the_columns(scores):
    assert users.horizons(scores, "p_return") == ["30d", "90d"]
    assert users.horizons(scores, "p_reactivation") == []


def test_top_leaves_missing_values_out():
    table = pa.table({"user": ["a", "b", "c"], "p": pa.array([0.1, None, 0.7])})
    assert users.top(table, "p", 5)["user"].to_pylist() == ["c", "a"]


def test_expected_returns_agree_with_drawing_every_user(history):
    # A population with doubt about its mean interest, so that the users' fates have something in common.
    fit = made.fit(history)
    rng = np.random.default_rng(2)
    fit.idata["posterior"]["mu_log_interest"].values[:] += 0.15 * rng.standard_normal((4, 50))
    population = fit.population(200)
    table = score(population, history, ScoreOptions(random_seed=1)).table
    lengths = units.durations(["30d", "90d"])
    found = outlook.expected_returns(population, history, table, lengths, random_seed=1)
    p = user_draws(population, history, ScoreOptions(horizons=lengths, random_seed=9))["p_return"].to_numpy()
    for h, row in found.iterrows():
        drawn = (rng.random((20, *p.shape[:2])) < p[..., h]).sum(axis=2).ravel()
        assert row["users"] == pytest.approx(drawn.mean(), rel=0.02)
        width = row["users_upper"] - row["users_lower"]
        assert width == pytest.approx(np.ptp(np.quantile(drawn, [0.05, 0.95])), rel=0.2)


def test_half_life_shares_sum_to_one_and_follow_the_normal_law(truth, history):
    shares = outlook.half_life_shares(truth, history)
    assert shares["share"].sum() == pytest.approx(1.0)
    # Half-lives are log-normal with median 40 and sd 0.7 of the logarithm.
    drawn = 40 * np.exp(0.7 * np.random.default_rng(1).standard_normal(400_000))
    assert shares["share"][1] == pytest.approx(((drawn >= 7) & (drawn < 28)).mean(), abs=0.005)


def test_parameters_in_words_are_the_truth(truth, history):
    told = outlook.parameters_in_words(truth, history).set_index("what")["value"]
    assert told["half-life of a typical user's interest"] == pytest.approx(40.0, rel=0.01)
    assert told["part of the lost interest that a visit restores"] == pytest.approx(0.6, rel=0.01)
    assert told["interest of a typical user right after the first activity"] == pytest.approx(4.5, rel=0.01)
    assert told["half-life that a quarter of the users exceed"] == pytest.approx(40 * np.exp(0.6745 * 0.7), rel=0.01)


def test_regulars_are_told_of_and_have_the_longest_half_lives(truth, history):
    regular = replace(truth.grid, regular=float(truth.grid.rates[0]))
    some = replace(truth, grid=regular, regulars=np.tile([[0.25], [0.7]], (1, truth.size)))
    told = outlook.parameters_in_words(some, history).set_index("what")["value"]
    assert told["users whose interest does not fade; half-lives are those of the others"] == pytest.approx(0.25)
    assert told["interest of users whose interest does not fade"] == pytest.approx(np.exp(0.7))
    shares, of_others = (outlook.half_life_shares(one, history)["share"].to_numpy() for one in (some, truth))
    assert shares == pytest.approx(0.75 * of_others + 0.25 * np.array([0, 0, 0, 0, 0, 1.0]))


def test_lapsed_are_counted_from_the_last_activity(history):
    silent = np.concatenate([block.T - block.last for block in history.blocks()])
    assert outlook.lapsed_count(history, 30.0) == (silent >= 30.0).sum() > 0


def test_groups_are_weighted_by_their_users(truth, history):
    group = pa.array(["ads", "friends", "new"] * (len(history) // 3))
    grouped = replace(history, table=history.table.append_column("group", group), group="source")
    # Half-lives of 10 and 40 days, and of 160 days for users of a group that the fit has not seen.
    location = np.log(np.log(2) / np.array([10.0, 40.0, 160.0])) + np.zeros((2, truth.size, 3))
    population = replace(truth, groups=("ads", "friends"), location=location)
    told = outlook.parameters_in_words(population, grouped).set_index("what")["value"]
    assert told["half-life of a typical user's interest"] == pytest.approx(40.0, rel=0.01)
    rng = np.random.default_rng(1)
    drawn = rng.choice([10.0, 40.0, 160.0], 400_000) * np.exp(0.7 * rng.standard_normal(400_000))
    shares = outlook.half_life_shares(population, grouped)
    assert shares["share"].iloc[2] == pytest.approx(((drawn >= 28) & (drawn < 91.3)).mean(), abs=0.005)
