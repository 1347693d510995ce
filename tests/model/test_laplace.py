"""Weighted proposals: exact where the posterior is known, the same answer as NUTS, and refused where they miss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from scipy import stats

from bayesdecay.errors import NotConvergedError
from bayesdecay.model import search as module
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.density import Density
from bayesdecay.model.design import FitData
from bayesdecay.model.fineness import grid_error, trimmed
from bayesdecay.model.grid import Grid
from bayesdecay.model.laplace import StudentT, draw_laplace, resampled, smoothed_weights
from bayesdecay.model.leave_out import good_k
from bayesdecay.model.posterior import ENOUGH_DRAWS, Verdict, read_tree, write_tree
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import ScoreOptions
from bayesdecay.model.whitening import Whitening
from tests.model.worlds import PARAMETERS, RATES, history_of, simulated

PRECISION = np.array([[40.0, -55.0], [-55.0, 90.0]])
COVARIANCE = np.linalg.inv(PRECISION)
MODE = np.array([3.0, -1.0])


def bent_model(curl: float = 0.3) -> pm.Model:
    """A banana: y is normal about curl * rho^2 + 0.1 * rho^3, and rho standard normal."""
    with pm.Model() as model:
        rho = pm.Normal("rho")
        pm.Normal("y", curl * rho**2 + 0.1 * rho**3, 0.5)
    return model


@pytest.fixture(scope="module")
def normal() -> tuple[Density, Whitening]:
    with pm.Model(coords={"item": ["a", "b"]}) as model:
        x = pm.Flat("x", dims="item")
        pm.Potential("loglik", -0.5 * pt.dot(x - MODE, pt.dot(PRECISION, x - MODE)))
        pm.Deterministic("total", x.sum())
    density = Density.of(model)
    return density, Whitening.of(density)


@pytest.fixture(scope="module")
def shop():
    return history_of(simulated(2_000, random_seed=11))


@pytest.fixture(scope="module")
def by_laplace(shop) -> DecayFit:
    return DecayModel(rates=RATES).fit(shop, method="laplace", sampling=Sampling(draws=1_000), random_seed=1)


@pytest.fixture(scope="module")
def by_nuts(shop) -> DecayFit:
    return DecayModel(rates=RATES).fit(shop, sampling=Sampling(draws=1_000), random_seed=1)


# --- the parts ---


def test_student_t_has_its_density_and_its_moments():
    law = StudentT(center=MODE, root=np.linalg.cholesky(COVARIANCE))
    points = law.draws(200_000, np.random.default_rng(1))
    reference = stats.multivariate_t(loc=MODE, shape=COVARIANCE, df=law.freedom)
    np.testing.assert_allclose(law.log_density(points[:50]), reference.logpdf(points[:50]), rtol=1e-10)
    np.testing.assert_allclose(points.mean(axis=0), MODE, atol=0.01)
    np.testing.assert_allclose(np.cov(points.T), COVARIANCE * law.freedom / (law.freedom - 2), rtol=0.05)


def test_resampling_keeps_weighted_moments_and_counts():
    rng = np.random.default_rng(2)
    weight = rng.dirichlet(np.full(300, 0.4))
    value = rng.normal(size=300)
    kept = resampled(weight, 2_000, rng)
    counts = np.bincount(kept, minlength=300)
    assert (np.abs(counts - 2_000 * weight) < 1.0).all()
    assert value[kept].mean() == pytest.approx(weight @ value, abs=0.015)
    assert (value[kept] ** 2).mean() == pytest.approx(weight @ value**2, abs=0.025)
    mean = np.mean([value[resampled(weight, 40, rng)].mean() for _ in range(4_000)])
    error = value.std() / np.sqrt(40 * 4_000)
    assert mean == pytest.approx(weight @ value, abs=4 * error)  # unbiased however few are kept


def test_equal_ratios_have_equal_weights_and_no_tail():
    weight, k_hat = smoothed_weights(np.full(100, -3.0))
    np.testing.assert_allclose(weight, 0.01)
    assert k_hat == -np.inf


def test_k_hat_sees_the_tail_of_the_ratios():
    """Of ratios with a Pareto tail of known shape, k-hat is about the shape; what is impossible has no weight."""
    rng = np.random.default_rng(3)
    for shape in (0.3, 0.9):
        found = [smoothed_weights(np.log(rng.pareto(1 / shape, 4_000) + 1))[1] for _ in range(20)]
        assert np.mean(found) == pytest.approx(shape, abs=0.1)
    ratio = rng.normal(size=500)
    ratio[7], ratio[8] = -np.inf, np.nan
    weight, k_hat = smoothed_weights(ratio)
    assert weight[7] == weight[8] == 0.0
    assert weight.sum() == pytest.approx(1.0)
    assert np.isfinite(k_hat)


# --- coordinates ---


def jacobian(function, at: np.ndarray) -> np.ndarray:
    step = 1e-5
    return np.stack([(function(at + h) - function(at - h)) / (2 * step) for h in step * np.eye(at.size)], axis=1)


def test_bent_coordinates_have_a_constant_jacobian():
    """So that a ratio of densities in the coordinates is one in the parameters."""
    density = Density.of(bent_model())
    white = Whitening.of(density, bent_by="rho")
    assert np.abs(white.bend).max() > 0.1
    rng = np.random.default_rng(4)
    moved = white.moved(rng.normal(size=2), np.array([[0.7, 0.0], [0.4, 1.3]]))
    for coordinates in (white, moved):
        sizes = [np.linalg.slogdet(jacobian(coordinates.parameters, rng.normal(size=2)))[1] for _ in range(5)]
        np.testing.assert_allclose(sizes, sizes[0], atol=1e-7)


def test_moved_coordinates_are_those_at_the_moved_place():
    white = Whitening.of(Density.of(bent_model()), bent_by="rho")
    center, root = np.array([0.8, -0.3]), np.array([[0.7, 0.0], [0.4, 1.3]])
    moved = white.moved(center, root)
    xi = np.random.default_rng(5).normal(size=(20, 2))
    np.testing.assert_allclose(moved.parameters(xi), white.parameters(center + xi @ root.T), atol=1e-10)


def test_refined_coordinates_find_the_mode_and_the_curvature_of_a_like_density(normal):
    density, _ = normal
    away = np.linalg.cholesky(COVARIANCE) @ np.array([[1.5, 0.2], [0.3, 0.7]])
    poor = Whitening(center=MODE + 0.5, joint=np.ones(2, bool), root=away, bend=np.zeros((2, 2)), scale=np.empty(0))
    refined = poor.refined(density)
    np.testing.assert_allclose(refined.center, MODE, atol=1e-4)
    np.testing.assert_allclose(refined.root @ refined.root.T, COVARIANCE, rtol=1e-4)


# --- whole ---


def test_exact_for_a_normal_posterior(normal):
    density, white = normal
    tree = draw_laplace(density, white, Sampling(draws=1_000), random_seed=1)
    told = tree["sample_stats"].attrs
    assert told["k_hat"] < 0.1
    assert told["proposals"] == 500
    # Two coordinates with 10 degrees of freedom: the ratios' own variance, by quadrature.
    radius = np.linspace(0, 14, 20_001)
    target = radius * np.exp(-(radius**2) / 2)
    proposal = radius * (1 + radius**2 / 10) ** -6
    share = 1 / (np.trapezoid(target**2 / np.maximum(proposal, 1e-300), radius) * np.trapezoid(proposal, radius))
    assert told["effective_draws"] / 500 == pytest.approx(share, abs=0.03)
    posterior = tree["posterior"].to_dataset()
    assert posterior["x"].dims == ("chain", "draw", "item")
    assert posterior.sizes == {"chain": 1, "draw": 4_000, "item": 2}
    error = np.sqrt(np.diag(COVARIANCE) / told["effective_draws"])
    assert (np.abs(posterior["x"].mean(("chain", "draw")).to_numpy() - MODE) < 4 * error).all()
    np.testing.assert_allclose(posterior["x"].std(("chain", "draw")), np.sqrt(np.diag(COVARIANCE)), rtol=0.12)
    np.testing.assert_allclose(posterior["total"], posterior["x"].sum("item"), rtol=1e-10)
    assert Verdict.of(tree).converged


def test_same_seed_same_draws_whatever_the_cores(normal):
    density, white = normal
    one, again, other = (
        draw_laplace(density, white, Sampling(cores=cores), random_seed=seed)["posterior"].to_dataset()
        for cores, seed in ((1, 1), (3, 1), (1, 2))
    )
    xr.testing.assert_identical(one, again)
    assert not one.equals(other)


def test_learns_from_its_first_proposals():
    """Coordinates that are a third as wide as the posterior and off by one: later rounds find it."""
    with pm.Model() as model:
        pm.Normal("x", 1.0, 1.0, shape=3)
    density = Density.of(model)
    poor = Whitening(
        center=np.zeros(3), joint=np.ones(3, bool), root=np.eye(3) / 3, bend=np.zeros((2, 3)), scale=np.empty(0)
    )
    tree = draw_laplace(density, poor, Sampling(), random_seed=2)
    verdict = Verdict.of(tree)
    assert verdict.converged, verdict
    assert verdict.proposals > 500
    drawn = tree["posterior"]["x"].to_numpy()[0]
    np.testing.assert_allclose(drawn.mean(axis=0), 1.0, atol=4 / np.sqrt(verdict.effective_draws))
    np.testing.assert_allclose(drawn.std(axis=0), 1.0, rtol=0.15)


def test_a_heavier_tail_than_the_proposals_is_not_believed(monkeypatch):
    """Of a Cauchy law in five dimensions the ratios to 10 degrees of freedom have a tail of k = 9/10."""
    with pm.Model() as model:
        x = pm.Flat("x", shape=5)
        pm.Potential("loglik", -3.0 * pt.log1p((x**2).sum()))
    density = Density.of(model)
    white = Whitening(
        center=np.zeros(5), joint=np.ones(5, bool), root=0.3 * np.eye(5), bend=np.zeros((2, 5)), scale=np.empty(0)
    )
    monkeypatch.setattr("bayesdecay.model.laplace._MOST_ROUNDS", 1)
    verdicts = [Verdict.of(draw_laplace(density, white, Sampling(), random_seed=seed)) for seed in range(20)]
    assert not any(verdict.converged for verdict in verdicts)
    assert np.median([verdict.k_hat for verdict in verdicts]) == pytest.approx(9 / 10, abs=0.25)


# --- the decay model ---


def test_agrees_with_nuts_within_monte_carlo_error(by_laplace, by_nuts):
    assert by_laplace.verdict.converged, by_laplace.verdict
    assert by_nuts.verdict.least_ess_bulk > 400, by_nuts.verdict
    ours, other = (fit.idata["posterior"].to_dataset() for fit in (by_laplace, by_nuts))
    # Sizes of the errors [posterior sd]: of a mean and of a sd, by either method's least effective draws.
    ess = (by_laplace.verdict.effective_draws, by_nuts.verdict.least_ess_bulk)
    error = np.sqrt(sum(1 / size for size in ess))
    for name in PARAMETERS:
        sd = float(other[name].std())
        assert abs(float(ours[name].mean() - other[name].mean())) < 4 * error * sd, name
        assert abs(np.log(float(ours[name].std()) / sd)) < 4 * error, name
        for share in (0.05, 0.95):
            # A quantile's error is sqrt(p (1 - p)) / density, 2.1 of a mean's for a normal law.
            apart = float(ours[name].quantile(share) - other[name].quantile(share))
            assert abs(apart) < 4 * 2.1 * error * sd, (name, share)


def test_scores_agree_with_those_of_nuts(by_laplace, by_nuts, shop):
    options = ScoreOptions(horizons="30d", random_seed=1)
    ours, other = (fit.score(shop, options=options).table["p_return_30d"].to_numpy() for fit in (by_laplace, by_nuts))
    assert np.abs(ours - other).max() < 0.01
    assert np.corrcoef(ours, other)[0, 1] > 0.9999


def test_says_by_which_method_and_saves_it(by_laplace, tmp_path):
    table = by_laplace.summary()
    assert list(table.columns) == ["mean", "sd", "5 %", "95 %", "k_hat", "effective_draws"]
    assert "Laplace approximation, k-hat" in str(by_laplace.verdict)
    assert by_laplace.verdict.method == "laplace"
    back = DecayFit(idata=read_tree(write_tree(by_laplace.idata, tmp_path / "fit.nc")))
    assert str(back.verdict) == str(by_laplace.verdict)
    assert back.idata["sample_stats"].attrs["k_hat"] == by_laplace.verdict.k_hat
    assert Verdict.of(back.idata).k_hat == by_laplace.verdict.k_hat


def verdict_with(**figures) -> Verdict:
    nan = float("nan")
    told = {"k_hat": 0.2, "effective_draws": 500.0, "proposals": 600, **figures}
    return Verdict(
        worst_rhat=nan, least_ess_bulk=nan, least_ess_tail=nan, divergences=0, least_bfmi=nan, draws=9, chains=1, **told
    )


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"k_hat": 0.66}, r"k-hat is 0\.66, above 0\.64: .*use method='nuts'"),
        ({"k_hat": float("nan")}, r"k-hat is nan"),
        ({"effective_draws": 399.0}, r"600 proposals leave 399 effective draws, below 400: .*use method='nuts'"),
        ({"grid_error": 0.02}, r"doubling the rate grid moves the fit by 0\.020: raise rates"),
    ],
)
def test_verdict_of_proposals(figures, message):
    assert verdict_with().converged
    assert good_k(600) == pytest.approx(0.640, abs=1e-3)
    assert ENOUGH_DRAWS == 400
    with pytest.raises(NotConvergedError, match=message):
        verdict_with(**figures).require(allow_unconverged=False)


def test_unknown_method_is_refused(shop):
    with pytest.raises(ValueError, match="unknown method 'laplase'; did you mean 'laplace'"):
        DecayModel().fit(shop, method="laplase")


@pytest.fixture
def hopeless(monkeypatch) -> None:
    """No rounds to learn in, and proposals far from where the posterior is."""
    draw = module.draw_laplace

    def astray(density, whitening, sampling, **options):
        size = whitening.center.size
        return draw(density, whitening.moved(np.full(size, 4.0), 0.3 * np.eye(size)), sampling, **options)

    monkeypatch.setattr(module, "draw_laplace", astray)
    monkeypatch.setattr("bayesdecay.model.laplace._MOST_ROUNDS", 1)


def test_poor_approximation_is_refused(hopeless, few):
    fit = DecayModel(rates=RATES).fit(few, method="laplace", random_seed=1)
    assert not fit.verdict.converged
    with pytest.raises(NotConvergedError, match="use method='nuts'"):
        fit.summary()
    table = fit.summary(allow_unconverged=True)
    assert not table["converged"].any()


def test_auto_takes_nuts_where_the_approximation_is_poor(hopeless, few, monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 1)
    sampling = Sampling(draws=100, tune=100, chains=2)
    fit = DecayModel(rates=RATES).fit(few, method="auto", sampling=sampling, random_seed=1)
    assert fit.verdict.method == "nuts"
    assert fit.idata["posterior"].sizes["chain"] == 2


@pytest.mark.parametrize(("large", "method"), [(1, "laplace"), (10**9, "nuts")])
def test_auto_decides_by_the_size_of_the_data(few, monkeypatch, large, method):
    monkeypatch.setattr(module, "_LARGE", large)
    sampling = Sampling(draws=100, tune=100, chains=2)
    assert DecayModel(rates=RATES).fit(few, method="auto", sampling=sampling, random_seed=1).verdict.method == method


# --- a look at some of many users ---


def test_sample_stands_for_all(shop):
    data = FitData.of(shop)
    some = data.sample(400)
    assert some.weight.size == 400
    assert some.weight.sum() == pytest.approx(data.weight.sum())
    assert some.block.n.max() == data.block.n.max()
    assert data.sample(10_000) is data
    events = some.weight @ some.block.n
    assert events == pytest.approx(data.weight @ data.block.n, rel=0.1)
    first = some.block.take(np.array([3]))
    assert first.times.tolist() == some.block.times[some.block.offsets[3] : some.block.offsets[4]].tolist()
    assert first.times.sum() == pytest.approx(first.sum_times[0])


def test_fit_after_a_look_at_some_is_the_same(shop, by_laplace, monkeypatch):
    """With the mode found from 300 users, and the restorations narrowed to where it may be."""
    monkeypatch.setattr(module, "_LOOKED_AT", 300)
    fit = DecayModel(rates=RATES).fit(shop, method="laplace", random_seed=2)
    assert fit.verdict.converged, fit.verdict
    ours, other = (one.idata["posterior"].to_dataset() for one in (fit, by_laplace))
    error = np.sqrt(1 / fit.verdict.effective_draws + 1 / by_laplace.verdict.effective_draws)
    for name in PARAMETERS:
        sd = float(other[name].std())
        assert abs(float(ours[name].mean() - other[name].mean())) < 4 * error * sd, name


def test_restorations_that_the_narrowed_grid_does_not_hold_are_noticed():
    rates = np.exp(np.linspace(-5.0, 1.0, 16))
    whole = Grid(rates=rates, restorations=np.linspace(0.0, 1.0, 10))
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"rho": (("chain", "draw"), [[0.5, 0.62]])})})
    assert module._holds(whole, tree)
    assert module._holds(whole.narrowed(0.45, 0.65), tree)
    assert not module._holds(whole.narrowed(0.45, 0.6), tree)
    assert module._holds(Grid(rates=rates, restorations=np.array([0.8])), tree)  # fixed by the user


def test_narrowed_restorations_have_the_same_likelihood(shop):
    model, data = DecayModel(rates=RATES), FitData.of(shop)
    grid = model.grid(shop)
    narrow = grid.narrowed(0.5, 0.7)
    assert narrow.restorations.size == 5
    assert (narrow.restorations[0], narrow.restorations[-1]) == (0.5, 0.7)
    assert grid.narrowed(0.2, 0.7) is grid  # too wide for so few
    assert narrow.narrowed(0.5, 0.6) is narrow
    assert grid.narrowed(0.5, 0.6).restorations.size == 4
    wide, own = (Density.of(model.build(data, g)) for g in (grid, narrow))
    whitening = Whitening.of(wide, bent_by="rho")
    for eta in np.random.default_rng(1).normal(size=(5, whitening.center.size)):
        theta = whitening.parameters(eta)
        assert own(theta)[0] == pytest.approx(wide(theta)[0], abs=0.02)
        slopes = [whitening.whitened(density)(eta)[1] for density in (own, wide)]
        np.testing.assert_allclose(*slopes, atol=0.01)  # of what the density falls by over a standard deviation


def test_grid_error_of_parts_is_that_of_the_whole(by_nuts, shop, monkeypatch):
    population, data = by_nuts.population(3), FitData.of(shop)
    coarse = population.grid.finer(0.5)
    error = grid_error(population, data, coarse)
    assert error > 0.01
    monkeypatch.setattr("bayesdecay.model.fineness._ROWS", 170)
    assert grid_error(population, data, coarse) == pytest.approx(error, rel=1e-6)


def test_trimmed_grid_keeps_the_rates_that_somebody_has(by_nuts, shop):
    population, data = by_nuts.population(3), FitData.of(shop)
    grid = population.grid
    own = trimmed(population, data, grid, share=0.5)
    assert own.rates.size < grid.rates.size
    assert own.spacing == pytest.approx(grid.spacing)
    assert set(own.rates) <= set(grid.rates)
    assert grid_error(population, data, own, whole=grid) < 0.005
    too_short = replace(own, rates=own.rates[20:-20])
    assert grid_error(population, data, too_short) < 0.5 * grid_error(population, data, too_short, whole=grid)
    assert grid_error(population, data, too_short, whole=grid) > 0.01
