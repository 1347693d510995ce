"""Whitened coordinates and the density behind them: the same posterior, differently written."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy.integrate import quad

from bayesdecay.model.density import Density
from bayesdecay.model.horseshoe import horseshoe
from bayesdecay.model.posterior import Verdict
from bayesdecay.model.sampling import Sampling, draw_posterior
from bayesdecay.model.variables import pooled
from bayesdecay.model.whitening import Whitening

PRECISION = np.array([[40.0, -55.0], [-55.0, 90.0]])
MODE = np.array([3.0, -1.0])


@pytest.fixture(scope="module")
def normal() -> pm.Model:
    """Two numbers that go together, by a normal law."""
    with pm.Model(coords={"item": ["a", "b"]}) as model:
        x = pm.Flat("x", dims="item")
        pm.Potential("loglik", -0.5 * pt.dot(x - MODE, pt.dot(PRECISION, x - MODE)))
        pm.Deterministic("total", x.sum())
    return model


def grouped_model(groups: int, rows: int = 4, *, sparse: bool = True) -> tuple[pm.Model, np.ndarray]:
    """Groups about a centre, a spread that is learned, and a few coefficients, under a horseshoe or not."""
    rng = np.random.default_rng(1)
    effect = rng.normal(scale=0.8, size=groups)
    x = rng.normal(size=(groups * rows, 3))
    y = 1.5 + np.repeat(effect, rows) + 0.7 * x[:, 0] + rng.normal(size=groups * rows)
    with pm.Model(coords={"group": range(groups), "feature": list("uvw")}) as model:
        center = pm.Normal("center", 0.0, 5.0)
        tau = pm.HalfNormal("tau_center_group", 1.0)
        own = pooled("center_group", 0.0, tau)
        if sparse:
            slope = pm.Deterministic("slope", horseshoe(columns=3, rows=groups * rows, share=0.5), dims="feature")
        else:
            slope = pm.Normal("slope", dims="feature")
        pm.Normal("y", center + own[np.repeat(np.arange(groups), rows)] + pt.dot(x, slope), 1.0, observed=y)
    return model, y.reshape(groups, rows)


@pytest.fixture(scope="module")
def grouped() -> pm.Model:
    return grouped_model(5)[0]


def somewhere(density: Density, *shape: int) -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, size=(*shape, density.start.size))


# --- the evidence ---


def test_evidence_of_a_normal_law_is_its_integral(normal):
    density = Density.of(normal)
    assert Whitening.of(density).log_evidence(density) == pytest.approx(
        np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(PRECISION)[1], abs=1e-4
    )


@pytest.mark.parametrize("needed", [-200.0, -5.0, 0.0, 40.0])
def test_evidence_of_a_share_that_may_be_none_is_near_its_integral(needed):
    with pm.Model() as model:
        share = pm.Beta("share", 1.0, 4.0)
        pm.Potential("loglik", needed * share)
    density = Density.of(model)
    whole, _ = quad(lambda s: 4.0 * (1 - s) ** 3 * np.exp(needed * s), 0.0, 1.0)
    assert Whitening.of(density).log_evidence(density) == pytest.approx(np.log(whole), abs=0.15)


# --- the density ---


def test_density_is_the_models(grouped):
    density = Density.of(grouped)
    logp, dlogp = grouped.compile_logp(mode="FAST_COMPILE"), grouped.compile_dlogp(mode="FAST_COMPILE")
    start = grouped.initial_point()
    np.testing.assert_allclose(density.start, np.concatenate([np.ravel(start[v.name]) for v in grouped.value_vars]))
    for theta in somewhere(density, 3):
        sizes = np.cumsum([np.size(start[v.name]) for v in grouped.value_vars])[:-1]
        parts = np.split(theta, sizes)
        point = {
            v.name: part.reshape(np.shape(start[v.name])) for v, part in zip(grouped.value_vars, parts, strict=True)
        }
        value, gradient = density(theta)
        assert value == pytest.approx(float(logp(point)), rel=1e-10)
        np.testing.assert_allclose(gradient, dlogp(point), rtol=1e-8, atol=1e-10)
    counts = {name: density.owner.count(name) for name in density.owner}
    assert counts == {v.name: np.size(start[v.name]) for v in grouped.value_vars}


def test_named_values_have_their_labels(grouped):
    density = Density.of(grouped)
    found = density.named(somewhere(density, 2, 3))
    assert found["center"].dims == ("chain", "draw")
    assert found["center_group"].dims == ("chain", "draw", "group")
    assert found["slope"]["feature"].to_numpy().tolist() == list("uvw")
    offset, tau = found["center_group_offset_"], found["tau_center_group"]
    np.testing.assert_allclose(found["center_group"], tau * offset)
    assert (tau > 0).all()


def test_density_is_not_a_number_where_the_model_is_not():
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("loglik", pt.log(x))
    value, gradient = Density.of(model)(np.array([-1.0]))
    assert not np.isfinite(value)
    assert gradient.shape == (1,)


def test_twins_may_be_called_at_the_same_time(grouped):
    density = Density.of(grouped)
    points = somewhere(density, 200)
    expected = [density(theta)[0] for theta in points]
    found: dict[int, list[float]] = {}

    def work(number: int, own: Density) -> None:
        found[number] = [own(theta)[0] for theta in points]

    threads = [Thread(target=work, args=(number, density.twin())) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), expected)


# --- coordinates ---


def test_of_a_normal_law_they_are_standard_normal(normal):
    density = Density.of(normal)
    white = Whitening.of(density)
    np.testing.assert_allclose(white.center, MODE, atol=1e-4)
    np.testing.assert_allclose(white.root @ white.root.T, np.linalg.inv(PRECISION), rtol=1e-5)
    function = white.whitened(density)
    at_mode = function(np.zeros(2))[0]
    for eta in somewhere(density, 4):
        value, gradient = function(3 * eta)
        assert value - at_mode == pytest.approx(-0.5 * 9 * eta @ eta, rel=1e-3)
        np.testing.assert_allclose(gradient, -3 * eta, rtol=1e-3, atol=1e-3)
    drawn = white.normal_draws(density, 20_000)
    assert drawn["x"].dims == ("chain", "draw", "item")
    np.testing.assert_allclose(np.cov(drawn["x"][0].T), np.linalg.inv(PRECISION), rtol=0.05)
    np.testing.assert_allclose(drawn["total"], drawn["x"].sum("item"))


def test_whitened_density_is_the_density_at_its_parameters(grouped):
    density = Density.of(grouped)
    white = Whitening.of(density)
    function = white.whitened(density)
    for eta in somewhere(density, 3):
        value, gradient = function(eta)
        assert value == density(white.parameters(eta))[0]
        for place in range(eta.size):
            step = np.zeros(eta.size)
            step[place] = 1e-5
            slope = (function(eta + step)[0] - function(eta - step)[0]) / 2e-5
            assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-5)
    several = somewhere(density, 2, 3)
    np.testing.assert_allclose(white.parameters(several)[1, 2], white.parameters(several[1, 2]), rtol=1e-12)


@pytest.mark.parametrize("groups", [5, 250])
def test_rewritten_model_has_the_same_density(groups):
    model, _ = grouped_model(groups, rows=2)
    density = Density.of(model)
    white = Whitening.of(density)
    rewritten = white.applied(model)
    (coordinate,) = rewritten.value_vars
    logp = rewritten.compile_logp(mode="FAST_COMPILE")
    for eta in 0.5 * somewhere(density, 3):
        # Equal, and not up to a constant alone: a linear map's Jacobian is left out on both sides.
        assert float(logp({coordinate.name: eta})) == pytest.approx(density(white.parameters(eta))[0], rel=1e-9)
    assert {v.name for v in rewritten.deterministics} == {v.name for v in [*model.free_RVs, *model.deterministics]}
    assert {name: dims for name, dims in rewritten.named_vars_to_dims.items() if name in model.named_vars} == {
        name: dims for name, dims in model.named_vars_to_dims.items() if name != "y"
    }


def test_spreads_and_horseshoes_keep_their_own_coordinates(grouped):
    density = Density.of(grouped)
    white, owner = Whitening.of(density), np.array(density.owner)
    apart = np.char.startswith(owner, "tau_") | np.char.startswith(owner, "horseshoe")
    np.testing.assert_array_equal(white.joint, ~apart)
    np.testing.assert_array_equal(white.center[apart], density.start[apart])
    np.testing.assert_array_equal(white.scale, np.where(np.char.startswith(owner[apart], "tau_"), 0.5, 1.0))
    assert np.abs(density(white.center)[1][white.joint]).max() < 1e-3  # a mode in all that moves


# --- sampling in them ---


def test_more_than_two_hundred_parameters():
    """Offsets of so many groups keep coordinates of their own; the posterior is the one that algebra gives."""
    model, y = grouped_model(250, sparse=False)
    density = Density.of(model)
    white, owner = Whitening.of(density), np.array(density.owner)
    assert density.start.size > 250
    assert white.joint.sum() == 4  # the centre and three slopes
    assert not white.joint[owner == "center_group_offset_"].any()
    sampling = Sampling(draws=400, tune=300, chains=2)
    tree = draw_posterior(model, sampling, density=density, whitening=white, random_seed=3)
    verdict = Verdict.of(tree)
    assert verdict.worst_rhat < 1.05, verdict
    posterior = tree["posterior"].to_dataset()
    # Given tau and the slopes, the centre's variance is (tau^2 + 1/4) / 250.
    tau = posterior["tau_center_group"]
    assert float(tau.mean()) == pytest.approx(0.8, abs=0.15)
    wanted = np.sqrt((float((tau**2).mean()) + 1 / 4) / 250)
    assert float(posterior["center"].std()) == pytest.approx(wanted, rel=0.3)
    assert float(posterior["center"].mean()) == pytest.approx(1.5, abs=4 * wanted)
    assert float(posterior["slope"].sel(feature="u").mean()) == pytest.approx(0.7, abs=0.15)
    # A group's own value is pulled from its rows' mean to the centre by 1 / (1 + 4 tau^2), but for what x explains.
    found = (posterior["center_group"] + posterior["center"]).mean(("chain", "draw"))
    raw = y.mean(axis=1)
    pull = np.polyfit(raw - raw.mean(), found - found.mean(), 1)[0]
    assert 0.5 < pull < 0.85


def test_both_samplers_give_the_same_variables(normal):
    density = Density.of(normal)
    white = Whitening.of(density)
    options = {"density": density, "whitening": white, "random_seed": 4}
    one, other = (
        draw_posterior(normal, Sampling(draws=300, tune=100, chains=2, cores=1, sampler=name), **options)
        for name in ("nutpie", "pymc")
    )
    for tree in (one, other):
        posterior = tree["posterior"].to_dataset()
        assert set(posterior.data_vars) == {"x", "total"}
        assert posterior["x"].dims == ("chain", "draw", "item")
        assert posterior["item"].to_numpy().tolist() == ["a", "b"]
        sd = np.sqrt(np.diag(np.linalg.inv(PRECISION)))
        np.testing.assert_allclose(posterior["x"].mean(("chain", "draw")), MODE, atol=0.3 * sd.min())
        np.testing.assert_allclose(posterior["x"].std(("chain", "draw")), sd, rtol=0.2)
        np.testing.assert_allclose(posterior["total"], posterior["x"].sum("item"), rtol=1e-10)
