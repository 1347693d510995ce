"""How draws are asked for, on a model small enough to compile in a moment."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest

from bayesdecay.errors import MissingExtraError
from bayesdecay.model import sampling as module
from bayesdecay.model.sampling import Sampling, draw_posterior
from bayesdecay.model.variables import RestorationTransform


@pytest.fixture(scope="module")
def model() -> pm.Model:
    with pm.Model(coords={"item": ["a", "b"]}) as built:
        pm.Normal("x_offset_", dims="item")
        pm.Normal("y", 3.0, 2.0)
    return built


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_same_seed_same_draws(model, sampler):
    options = Sampling(draws=50, tune=100, chains=2, cores=1, sampler=sampler)
    trees = [draw_posterior(model, options, random_seed=seed) for seed in (1, 1, 2)]
    first, again, other = (tree["posterior"]["y"].to_numpy() for tree in trees)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (2, 50)
    assert trees[0].attrs["sampler"] == sampler
    assert set(trees[0].children) == {"posterior", "sample_stats"}
    assert list(trees[0]["posterior"].data_vars) == ["y"]  # offsets are internal
    assert {"diverging", "energy"} <= set(trees[0]["sample_stats"].data_vars)


def test_without_nutpie_the_default_is_pymc(model, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    tree = draw_posterior(model, Sampling(draws=20, tune=20, chains=2, cores=1), random_seed=1)
    assert tree.attrs["sampler"] == "pymc"
    with pytest.raises(MissingExtraError, match=r"install bayesdecay\[fast\], or use sampler='pymc'"):
        Sampling(sampler="nutpie")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chains": 1}, "chains must be at least 2, got 1: one chain cannot show that it converged"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"tune": -1}, "tune must be at least 1, got -1"),
        ({"sampler": "nutpi"}, "unknown sampler 'nutpi'; did you mean 'nutpie'"),
    ],
)
def test_refuses_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_progress_is_shown_where_somebody_looks(monkeypatch):
    assert Sampling(progress=True).shows_progress
    assert not Sampling(progress=False).shows_progress
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert Sampling().shows_progress


def test_restoration_transform_is_one_to_one_with_the_slope_it_tells():
    transform, line = RestorationTransform(), np.array([-6.0, -1.0, 0.0, 0.4, 3.0, 8.0])
    x = pt.dvector("x")
    rho = transform.backward(x)
    values = pytensor.function(
        [x], [rho, transform.forward(rho), transform.log_jac_det(x), pytensor.grad(rho.sum(), x)]
    )
    found, back, log_slope, slope = values(line)
    assert np.all((found > 0) & (found < 1) & (np.diff(found, prepend=0.0) > 0))
    np.testing.assert_allclose(back, line, rtol=1e-6)
    np.testing.assert_allclose(log_slope, np.log(slope), rtol=1e-8)
