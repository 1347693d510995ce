"""The algebra under a comparison: standard errors by user, stacking weights, leaving users out."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from bayesdecay.model.leave_out import good_k, leave_user_out
from bayesdecay.show import clustered
from bayesdecay.show.scoring_rules import calibration
from bayesdecay.show.stacking import stacking_weights


@pytest.fixture(scope="module")
def rows():
    """Forecasts, outcomes and users: up to four rows a user, whose outcomes go together; the forecasts are too low."""
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(500), rng.integers(1, 5, 500))
    effect = 1.2 * rng.standard_normal(500)[user]
    logit = 0.8 * rng.standard_normal(500)[user] - 0.5
    returned = rng.random(user.size) < expit(logit + effect)
    return expit(logit - 0.8), returned, user


def bootstrapped(statistic, arrays, user, *, times=500) -> float:
    """Standard deviation of a statistic over samples of users, drawn with replacement."""
    rng = np.random.default_rng(2)
    own = [np.flatnonzero(user == number) for number in range(user.max() + 1)]
    found = []
    for _ in range(times):
        drawn = np.concatenate([own[number] for number in rng.integers(0, len(own), len(own))])
        found.append(statistic(*(values[drawn] for values in arrays)))
    return float(np.std(found, ddof=1))


@pytest.mark.parametrize(
    ("ours", "statistic"),
    [
        (lambda p, y, user: clustered.mean(np.square(p - y), user), lambda p, y: np.square(p - y).mean()),
        (clustered.area_under_curve, lambda p, y: clustered.area_under_curve(p, y, np.arange(p.size))[0]),
        (clustered.calibration_error, lambda p, y: calibration(p, y.astype(float)).error),
    ],
    ids=["mean", "area", "calibration"],
)
def test_standard_errors_are_those_of_a_bootstrap_by_user(rows, ours, statistic):
    p, returned, user = rows
    value, error = ours(p, returned, user)
    assert value == pytest.approx(statistic(p, returned))
    # A bootstrap of 500 has an error of 3 % of its own.
    assert error == pytest.approx(bootstrapped(statistic, (p, returned), user), rel=0.1)
    assert error > 1.15 * ours(p, returned, np.arange(p.size))[1]  # as if each row were a user of its own


def test_rows_seen_twice_tell_nothing_new(rows):
    p, returned, user = rows
    twice = [np.concatenate([values, values]) for values in (p, returned, user)]
    for score in (clustered.area_under_curve, clustered.calibration_error):
        np.testing.assert_allclose(score(*twice), score(p, returned, user))


def test_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(3)
    p, returned = rng.integers(0, 5, 60) / 5, rng.random(60) < 0.4
    pairs = p[returned][:, None] - p[~returned][None, :]
    expected = (pairs > 0).mean() + 0.5 * (pairs == 0).mean()
    assert clustered.area_under_curve(p, returned, np.arange(60))[0] == pytest.approx(expected)
    assert np.isnan(clustered.area_under_curve(p, np.ones(60, dtype=bool), np.arange(60))).all()


def test_one_user_alone_has_no_standard_error():
    assert np.isnan(clustered.mean(np.arange(3.0), np.zeros(3, dtype=int))[1])


def mixture_score(weight, log_density):
    return np.log(weight @ np.exp(log_density)).mean()


@given(seed=st.integers(0, 1_000), shift=st.floats(-1.0, 1.0))
def test_two_weights_are_the_best_on_a_grid(seed, shift):
    rng = np.random.default_rng(seed)
    log_density = np.log(rng.uniform(0.05, 0.95, (2, 80)))
    log_density[1] += shift
    found = stacking_weights(log_density)
    grid = np.linspace(0, 1, 1_001)
    scores = [mixture_score(np.array([w, 1 - w]), log_density) for w in grid]
    assert found.sum() == pytest.approx(1.0)
    assert mixture_score(found, log_density) >= max(scores) - 1e-9
    assert found[0] == pytest.approx(grid[np.argmax(scores)], abs=2e-3)


@pytest.mark.parametrize("part", [0.5, 0.3, 0.9])
def test_two_that_know_other_rows_are_mixed_by_their_numbers(part):
    # One is sure and right on its part of the rows and rules the others out, the other the reverse: w = part.
    own = np.arange(1_000) < 1_000 * part
    log_density = np.where([own, ~own], 0.0, -40.0)
    np.testing.assert_allclose(stacking_weights(log_density), [part, 1 - part], atol=1e-4)


def test_many_weights_meet_the_conditions_of_the_optimum():
    rng = np.random.default_rng(4)
    log_density = np.log(rng.beta(2, 1, (8, 400))) + rng.normal(0, 0.1, (8, 1))
    weight = stacking_weights(log_density)
    density = np.exp(log_density)
    gain = (density / (weight @ density)).mean(axis=1)
    assert (weight >= 0).all()
    np.testing.assert_allclose(gain[weight > 1e-3], 1.0, atol=1e-4)
    assert (gain <= 1.0 + 1e-4).all()


def test_the_dominated_get_nothing_and_the_identical_share():
    rng = np.random.default_rng(5)
    base = np.log(rng.uniform(0.2, 0.9, 200))
    np.testing.assert_allclose(stacking_weights(np.stack([base, base - 0.3, base])), [0.5, 0.0, 0.5], atol=1e-4)
    np.testing.assert_allclose(stacking_weights(base[None]), [1.0])


def test_leaving_users_out_is_exact_where_it_can_be_computed():
    """Outcomes of one unknown share: the posterior without a user is a beta distribution."""
    rng = np.random.default_rng(6)
    user = np.repeat(np.arange(40), rng.integers(1, 4, 40))
    y = rng.random(user.size) < 0.3
    p = rng.beta(1 + y.sum(), 1 + (~y).sum(), 4_000)
    elpd, khat = leave_user_out(np.log(np.where(y, p[:, None], 1 - p[:, None])), user)
    for i in range(user.size):
        rest = y[user != user[i]]
        mean = (1 + rest.sum()) / (2 + rest.size)
        # The shares differ by the error of 4,000 draws.
        assert np.exp(elpd[i]) == pytest.approx(mean if y[i] else 1 - mean, abs=0.005)
    assert khat.max() < good_k(4_000) == 0.7
    assert np.unique(khat).size <= 40


def test_with_one_row_a_user_it_is_the_usual_leave_one_out():
    rng = np.random.default_rng(7)
    loglik = -np.square(rng.normal(size=(2, 300, 30)) * rng.uniform(0.1, 0.6, 30)) - 1.0
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"a": (("chain", "draw"), rng.normal(size=(2, 300)))}),
            "log_likelihood": xr.Dataset({"y": (("chain", "draw", "row"), loglik)}),
        }
    )
    theirs = az.loo(tree, pointwise=True, reff=1.0)
    elpd, khat = leave_user_out(loglik.reshape(600, 30), np.arange(30))
    np.testing.assert_allclose(elpd, theirs.elpd_i.to_numpy())
    np.testing.assert_allclose(khat, theirs.pareto_k.to_numpy())


def test_a_user_that_nothing_depends_on_is_left_out_at_no_cost():
    rng = np.random.default_rng(8)
    loglik = np.stack([np.full(200, -0.5), -rng.random(200)], axis=1)
    elpd, khat = leave_user_out(loglik, np.arange(2))
    assert elpd[0] == pytest.approx(-0.5)
    assert khat[0] == -np.inf
    assert leave_user_out(loglik[:, :1], np.zeros(1, dtype=int))[0] == pytest.approx(-0.5)


def test_few_draws_need_a_smaller_k():
    assert good_k(100) == pytest.approx(0.5)
    assert good_k(400) == pytest.approx(0.616, abs=1e-3)
