"""The decay model: small real fits whose recovery is judged by their own posterior, and every refusal."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

from bayesdecay.data.truth import Population as Truth
from bayesdecay.errors import DataError, NotConvergedError
from bayesdecay.model import search
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.design import FitData
from bayesdecay.model.grid import Grid
from bayesdecay.model.population import Population, total_loglik
from bayesdecay.model.posterior import thinned
from bayesdecay.model.prior import Prior
from bayesdecay.model.sampling import Sampling
from tests.model.conftest import CHANNELS, GROUPED
from tests.model.worlds import PARAMETERS, RATES, SHOP, history_of, simulated


@pytest.fixture(scope="module")
def hasty(few) -> DecayFit:
    """A fit with too few draws and too few rates to be trusted, its restoration and coupling fixed."""
    sampling = Sampling(draws=10, tune=10, chains=2)
    model = DecayModel(restoration=0.6, coupling=0.0, rates=12)
    return model.fit(few, sampling=sampling, random_seed=1, keep_training_data=True)


def assert_recovered(fit: DecayFit, truth: dict[str, float], variables=PARAMETERS):
    """Each truth within 4 posterior standard deviations, and all of them together within their ellipse."""
    draws = thinned(fit.idata["posterior"].to_dataset(), 10**6)
    values = np.column_stack([draws[name].to_numpy() for name in variables])
    off = np.array([truth[name] for name in variables]) - values.mean(axis=0)
    z = off / values.std(axis=0)
    assert np.abs(z).max() < 4, dict(zip(variables, z, strict=True))
    together = off @ np.linalg.solve(np.cov(values.T), off)
    assert stats.chi2.sf(together, len(variables)) > 1e-4


def test_recovers_the_truth(fit):
    assert fit.verdict.converged
    assert fit.idata.attrs["sampler"] == "nutpie"
    assert_recovered(fit, SHOP.truth())
    assert fit.idata["posterior"]["rho"].std() < 0.1  # and it did learn


def test_recovers_the_truth_by_pymcs_own_sampler(few, few_marginal):
    sampling = Sampling(draws=400, tune=400, chains=2, sampler="pymc")
    fit = DecayModel(rates=RATES).fit(few, sampling=sampling, random_seed=1)
    assert fit.idata.attrs["sampler"] == "pymc"
    assert fit.verdict.worst_rhat < 1.05
    assert_recovered(fit, SHOP.truth())
    # The same posterior by the other sampler: means within a fifth of a standard deviation.
    for name in PARAMETERS:
        ours, other = (f.idata["posterior"][name] for f in (fit, few_marginal))
        assert abs(ours.mean() - other.mean()) < 0.25 * other.std()
        assert 0.8 < ours.std() / other.std() < 1.25


def test_recovers_groups_and_covariates(grouped_fit):
    truth = GROUPED.truth()
    posterior = grouped_fit.idata["posterior"]
    assert_recovered(grouped_fit, truth, ("sigma_log_rate", "kappa", "alpha", "rho"))
    for quantity in ("log_rate", "log_interest"):
        found = posterior[f"group_{quantity}"]
        assert found.dims == ("chain", "draw", "group")
        for group, expected in truth[f"mu_{quantity}"].items():
            own = found.sel(group=group)
            assert abs(own.mean() - expected) < 4 * own.std()
    for slope in ("delta", "gamma"):
        own = posterior[slope].sel(covariate="age")
        assert abs(own.mean() - truth[slope]["age"]) < 4 * own.std()
        assert own.std() < 0.15


def test_groups_differ_as_they_do(grouped_fit):
    rate = grouped_fit.idata["posterior"]["group_log_rate"]
    assert ((rate.sel(group=CHANNELS[0]) > rate.sel(group=CHANNELS[-1])).mean()) > 0.99


def test_grid_error_is_measured_on_the_fits_own_draws(fit, history):
    data, population = FitData.of(history), fit.population(5)
    totals = [total_loglik(population, data.block, data.weight, g) for g in (population.grid, population.grid.finer())]
    assert np.max(np.abs(totals[0] - totals[1])) < 0.01
    assert fit.verdict.grid_error < 0.01


def test_fixed_parameters_are_constants_of_the_same_name(hasty):
    posterior = hasty.idata["posterior"]
    assert np.all(posterior["rho"] == 0.6)
    assert np.all(posterior["kappa"] == 0.0)
    assert np.isfinite(hasty.verdict.worst_rhat)  # what is fixed has nothing to converge
    assert hasty.idata["constant_data"]["restoration_node"].to_numpy() == pytest.approx([0.6])
    assert hasty.population(allow_unconverged=True).rho.tolist() == [0.6] * 20


@pytest.mark.parametrize("what", ["summary", "score", "population"])
def test_refuses_what_did_not_converge(hasty, few, what):
    calls = {"summary": hasty.summary, "score": lambda: hasty.score(few), "population": hasty.population}
    with pytest.raises(NotConvergedError, match=r"did not converge: .*raise draws.*pass allow_unconverged=True"):
        calls[what]()


def test_marks_what_did_not_converge_on_request(hasty, few):
    table = hasty.summary(allow_unconverged=True)
    assert not table["converged"].any()
    assert "NOT CONVERGED" in table.attrs["verdict"]
    assert "NOT CONVERGED" in hasty._repr_html_()
    assert len(hasty.score(few, draws=20, allow_unconverged=True)) == len(few)


def test_training_data_is_kept_on_request_only(hasty, fit, few):
    kept = hasty.idata["training_data"]
    assert float(kept["weight"].sum()) == len(few)
    assert int(kept["n"] @ kept["weight"]) == int(few.table["n"].to_numpy().sum()) == kept["time"].size
    assert "training_data" not in fit.idata


def test_summary_is_a_row_a_parameter(fit):
    table = fit.summary(ci_prob=0.8)
    assert set(table.index) == set(PARAMETERS)
    assert list(table.columns) == ["mean", "sd", "10 %", "90 %", "r_hat", "ess_bulk", "ess_tail"]
    draws = fit.idata["posterior"]["alpha"]
    assert table.loc["alpha", "mean"] == pytest.approx(float(draws.mean()))
    assert table.loc["alpha", "10 %"] == pytest.approx(float(draws.quantile(0.1)), rel=1e-3)
    assert "converged" not in table
    assert "Decay fit: converged" in fit._repr_html_()


def test_fit_describes_itself(fit, history):
    told = json.loads(fit.idata.attrs["model"])
    assert told["users"] == len(history)
    assert told["activity"] == "event"
    assert pd.Timestamp(told["at"]) == history.at
    assert told["priors"]["rho"]["distribution"] == "Uniform"


def test_a_grid_found_too_coarse_afterwards_is_made_finer_once(few, monkeypatch):
    errors = iter([0.05, 0.002])
    monkeypatch.setattr(search, "grid_error", lambda *_, **__: next(errors))
    model = DecayModel(restoration=0.6, coupling=0.4)
    fit = model.fit(few, method="laplace", random_seed=1)
    assert fit.verdict.grid_error == 0.002
    assert fit.population(2, allow_unconverged=True).grid.rates.size >= 1.4 * model.grid(few).rates.size


def test_build_names_every_dimension_and_samples_nothing(grouped):
    model = DecayModel()
    data = FitData.of(grouped)
    built = model.build(data, model.grid(grouped))
    assert isinstance(built, pm.Model)
    assert built.coords["group"] == CHANNELS
    assert built.coords["covariate"] == ("age",)
    assert built.named_vars_to_dims["group_log_rate"] == ("group",)
    assert built.named_vars_to_dims["delta"] == ("covariate",)
    assert {"mu_log_rate", "tau_log_rate", "gamma", "rho"} <= set(built.named_vars)


def test_built_models_likelihood_is_the_plain_one(few):
    model = DecayModel(restoration=0.6, coupling=0.4)
    data, grid = FitData.of(few), model.grid(few)
    built = model.build(data, grid)
    truth = {name: SHOP.truth()[name] for name in ("mu_log_rate", "mu_log_interest", "sigma_log_rate", "alpha")}
    loglik = built.replace_rvs_by_values(built.potentials)[0]
    values = {v: np.array(truth[rv.name]) for rv, v in built.rvs_to_values.items()}
    for rv, value in built.rvs_to_values.items():
        if built.rvs_to_transforms[rv] is not None:  # the positive ones are sampled by their logarithms
            values[value] = np.log(values[value])
    tree = DecayFit(idata=_one_draw(SHOP.truth(), grid)).idata
    expected = total_loglik(Population.of(tree), data.block, data.weight, grid)[0]
    assert float(loglik.eval(values)) == pytest.approx(expected, abs=1e-2)  # its exposures are in single precision


def _one_draw(truth, grid: Grid):
    import xarray as xr

    posterior = xr.Dataset({name: (("chain", "draw"), [[truth[name]]]) for name in PARAMETERS})
    constants = xr.Dataset(coords={"rate": grid.rates, "restoration_node": grid.restorations})
    return xr.DataTree.from_dict({"posterior": posterior, "constant_data": constants})


@pytest.mark.parametrize("restoration", [-0.1, 1.01, float("nan")])
def test_restoration_must_be_a_part(restoration):
    with pytest.raises(ValueError, match=r"restoration must lie in \[0, 1\], got"):
        DecayModel(restoration=restoration)


def test_unknown_prior_names_the_nearest():
    prior = Prior(distribution="Normal", parameters={"mu": 0, "sigma": 1})
    with pytest.raises(ValueError, match="unknown prior 'mu_log_rat'; did you mean 'mu_log_rate'"):
        DecayModel(priors={"mu_log_rat": prior})


def test_refuses_a_covariate_that_is_the_same_for_all():
    drawn = simulated(20, random_seed=1)
    drawn.events["constant"] = 3.0
    history = history_of(drawn, covariates=["constant"])
    with pytest.raises(DataError, match="covariates constant are the same for all users; leave them out"):
        DecayModel().fit(history)


def test_refuses_an_empty_history(few):
    with pytest.raises(DataError, match="nothing to fit"):
        DecayModel().fit(few.select([]))


def test_scores_a_group_that_the_fit_has_not_seen(grouped_fit, grouped):
    row = grouped.table.slice(0, 1)
    column = row.column_names.index("group")
    known = grouped.over(row)
    stranger = grouped.over(row.set_column(column, "group", [["television"]]))
    seen, unseen = (grouped_fit.score(h, draws=400).to_pandas().iloc[0] for h in (known, stranger))
    assert np.isfinite(unseen[["interest", "half_life", "p_return_30d"]].astype(float)).all()
    assert unseen["half_life"] != seen["half_life"]
    # It is drawn from the spread of the groups: as uncertain as the population's centre and that spread together.
    population, posterior = grouped_fit.population(), grouped_fit.idata["posterior"]
    for location, quantity in zip(population.location, ("log_rate", "log_interest"), strict=True):
        spread = np.sqrt(posterior[f"mu_{quantity}"].var() + (posterior[f"tau_{quantity}"] ** 2).mean())
        assert location[:, -1].std() == pytest.approx(float(spread), rel=0.15)
        assert location[:, -1].mean() == pytest.approx(float(posterior[f"mu_{quantity}"].mean()), abs=0.1)


def test_scoring_needs_the_fits_group_and_covariates(grouped_fit, grouped, few):
    with pytest.raises(DataError, match="the fit has groups but the history has none; pass group= to summarize"):
        grouped_fit.score(few)
    without = history_of(simulated(20, shop=GROUPED, random_seed=5), group="group")
    with pytest.raises(DataError, match="the fit needs the covariates age; pass them to summarize"):
        grouped_fit.score(without)


def test_too_coarse_a_grid_is_a_fault(hasty):
    assert hasty.verdict.grid_error > 0.01
    assert any("raise rates" in fault for fault in hasty.verdict.faults)


@pytest.mark.slow
@pytest.mark.parametrize(
    "half_life", [{"ads": 10, "friends": 30, "search": 20}, {"ads": 20, "friends": 20, "search": 20}]
)
def test_few_large_groups_converge(half_life):
    shop = Truth(half_life=half_life, half_life_spread=0.7, restoration=0.5)
    history = history_of(simulated(700, shop=shop, random_seed=5), group="group")
    fit = DecayModel(rates=RATES).fit(history, random_seed=4)
    assert fit.verdict.converged


@pytest.mark.slow
def test_many_small_groups_converge():
    rng = np.random.default_rng(1)
    shop = Truth(half_life={f"shop {i}": float(20 * np.exp(0.4 * rng.standard_normal())) for i in range(30)})
    fit = DecayModel(rates=RATES).fit(
        history_of(simulated(600, shop=shop, random_seed=5), group="group"), random_seed=4
    )
    assert fit.verdict.converged


@pytest.mark.slow
def test_a_grid_that_turns_out_too_coarse_is_made_finer(history):
    model = DecayModel(restoration=SHOP.restoration)
    fit = model.fit(history, sampling=Sampling(draws=100, tune=200, chains=2), random_seed=1)
    assert fit.idata["constant_data"]["rate"].size > model.grid(history).rates.size
    assert fit.verdict.grid_error < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_recovers_ten_shops(seed):
    rng = np.random.default_rng(seed)
    shop = Truth(
        half_life=float(rng.uniform(10, 60)),
        half_life_spread=float(rng.uniform(0.4, 1.5)),
        interest=float(rng.uniform(0.05, 0.5)),
        interest_shape=float(rng.uniform(0.5, 3)),
        coupling=float(rng.normal(0, 0.5)),
        restoration=float(rng.uniform(0.05, 0.95)),
    )
    fit = DecayModel().fit(
        history_of(simulated(1_500, shop=shop, random_seed=seed)), sampling=Sampling(chains=2), random_seed=seed
    )
    assert_recovered(fit, shop.truth())
