"""Ridges of bent densities, and the coordinates that follow them."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

from bayesdecay.model.density import Density
from bayesdecay.model.posterior import Verdict
from bayesdecay.model.ridge import ridge
from bayesdecay.model.sampling import Sampling, draw_posterior
from bayesdecay.model.whitening import Whitening

SD, BEND, NARROW = 2.0, 0.5, 0.1


@pytest.fixture(scope="module")
def banana() -> pm.Model:
    """One number with a normal law, along whose square two others bend."""
    with pm.Model() as model:
        x = pm.Normal("x", 1.0, SD)
        pm.Normal("y", BEND * x**2, NARROW)
        pm.Normal("z", 3.0 - x, 1.0)
    return model


def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the negative log-density of x and y of the banana, written out."""
    x, y = theta
    a, b = (x - 1.0) / SD, (y - BEND * x**2) / NARROW
    return 0.5 * (a**2 + b**2), np.array([a / SD - b * 2 * BEND * x / NARROW, b / NARROW])


def test_ridge_is_the_mode_of_the_others():
    mode = np.array([1.0, BEND])
    slope = np.array([-2 * BEND / NARROW, 1 / NARROW])
    hessian = np.outer(slope, slope) + np.diag([1 / SD**2, 0.0])
    cubic = ridge(0, loss, mode, hessian)
    assert cubic.shape == (4, 2)
    u = np.linspace(-2, 2, 9)
    x, y = np.polynomial.polynomial.polyval(u, cubic)
    np.testing.assert_allclose(x, 1.0 + SD * u, atol=0.1)  # its mean and deviation, by sums over strides of 0.7
    np.testing.assert_allclose(cubic[2:, 0], 0.0, atol=1e-9)
    np.testing.assert_allclose(y, BEND * x**2, atol=0.2 * NARROW)


def test_bent_coordinates_are_standard_normal(banana):
    density = Density.of(banana)
    white = Whitening.of(density, bent_by="x")
    function, rng = white.whitened(density), np.random.default_rng(3)
    top = function(np.zeros(3))[0]
    for eta in rng.normal(size=(5, 3)):
        assert function(eta)[0] - top == pytest.approx(-0.5 * eta @ eta, rel=0.1, abs=0.15)
    straight = Whitening.of(density).whitened(density)
    assert min(straight(eta)[0] for eta in rng.normal(size=(50, 3))) < top - 100.0


def test_bent_density_is_the_density_at_its_parameters(banana):
    density = Density.of(banana)
    white = Whitening.of(density, bent_by="x")
    assert np.abs(white.bend).max() > 0.1
    function, rewritten = white.whitened(density), white.applied(banana)
    logp = rewritten.compile_logp(mode="FAST_COMPILE")
    (coordinate,) = rewritten.value_vars
    for eta in np.random.default_rng(4).normal(size=(4, 3)):
        value, gradient = function(eta)
        assert value == density(white.parameters(eta))[0]
        assert float(logp({coordinate.name: eta})) == pytest.approx(value, rel=1e-9)
        for place in range(3):
            step = 1e-5 * np.eye(3)[place]
            slope = (function(eta + step)[0] - function(eta - step)[0]) / 2e-5
            assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_bend_changes_the_sampling_but_not_the_posterior(banana):
    density = Density.of(banana)
    white = Whitening.of(density, bent_by="x")
    tree = draw_posterior(banana, Sampling(chains=2), density=density, whitening=white, random_seed=5)
    verdict, posterior = Verdict.of(tree), tree["posterior"].to_dataset()
    assert verdict.divergences == 0
    assert verdict.worst_rhat < 1.02
    error = SD / np.sqrt(200)
    assert float(posterior["x"].mean()) == pytest.approx(1.0, abs=4 * error)
    assert float(posterior["x"].std()) == pytest.approx(SD, rel=0.2)
    np.testing.assert_allclose(float((posterior["y"] - BEND * posterior["x"] ** 2).std()), NARROW, rtol=0.15)


def test_no_bend_where_the_variable_is_not_in_the_model(banana):
    density = Density.of(banana)
    plain, absent = Whitening.of(density), Whitening.of(density, bent_by="rho")
    np.testing.assert_array_equal(plain.root, absent.root)
    assert not absent.bend.any()
