"""The grid of decay rates and restorations: what it covers, how fine it is, and the population's share at each rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesdecay.model import grid as grids
from bayesdecay.model.design import FitData
from bayesdecay.model.grid import Grid
from bayesdecay.model.population import total_loglik
from tests.model.worlds import SHOP, population_at

END = 60.0


@pytest.mark.parametrize("rho", [0.03, 0.3, 0.6, 0.9, 0.97])
def test_interpolation_in_restoration_does_not_move_the_total(history, rho):
    data = FitData.of(history)
    population = replace(population_at(SHOP, draws=1), rho=np.array([rho]))
    exact, nodes = (Grid.covering(180.0, 1 / 1_440, restoration=fixed) for fixed in (rho, None))
    totals = [total_loglik(population, data.block, data.weight, grid)[0] for grid in (exact, nodes)]
    assert abs(totals[0] - totals[1]) < 0.01


def test_interpolation_is_exact_at_its_nodes():
    grid = Grid.covering(END, 1.0)
    weights = np.stack([grid.interpolation(rho) for rho in grid.restorations])
    np.testing.assert_allclose(weights, np.eye(grid.restorations.size), atol=1e-10)


@pytest.mark.parametrize("fixed", [None, 0.5])
def test_interpolation_at_many_restorations_is_that_at_each(fixed):
    grid, rho = Grid.covering(END, 1.0, restoration=fixed), np.array([0.0, 0.2, 0.7, 0.99])
    np.testing.assert_allclose(grid.interpolation(rho).T, [grid.interpolation(own) for own in rho], atol=1e-12)


@pytest.mark.parametrize(("n_rates", "enough"), [(24, False), (121, True)])
def test_doubling_the_grid_tells_whether_it_is_fine_enough(history, n_rates, enough):
    data = FitData.of(history)
    population = population_at(SHOP, draws=1)
    grid = Grid.covering(180.0, 1 / 1_440, restoration=SHOP.restoration, n_rates=n_rates)
    coarse, fine = (total_loglik(population, data.block, data.weight, g)[0] for g in (grid, grid.finer()))
    assert (abs(coarse - fine) < 0.01) == enough


def test_weights_are_the_populations_shares():
    log_rates = np.linspace(-10, 5, 60)
    weights = np.exp(grids.log_weights(log_rates, np.array([[-3.0], [-1.0]]), 0.9))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights @ log_rates, [-3.0, -1.0], atol=1e-9)
    spread = np.sqrt(weights[0] @ (log_rates + 3.0) ** 2)
    assert spread == pytest.approx(0.9, abs=1e-9)


def test_grid_covers_the_data_from_never_fading_to_gone_at_once():
    grid = Grid.covering(270.0, 1.0)
    half_lives = np.log(2) / grid.rates
    assert half_lives.max() > 1_000 * 270.0
    assert half_lives.min() < 0.25
    assert grid.finer().rates[[0, -1]] == pytest.approx(grid.rates[[0, -1]])
    assert 0.9 * grid.spacing / 2 < grid.finer().spacing <= grid.spacing / 2
    assert grid.finer(1.4).rates.size % 8 == 0  # whole vector registers


@pytest.mark.parametrize("rates", [[1.0, 2.0], [1.0, 2.0, 3.0], [4.0, 2.0, 1.0]])
def test_grid_refuses_uneven_rates(rates):
    with pytest.raises(ValueError, match="at least three rising rates, equally spaced in the logarithm"):
        Grid(rates=np.array(rates), restorations=np.array([0.0]))
