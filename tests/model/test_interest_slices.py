"""What is known of a user's interest given the population, against brute force and against draws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.model.grid import DAYS
from bayesdecay.model.interest_slices import CHANCES, interest_slices, log_expected_interest
from bayesdecay.model.scoring import interest_draws
from tests.model.worlds import SHOP, history_of, population_at, simulated, user_posterior


@pytest.fixture(scope="module")
def some() -> History:
    return history_of(simulated(60, random_seed=5))


def test_slices_by_brute_force(some):
    """The joint posterior of rate and first interest on a fine rectangle, cut into slices."""
    population = population_at(SHOP, draws=1, n_rates=120)
    found = interest_slices(population, [some])[0]
    expected = log_expected_interest(population, [some])[:, 0]
    (block,) = some.blocks(len(some))
    ends = zip(block.offsets[:-1], block.offsets[1:], strict=True)
    for row, (start, end) in list(enumerate(ends))[:8]:
        times = block.times[start:end].tolist()
        told = user_posterior(times, block.T[row], SHOP)
        age = block.T[row] - SHOP.restoration * (times[-1] if times else 0.0)
        told = told.assign(log_interest=np.log(told["initial"]) - told["rate"] * age).sort_values("log_interest")
        value, weight = np.maximum(told["log_interest"], math.log(1e-12)), told["weight"]
        below = np.minimum(np.searchsorted(np.cumsum(CHANCES), np.cumsum(weight)), 7)
        slices = (value * weight).groupby(below).sum() / weight.groupby(below).sum()
        # The lowest slice has the long tail of those who fade at once, and a grid of rates to stand for it.
        np.testing.assert_allclose(found[row, 1:], slices[1:], atol=0.1)
        np.testing.assert_allclose(found[row, 0], slices[0], atol=0.35)
        assert expected[row] == pytest.approx(math.log(np.sum(np.exp(value) * weight)), abs=0.01)


@pytest.mark.parametrize("shoulder", [math.inf, 10.0])
def test_slices_of_active_days_are_those_of_draws(shoulder):
    log = read_events(simulated(40, random_seed=6).events)
    days = summarize(log, activity="day")
    population = replace(population_at(SHOP, draws=4_000), activity="day")
    population = replace(population, grid=replace(population.grid, clock=DAYS, shoulder=shoulder))
    drawn = np.sort(np.log(interest_draws(population, days, random_seed=1)), axis=1)
    parts = np.split(np.maximum(drawn, math.log(1e-12)), (4_000 * np.cumsum(CHANCES)[:-1]).astype(int), axis=1)
    by_draws = np.stack([part.mean(axis=1) for part in parts], axis=1)
    found = interest_slices(population.at(0), [days])[0]
    # 125 to 1,000 draws a slice: 0.1 where values lie far apart, as in the lowest one.
    np.testing.assert_allclose(found[:, 1:], by_draws[:, 1:], atol=0.35)
    assert abs(((found - by_draws) @ CHANCES).mean()) < 0.03
    by_mean = np.log(np.exp(drawn).mean(axis=1))
    np.testing.assert_allclose(log_expected_interest(population.at(0), [days])[:, 0], by_mean, atol=0.1)


def test_users_keep_their_places_and_draws_theirs(some):
    """Equal histories are worked on once; two histories follow each other, and so do two populations."""
    two = replace(SHOP, interest=0.5)
    population = population_at(SHOP, draws=1)
    other = population_at(two, draws=1)
    both = replace(
        population,
        **{name: np.concatenate([getattr(p, name) for p in (population, other)]) for name in ("alpha", "sigma")},
        kappa=np.concatenate([population.kappa, other.kappa]),
        rho=np.concatenate([population.rho, other.rho]),
        location=np.concatenate([population.location, other.location], axis=1),
        slope=np.empty((2, 2, 0)),
        regulars=np.zeros((2, 2)),
    )
    few = some.over(some.table.slice(10, 20))
    found = interest_slices(both, [some, few])
    assert found.shape == (2, len(some) + 20, 8)
    np.testing.assert_array_equal(found[:, len(some) :], found[:, 10:30])
    np.testing.assert_allclose(found[0, : len(some)], interest_slices(population, [some])[0])
    np.testing.assert_allclose(found[1, : len(some)], interest_slices(other, [some])[0])
    assert (np.diff(found, axis=2) >= 0).all()


def test_next_to_no_interest_stays_finite(some):
    faded = population_at(replace(SHOP, half_life=0.05, half_life_spread=0.1, restoration=0.0), draws=1)
    found = interest_slices(faded, [some])
    assert found.min() == pytest.approx(math.log(1e-12))
    assert np.isfinite(log_expected_interest(faded, [some])).all()
