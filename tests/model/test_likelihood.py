"""The compiled likelihood against the plain formula in double precision, and as an operation of PyTensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy.special import gammaln

from bayesdecay.model import grid as grids
from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.grid import Grid, Statistics
from bayesdecay.model.likelihood import LANES, marginal_loglik, side_by_side
from tests.model.worlds import block_of

PARAMETERS = ("log_weight", "log_beta", "alpha", "rho")
N_PARAMETERS = len(PARAMETERS)
LOOP = "bayesdecay.model.likelihood.marginal_loglik"
N_ROWS = 2 * LANES + 40  # two whole blocks and a part of one


@dataclass(frozen=True)
class Case:
    """Rows of two designs, weighted, and the parameters at which they are looked at."""

    grid: Grid
    part: Statistics
    weight: np.ndarray
    design: np.ndarray
    parameters: list

    def plain(self, *parameters) -> float:
        """The sum by the plain formula in double precision, the gamma functions left out."""
        log_weight, log_beta, alpha, rho = parameters
        n, design = self.part.n, self.design
        each = grids.marginal_loglik(self.part, self.grid, log_weight[design], log_beta[design], alpha=alpha, rho=rho)
        return float(self.weight @ (each - gammaln(alpha + n) + gammaln(alpha)))

    @property
    def data(self) -> list:
        """Arguments of the loop after the parameters."""
        fixed = (self.grid.restorations, self.grid.lagrange, self.grid.rates)
        return [*fixed, *side_by_side(self.part, self.weight, self.design).values()]

    def found(self, *parameters) -> tuple:
        return marginal_loglik(*(parameters or self.parameters), *self.data)


def case(*, restoration=None, rho=0.63, alpha=0.9, sigma=1.1) -> Case:
    grid = Grid.covering(100.0, 1.0, restoration=restoration, n_rates=30)
    rng = np.random.default_rng(3)
    sizes = rng.choice([0, 0, 1, 2, 3, 5, 8, 30], N_ROWS)
    times = [sorted(rng.uniform(0, 90, size)) for size in sizes]
    log_rates, mu_r, mu_i = np.log(grid.rates), np.array([[-3.5], [-2.0]]), np.array([[-2.0], [-1.0]])
    shape = {"alpha": alpha, "kappa": 0.6, "sigma_r": sigma}
    return Case(
        grid=grid,
        part=Statistics.from_block(block_of(times, rng.uniform(90, 100, N_ROWS)), grid),
        weight=rng.integers(1, 5, N_ROWS).astype(float),
        design=rng.integers(0, 2, N_ROWS),
        parameters=[
            grids.log_weights(log_rates, mu_r, sigma),
            grids.log_beta(log_rates, (mu_r, mu_i), shape),
            alpha,
            rho,
        ],
    )


CASES = {
    "restoration learned": case(),
    "restoration fixed": case(restoration=0.4, rho=0.4),
    "users nearly alike": case(alpha=1e4),
    "half-lives nearly alike": case(sigma=0.002),
    "at the edges": case(rho=1.0, alpha=0.05, sigma=4.0),
}


@pytest.fixture(scope="module", params=list(CASES))
def told(request) -> Case:
    return CASES[request.param]


def test_loop_equals_the_plain_formula(told):
    # Each user's own rounding is 1e-6 of its part, and does not add up.
    assert told.found()[0] == pytest.approx(told.plain(*told.parameters), rel=1e-7, abs=2e-4)


@pytest.mark.parametrize("position", range(N_PARAMETERS), ids=PARAMETERS)
def test_gradient_equals_differences_of_the_plain_formula(position, told):
    if PARAMETERS[position] == "rho" and told.grid.restorations.size == 1:
        assert told.found()[1 + position] != 0.0  # of the age alone, and of no use: nothing moves a fixed restoration
        return
    gradient = np.asarray(told.found()[1 + position])
    rng = np.random.default_rng(4)
    for _ in range(5):
        direction = rng.standard_normal(np.shape(told.parameters[position]))
        # Central differences of fourth order.
        step, slope = 1e-3, 0.0
        for factor, times in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            moved = list(told.parameters)
            moved[position] = moved[position] + factor * step * direction
            slope += times * told.plain(*moved) / (12 * step)
        size = np.abs(gradient * direction).sum()
        assert np.sum(gradient * direction) == pytest.approx(slope, abs=1e-4 * size + 1e-6)


def test_rounding_of_what_all_users_share_is_carried_along(told):
    *shared, rho = told.parameters
    rounded = [np.float64(np.float32(values)) for values in shared]
    value, *gradients = told.found(*rounded, rho)
    for gradient, given, near in zip(gradients[:3], shared, rounded, strict=True):
        value += np.sum(gradient * (given - near))
    assert told.found()[0] == pytest.approx(value, rel=1e-13)


def test_rows_of_no_weight_fill_up_the_last_block():
    told = CASES["restoration learned"]
    laid = side_by_side(told.part, told.weight, told.design)
    assert laid["weight"].size % LANES == 0
    assert laid["weight"].sum() == told.weight.sum()
    assert (np.diff(laid["design"].ravel()) >= 0).all()


@pytest.fixture(scope="module")
def arguments() -> list:
    told = CASES["restoration learned"]
    return [*told.parameters, *told.data]


@pytest.mark.parametrize("linker", ["numba", "py"])
def test_operation_gives_value_and_gradients(linker, arguments):
    inputs = [pt.as_tensor_variable(np.asarray(value)).type() for value in arguments]
    value = FusedLogLikelihood(LOOP, n_parameters=N_PARAMETERS).value(*inputs)
    slopes = pytensor.grad(2.0 * value, inputs[:N_PARAMETERS])
    # The scale before the gradient shows that the chain rule is kept.
    compiled = pytensor.function(inputs, [value, *slopes], mode=pytensor.compile.mode.Mode(linker, "fast_run"))
    found, *gradients = compiled(*arguments)
    expected, *expected_gradients = marginal_loglik(*arguments)
    # Compiled anew, sums in single precision may be taken in another order.
    assert found == pytest.approx(expected, rel=1e-7)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, 2.0 * np.asarray(wanted), rtol=1e-4, atol=1e-4)


def test_operation_has_no_second_derivatives(arguments):
    alpha = pt.scalar("alpha")
    inputs = [*arguments[:2], alpha, *arguments[3:]]
    slope = pytensor.grad(FusedLogLikelihood(LOOP, n_parameters=N_PARAMETERS).value(*inputs), alpha)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        pytensor.grad(slope, alpha)


def test_one_formula_for_numpy_and_pytensor():
    log_rates = np.log(Grid.covering(100.0, 1.0, n_rates=30).rates)
    mu_r, mu_i, sigma = np.array([[-3.5], [-2.0]]), np.array([[-2.0], [-1.0]]), 1.3
    shape = {"alpha": 0.7, "kappa": -0.4, "sigma_r": sigma}
    symbolic = {name: pt.constant(value) for name, value in shape.items()}
    weights = grids.log_weights(log_rates, pt.constant(mu_r), pt.constant(sigma), xp=pt)
    beta = grids.log_beta(log_rates, (pt.constant(mu_r), pt.constant(mu_i)), symbolic, xp=pt)
    np.testing.assert_allclose(weights.eval(), grids.log_weights(log_rates, mu_r, sigma), rtol=1e-12)
    np.testing.assert_allclose(beta.eval(), grids.log_beta(log_rates, (mu_r, mu_i), shape), rtol=1e-12)
