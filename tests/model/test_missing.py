"""Missing features: their joint normal by EM, what the known ones say of them, and a likelihood that averages."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.optimize import minimize
from scipy.special import expit

from bayesdecay.model.coefficients import Coefficients
from bayesdecay.model.logistic import mixed_logistic_loglik
from bayesdecay.model.missing import FeatureNormal
from tests.model.made_up import posterior_of, terms_of

MEAN = np.array([0.5, -1.0, 2.0, 0.0])
COVARIANCE = np.array([[1.0, 0.8, -0.3, 0.5], [0.8, 1.5, 0.1, 0.2], [-0.3, 0.1, 0.7, -0.2], [0.5, 0.2, -0.2, 1.0]])


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Three features and a number that is always known; the second and third are missing by what the first says."""
    rng = np.random.default_rng(1)
    made = rng.multivariate_normal(MEAN, COVARIANCE, size=40_000)
    made[rng.random(len(made)) < expit(2 * (made[:, 0] - 0.5)), 1] = np.nan
    made[rng.random(len(made)) < 0.6 * expit(-made[:, 3]), 2] = np.nan
    return made


# --- the joint normal ---


def test_mean_and_covariance_are_recovered_where_known_rows_mislead(rows):
    found = FeatureNormal.learn(rows[:, :3], rows[:, 3])
    complete = rows[np.isfinite(rows).all(axis=1)]
    assert 0.25 < len(complete) / len(rows) < 0.5
    assert abs(np.nanmean(rows[:, 1]) - MEAN[1]) > 0.25
    assert np.abs(complete.mean(axis=0) - MEAN).max() > 0.25
    # Half is missing: standard errors of about 0.01.
    np.testing.assert_allclose(found.mean, MEAN, atol=0.04)
    np.testing.assert_allclose(found.covariance, COVARIANCE, atol=0.06)


def test_it_is_the_most_likely_normal(rows):
    """No step of mean or covariance raises the likelihood of what is known, pattern by pattern."""
    few = rows[:600]
    found = FeatureNormal.learn(few[:, :3], few[:, 3])

    def loglik(mean: np.ndarray, covariance: np.ndarray) -> float:
        total = 0.0
        for row in few:
            known = np.isfinite(row)
            apart, inner = row[known] - mean[known], covariance[np.ix_(known, known)]
            total -= 0.5 * (apart @ np.linalg.solve(inner, apart) + np.linalg.slogdet(inner)[1])
        return total

    best = loglik(found.mean, found.covariance)
    rng = np.random.default_rng(2)
    for _ in range(6):
        shift, tilt = rng.normal(size=4), rng.normal(size=(4, 4))
        for step in (-0.02, 0.02):
            assert loglik(found.mean + step * shift, found.covariance) < best
            assert loglik(found.mean, found.covariance + step * (tilt + tilt.T) / 2) < best


def test_nothing_missing_gives_plain_moments():
    whole = np.random.default_rng(3).normal(size=(50, 4)) @ np.linalg.cholesky(COVARIANCE).T
    found = FeatureNormal.learn(whole[:, :3], whole[:, 3])
    np.testing.assert_allclose(found.mean, whole.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(whole, rowvar=False, ddof=0), atol=1e-12)
    completed = found.complete(whole[:, :3], whole[:, 3])
    np.testing.assert_array_equal(completed.values, whole[:, :3])
    assert not completed.pattern.any()
    np.testing.assert_array_equal(completed.root, np.zeros((1, 3, 3)))


def test_no_features_at_all():
    always = np.arange(5.0)
    completed = FeatureNormal.learn(np.empty((5, 0)), always).complete(np.empty((5, 0)), always)
    assert completed.values.shape == (5, 0)
    assert completed.root.shape == (1, 0, 0)


# --- what is missing in a row ---


def test_what_is_missing_has_its_conditional_distribution(rows):
    normal = FeatureNormal(mean=MEAN, covariance=COVARIANCE)
    few = rows[:300].copy()
    few[7, :3] = np.nan  # nothing but interest is known
    completed = normal.complete(few[:, :3], few[:, 3])
    precision = np.linalg.inv(COVARIANCE)
    for row, values, pattern in zip(few, completed.values, completed.pattern, strict=True):
        gone = np.isnan(row)
        # By the precision matrix: another road than that of the code.
        left = np.linalg.inv(precision[np.ix_(gone, gone)]) if gone.any() else np.zeros((0, 0))
        mean = MEAN[gone] - left @ precision[np.ix_(gone, ~gone)] @ (row - MEAN)[~gone]
        np.testing.assert_allclose(values[gone[:3]], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(values[~gone[:3]], row[:3][~gone[:3]])
        root, wanted = completed.root[pattern], np.zeros((3, 3))
        wanted[np.ix_(gone[:3], gone[:3])] = left
        np.testing.assert_allclose(root @ root.T, wanted, atol=1e-6)
    assert len(completed.root) == len(np.unique(np.isnan(few), axis=0))


def test_features_that_are_functions_of_each_other(rows):
    """A sum is known where its parts are, and a part where the sum and the other part are."""
    few = rows[:2_000]
    made = np.column_stack([few[:, 0], few[:, 1], few[:, 0] + few[:, 1], few[:, 0]])
    made[::2, 2] = few[::2, 0] + np.random.default_rng(4).normal(MEAN[1], 1.0, 1_000)  # known though the part is not
    made[::2, 1] = np.where(np.arange(1_000) % 2 == 0, made[::2, 2] - made[::2, 0], np.nan)
    normal = FeatureNormal.learn(made[:, :3], made[:, 3])
    assert np.isfinite(normal.covariance).all()
    gone = np.isnan(made[:, 1]) & np.isfinite(made[:, 2])
    assert gone.sum() > 300
    completed = normal.complete(made[:, :3], made[:, 3])
    np.testing.assert_allclose(completed.values[gone, 1], (made[:, 2] - made[:, 0])[gone], atol=1e-2)
    (pattern,) = np.unique(completed.pattern[gone])
    assert np.abs(completed.root[pattern]).max() < 0.02
    assert np.isfinite(completed.values).all()


def test_round_trip(rows):
    made = FeatureNormal.learn(rows[:500, :3], rows[:500, 3])
    again = FeatureNormal.from_dict(json.loads(json.dumps(made.to_dict())))
    one, other = (normal.complete(rows[:50, :3], rows[:50, 3]) for normal in (made, again))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.root, other.root)


# --- a likelihood that averages over what is missing ---

SLOPES = np.array([-0.5, -0.8, 2.0, 0.6])  # the intercept, two features, interest


@pytest.fixture(scope="module")
def patchy() -> dict[str, np.ndarray]:
    """The second feature is close to the first, and missing mostly where that is high."""
    rng = np.random.default_rng(8)
    n = 20_000
    level, first = rng.normal(size=(2, n))
    second = 0.6 * first + 0.8 * rng.normal(size=n)
    came = rng.random(n) < expit(SLOPES[0] + SLOPES[1] * first + SLOPES[2] * second + SLOPES[3] * level)
    second[rng.random(n) < expit(1.5 * first)] = np.nan
    return {"x": np.column_stack([first, second]), "level": level, "came": came}


def most_likely(patchy: dict[str, np.ndarray], missing: str) -> np.ndarray:
    """Most likely coefficients where missing features are modelled, replaced by the mean, or by their expectation."""
    normal = FeatureNormal.learn(patchy["x"], patchy["level"])
    completed = normal.complete(patchy["x"], patchy["level"])
    x = np.where(np.isnan(patchy["x"]), np.nanmean(patchy["x"], axis=0), patchy["x"])
    x = x if missing == "mean" else completed.values
    n, root = len(x), completed.root[1]
    sign = np.where(patchy["came"], 1.0, -1.0)
    pair = completed.pattern if missing == "model" else np.zeros(n, dtype=np.int64)
    level, still = patchy["level"][None], np.zeros((1, 0, n))
    data = (np.ascontiguousarray(x.T), np.zeros(n, dtype=np.int64), pair, level, still, sign, np.ones(n), np.ones(1))

    def negative(b: np.ndarray) -> tuple[float, np.ndarray]:
        v = np.linalg.norm(b[1:3] @ root)
        spread = np.array([0.0, v])
        value, d_x, d_offset, d_level, d_v, _ = mixed_logistic_loglik(b[1:3], b[:1], b[3], spread, np.empty(0), *data)
        d_x = d_x + d_v[1] * root @ root.T @ b[1:3] / max(v, 1e-9)
        return -value / n, -np.array([d_offset[0], *d_x, d_level]) / n

    return minimize(negative, np.full(4, 0.1), jac=True).x


def test_modelled_missing_recovers_the_slopes_that_filling_in_does_not(patchy):
    # Standard errors of 0.02 to 0.04.
    modelled = most_likely(patchy, "model")
    np.testing.assert_allclose(modelled, SLOPES, atol=0.1)
    assert np.abs(most_likely(patchy, "mean") - SLOPES).max() > 0.3
    # The expectation alone, as if it were known: what varies about it flattens every slope.
    expected = most_likely(patchy, "expected")
    assert (np.abs(expected) < np.abs(SLOPES)).all()
    assert expected[3] < 0.88 * SLOPES[3]
    assert modelled[3] == pytest.approx(SLOPES[3], abs=0.05)


def test_a_user_with_a_missing_feature_has_the_average_chance_and_a_wider_interval(patchy):
    table = pd.DataFrame(patchy["x"], columns=["first", "second"])
    terms = terms_of("returned ~ interest + first + second", table, patchy["level"][:, None])
    posterior = posterior_of(terms, draws=4_000)
    for name in ("intercept", "slope", "slope_interest"):  # all draws alike but for a little
        posterior[name] = posterior[name] * 0.05 + {"intercept": 0.3, "slope": 1.2, "slope_interest": 0.5}[name]
    drawn = Coefficients.of(xr.DataTree.from_dict({"posterior": posterior}), terms, 8_000)
    two = pd.DataFrame({"first": [0.5, 0.5], "second": [0.4, np.nan]})
    level = np.full((2, 1), 0.3)
    p = expit(drawn.logit(terms.design(two, level), np.random.default_rng(1)))
    # By hand, from the true law of the second feature.
    rng = np.random.default_rng(2)
    second = 0.6 * 0.5 + 0.8 * rng.normal(size=8_000)
    x = (np.column_stack([np.full(8_000, 0.5), second]) - terms.fixed.center) / terms.fixed.scale
    interest = (0.3 - terms.interest_center) / terms.interest_scale
    by_hand = expit(drawn.intercept + (x * drawn.slope).sum(axis=1) + drawn.interest * interest)
    assert p[1].mean() == pytest.approx(by_hand.mean(), abs=0.015)
    assert p[1].std() == pytest.approx(by_hand.std(), rel=0.1)
    known, unknown = (np.diff(np.quantile(own, [0.05, 0.95]))[0] for own in p)
    assert unknown > 2.5 * known
