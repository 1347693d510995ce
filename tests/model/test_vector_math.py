"""The vectorised exponential and logarithm against numpy's, over their whole range."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from bayesdecay.model import vector_math


@numba.njit
def exps(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = vector_math.exp(x[i])
    return out


@numba.njit
def logs(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = vector_math.log(x[i])
    return out


def relative_error(found, expected):
    return np.max(np.abs(found - expected) / np.abs(expected))


@pytest.mark.parametrize("width", [1e-300, 1e-12, 1e-3, 1.0, 30.0, 708.0])
def test_exp_keeps_its_error_bound(width):
    x = np.random.default_rng(1).uniform(-width, width, 200_000)
    assert relative_error(exps(x), np.exp(x)) < 2e-14


def test_exp_at_the_edges():
    x = np.array([-708.0, -0.0, 0.0, 708.0, np.log(2) / 2, -np.log(2) / 2, 1.5 * np.log(2)])
    assert relative_error(exps(x), np.exp(x)) < 2e-14
    assert exps(np.array([0.0]))[0] == 1.0


def test_exp_far_below_is_next_to_nothing_and_never_negative():
    found = exps(np.array([-709.0, -745.2, -1e4, -1e300]))
    assert np.all((found >= 0) & (found < 4e-308))


def test_exp_far_above_is_huge_and_finite():
    # The log of a scale may be in the thousands where users' decay rates hardly differ.
    found = exps(np.array([709.0, 710.0, 1500.0, 1e300]))
    assert np.all((found > 8e307) & np.isfinite(found))


@pytest.mark.parametrize(
    ("low", "high"), [(1e-307, 1e-290), (1e-30, 1e-10), (0.5, 0.999), (1.001, 2.0), (1.0, 1e9), (1e290, 1e308)]
)
def test_log_keeps_its_error_bound(low, high):
    x = np.exp(np.random.default_rng(2).uniform(np.log(low), np.log(high), 200_000))
    assert relative_error(logs(x), np.log(x)) < 4e-16


def test_log_beside_one():
    x = 1.0 + np.concatenate([-np.logspace(-16, -2, 50), np.logspace(-15, -2, 50)])
    assert relative_error(logs(x[x != 1]), np.log(x[x != 1])) < 4e-16
    assert logs(np.array([1.0]))[0] == 0.0


def test_log_undoes_exp():
    x = np.linspace(-700, 700, 10_001)
    assert np.max(np.abs(logs(exps(x)) - x)) < 2e-13


@numba.njit
def singles(x):
    exps, logs = np.empty_like(x), np.empty_like(x)
    for i in range(x.size):
        exps[i] = vector_math.exp32(x[i])
        logs[i] = vector_math.log1p32(abs(x[i]))
    return exps, logs


@pytest.mark.parametrize("width", [1e-30, 1e-8, 1e-3, 1.0, 30.0, 87.0])
def test_single_precision_keeps_its_error_bounds(width):
    x = np.random.default_rng(1).uniform(-width, width, 200_000).astype(np.float32)
    exps, logs = singles(x)
    exact = x.astype(np.float64)
    assert exps.dtype == logs.dtype == np.float32
    assert relative_error(exps, np.exp(exact)) < 1e-7
    assert relative_error(logs, np.log1p(np.abs(exact))) < 2e-7


def test_single_precision_at_the_edges():
    exps, logs = singles(np.array([-1e30, -88.0, 0.0, 88.0, 1e30, 1e38], np.float32))
    np.testing.assert_allclose(exps, np.exp([-87.0, -87.0, 0.0, 88.0, 88.0, 88.0]), rtol=1e-6)
    np.testing.assert_allclose(logs, np.log1p([1e30, 88.0, 0.0, 88.0, 1e30, 1e38]), rtol=1e-6)
