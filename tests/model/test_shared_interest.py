"""What moves all users' interests together: its directions, the posterior with it, and draws that agree on it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logsumexp

from bayesdecay.data.events import read_events
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.interest_slices import CHANCES, interest_slices
from bayesdecay.model.paired import paired, shared_interest_of
from bayesdecay.model.prior import REACTIVATION_PRIORS
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.shared_interest import SharedInterest, _at, _coordinates
from tests.model.worlds import RATES, history_of, looked_at, population_at, simulated
from tests.model.worlds import SHOP as TRUTH

CUTOFF = "2024-05-20"
MODEL = ReactivationModel(formula="returned ~ interest")


@pytest.fixture(scope="module")
def decay() -> DecayFit:
    """Few users: the population is known badly."""
    past = history_of(simulated(90, random_seed=8), at=CUTOFF)
    return DecayModel(rates=RATES, shoulder=math.inf).fit(past, method="laplace", random_seed=1)


@pytest.fixture(scope="module")
def lapsed(decay: DecayFit) -> Snapshots:
    """Many users of the same shop, who came back by a law of their interest."""
    told = looked_at(read_events(simulated(500, random_seed=9).events), CUTOFF)
    (history,) = told.histories.values()
    level = interest_slices(population_at(TRUTH, draws=1), [history])[0]
    rng = np.random.default_rng(3)
    own = level[np.arange(len(told)), rng.choice(8, len(told), p=CHANCES)]
    returned = rng.random(len(told)) < expit(3.0 + 1.0 * own)
    return replace(told, table=told.table.assign(returned=pd.array(returned, dtype="boolean")))


@pytest.fixture(scope="module")
def returning(decay: DecayFit, lapsed: Snapshots) -> ReactivationFit:
    return MODEL.fit(lapsed, decay, sampling=Sampling(draws=800, tune=300, chains=2), random_seed=2)


def test_parameters_there_and_back(decay):
    population = decay.population(50)
    grouped = replace(
        population,
        groups=("a", "b"),
        location=np.random.default_rng(1).normal(size=(2, 50, 3)),
        slope=np.random.default_rng(2).normal(size=(2, 50, 2)),
        regulars=np.array([np.full(50, 0.2), np.full(50, 1.5)]),
        grid=replace(population.grid, regular=1e-6),
    )
    for own in (population, grouped):
        again = _at(own, _coordinates(own))
        for name in ("alpha", "sigma", "kappa", "rho", "slope", "regulars"):
            np.testing.assert_allclose(getattr(again, name), getattr(own, name), rtol=1e-9)
        seen = slice(0, max(len(own.groups), 1))
        np.testing.assert_allclose(again.location[:, :, seen], own.location[:, :, seen], rtol=1e-12)


def test_directions_are_standard_and_tell_how_interests_move(decay, lapsed):
    population = decay.population()
    shared = SharedInterest.learn(population, lapsed)
    along = (_coordinates(population) - shared.mean) @ shared.scores.T
    assert 1 <= shared.size.size <= 6
    np.testing.assert_allclose(along.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.cov(along.T, ddof=0), np.eye(shared.size.size), atol=1e-6)
    level, moves = shared.levels(population, lapsed)
    # At draws of the population itself: what the directions foretell, and what is so.
    some = np.linspace(0, population.size - 1, 25).astype(int)
    exact = interest_slices(population.take(some), lapsed.histories.values())
    foretold = level + np.einsum("rkj,sk->srj", moves, along[some])
    left = np.sqrt(np.mean((exact - foretold) ** 2)) / np.sqrt(np.mean((exact - level) ** 2))
    assert left < 0.5


def exact_posterior(decay: DecayFit, lapsed: Snapshots, fit: ReactivationFit) -> dict[str, tuple[float, float]]:
    """Mean and sd of both coefficients on a rectangle, the likelihood being averaged over whole populations."""
    terms, came = fit.terms, lapsed.table["returned"].to_numpy(dtype=bool)
    population = decay.population(150)
    levels = (interest_slices(population, lapsed.histories.values()) - terms.interest_center) / terms.interest_scale
    own = fit.idata["posterior"].to_dataset()
    sides = (
        np.linspace(float(own[name].mean() - 6 * own[name].std()), float(own[name].mean() + 6 * own[name].std()), 21)
        for name in ("intercept", "slope_interest")
    )
    a, b = (side.ravel() for side in np.meshgrid(*sides))
    sign = np.where(came, 1.0, -1.0)
    loglik = np.empty((population.size, a.size))
    for s, level in enumerate(levels):
        _, first, count = np.unique(np.column_stack([sign, level]), axis=0, return_index=True, return_counts=True)
        p = expit(sign[first][:, None, None] * (a + b * level[first][..., None]))
        loglik[s] = count @ np.log(np.einsum("rja,j->ra", p, CHANCES))
    prior = REACTIVATION_PRIORS["slope_interest"].scaled(terms.interest_scale)
    log_prior = REACTIVATION_PRIORS["intercept"].frozen().logpdf(a) + prior.frozen().logpdf(b)
    weight = np.exp(log_prior + logsumexp(loglik, axis=0) - (log_prior + logsumexp(loglik, axis=0)).max())
    weight /= weight.sum()
    means = {"intercept": weight @ a, "slope_interest": weight @ b}
    sds = {"intercept": weight @ (a - means["intercept"]) ** 2, "slope_interest": weight @ (b - weight @ b) ** 2}
    return {name: (means[name], np.sqrt(sds[name])) for name in means}


def test_posterior_is_that_of_an_average_over_whole_populations(decay, lapsed, returning):
    """By the other road no direction and no variable is needed, only many populations."""
    exact = exact_posterior(decay, lapsed, returning)
    posterior = returning.idata["posterior"].to_dataset()
    for name, (mean, sd) in exact.items():
        assert float(posterior[name].mean()) == pytest.approx(mean, abs=0.3 * sd), name
        assert float(posterior[name].std()) == pytest.approx(sd, rel=0.2), name
    alone = replace(MODEL, interest="plugin").fit(lapsed, decay, sampling=Sampling(draws=500, chains=2), random_seed=2)
    assert float(alone.idata["posterior"]["intercept"].std()) < 0.8 * exact["intercept"][1]


def test_draws_of_both_fits_agree_on_what_is_shared(decay, returning):
    coefficients, population = paired(returning.idata, returning.terms, decay, 200)
    shared = shared_interest_of(returning.idata)
    assert shared is not None
    along = (_coordinates(population) - shared.mean) @ shared.scores.T
    # In the direction that counts most, a small part of a standard deviation apart.
    assert np.sqrt(np.mean((along[:, 0] - coefficients.shared[:, 0]) ** 2)) < 0.15
    assert np.corrcoef(along[:, 0], coefficients.shared[:, 0])[0, 1] > 0.98


def test_another_decay_fit_goes_with_it_as_it_comes(decay, returning):
    other = DecayFit(idata=decay.idata.isel(draw=slice(0, 100)))
    coefficients, population = paired(returning.idata, returning.terms, other, 50)
    assert coefficients.size == population.size == 50
    np.testing.assert_array_equal(population.alpha, other.population(50).alpha)


def test_nothing_is_shared_where_interest_is_known(decay, lapsed):
    known = replace(MODEL, interest="plugin").fit(
        lapsed, decay, sampling=Sampling(draws=200, chains=2), random_seed=2, allow_unconverged=True
    )
    assert shared_interest_of(known.idata) is None
    assert "shared_interest" not in known.idata["posterior"]
    assert known.draws(lapsed, decay, draws=20, allow_unconverged=True).sizes["sample"] == 20


def test_a_population_without_doubt_moves_nothing(lapsed):
    shared = SharedInterest.learn(population_at(TRUTH, draws=50), lapsed)
    level, moves = shared.levels(population_at(TRUTH, draws=50), lapsed)
    assert shared.size.size == 0
    assert moves.shape == (len(lapsed), 0, 8)
    (history,) = lapsed.histories.values()
    np.testing.assert_allclose(level, interest_slices(population_at(TRUTH, draws=1), [history])[0], rtol=1e-9)
