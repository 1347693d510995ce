"""Scoring rules against closed forms, and against their own promise: the truth scores best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bayesdecay.show import scoring_rules as rules

COUNTS = np.arange(60)


def poisson(mean):
    return stats.poisson.pmf(COUNTS, np.atleast_1d(mean)[:, None])


def test_certain_forecast_scores_the_absolute_error():
    certain = np.eye(8)[[3, 3, 3]]
    np.testing.assert_allclose(rules.crps_of_counts(certain, [3, 5, 0]), [0, 2, 3])
    np.testing.assert_allclose(rules.crps_of_counts(certain, [3, 5, 20]), [0, 2, 17])  # beyond the last count too


def test_crps_of_a_coin():
    coin = np.array([[0.7, 0.3], [0.7, 0.3]])
    np.testing.assert_allclose(rules.crps_of_counts(coin, [0, 1]), [0.09, 0.49])
    np.testing.assert_allclose(rules.crps_of_counts(coin, [0, 1]), rules.brier_score([0.3, 0.3], [0, 1]))


def test_crps_of_draws_has_the_normals_closed_form():
    rng, y = np.random.default_rng(1), np.array([-1.0, 0.0, 2.5])
    exact = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(rules.crps_of_draws(rng.standard_normal((200_000, 3)), y), exact, atol=0.01)


def test_crps_of_draws_and_of_counts_agree():
    rng, mean = np.random.default_rng(2), np.array([0.2, 3.0, 12.0])
    draws = rng.poisson(mean, size=(200_000, 3))
    by_pmf = rules.crps_of_counts(poisson(mean), [1, 1, 20])
    np.testing.assert_allclose(rules.crps_of_draws(draws, [1, 1, 20]), by_pmf, atol=0.03)


def test_crps_of_few_draws_is_not_biased():
    rng = np.random.default_rng(3)
    pairs = rules.crps_of_draws(rng.standard_normal((2, 400_000)), np.zeros(400_000))
    exact = 2 * stats.norm.pdf(0) - 1 / np.sqrt(np.pi)
    assert abs(pairs.mean() - exact) < 4 * pairs.std() / np.sqrt(400_000)


def test_log_score_is_the_negative_log_probability():
    np.testing.assert_allclose(rules.log_score([[0.25, 0.75], [1.0, 0.0]], [1, 1]), [-np.log(0.75), np.inf])


@given(true=st.floats(0.1, 20), other=st.floats(0.1, 20))
def test_truth_is_expected_to_score_best(true, other):
    weight = poisson(true)[0]
    for rule in (rules.crps_of_counts, rules.log_score):
        honest = weight @ rule(np.repeat(poisson(true), 60, axis=0), COUNTS)
        lied = weight @ rule(np.repeat(poisson(other), 60, axis=0), COUNTS)
        assert honest <= lied + 1e-9


@given(true=st.floats(0, 1), other=st.floats(0, 1))
def test_brier_score_is_proper(true, other):
    expected = [
        true * rules.brier_score([p], [1])[0] + (1 - true) * rules.brier_score([p], [0])[0] for p in (true, other)
    ]
    assert expected[1] - expected[0] == pytest.approx((true - other) ** 2, abs=1e-12)


def test_calibration_of_an_honest_forecast_is_near_perfect_and_of_a_bold_one_is_not():
    rng = np.random.default_rng(4)
    p = rng.beta(1, 3, size=200_000)
    happened = rng.random(200_000) < p
    honest, bold = rules.calibration(p, happened), rules.calibration(np.sqrt(p), happened)
    assert honest.error < 0.005
    assert bold.error > 0.1
    np.testing.assert_array_equal(honest.rows, 20_000)
    np.testing.assert_allclose(honest.observed, honest.predicted, atol=0.015)


def test_calibration_keeps_equal_forecasts_together():
    found = rules.calibration([0.2] * 7 + [0.6] * 3, [1, 0, 0, 0, 0, 0, 0, 1, 1, 0], bins=10)
    np.testing.assert_allclose(found.predicted, [0.2, 0.6])
    np.testing.assert_allclose(found.observed, [1 / 7, 2 / 3])
    np.testing.assert_array_equal(found.rows, [7, 3])
    assert found.error == pytest.approx(0.7 * (0.2 - 1 / 7) + 0.3 * (2 / 3 - 0.6))


def test_coverage_counts_the_ends():
    assert rules.coverage([0, 0, 1, 2], [1, 0, 2, 4], [1, 0, 0, 5]) == 0.5


def test_interval_score_is_width_and_penalty():
    found = rules.interval_score([0.0, 0.0, 0.0], [2.0, 2.0, 2.0], [1.0, -0.5, 3.0], ci_prob=0.9)
    np.testing.assert_allclose(found, [2.0, 2.0 + 20 * 0.5, 2.0 + 20 * 1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rules.crps_of_counts([0.5, 0.5], [1]), r"expected pmf \(row, count\)"),
        (lambda: rules.crps_of_counts([[0.5, 0.4]], [1]), "must hold probabilities that sum to one"),
        (lambda: rules.crps_of_counts([[0.5, 0.5]], [0.5]), "whole numbers from 0 on"),
        (lambda: rules.log_score([[0.5, 0.5]], [2]), "observed 2 but the forecast ends at 1"),
        (lambda: rules.crps_of_draws([[1.0, 2.0]], [1.0, 2.0]), r"expected draws \(draw, row\)"),
        (lambda: rules.crps_of_draws([[1.0], [np.nan]], [1.0]), "draws has 1 values that are missing"),
        (lambda: rules.brier_score([1.2], [1]), r"p must lie in \[0, 1\]"),
        (lambda: rules.brier_score([0.2], [2]), "happened must be 0 or 1"),
        (lambda: rules.brier_score([0.2, 0.3], [1]), "of one length"),
        (lambda: rules.calibration([], []), "at least one bin and one row"),
        (lambda: rules.coverage([1.0], [0.0], [0.5]), "1 intervals have their lower end above"),
        (lambda: rules.coverage([1.0], [2.0], [0.5, 1.0]), "of one length"),
        (lambda: rules.interval_score([0.0], [1.0], [0.5], ci_prob=90), "ci_prob must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
