"""Ends of intervals from few draws: as numpy's, and holding what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from bayesdecay.model.intervals import interval_ends


@pytest.mark.parametrize("size", [1, 2, 7, 200, 333])
@pytest.mark.parametrize("ci_prob", [0.5, 0.9, 0.95])
def test_ends_are_numpys_weibull_quantiles(size, ci_prob):
    samples = np.random.default_rng(size).poisson(2.0, (50, size)).astype(float) ** 1.5
    tails = ((1 - ci_prob) / 2, (1 + ci_prob) / 2)
    expected = np.quantile(samples, tails, axis=1, method="weibull")
    np.testing.assert_allclose(interval_ends(samples, tails), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(interval_ends(samples.T, tails, axis=0), interval_ends(samples, tails))


@pytest.mark.parametrize("size", [19, 50, 200, 1000])
def test_an_interval_holds_what_it_says(size):
    """An end between the i-th and the next of n uniform draws lies at the mean of a Beta(i, n + 1 - i)."""
    rng = np.random.default_rng(size)
    lower, upper = interval_ends(rng.random((20_000, size)), (0.05, 0.95))
    error = np.sqrt(beta(0.9 * (size + 1), 0.1 * (size + 1)).var() / 20_000)
    # Of uniform draws, the width is the probability that one more lies within.
    assert np.mean(upper - lower) == pytest.approx(0.9, abs=4 * error)
    # numpy's default does not.
    lower, upper = np.quantile(rng.random((2_000, size)), (0.05, 0.95), axis=1)
    assert np.mean(upper - lower) == pytest.approx(0.9 * (size - 1) / (size + 1), abs=15 * error)


def test_ends_of_counts_are_counts_and_lie_outwards():
    draws = np.arange(200.0)
    assert interval_ends(draws, (0.05, 0.95), whole=True).tolist() == [9.0, 190.0]
    lower, upper = interval_ends(draws, (0.05, 0.95))
    assert (lower, upper) == pytest.approx((9.05, 189.95))
    rng = np.random.default_rng(3)
    lower, upper = interval_ends(rng.random((20_000, 200)), (0.05, 0.95), whole=True)
    assert np.mean(upper - lower) == pytest.approx(181 / 201, abs=0.001)


def test_mirrored_draws_have_mirrored_ends():
    """0.95 x 20 is not twenty times less than 0.05 x 20 in floating point."""
    for size in (19, 39, 99, 199, 1999):
        draws = np.random.default_rng(size).normal(size=size)
        for whole in (False, True):
            lower, upper = interval_ends(draws, (0.05, 0.95), whole=whole)
            np.testing.assert_allclose(interval_ends(-draws, (0.05, 0.95), whole=whole), [-upper, -lower])


def test_ends_of_equal_draws_are_that_draw():
    assert interval_ends(np.full((3, 200), 0.1), (0.025, 0.975)).tolist() == [[0.1] * 3] * 2


def test_ends_of_draws_that_have_no_bound():
    """Users who never fade have half-lives without end; those who may not, an interval without an upper end."""
    never = np.full(200, np.inf)
    assert interval_ends(never, (0.05, 0.5, 0.95)).tolist() == [np.inf] * 3
    some = np.concatenate([np.arange(150.0), never[:50]])
    lower, median, upper = interval_ends(some, (0.05, 0.5, 0.95))
    assert (lower, median, upper) == pytest.approx((9.05, 99.5, np.inf))
    # The 19th of 19 draws is the end of 95 %: nothing is added to it, however far the next would be.
    assert interval_ends(np.append(np.arange(18.0), np.inf), (0.9,)).tolist() == [17.0]
