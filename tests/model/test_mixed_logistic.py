"""The likelihood of an outcome with a latent input: value, gradient, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from bayesdecay.model.kernel import mixed_logistic_loglik
from bayesdecay.model.latent_interest import log_mean, slices


@pytest.fixture
def rows() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        "logit": rng.normal(scale=2, size=40),
        "level": rng.normal(size=(40, 8)),
        "sign": rng.choice([-1.0, 1.0], size=40),
        "weight": rng.integers(1, 4, size=40).astype(float),
    }


def plain_loglik(logit, slope, level, sign, weight):
    eta = sign[:, None] * (logit[:, None] + slope * level)
    return float(np.sum(weight * (logsumexp(-np.logaddexp(0, -eta), axis=1) - np.log(level.shape[1]))))


@pytest.mark.parametrize("slope", [-3.0, 0.0, 1.7, 40.0])
def test_loglik_and_gradient(rows, slope):
    value, d_logit, d_slope = mixed_logistic_loglik(rows["logit"], slope, rows["level"], rows["sign"], rows["weight"])
    assert value == pytest.approx(plain_loglik(slope=slope, **rows), rel=1e-12)
    step = 1e-5

    def along(at: float, i: int | None) -> float:
        if i is None:
            return plain_loglik(slope=slope + at, **rows)
        shifted = {**rows, "logit": rows["logit"] + at * (np.arange(40) == i)}
        return plain_loglik(slope=slope, **shifted)

    assert d_slope == pytest.approx((along(step, None) - along(-step, None)) / (2 * step), rel=1e-6, abs=1e-6)
    slopes = [(along(step, i) - along(-step, i)) / (2 * step) for i in range(40)]
    np.testing.assert_allclose(d_logit, slopes, rtol=1e-5, atol=1e-8)


def test_loglik_stays_finite_where_all_is_lost():
    value, d_logit, d_slope = mixed_logistic_loglik(
        np.array([-600.0, 900.0]), 1.0, np.zeros((2, 1)), np.array([1.0, -1.0]), np.ones(2)
    )
    assert value == pytest.approx(-1300.0)  # beyond 700 it no longer falls
    assert np.isfinite([*d_logit, d_slope]).all()
    assert d_logit[0] == pytest.approx(1.0)


def most_likely_slope(level: np.ndarray, returned: np.ndarray) -> float:
    sign, weight = np.where(returned, 1.0, -1.0), np.ones(returned.size)

    def negative(point: np.ndarray) -> tuple[float, np.ndarray]:
        logit = np.full(returned.size, point[0])
        value, d_logit, d_slope = mixed_logistic_loglik(logit, point[1], level, sign, weight)
        return -value, -np.array([d_logit.sum(), d_slope])

    return float(minimize(negative, np.zeros(2), jac=True).x[1])


def test_uncertain_interest_recovers_the_slope_that_plugin_attenuates():
    rng = np.random.default_rng(7)
    n, intercept, slope = 20_000, -0.5, 1.5
    center, sd = rng.normal(size=n), rng.uniform(0.8, 1.2, size=n)
    returned = rng.random(n) < expit(intercept + slope * (center + sd * rng.normal(size=n)))
    draws = center[:, None] + sd[:, None] * rng.normal(size=(n, 400))
    found = {"uncertain": slices(draws), "plugin": log_mean(draws)}
    assert found["uncertain"].shape == (n, 8)
    np.testing.assert_allclose(found["plugin"][:, 0], center + sd**2 / 2, atol=1.0)
    # The standard error is about 0.07, and eight levels are too few by 3 % of the slope.
    assert most_likely_slope(found["uncertain"], returned) == pytest.approx(slope, abs=0.2)
    assert most_likely_slope(found["plugin"], returned) < 0.75 * slope
