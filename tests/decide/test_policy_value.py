from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.data.experiment import Experiment
from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.decide.arm_scores import arm_means, cross_fitted
from bayesdecay.decide.policy_value import DOUBLY_ROBUST, INVERSE_PROPENSITY, METHODS, SELF_NORMALISED, policy_value
from tests.decide.trials import covers, trial

RUNS = 400


def to_mail_if_high(experiment: Experiment) -> np.ndarray:
    return np.where(experiment.table["x"] > 0, "mail", "none")


@pytest.fixture(scope="module")
def repeated() -> list[pd.DataFrame]:
    """The same policy judged on many experiments, by the true propensities."""
    rng = np.random.default_rng(1)
    made = (trial(rng, 800)[0] for _ in range(RUNS))
    return [policy_value(one, to_mail_if_high(one), outcome="y").table for one in made]


# x is standard normal: the policy brings 1 + 2 E[x] + E[x; x > 0], nobody 1, and the best single arm, call, 1.3.
GAIN = 1 / np.sqrt(2 * np.pi)
KNOWN = {"value": 1 + GAIN, "over_nobody": GAIN, "over_best_arm": GAIN - 0.3}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("column", ["value", "over_nobody"])
def test_intervals_hold_the_known_value_as_often_as_they_say(repeated, method, column):
    rows = pd.DataFrame([table.loc[method] for table in repeated])
    share = covers(rows, column, KNOWN[column]).mean()
    assert abs(share - 0.9) < 3.5 * np.sqrt(0.9 * 0.1 / RUNS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("column", ["value", "over_nobody"])
def test_estimates_are_unbiased_and_scatter_as_they_say(repeated, method, column):
    rows = pd.DataFrame([table.loc[method] for table in repeated])
    scatter = rows[column].std()
    assert abs(rows[column].mean() - KNOWN[column]) < 3.5 * scatter / np.sqrt(RUNS)
    assert rows[f"{column}_se"].mean() == pytest.approx(scatter, rel=0.12)


def test_features_that_predict_take_scatter_away(repeated):
    se = pd.concat(repeated).groupby("method")["over_nobody_se"].mean()
    assert se[DOUBLY_ROBUST] < 0.75 * se[SELF_NORMALISED] < 0.75 * se[INVERSE_PROPENSITY] * 1.01


def test_a_wrong_guess_costs_precision_and_no_truth():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(RUNS):
        made, _ = trial(rng)
        wrong = np.column_stack([np.full(len(made), 7.0), -3 * made.table["x"], made.table["x"] ** 2])
        found.append(policy_value(made, to_mail_if_high(made), outcome="y", predictions=wrong).table.loc[DOUBLY_ROBUST])
    rows = pd.DataFrame(found)
    assert abs(rows["value"].mean() - KNOWN["value"]) < 3.5 * rows["value"].std() / np.sqrt(RUNS)
    assert abs(covers(rows, "value", KNOWN["value"]).mean() - 0.9) < 3.5 * np.sqrt(0.9 * 0.1 / RUNS)


def test_difference_to_the_best_arm_errs_on_the_careful_side():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(100):
        made, _ = trial(rng, 1_000)
        judged = policy_value(made, to_mail_if_high(made), outcome="y")
        assert judged.best_arm in ("mail", "call")
        found.append(judged.table.loc[DOUBLY_ROBUST, "over_best_arm"])
    assert np.mean(found) < KNOWN["over_best_arm"] + 3 * np.std(found) / 10


def test_self_normalised_value_of_one_arm_is_its_mean():
    made, _ = trial(np.random.default_rng(4), known=False)
    means = made.table.groupby("arm")["y"].mean()
    spread = made.table.groupby("arm")["y"].agg(lambda y: y.std(ddof=0) / np.sqrt(len(y)))
    for arm in made.arms:
        row = policy_value(made, arm, outcome="y").table.loc[SELF_NORMALISED]
        assert row["value"] == pytest.approx(means[arm])
        assert row["value_se"] == pytest.approx(spread[arm], rel=3e-3)
        assert row["over_nobody"] == pytest.approx(means[arm] - means["none"])
        # The two groups are different users, so the variances add up.
        together = np.hypot(spread[arm], spread["none"]) if arm != "none" else 0.0
        assert row["over_nobody_se"] == pytest.approx(together, rel=3e-3)


def test_values_are_the_sums_of_their_formulas():
    made, _ = trial(np.random.default_rng(5), 60)
    policy, arms = to_mail_if_high(made), list(made.arms)
    guess = np.random.default_rng(6).normal(size=(60, 3))
    judged = policy_value(
        made,
        policy,
        outcome="y",
        cost={"mail": 0.2, "call": 5.0},
        value=3.0,
        predictions=pd.DataFrame(guess, columns=arms),
    )
    inverse = weight = doubly = cost = 0.0
    shares = {"none": 0.4, "mail": 0.3, "call": 0.3}
    for i, row in enumerate(made.table.itertuples()):
        w = 1 / shares[row.arm] if row.arm == policy[i] else 0.0
        inverse += w * 3 * row.y / 60
        weight += w / 60
        doubly += (3 * guess[i, arms.index(policy[i])] + w * 3 * (row.y - guess[i, arms.index(row.arm)])) / 60
        cost += 0.2 * (policy[i] == "mail") / 60
    expected = [inverse - cost, inverse / weight - cost, doubly - cost]
    np.testing.assert_allclose(judged.table["value"], expected, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_a_mixed_policy_is_worth_the_mixture(share, seed):
    made, _ = trial(np.random.default_rng(seed), 90)
    mixed = pd.DataFrame({"mail": share, "none": 1 - share, "call": 0.0}, index=made.table["user"])
    told = policy_value(made, mixed, outcome="y").table["value"]
    pure = {arm: policy_value(made, arm, outcome="y").table["value"] for arm in ("mail", "none")}
    for method in (INVERSE_PROPENSITY, DOUBLY_ROBUST):
        assert told[method] == pytest.approx(share * pure["mail"][method] + (1 - share) * pure["none"][method])


def test_a_stratified_design_is_judged_by_its_own_propensities():
    # Mail is worth 1 to strangers and 0 to friends; friends were mailed nine times out of ten.
    rng, found = np.random.default_rng(7), []
    for _ in range(100):
        friend = rng.random(1_000) < 0.5
        p = np.where(friend, 0.9, 0.1)
        mailed = rng.random(1_000) < p
        y = mailed * ~friend + 3.0 * friend
        frame = pd.DataFrame({"given": np.where(mailed, "mail", "none"), "p": p, "q": 1 - p, "y": y})
        columns = {"arm": "given", "control": "none", "outcomes": ["y"]}
        designed = read_experiment(frame, **columns, propensity={"mail": "p", "none": "q"})
        found.append(policy_value(designed, "mail", outcome="y").table["over_nobody"])
    rows = pd.DataFrame(found)
    assert (abs(rows.mean() - 0.5) < 3.5 * rows.std() / 10).all()
    naive = policy_value(read_experiment(frame, **columns), "mail", outcome="y").table
    assert (naive["over_nobody"] > 2).all()


def test_guesses_come_from_other_users():
    made, _ = trial(np.random.default_rng(8), 200)
    y = made.outcome("y")
    first = cross_fitted(made, y, 0)
    for user in (3, 150):
        changed = y.copy()
        changed[user] += 1e3
        np.testing.assert_array_equal(cross_fitted(made, changed, 0)[user], first[user])
    assert np.corrcoef(first[:, 0], made.table["x"])[0, 1] > 0.99


def test_guesses_weigh_users_by_how_seldom_they_are_seen():
    rng = np.random.default_rng(14)
    x = rng.normal(size=20_000)
    for p, y, slope in ((np.where(x > 0, 0.8, 0.2), x**2, 0.0), (np.where(abs(x) < 1, 0.8, 0.2), x, 1.0)):
        # Among all users x and its square are not correlated; among those who were mailed they are.
        frame = pd.DataFrame({"x": x, "y": y, "p": p, "q": 1 - p, "given": np.where(rng.random(x.size) < p, "a", "b")})
        columns = {"arm": "given", "control": "b", "outcomes": ["y"], "features": ["x"]}
        made = read_experiment(frame, **columns, propensity={"a": "p", "b": "q"})
        guess = cross_fitted(made, made.outcome("y"), 0)
        assert np.polyfit(x, guess[:, 1], 1)[0] == pytest.approx(slope, abs=0.1)


def test_guess_without_features_is_the_mean_of_the_others():
    frame = pd.DataFrame({"given": ["a", "b"] * 50, "y": np.arange(100.0)})
    made = read_experiment(frame, arm="given", control="a", outcomes=["y"])
    guess = cross_fitted(made, made.outcome("y"), 0)
    assert len(np.unique(guess[:, 0])) == 5
    np.testing.assert_allclose(guess.mean(axis=0), arm_means(made, made.outcome("y")), atol=5)


def test_costs_come_off_and_can_turn_the_best_arm():
    made, _ = trial(np.random.default_rng(9), 3_000)
    free, dear = (policy_value(made, "call", outcome="y", cost=cost) for cost in (None, 0.9))
    np.testing.assert_allclose(free.table["value"] - dear.table["value"], 0.9)
    assert free.best_arm == "call"
    assert dear.best_arm == "none"
    np.testing.assert_allclose(dear.table["over_best_arm"], dear.table["over_nobody"])
    assert dear.arms.loc["none", "over_nobody"] == 0


def test_without_lots_nothing_is_called_causal():
    rng = np.random.default_rng(10)
    x = rng.normal(size=4_000)
    mailed = rng.random(4_000) < 1 / (1 + np.exp(-x))
    frame = pd.DataFrame(
        {"x": x, "given": np.where(mailed, "mail", "none"), "y": 2 * x + mailed + rng.normal(size=4_000)}
    )
    columns = {"arm": "given", "control": "none", "outcomes": ["y"]}
    seen = read_experiment(frame, **columns, randomised=False, features=["x"])
    judged = policy_value(seen, "mail", outcome="y")
    assert not judged.causal
    assert "not evidence of a cause" in str(judged)
    assert "would bring" not in str(judged)
    assert "goes with" in judged._repr_html_()
    # The feature that the choice went by is known here, so the comparison is right all the same.
    assert (
        abs(judged.table.loc[DOUBLY_ROBUST, "over_nobody"] - 1) < 4 * judged.table.loc[DOUBLY_ROBUST, "over_nobody_se"]
    )
    assert "would bring" in str(policy_value(read_experiment(frame, **columns), "mail", outcome="y"))


def test_effective_users_fall_with_what_the_experiment_seldom_did():
    made, _ = trial(np.random.default_rng(11), 5_000)
    few, more = (policy_value(made, arm, outcome="y").effective_users for arm in ("mail", "none"))
    assert few == (made.table["arm"] == "mail").sum()  # equal weights count as they are
    assert more > few


def test_users_are_found_by_their_ids():
    made, _ = trial(np.random.default_rng(12), 50)
    policy = pd.Series(to_mail_if_high(made), index=made.table["user"])
    told = [policy_value(made, one, outcome="y").table for one in (policy, policy.sample(frac=1, random_state=1))]
    pd.testing.assert_frame_equal(*told)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("mial", r"unknown arm 'mial'; did you mean 'mail'"),
        (["mail"] * 49 + ["fax"], r"unknown arm in the policy: 'fax'"),
        (["mail"] * 3, r"policy has the shape \(3,\), the experiment has 50 users"),
        (pd.Series("mail", index=range(1, 51)), r"policy has no row for 1 users \(such as 0\)"),
        (np.full((50, 2), 0.5), r"policy has the shape \(50, 2\); expected \(50, 3\), a column for each of the arms"),
        (np.full((50, 3), 0.5), r"probabilities of 50 users \(the first is row 0\) are negative or do not add up to 1"),
        (pd.DataFrame({"mail": [1.0] * 50}), r"policy has no column for the arm 'none'"),
        (np.full((50, 3), np.nan), r"policy is missing or infinite \(the first is row 0\)"),
    ],
)
def test_wrong_policies_are_refused(policy, message):
    made, _ = trial(np.random.default_rng(13), 50)
    with pytest.raises(ValueError, match=message):
        policy_value(made, policy, outcome="y")


def test_wrong_numbers_are_refused():
    made, _ = trial(np.random.default_rng(13), 50)
    with pytest.raises(ValueError, match="unknown outcome 'z'"):
        policy_value(made, "mail", outcome="z")
    with pytest.raises(TypeError, match=r"policy: cost is 'free'; give a finite number"):
        policy_value(made, "mail", outcome="y", cost="free")
    with pytest.raises(ValueError, match="unknown arm 'mial'"):
        policy_value(made, "mail", outcome="y", cost={"mial": 1})
    never = made.select(((made.table["arm"] == "mail") == (made.table["x"] > 0)).to_numpy())
    with pytest.raises(ValueError, match="the experiment never did what it does"):
        policy_value(never, np.where(never.table["x"] > 0, "none", "mail"), outcome="y")
