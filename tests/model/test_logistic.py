"""The likelihood of an outcome whose inputs are not known exactly: value, gradient, and what it is for."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp
from scipy.stats import norm

from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.logistic import NODE_WEIGHTS, NODES, mixed_logistic_loglik

PARAMETERS = ("coefficient", "offset", "slope", "spread", "shared")
CHANCES = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.07, 0.03])
N_ROWS = 300  # two whole blocks and a part of one


def arguments_of(slope: float, spread: list[float]) -> list:
    """Rows of three features, five offsets and as many spreads as given."""
    rng = np.random.default_rng(5)
    return [
        rng.normal(size=3),
        rng.normal(scale=2, size=5),
        slope,
        np.array(spread),
        rng.normal(size=2),
        rng.normal(size=(3, N_ROWS)),
        rng.integers(0, 5, N_ROWS),
        np.sort(np.arange(N_ROWS) % len(spread)),
        rng.normal(size=(8, N_ROWS)),
        0.3 * rng.normal(size=(8, 2, N_ROWS)),
        rng.choice([-1.0, 1.0], N_ROWS),
        rng.integers(1, 4, N_ROWS).astype(float),
        CHANCES,
    ]


def plain_loglik(*arguments) -> float:
    """The same sum at the same nodes, all rows at once."""
    coefficient, offset, slope, spread, shared, x, code, pair, level, move, sign, weight, chance = arguments
    moved = level + np.einsum("jkr,k->jr", move, shared)
    logit = (offset[code] + coefficient @ x)[:, None, None] + slope * moved.T[:, :, None]
    log_p = log_expit(sign[:, None, None] * (logit + spread[pair][:, None, None] * NODES))
    share = np.log(NODE_WEIGHTS) + np.log(chance)[:, None]
    return float(weight @ logsumexp(log_p + share, axis=(1, 2)))


def slope_along(position: int, direction, arguments: list) -> float:
    """Central difference of fourth order of the plain sum."""
    step, slope = 5e-4, 0.0
    for factor, times in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
        moved = list(arguments)
        moved[position] = moved[position] + factor * step * direction
        slope += times * plain_loglik(*moved) / (12 * step)
    return slope


@pytest.mark.parametrize("spread", [[0.0], [0.0, 0.4, 3.0]], ids=["all known", "some missing"])
@pytest.mark.parametrize("slope", [-3.0, 0.0, 1.7, 40.0])
def test_value_and_gradient(slope, spread):
    arguments = arguments_of(slope, spread)
    value, *gradients = mixed_logistic_loglik(*arguments)
    assert value == pytest.approx(plain_loglik(*arguments), rel=1e-11)
    rng = np.random.default_rng(6)
    for position, gradient in enumerate(gradients):
        for _ in range(4):
            direction = rng.standard_normal(np.shape(arguments[position]))
            if PARAMETERS[position] == "spread":
                direction[0] = 0.0  # a spread of 0 stays there: it is that of rows where nothing is missing
            wanted = slope_along(position, direction, arguments)
            assert np.sum(gradient * direction) == pytest.approx(wanted, rel=2e-6, abs=2e-6), PARAMETERS[position]
    assert gradients[3][0] == 0.0


@pytest.mark.parametrize(("v", "error"), [(0.3, 1e-9), (1.0, 1e-6), (2.0, 1e-3)])
def test_nodes_average_as_an_integral_does(v, error):
    """The integral over the missing part of the logit, by scipy's adaptive quadrature."""
    arguments = arguments_of(1.1, [v])
    coefficient, offset, slope, _, shared, x, code, _, level, move, sign, _, chance = arguments
    level = level + np.einsum("jkr,k->jr", move, shared)
    for i in range(6):
        logit = offset[code[i]] + coefficient @ x[:, i] + slope * level[:, i]

        def density(xi: float, logit: np.ndarray = logit, s: float = sign[i]) -> float:
            return float(chance @ expit(s * (logit + v * xi)) * norm.pdf(xi))

        whole = quad(density, -10, 10, epsabs=1e-12, limit=200)[0]
        row = [values[..., [i]] if np.shape(values)[-1:] == (N_ROWS,) else values for values in arguments]
        row[11] = np.ones(1)
        assert np.exp(mixed_logistic_loglik(*row)[0]) == pytest.approx(whole, rel=error)


def test_without_spread_nothing_is_averaged():
    arguments = arguments_of(0.8, [0.0, 0.0])
    value, *gradients = mixed_logistic_loglik(*arguments)
    coefficient, offset, slope, _, shared, x, code, _, level, move, sign, weight, chance = arguments
    moved = level + np.einsum("jkr,k->jr", move, shared)
    logit = (offset[code] + coefficient @ x)[:, None] + slope * moved.T
    exact = weight @ np.log(expit(sign[:, None] * logit) @ chance)
    assert value == pytest.approx(exact, rel=1e-12)
    tiny = arguments_of(0.8, [1e-9, 1e-9])
    near, *near_gradients = mixed_logistic_loglik(*tiny)
    assert near == pytest.approx(value, rel=1e-12)
    for one, other in zip(gradients[:3], near_gradients[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-10)


def test_weights_count_rows():
    arguments = arguments_of(0.8, [0.0, 0.7])
    counts = arguments[11].astype(int)
    repeated = [np.repeat(values, counts, axis=-1) for values in arguments[5:11]]
    single = mixed_logistic_loglik(*arguments[:5], *repeated, np.ones(counts.sum()), CHANCES)
    for one, other in zip(mixed_logistic_loglik(*arguments), single, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


@pytest.mark.parametrize("spread", [0.0, 30.0])
def test_all_stays_finite_where_all_is_lost(spread):
    value, d_coefficient, d_offset, d_slope, d_spread, _ = mixed_logistic_loglik(
        np.array([1.0]),
        np.array([-600.0, 1e6]),
        1.0,
        np.array([spread]),
        np.zeros(0),
        np.zeros((1, 2)),
        np.array([0, 1]),
        np.zeros(2, dtype=np.int64),
        np.zeros((1, 2)),
        np.zeros((1, 0, 2)),
        np.array([1.0, -1.0]),
        np.ones(2),
        np.ones(1),
    )
    assert np.isfinite([value, d_slope, *d_coefficient, *d_offset, *d_spread]).all()
    if spread == 0.0:
        assert value == pytest.approx(-1300.0)  # beyond 700 it no longer falls
        assert d_offset[0] == pytest.approx(1.0)
    else:
        assert -1300.0 < value < -1000.0


@pytest.mark.parametrize("linker", ["numba", "py"])
def test_operation_gives_value_and_gradients(linker):
    arguments = arguments_of(0.9, [0.0, 0.5, 1.2])
    for place in (5, 8, 9):
        arguments[place] = arguments[place].astype(np.float32)  # as the model passes features and levels
    inputs = [pt.as_tensor_variable(np.asarray(values)).type() for values in arguments]
    loglik = FusedLogLikelihood("bayesdecay.model.logistic.mixed_logistic_loglik", n_parameters=5)
    value = loglik.value(*inputs)
    slopes = pytensor.grad(2.0 * value, inputs[:5])
    compiled = pytensor.function(inputs, [value, *slopes], mode=pytensor.compile.mode.Mode(linker, "fast_run"))
    found, *gradients = compiled(*arguments)
    assert found == pytest.approx(plain_loglik(*arguments), rel=1e-6)
    expected = mixed_logistic_loglik(*arguments)
    assert found == pytest.approx(expected[0], rel=1e-12)
    for gradient, wanted in zip(gradients, expected[1:], strict=True):
        np.testing.assert_allclose(gradient, 2.0 * np.asarray(wanted), rtol=1e-10, atol=1e-12)


# --- what it is for ---


def most_likely_slope(level: np.ndarray, returned: np.ndarray) -> float:
    n = returned.size
    nothing, one = np.zeros(n, dtype=np.int64), np.ones(n)
    level = np.ascontiguousarray(level.T)
    still = np.zeros((len(level), 0, n))
    data = (
        np.zeros((0, n)),
        nothing,
        nothing,
        level,
        still,
        np.where(returned, 1.0, -1.0),
        one,
        np.full(len(level), 1 / len(level)),
    )

    def negative(point: np.ndarray) -> tuple[float, np.ndarray]:
        known = (np.zeros(1), np.empty(0))
        value, _, d_offset, d_slope, *_ = mixed_logistic_loglik(np.empty(0), point[:1], point[1], *known, *data)
        return -value, -np.array([d_offset[0], d_slope])

    return float(minimize(negative, np.zeros(2), jac=True).x[1])


def test_uncertain_interest_recovers_the_slope_that_plugin_attenuates():
    rng = np.random.default_rng(7)
    n, intercept, slope = 20_000, -0.5, 1.5
    center, sd = rng.normal(size=n), rng.uniform(0.8, 1.2, size=n)
    returned = rng.random(n) < expit(intercept + slope * (center + sd * rng.normal(size=n)))
    draws = center[:, None] + sd[:, None] * rng.normal(size=(n, 400))
    uncertain = np.sort(draws, axis=1).reshape(n, 8, 50).mean(axis=2)
    plugin = (center + sd**2 / 2)[:, None]
    # The standard error is about 0.07, and eight levels are too few by 3 % of the slope.
    assert most_likely_slope(uncertain, returned) == pytest.approx(slope, abs=0.2)
    assert most_likely_slope(plugin, returned) < 0.75 * slope
