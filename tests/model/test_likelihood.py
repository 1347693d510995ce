"""The compiled likelihood against the plain formula in double precision, and as an operation of PyTensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy.special import gammaln

from bayesdecay.model import grid as grids
from bayesdecay.model import likelihood
from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.grid import Grid, chebyshev_nodes
from bayesdecay.model.lanes import LANES, side_by_side
from bayesdecay.model.likelihood import marginal_loglik
from bayesdecay.model.polynomials import powers_at
from bayesdecay.model.user_statistics import Statistics
from bayesdecay.model.user_statistics import marginal_loglik as plain_loglik
from tests.model.worlds import SHOP, block_of, history_of, simulated

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
        each = plain_loglik(self.part, self.grid, log_weight[design], log_beta[design], alpha=alpha, rho=rho)
        return float(self.weight @ (each - gammaln(alpha + n) + gammaln(alpha)))

    @property
    def data(self) -> list:
        """Arguments of the loop after the parameters."""
        fixed = (self.grid.restorations, self.grid.rates)
        return [*fixed, *side_by_side(self.part, self.weight, self.design).values()]

    def found(self, *parameters) -> tuple:
        return marginal_loglik(*(parameters or self.parameters), *self.data)


def case(*, restoration=None, rho=0.63, alpha=0.9, sigma=1.1, shoulder=np.inf) -> Case:
    grid = Grid.covering(100.0, 1.0, restoration=restoration, n_rates=30, shoulder=shoulder)
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
    "power law": case(shoulder=20.0),
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
        assert told.found()[1 + position] == 0.0  # nothing moves a fixed restoration
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
    near = [*map(likelihood._near_logs, told.parameters[:2]), likelihood._near_alpha(told.parameters[2])]
    count = told.grid.restorations.size
    near = [*map(np.float64, near), powers_at(told.parameters[3], told.grid.restorations, count)[0]]
    value, *gradients = told.found(*near)
    for gradient, given, rounded in zip(gradients, told.parameters, near, strict=True):
        value += np.sum(gradient * (given - rounded))
        np.testing.assert_allclose(rounded, given, rtol=1e-5, atol=3e-4)
    assert told.found()[0] == pytest.approx(value, rel=1e-13)


def test_rounded_parameters_are_exact_in_single_precision():
    """So that sums of them and products with counts are, for nearly all users."""
    rng = np.random.default_rng(5)
    for alpha in rng.uniform(0.5, 2.0, 20):
        near = likelihood._near_alpha(alpha)
        assert near == pytest.approx(alpha, rel=2.0**-17)
        assert all(float(np.float32(near) + np.float32(n)) == float(near) + n for n in range(60))
    logs = likelihood._near_logs(rng.uniform(-10, 10, (1, 50)))
    assert all((np.float64(np.float32(n) * logs) == n * np.float64(logs)).all() for n in range(6))
    _, value, _ = powers_at(0.4567, np.array([0.4, 0.5]), 4)
    assert float(value[2]) == 2.0 * (float(value[1]) - 1.0) ** 2 - 2.0


@pytest.mark.parametrize("nodes", [4, 5, 10])
def test_rounding_of_users_does_not_add_up(nodes):
    """From place to place in the posterior of a million, 10,000 users are off by less than 1e-3.

    Rounding what all users share adds up: weights of an interpolation in single precision alone make it 5e-3.
    """
    shop = replace(SHOP, half_life=30, half_life_spread=1.0, interest=0.1, restoration=0.5)
    block = next(iter(history_of(simulated(10_000, shop=shop, observed="270d", random_seed=1)).blocks(10_000)))
    rates, width = np.exp(np.linspace(-10.0, 3.0, 64)), {4: 0.1, 5: 0.2, 10: 1.0}[nodes]
    grid = Grid(rates=rates, restorations=chebyshev_nodes(0.5 - width / 2, 0.5 + width / 2, nodes))
    part, rng, apart = Statistics.from_block(block, grid), np.random.default_rng(6), []
    for _ in range(12):
        mu_r, mu_i, sigma, kappa, alpha, rho = [-3.8, -2.3, 1.0, 0.4, 1.2, 0.5] + 0.002 * rng.standard_normal(6)
        shape = {"alpha": alpha, "kappa": kappa, "sigma_r": sigma}
        log_weight = grids.log_weights(np.log(rates)[None], mu_r, sigma)
        log_beta = grids.log_beta(np.log(rates)[None], (mu_r, mu_i), shape)
        world = Case(
            grid=grid,
            part=part,
            weight=np.ones(block.n.size),
            design=np.zeros(block.n.size, dtype=np.int64),
            parameters=[log_weight, log_beta, alpha, rho],
        )
        apart.append(world.found()[0] - world.plain(*world.parameters))
    assert np.std(apart) < 1e-3, apart


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
