"""Priors as data: their quantiles, their reasons, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayesdecay.model.decay import DecayModel
from bayesdecay.model.prior import DECAY_PRIORS, Prior, priors_table, with_changes

NORMAL = Prior(distribution="Normal", parameters={"mu": -2.0, "sigma": 0.5}, reason="known from last year")


def test_table_has_the_quantiles_and_the_reasons():
    table = priors_table(with_changes(DECAY_PRIORS, {"mu_log_rate": NORMAL})).set_index("parameter")
    assert list(table.index) == list(DECAY_PRIORS)
    assert table.loc["mu_log_rate", "reason"] == "known from last year"
    assert table.loc["mu_log_rate", "prior"] == "Normal(-2, 0.5)"
    expected = stats.norm(-2.0, 0.5).ppf([0.05, 0.5, 0.95])
    np.testing.assert_allclose(table.loc["mu_log_rate", ["5 %", "median", "95 %"]].astype(float), expected)
    assert table["reason"].str.len().min() >= 20
    assert (table["5 %"] < table["median"]).all()


def test_default_half_life_is_as_its_reason_says():
    low, median, high = np.log(2) / np.exp(DECAY_PRIORS["mu_log_rate"].frozen().ppf([0.95, 0.5, 0.05]))
    assert median == pytest.approx(30)
    assert 1.8 < low < 2.2  # 2 days
    assert 14 * 30.4 < high < 16 * 30.4  # 15 months


def test_default_interest_is_as_its_reason_says():
    low, median, high = np.exp(DECAY_PRIORS["mu_log_interest"].frozen().ppf([0.05, 0.5, 0.95]))
    assert median == pytest.approx(1 / 14)
    assert 1 / (5.5 * 30.4) < low < 1 / (4.5 * 30.4)
    assert 0.7 < high < 1.2


@pytest.mark.parametrize(
    ("distribution", "parameters"),
    [
        ("Normal", {"mu": 0.3, "sigma": 2.0}),
        ("HalfNormal", {"sigma": 1.5}),
        ("LogNormal", {"mu": 0.2, "sigma": 0.7}),
        ("Uniform", {"lower": -1.0, "upper": 3.0}),
        ("Beta", {"alpha": 2.0, "beta": 3.0}),
        ("Exponential", {"lam": 4.0}),
    ],
)
def test_scipy_and_pymc_mean_the_same(distribution, parameters):
    import pymc as pm

    frozen = Prior(distribution=distribution, parameters=parameters).frozen()
    points = frozen.ppf([0.1, 0.4, 0.9])
    ours = pm.logp(getattr(pm, distribution).dist(**parameters), points).eval()
    np.testing.assert_allclose(ours, frozen.logpdf(points), rtol=1e-6)


@pytest.mark.parametrize(
    ("distribution", "parameters"),
    [
        ("Normal", {"mu": 0.3, "sigma": 2.0}),
        ("HalfNormal", {"sigma": 1.5}),
        ("LogNormal", {"mu": 0.2, "sigma": 0.7}),
        ("Uniform", {"lower": -1.0, "upper": 3.0}),
        ("Exponential", {"lam": 4.0}),
    ],
)
def test_scaled_is_the_prior_of_a_multiple(distribution, parameters):
    prior = Prior(distribution=distribution, parameters=parameters, reason="known")
    levels = [0.1, 0.5, 0.9]
    np.testing.assert_allclose(prior.scaled(4.2).frozen().ppf(levels), 4.2 * prior.frozen().ppf(levels), rtol=1e-9)
    assert prior.scaled(4.2).reason == "known"


def test_a_share_has_no_multiple():
    with pytest.raises(ValueError, match=r"Beta\(2, 3\) is the prior of a number in \[0, 1\].*; take one of Normal"):
        Prior(distribution="Beta", parameters={"alpha": 2.0, "beta": 3.0}).scaled(2.0)


@pytest.mark.parametrize(
    ("name", "nearest"), [("mu_log_rat", "mu_log_rate"), ("gama", "gamma"), ("kapa", "kappa"), ("Rho", "rho")]
)
def test_unknown_name_points_to_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown prior '{name}'; did you mean '{nearest}'"):
        with_changes(DECAY_PRIORS, {name: NORMAL})


def test_a_replacement_is_a_prior():
    with pytest.raises(TypeError, match=r"prior 'rho': expected a Prior, got 0.5"):
        DecayModel(priors={"rho": 0.5})


@pytest.mark.parametrize(("name", "bounds"), [("alpha", r"\[0, inf\]"), ("rho", r"\[0, 1\]")])
def test_a_replacement_stays_where_the_parameter_lives(name, bounds):
    with pytest.raises(ValueError, match=rf"prior '{name}': Normal\(-2, 0.5\) allows values outside {bounds}"):
        with_changes(DECAY_PRIORS, {name: NORMAL})


def test_defaults_are_not_changed():
    changed = with_changes(DECAY_PRIORS, {"kappa": NORMAL})
    assert changed["kappa"] is NORMAL
    assert DECAY_PRIORS["kappa"].parameters["mu"] == 0.0


@pytest.mark.parametrize(
    ("distribution", "parameters", "message"),
    [
        ("Normla", {}, "unknown distribution 'Normla'; did you mean 'Normal'"),
        ("Normal", {"mu": 0}, "Normal takes mu, sigma, got mu"),
        ("HalfNormal", {}, "HalfNormal takes sigma, got none"),
        ("Normal", {"mu": float("nan"), "sigma": 1}, "Normal: parameters must be finite"),
        ("Normal", {"mu": 0, "sigma": -1}, "Normal does not exist with the parameters"),
        ("Uniform", {"lower": 2, "upper": 1}, "Uniform does not exist with the parameters"),
    ],
)
def test_impossible_priors_are_refused(distribution, parameters, message):
    with pytest.raises(ValueError, match=message):
        Prior(distribution=distribution, parameters=parameters)
