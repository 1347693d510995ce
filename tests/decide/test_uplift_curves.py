from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.data.experiment import Experiment
from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.decide.uplift_curves import uplift_curve
from tests.decide.trials import covers, trial

SHARED = Path(os.environ.get("BAYESDECAY_DATA", Path(__file__).parents[3] / "shared" / "data"))
HILLSTROM = SHARED / "hillstrom_half" / "experiment.parquet"


def two_arms(rng: np.random.Generator, n: int, uplift: float = 0.3) -> tuple[Experiment, np.ndarray]:
    """Users whose uplift is uniform between 0 and twice the mean, and that uplift."""
    effect = 2 * uplift * rng.random(n)
    treated = rng.random(n) < 0.5
    frame = pd.DataFrame({"given": np.where(treated, "mail", "none"), "y": treated * effect + 0.5 * rng.normal(size=n)})
    return read_experiment(frame, arm="given", control="none", outcomes=["y"]), effect


def by_loops(experiment: Experiment, score: np.ndarray) -> tuple[list[float], float]:
    """Gain after each user from the top, and the Qini coefficient, from sums over the users in the order given."""
    table, n = experiment.table, len(experiment)
    mean = {arm: table.loc[table["arm"] == arm, "y"].mean() for arm in ("mail", "none")}
    count = {arm: (table["arm"] == arm).sum() for arm in ("mail", "none")}
    gain = [0.0]
    for i in sorted(range(n), key=lambda i: -score[i]):
        arm, y = table["arm"][i], table["y"][i]
        sign = 1 if arm == "mail" else -1
        gain.append(gain[-1] + (mean["mail"] - mean["none"]) / n + sign * (y - mean[arm]) / count[arm])
    area = sum((a + b) / 2 / n for a, b in itertools.pairwise(gain))
    return gain, area - gain[-1] / 2


def radcliffe(treated: np.ndarray, y: np.ndarray, score: np.ndarray) -> float:
    """Area of Radcliffe's curve above its straight line, divided by the treated users."""
    order = np.argsort(-score)
    t, y = treated[order], y[order]
    n_c = np.cumsum(1 - t)
    curve = np.cumsum(t * y) - np.divide(
        np.cumsum((1 - t) * y) * np.cumsum(t), n_c, out=np.zeros(t.size), where=n_c > 0
    )
    curve = np.concatenate([[0], curve]) / t.sum()
    return float(np.trapezoid(curve, dx=1 / t.size) - curve[-1] / 2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(8, 60))
def test_curve_and_coefficient_are_the_sums_over_users(seed, n):
    rng = np.random.default_rng(seed)
    made = read_experiment(
        pd.DataFrame({"given": ["mail", "none"] * (n // 2) + ["mail"] * (n % 2), "y": rng.normal(size=n)}),
        arm="given", control="none", outcomes=["y"],
    )  # fmt: skip
    score = rng.permutation(n)
    gain, qini = by_loops(made, score)
    curve = uplift_curve(made, score, outcome="y", arm="mail")
    assert curve.coefficient["qini"] == pytest.approx(qini, abs=1e-12)
    np.testing.assert_allclose(
        curve.table["gain"], np.interp(curve.table["share"], np.arange(n + 1) / n, gain), atol=1e-12
    )
    backwards = uplift_curve(made, -score, outcome="y", arm="mail")
    assert backwards.coefficient["qini"] == pytest.approx(-qini, abs=1e-12)


def test_ties_are_the_mean_over_all_orders():
    rng = np.random.default_rng(1)
    made, _ = two_arms(rng, 7)
    score = np.array([2, 1, 1, 1, 1, 0, 0])
    loops = [
        by_loops(made, score + 1e-3 * np.array([0, *order, *last]))
        for order in itertools.permutations(range(4))
        for last in itertools.permutations(range(2))
    ]
    curve = uplift_curve(made, score, outcome="y", arm="mail")
    assert curve.coefficient["qini"] == pytest.approx(np.mean([qini for _, qini in loops]))
    mean = np.interp(curve.table["share"], np.arange(8) / 7, np.mean([gain for gain, _ in loops], axis=0))
    np.testing.assert_allclose(curve.table["gain"], mean, atol=1e-12)


def test_one_score_for_all_is_the_straight_line_and_no_order():
    made, _ = two_arms(np.random.default_rng(2), 500)
    curve = uplift_curve(made, np.ones(500), outcome="y", arm="mail")
    np.testing.assert_allclose(curve.table["gain"], curve.table["random"])
    np.testing.assert_allclose(
        curve.table["gain_se"], curve.table["share"] * curve.table["gain_se"].iloc[-1], atol=1e-12
    )
    assert curve.coefficient["qini"] == pytest.approx(0, abs=1e-12)
    assert curve.coefficient["p_value"] == 1
    assert "not told apart from chance" in str(curve)


def test_end_of_the_curve_is_the_difference_of_the_means():
    made, effect = two_arms(np.random.default_rng(3), 1_000)
    groups = made.table.groupby("arm")["y"]
    end = uplift_curve(made, effect, outcome="y", arm="mail").table.iloc[-1]
    assert end["gain"] == end["uplift"] == pytest.approx(groups.mean()["mail"] - groups.mean()["none"])
    assert end["gain_se"] == pytest.approx(np.sqrt((groups.var() / groups.size()).sum()), rel=0.01)


def test_known_curve_is_covered_as_often_as_said():
    # The score is the uplift itself, uniform on (0, 0.6): G(q) = 0.6 q - 0.3 q^2, and the area above the line 0.05.
    rng, runs = np.random.default_rng(4), 400
    curves = [
        uplift_curve(made, effect, outcome="y", arm="mail")
        for made, effect in (two_arms(rng, 600) for _ in range(runs))
    ]
    allowed = 3.5 * np.sqrt(0.9 * 0.1 / runs)
    found = pd.DataFrame([curve.coefficient for curve in curves])
    assert abs(covers(found, "qini", 0.05).mean() - 0.9) < allowed
    assert found["qini_se"].mean() == pytest.approx(found["qini"].std(), rel=0.1)
    assert abs(found["qini"].mean() - 0.05) < 3.5 * found["qini"].std() / np.sqrt(runs)
    for share in (0.1, 0.3, 0.7, 1 - 1e-9):
        at = pd.DataFrame([curve.at(share) for curve in curves])
        assert abs(covers(at, "gain", 0.6 * share - 0.3 * share**2).mean() - 0.9) < allowed
        assert abs(covers(at, "uplift", 0.6 - 0.3 * share).mean() - 0.9) < allowed


def test_large_effects_show_the_doubt_of_the_border():
    # Without noise in the outcomes all the scatter is who happens to be among the users.
    rng, found = np.random.default_rng(5), []
    for _ in range(300):
        made, effect = two_arms(rng, 300, uplift=5.0)
        exact = np.column_stack([np.zeros(300), effect])
        curve = uplift_curve(made, effect, outcome="y", arm="mail", predictions=exact)
        found.append(pd.concat([curve.at(0.3), curve.coefficient]))
    rows = pd.DataFrame(found)
    assert rows["gain_se"].mean() == pytest.approx(rows["gain"].std(), rel=0.15)
    assert rows["qini_se"].mean() == pytest.approx(rows["qini"].std(), rel=0.15)


def test_random_scores_come_out_as_nothing():
    rng, runs = np.random.default_rng(6), 600
    made, _ = two_arms(rng, 400)
    curves = [uplift_curve(made, rng.random(400), outcome="y", arm="mail") for _ in range(runs)]
    found = pd.DataFrame([curve.coefficient for curve in curves])
    allowed = 3.5 * np.sqrt(0.9 * 0.1 / runs)
    assert abs(covers(found, "qini", 0.0).mean() - 0.9) < allowed
    assert abs((found["p_value"] > 0.1).mean() - 0.9) < allowed
    assert found["random_se"].iloc[0] == pytest.approx(found["qini"].std(), rel=0.1)
    at = pd.DataFrame([curve.at(0.4) for curve in curves])
    inside = (at["random_lower"] <= at["gain"]) & (at["gain"] <= at["random_upper"])
    assert abs(inside.mean() - 0.9) < allowed


def test_good_predictions_narrow_the_band_and_move_no_truth():
    made, mean = trial(np.random.default_rng(7), 4_000)
    score = made.table["x"]
    plain, better = (uplift_curve(made, score, outcome="y", arm="mail", predictions=guess) for guess in (None, mean))
    assert better.coefficient["qini_se"] < 0.7 * plain.coefficient["qini_se"]
    # E[x; x above its (1 - q)-quantile] less q E[x] is the normal density there, whose integral is 1 / (2 sqrt(pi)).
    assert abs(better.coefficient["qini"] - 1 / (2 * np.sqrt(np.pi))) < 3.5 * better.coefficient["qini_se"]


def test_radcliffes_curve_differs_by_chance_alone():
    rng, found = np.random.default_rng(8), []
    for _ in range(40):
        made, effect = two_arms(rng, 2_000)
        ours = uplift_curve(made, effect, outcome="y", arm="mail").coefficient
        theirs = radcliffe(made.given.astype(float), made.outcome("y"), effect)
        found.append((ours["qini"] - theirs) / ours["qini_se"])
    assert max(map(abs, found)) < 1
    assert abs(np.mean(found)) < 3.5 * np.std(found) / np.sqrt(40)


def test_only_the_order_of_the_score_counts_and_ids_find_it():
    made, effect = two_arms(np.random.default_rng(9), 200)
    shuffled = pd.Series(np.exp(effect), index=made.table["user"]).sample(frac=1, random_state=1)
    first, second = (uplift_curve(made, score, outcome="y", arm="mail") for score in (effect, shuffled))
    pd.testing.assert_frame_equal(first.table, second.table)


def test_wrong_scores_and_arms_are_refused():
    made, effect = two_arms(np.random.default_rng(10), 50)
    effect[7] = np.nan
    with pytest.raises(ValueError, match=r"score is missing or infinite for 1 users \(the first is row 7\)"):
        uplift_curve(made, effect, outcome="y", arm="mail")
    with pytest.raises(ValueError, match=r"score has the shape \(50, 2\); give one number a user"):
        uplift_curve(made, np.ones((50, 2)), outcome="y", arm="mail")
    with pytest.raises(ValueError, match=r"'none' is the control; name an arm whose effect is judged: \('mail',\)"):
        uplift_curve(made, np.ones(50), outcome="y", arm="none")


@pytest.mark.skipif(not HILLSTROM.is_file(), reason="the e-mail experiment is not in the shared data folder")
def test_hillstroms_email():
    made = read_experiment(
        HILLSTROM, arm="segment", control="No E-Mail", outcomes=["visit", "spend"], user="row_id",
        features=["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"],
    )  # fmt: skip
    frame = pd.read_parquet(HILLSTROM)
    pd.testing.assert_series_equal(
        made.summary()["visit"].sort_index(), frame.groupby("segment")["visit"].mean(), check_names=False
    )
    assert made.balance().p_value > 0.01
    # Those who bought womenswear before are those whom the women's e-mail brings; recency hardly tells.
    known = uplift_curve(made, frame["womens"].to_numpy(), outcome="visit", arm="Womens E-Mail").coefficient
    assert known["qini_lower"] > 0.005
    recent = uplift_curve(made, -frame["recency"].to_numpy(), outcome="visit", arm="Womens E-Mail").coefficient
    assert covers(recent, "qini", 0.0)
    two = frame[frame["segment"] != "Mens E-Mail"].reset_index(drop=True)
    # Without ties, and so that both roads see the same order.
    score = two["womens"] + np.random.default_rng(1).random(len(two)) / 2
    pair = read_experiment(two, arm="segment", control="No E-Mail", outcomes=["visit"])
    ours = uplift_curve(pair, score, outcome="visit", arm="Womens E-Mail").coefficient
    theirs = radcliffe(pair.given.astype(float), pair.outcome("visit"), score.to_numpy())
    assert abs(ours["qini"] - theirs) < 0.1 * ours["qini_se"]
