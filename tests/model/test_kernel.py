"""The compiled loops against the plain formulas, their gradients against differences, PyTensor against numpy."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy.special import gammaln

from bayesdecay.model import grid as grids
from bayesdecay.model import kernel
from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.grid import Grid, Statistics
from tests.model.worlds import block_of

PARAMETERS = ("log_weight", "log_beta", "alpha", "rho")
N_PARAMETERS = len(PARAMETERS)
LOOP = "bayesdecay.model.kernel.marginal_loglik"


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid.covering(100.0, 1.0, n_rates=30)


@pytest.fixture(scope="module")
def part(grid) -> Statistics:
    rng = np.random.default_rng(3)
    times = [sorted(rng.uniform(0, 90, size)) for size in (0, 0, 1, 2, 3, 5, 8, 30)]
    return Statistics.from_block(block_of(times, [0.0, 100.0, 95.0, 99.0, 91.0, 100.0, 93.0, 100.0]), grid)


@pytest.fixture(scope="module")
def arguments(grid, part) -> list:
    """Arguments of the compiled likelihood: two designs, weighted rows."""
    rho, alpha, log_rates = 0.63, 0.9, np.log(grid.rates)
    mu_r, mu_i = np.array([[-3.5], [-2.0]]), np.array([[-2.0], [-1.0]])
    shape = {"alpha": alpha, "kappa": 0.6, "sigma_r": 1.1}
    return [
        grids.log_weights(log_rates, mu_r, 1.1),
        grids.log_beta(log_rates, (mu_r, mu_i), shape),
        alpha,
        rho,
        grid.restorations,
        grid.lagrange,
        np.log(part.exposure),
        part.ageing,
        part.n,
        np.array([3.0, 1.0, 2.0, 1.0, 1.0, 4.0, 1.0, 1.0]),
        np.array([0, 1, 0, 1, 0, 1, 0, 1]),
        grid.rates,
    ]


def test_loop_equals_the_plain_formula(grid, part, arguments):
    log_weight, log_beta, alpha, rho = arguments[:4]
    weight, design = arguments[9:11]
    each = grids.marginal_loglik(part, grid, log_weight[design], log_beta[design], alpha=alpha, rho=rho)
    constant = gammaln(alpha + part.n) - gammaln(alpha)
    assert kernel.marginal_loglik(*arguments)[0] == pytest.approx(weight @ (each - constant), rel=1e-11)


@pytest.mark.parametrize("position", range(N_PARAMETERS), ids=PARAMETERS)
def test_gradient_equals_differences(position, arguments):
    gradient = np.asarray(kernel.marginal_loglik(*arguments)[1 + position])
    rng = np.random.default_rng(4)
    for _ in range(5):
        direction = rng.standard_normal(np.shape(arguments[position]))
        # Central differences of fourth order: rounding and truncation both stay below 1e-8.
        step, slope = 2e-3, 0.0
        for factor, times in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            moved = list(arguments)
            moved[position] = moved[position] + factor * step * direction
            slope += times * kernel.marginal_loglik(*moved)[0] / (12 * step)
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_single_precision_exposures_cost_next_to_nothing(arguments):
    single = [*arguments]
    single[6] = single[6].astype(np.float32)
    assert kernel.marginal_loglik(*single)[0] == pytest.approx(kernel.marginal_loglik(*arguments)[0], abs=1e-4)


@pytest.mark.parametrize("linker", ["numba", "py"])
def test_operation_gives_value_and_gradients(linker, arguments):
    inputs = [pt.as_tensor_variable(np.asarray(value)).type() for value in arguments]
    value = FusedLogLikelihood(LOOP, n_parameters=N_PARAMETERS).value(*inputs)
    slopes = pytensor.grad(2.0 * value, inputs[:N_PARAMETERS])
    # The scale before the gradient shows that the chain rule is kept.
    compiled = pytensor.function(inputs, [value, *slopes], mode=pytensor.compile.mode.Mode(linker, "fast_run"))
    found, *gradients = compiled(*arguments)
    expected, *expected_gradients = kernel.marginal_loglik(*arguments)
    assert found == pytest.approx(expected, rel=1e-12)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, 2.0 * np.asarray(wanted), rtol=1e-10, atol=1e-13)


def test_operation_has_no_second_derivatives(arguments):
    alpha = pt.scalar("alpha")
    inputs = [*arguments[:2], alpha, *arguments[3:]]
    slope = pytensor.grad(FusedLogLikelihood(LOOP, n_parameters=N_PARAMETERS).value(*inputs), alpha)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        pytensor.grad(slope, alpha)


def test_one_formula_for_numpy_and_pytensor(grid):
    log_rates = np.log(grid.rates)
    mu_r, mu_i, sigma = np.array([[-3.5], [-2.0]]), np.array([[-2.0], [-1.0]]), 1.3
    shape = {"alpha": 0.7, "kappa": -0.4, "sigma_r": sigma}
    symbolic = {name: pt.constant(value) for name, value in shape.items()}
    weights = grids.log_weights(log_rates, pt.constant(mu_r), pt.constant(sigma), xp=pt)
    beta = grids.log_beta(log_rates, (pt.constant(mu_r), pt.constant(mu_i)), symbolic, xp=pt)
    np.testing.assert_allclose(weights.eval(), grids.log_weights(log_rates, mu_r, sigma), rtol=1e-12)
    np.testing.assert_allclose(beta.eval(), grids.log_beta(log_rates, (mu_r, mu_i), shape), rtol=1e-12)


def test_counts_of_new_users_are_poisson_without_restoration():
    size, interest, rate, length = 40_000, 0.3, 0.05, 20.0
    everybody = np.ones(size)
    counts = kernel.count_activities(
        interest * everybody, rate * everybody, 0.0 * everybody, length, np.random.default_rng(5)
    )
    mean = interest * -np.expm1(-rate * length) / rate
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / size))
    assert counts.var() == pytest.approx(mean, rel=0.06)


def test_counts_of_busy_users_who_hardly_fade():
    # Between two activities such a user fades by less than the spacing of numbers beside 1.
    interest, rate = np.full(200, 500.0), np.full(200, 1e-16)
    counts = kernel.count_activities(interest, rate, np.full(200, 0.5), 10.0, np.random.default_rng(6))
    assert counts.mean() == pytest.approx(5_000, abs=4 * np.sqrt(5_000 / 200))
