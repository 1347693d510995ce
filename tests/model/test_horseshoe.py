"""The regularised horseshoe: its prior is the equation, and of many columns it finds the few that matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy.special import expit
from scipy.stats import invgamma

from bayesdecay.model.density import Density
from bayesdecay.model.horseshoe import MANY, horseshoe
from bayesdecay.model.logit_graph import Outcome
from bayesdecay.model.posterior import Verdict
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.sampling import Sampling, draw_posterior
from bayesdecay.model.terms import Terms
from bayesdecay.model.whitening import Whitening
from tests.model.made_up import terms_of

COLUMNS, ROWS, SHARE = 40, 1_000, 0.3
SCALE = 4 / 36 / np.sqrt(SHARE * (1 - SHARE) * ROWS)  # a tenth of the columns are expected to matter


@pytest.fixture(scope="module")
def prior() -> pm.Model:
    with pm.Model() as model:
        pm.Deterministic("slope", horseshoe(columns=COLUMNS, rows=ROWS, share=SHARE))
    return model


def test_coefficients_are_the_equation_of_their_parts(prior):
    names = ("slope", "horseshoe_scale", "horseshoe_slab", "horseshoe_own_offset_", "horseshoe_direction_offset_")
    slope, tau, slab, own, z = pm.draw([prior[name] for name in names], 500, random_seed=1)
    limited = slab[:, None] * own**2 / (slab[:, None] + tau[:, None] ** 2 * own**2)
    np.testing.assert_allclose(slope, z * tau[:, None] * np.sqrt(limited), rtol=1e-9)
    # None is beyond what its slab allows.
    assert (np.abs(slope) <= np.abs(z) * np.sqrt(slab)[:, None] * (1 + 1e-9)).all()


def test_prior_draws_have_the_distribution_of_the_equation(prior):
    found = np.abs(pm.draw(prior["slope"], 8_000, random_seed=2)[:, :5])
    rng, n = np.random.default_rng(3), 400_000
    tau, own = SCALE * np.abs(rng.standard_cauchy(n)), np.abs(rng.standard_cauchy(n))
    slab = 1 / rng.gamma(2.0, 1 / 8.0, n)  # InvGamma(2, 2 * 2^2)
    expected = np.abs(rng.standard_normal(n) * tau * np.sqrt(slab * own**2 / (slab + tau**2 * own**2)))
    levels = [0.1, 0.5, 0.9, 0.99]
    np.testing.assert_allclose(np.quantile(found, levels), np.quantile(expected, levels), rtol=0.12)
    # Most are next to nothing, a few are not.
    assert np.quantile(expected, 0.5) < 0.02
    assert np.quantile(found, 0.99) > 0.3


def test_slab_has_the_distribution_of_the_equation(prior):
    found = pm.draw(prior["horseshoe_slab"], 8_000, random_seed=5)
    levels = [0.1, 0.5, 0.9]
    np.testing.assert_allclose(np.quantile(found, levels), invgamma(2.0, scale=8.0).ppf(levels), rtol=0.06)


def test_fewer_rows_and_more_columns_change_the_scale():
    def scale(**options) -> float:
        with pm.Model() as model:
            horseshoe(**options)
        return float(np.median(pm.draw(model["horseshoe_scale"], 4_000, random_seed=4)))

    usual = scale(columns=COLUMNS, rows=ROWS, share=SHARE)
    assert usual == pytest.approx(SCALE, rel=0.1)  # the median of a half-Cauchy is its scale
    assert scale(columns=COLUMNS, rows=ROWS / 4, share=SHARE) == pytest.approx(2 * usual, rel=0.1)
    assert scale(columns=5, rows=ROWS, share=SHARE) == pytest.approx(usual * (1 / 4) / (4 / 36), rel=0.1)
    assert np.isfinite(scale(columns=1, rows=ROWS, share=SHARE))


# --- in the model ---

TRUTH = {"x_3": 0.8, "x_17": -0.6, "x_31": 0.5}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(ROWS, COLUMNS)) + 0.5 * rng.normal(size=(ROWS, 1))
    return pd.DataFrame(values, columns=[f"x_{i}" for i in range(COLUMNS)])


def terms_with(table: pd.DataFrame, columns: int) -> Terms:
    return terms_of("returned ~ " + " + ".join(table.columns[:columns]), table, np.zeros((len(table), 1)))


def test_chosen_above_thirty_columns(table):
    assert MANY == 30
    few, many = terms_with(table, 30), terms_with(table, 31)
    assert not ReactivationModel().sparse(few).any()
    assert ReactivationModel().sparse(many).all()
    assert ReactivationModel(shrinkage="horseshoe").sparse(few).all()
    assert not ReactivationModel(shrinkage="normal").sparse(many).any()


def test_what_is_computed_from_the_log_keeps_its_own_prior(table):
    def sparse(computed: int, shrinkage: str | None = None) -> np.ndarray:
        labels = list(table.columns)
        formula = "returned ~ {x_0**2} + x_0:x_39 + " + " + ".join(labels)
        terms = terms_of(formula, table, np.zeros((ROWS, 1)), computed=labels[:computed])
        mask = ReactivationModel(shrinkage=shrinkage).sparse(terms)
        assert mask.shape == (len(terms.slopes),)
        return np.array([name for name, many in zip(terms.slopes, mask, strict=True) if many])

    assert set(sparse(5)) == {*table.columns[5:], "x_0:x_39"}  # a product with what was brought is brought
    assert len(sparse(20)) == 42  # too few were brought: all are many
    assert set(sparse(20, "horseshoe")) == {*table.columns[20:], "x_0:x_39"}
    assert len(sparse(40, "horseshoe")) == 42
    assert len(sparse(5, "normal")) == 0


def test_finds_what_matters_and_shrinks_the_rest(table):
    rng = np.random.default_rng(6)
    logit = -1.0 + sum(slope * table[name] for name, slope in TRUTH.items())
    outcome = Outcome(returned=rng.random(ROWS) < expit(logit.to_numpy()), weight=np.ones(ROWS))
    terms = terms_with(table, COLUMNS)
    design = terms.design(table, np.zeros((ROWS, 1)))

    def density(shrinkage: str | None) -> tuple[pm.Model, Density]:
        model = ReactivationModel(shrinkage=shrinkage).build(terms, design, outcome)
        return model, Density.of(model)

    def moments(posterior: xr.Dataset) -> pd.DataFrame:
        drawn = posterior["slope"] / np.array([terms.scales[name] for name in terms.slopes])
        found = {"mean": drawn.mean(("chain", "draw")), "sd": drawn.std(("chain", "draw"))}
        return pd.DataFrame({name: own.to_numpy() for name, own in found.items()}, index=list(terms.slopes))

    model, sparse = density(None)
    sampling = Sampling(draws=300, tune=300, chains=2)
    tree = draw_posterior(model, sampling, density=sparse, whitening=Whitening.of(sparse), random_seed=7)
    tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().drop_vars("slope_interest"))  # fixed at 0 here
    verdict, found = Verdict.of(tree), moments(tree["posterior"].to_dataset())
    assert verdict.worst_rhat < 1.05
    assert verdict.divergences == 0
    matter = found.index.isin(TRUTH)
    for name, truth in TRUTH.items():
        assert abs(found.loc[name, "mean"] - truth) < 3.5 * found.loc[name, "sd"]
    assert set(found["mean"].abs().nlargest(3).index) == set(TRUTH)
    assert found.loc[~matter, "mean"].abs().max() < 0.15
    # Beside a normal prior, whose posterior is close to normal about its mode.
    _, usual = density("normal")
    plain = moments(Whitening.of(usual).normal_draws(usual, 500))
    assert found.loc[~matter, "mean"].pow(2).mean() < 0.4 * plain.loc[~matter, "mean"].pow(2).mean()
    assert found.loc[~matter, "sd"].mean() < 0.8 * plain.loc[~matter, "sd"].mean()
