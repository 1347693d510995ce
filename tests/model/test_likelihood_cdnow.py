"""The marginal likelihood at its maximum on the CDNOW log, against published and independently computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from bayesdecay.data.datasets import load_cdnow
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.errors import MissingExtraError
from bayesdecay.model import grid as grids
from bayesdecay.model.design import FitData
from bayesdecay.model.grid import Grid
from bayesdecay.model.user_statistics import Statistics, marginal_loglik

# Restoration, coupling (None: free), log-likelihood with time in weeks: sample, all customers.
MAXIMA = [
    (0.0, 0.0, -9587.2, -95279.1),
    (0.0, None, -9571.9, -95250.9),
    (1.0, 0.0, -9602.4, -95488.6),
    (1.0, None, -9562.2, -95287.3),
]
NAMES = ("mu_r", "log_sigma", "mu_i", "log_alpha", "kappa")


def cdnow(*, sample: bool) -> FitData:
    try:
        log = load_cdnow(sample=sample)
    except MissingExtraError as error:
        pytest.skip(f"CDNOW: {error}")
    history: History = summarize(read_events(log), at="1997-09-30")
    return FitData.of(history)


@pytest.fixture(scope="module")
def sample() -> FitData:
    return cdnow(sample=True)


def table_grid(rho: float) -> Grid:
    """Grid that the table was computed on: 1e-4 to 20 per week."""
    return Grid(rates=np.geomspace(1e-4, 20.0, 48) / 7.0, restorations=np.array([rho]))


def maximum(data: FitData, *, rho: float, kappa: float | None, grid: Grid | None = None):
    """Greatest log-likelihood with time in weeks, and where it lies (times in days)."""
    grid = grid or table_grid(rho)
    part, log_rates = Statistics.from_block(data.block, grid), np.log(grid.rates)
    n, weight = data.block.n, data.weight

    def negative(x):
        p = dict(zip(NAMES, [*x, kappa] if kappa is not None else x, strict=True))
        alpha, sigma = np.exp(p["log_alpha"]), np.exp(p["log_sigma"])
        shape = {"alpha": alpha, "kappa": p["kappa"], "sigma_r": sigma}
        location = (np.array([p["mu_r"]]), np.array([p["mu_i"]]))
        log_weight = grids.log_weights(log_rates, location[0], sigma)
        log_beta = grids.log_beta(log_rates, location, shape)
        return -weight @ marginal_loglik(part, grid, log_weight, log_beta, alpha=alpha, rho=rho)

    start = np.array([-5.0, 0.5, -4.0, 0.0, 0.5])[: 4 if kappa is not None else 5]
    found = optimize.minimize(negative, start, method="BFGS", options={"gtol": 1e-3})
    # A density of times in days becomes one in weeks by a factor of 7 an activity.
    return -found.fun + np.log(7.0) * (weight @ n), dict(zip(NAMES, found.x, strict=False))


@pytest.mark.parametrize(("rho", "kappa", "expected", "_all"), MAXIMA)
def test_maxima_on_the_sample(sample, rho, kappa, expected, _all):
    assert sample.weight.sum() == 2_357
    assert maximum(sample, rho=rho, kappa=kappa)[0] == pytest.approx(expected, abs=0.5)


def test_restoration_of_nine_tenths_beats_both_limits(sample):
    assert maximum(sample, rho=0.9, kappa=None)[0] == pytest.approx(-9557.7, abs=0.5)


def test_where_the_maximum_lies(sample):
    _, found = maximum(sample, rho=0.0, kappa=None)
    week = np.log(7.0)  # a rate per week is seven times the rate per day
    assert np.exp(found["log_alpha"]) == pytest.approx(0.434, abs=0.01)
    assert found["log_alpha"] - found["mu_i"] - week == pytest.approx(1.99, abs=0.03)
    assert found["mu_r"] + week == pytest.approx(-4.04, abs=0.05)
    assert np.exp(found["log_sigma"]) == pytest.approx(2.14, abs=0.05)
    assert found["kappa"] == pytest.approx(0.77, abs=0.03)


def own_grid(data: FitData, *, rho: float, n_rates: int | None = None) -> Grid:
    return Grid.covering(float(data.block.T.max()), 1.0, restoration=rho, n_rates=n_rates)


@pytest.mark.parametrize("n_rates", [None, 100])
def test_the_models_own_grid_has_the_same_maximum(sample, n_rates):
    found = maximum(sample, rho=0.9, kappa=None, grid=own_grid(sample, rho=0.9, n_rates=n_rates))[0]
    assert found == pytest.approx(maximum(sample, rho=0.9, kappa=None)[0], abs=0.01)


@pytest.mark.slow
def test_maxima_on_all_customers():
    data = cdnow(sample=False)
    assert data.weight.sum() == 23_570
    for rho, kappa, _, expected in MAXIMA:
        assert maximum(data, rho=rho, kappa=kappa)[0] == pytest.approx(expected, abs=0.5)
    # Half-lives beyond the table's longest, 130 years, are worth half a unit here; ours reach to 1,300.
    wider = [
        maximum(data, rho=0.0, kappa=None, grid=own_grid(data, rho=0.0, n_rates=n_rates))[0] for n_rates in (None, 150)
    ]
    assert wider[0] == pytest.approx(wider[1], abs=0.02)
    assert wider[0] == pytest.approx(-95250.4, abs=0.1)
