"""The reference model: its likelihood is the law, and its posterior is the marginal model's."""

from __future__ import annotations

import re

import arviz as az
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from bayesdecay.errors import NotConvergedError
from bayesdecay.model.reference import MOST_USERS, ReferenceModel
from bayesdecay.model.reference import log_likelihood as reference_loglik
from bayesdecay.model.sampling import Sampling
from tests.model.conftest import CHANNELS
from tests.model.worlds import PARAMETERS, SHOP, block_of, history_of, log_likelihood, simulated

HISTORIES = [[], [2.0, 2.5], [], [0.5, 1.0, 4.0, 30.0]]
ENDS = [0.0, 9.0, 40.0, 33.0]


@pytest.mark.parametrize("rho", [0.0, 0.45, 1.0])
def test_likelihood_is_the_law_user_by_user(rho):
    rate, initial = np.array([0.01, 0.2, 3.0, 0.05]), np.array([0.3, 1.0, 0.01, 2.0])
    found = reference_loglik(block_of(HISTORIES, ENDS), pt.constant(initial), pt.constant(rate), rho).eval()
    expected = sum(
        log_likelihood(times, T, rate=r, initial=i, rho=rho)
        for times, T, r, i in zip(HISTORIES, ENDS, rate, initial, strict=True)
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def difference(one, other):
    """Means and standard deviations of two posteriors, apart by so many Monte Carlo errors."""
    z = {}
    for name in PARAMETERS:
        a, b = (fit.idata["posterior"][name] for fit in (one, other))
        error = np.hypot(az.mcse(a).item(), az.mcse(b).item())
        z[f"{name} mean"] = float(a.mean() - b.mean()) / error
        error = np.hypot(az.mcse(a, method="sd").item(), az.mcse(b, method="sd").item())
        z[f"{name} sd"] = float(a.std() - b.std()) / error
    return z


def test_marginal_and_reference_posterior_agree(few_marginal, few_reference):
    z = difference(few_marginal, few_reference)
    assert max(map(abs, z.values())) < 4, z
    assert np.mean(np.square(list(z.values()))) < 3, z
    for fit in (few_marginal, few_reference):  # sharp enough to tell: the error is a small part of the sd
        for name in PARAMETERS:
            draws = fit.idata["posterior"][name]
            assert az.mcse(draws).item() < 0.1 * float(draws.std())


def test_reference_knows_its_users(few_reference, few):
    posterior = few_reference.idata["posterior"]
    assert posterior["user"].to_numpy().tolist() == few.table["user"].to_pylist()
    assert posterior["rate"].dims == posterior["initial_interest"].dims == ("chain", "draw", "user")
    assert posterior["rate"].attrs["units"] == "1/d"


def test_reference_summary_is_of_the_population(few_reference):
    table = few_reference.summary(allow_unconverged=True)
    assert set(table.index) == set(PARAMETERS)
    assert list(table.columns[:4]) == ["mean", "sd", "5 %", "95 %"]
    assert "Reference fit: " in few_reference._repr_html_()


def test_reference_refuses_what_did_not_converge():
    history = history_of(simulated(30, random_seed=1))
    sampling = Sampling(draws=10, tune=10, chains=2)
    fit = ReferenceModel(restoration=0.5, coupling=0.2).fit(history, sampling=sampling, random_seed=1)
    assert np.all(fit.idata["posterior"]["rho"] == 0.5)
    assert np.all(fit.idata["posterior"]["kappa"] == 0.2)
    with pytest.raises(NotConvergedError, match="pass allow_unconverged=True"):
        fit.summary()
    assert not fit.summary(allow_unconverged=True)["converged"].any()


def test_reference_refuses_too_many_users(few):
    many = few.over(few.table.take(np.zeros(MOST_USERS + 1, dtype=int)))
    message = "the reference model takes at most 5,000 users, got 5,001; fit DecayModel"
    with pytest.raises(ValueError, match=re.escape(message)):
        ReferenceModel().build(many)


def test_reference_has_groups_and_covariates(grouped):
    built = ReferenceModel().build(grouped)
    assert isinstance(built, pm.Model)
    assert built.named_vars_to_dims["group_log_rate"] == ("group",)
    assert built.named_vars_to_dims["gamma"] == ("covariate",)
    assert built.named_vars_to_dims["initial_interest"] == ("user",)
    assert built.coords["user"] == tuple(grouped.table["user"].to_pylist())
    # Each user is in the place of its own group and covariate.
    mu_r, slope = {channel: -3.0 + 0.1 * i for i, channel in enumerate(CHANNELS)}, 0.3
    names = ["mu_log_rate", "tau_log_rate", "group_log_rate_offset_", "delta", "sigma_log_rate", "z"]
    values = [-3.0, 1.0, 0.1 * np.arange(12), [slope], 1.0, np.zeros(len(grouped))]
    given = {built[name]: np.array(value) for name, value in zip(names, values, strict=True)}
    rate = built["rate"].eval(given)
    age = grouped.table["age"].to_numpy()
    standard = (age - age.mean()) / age.std()
    expected = [mu_r[group] + slope * x for group, x in zip(grouped.table["group"].to_pylist(), standard, strict=True)]
    np.testing.assert_allclose(np.log(rate), expected, atol=1e-10)


def test_reference_checks_its_options():
    with pytest.raises(ValueError, match=r"restoration must lie in \[0, 1\], got 2"):
        ReferenceModel(restoration=2)
    with pytest.raises(ValueError, match="unknown prior 'roh'; did you mean 'rho'"):
        ReferenceModel(priors={"roh": None})


@pytest.mark.slow
def test_marginal_and_reference_posterior_agree_on_a_thousand_users():
    from bayesdecay.model.decay import DecayModel

    history = history_of(simulated(1_000, random_seed=21))
    sampling = Sampling(draws=3_000, tune=1_000, chains=4)
    z = difference(
        DecayModel().fit(history, sampling=sampling, random_seed=1),
        ReferenceModel().fit(history, sampling=sampling, random_seed=2),
    )
    assert max(map(abs, z.values())) < 4, z
    assert SHOP.restoration == 0.6
