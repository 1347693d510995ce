"""Activities seen and expected by period, and what is learned of them, each by a second road."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayesdecay.data.simulate import simulate
from bayesdecay.model.pace import Pace, pace_of, period_length
from bayesdecay.model.pace_fit import draw_shocks, fit_pace
from bayesdecay.model.prior import DECAY_PRIORS, Prior
from bayesdecay.model.shocks import SEED, paths, segments
from tests.model.worlds import SHOP, history_of, population_at, simulated, user_posterior

MICROSECONDS_PER_DAY = 86_400_000_000


def own_times(history, row):
    return (np.array(history.table["times"][row].as_py()) / MICROSECONDS_PER_DAY).tolist()


@pytest.mark.parametrize("place", [0, 5])
def test_expected_activities_are_the_integral_of_the_expected_intensity(few, place):
    row = np.flatnonzero(few.table["n"].to_numpy() == 3)[place]
    one = few.over(few.table.slice(row, 1))
    times, T = own_times(one, 0), one.table["T"][0].as_py()
    found = pace_of(population_at(SHOP, draws=1, n_rates=160), one)
    assert found.length == 7.0
    assert found.seen.sum() == len(times) > 0
    for back in (0, 3):
        start, end = T - 7.0 * (back + 1), T - 7.0 * back
        borders = [max(start, 0.0), *(t for t in times if start < t < end), end]
        total = 0.0
        for begin, stop in pairwise(borders):
            # Simpson's rule on what somebody who knows the shop expects at each instant.
            points = np.linspace(begin, stop, 5)
            total += (
                np.array([1, 4, 2, 4, 1])
                @ [expected_intensity([own for own in times if own <= begin], t) for t in points]
                * (stop - begin)
                / 12
            )
        assert found.expected[-1 - back] == pytest.approx(total, rel=2e-3)


def expected_intensity(past: list[float], at: float) -> float:
    """Mean of the intensity at ``at``, what happened until then being known."""
    exact = user_posterior(past, at, SHOP, size=400)
    faded = np.exp(-exact["rate"] * (at - SHOP.restoration * (past[-1] if past else 0.0)))
    return float(exact["weight"] @ (exact["initial"] * faded))


def test_a_shop_of_even_pace_shows_what_was_expected():
    shop = replace(SHOP, half_life=60.0)
    found = pace_of(population_at(shop, draws=1), history_of(simulated(3_000, shop=shop, random_seed=5)))
    z = (found.seen - found.expected) / np.sqrt(found.expected)
    assert abs(z.sum()) < 4 * np.sqrt(z.size)
    assert 0.5 < np.square(z).mean() < 1.8


def test_a_busy_week_stands_out():
    drawn = simulate(3_000, population=SHOP, pace=[1.0] * 14 + [1.6, 0.5], observed="112d", random_seed=4)
    found = pace_of(population_at(SHOP, draws=1, longest=112.0), history_of(drawn))
    ratio, error = found.seen / found.expected, 1 / np.sqrt(found.expected)
    assert ratio[-4:] == pytest.approx([1.0, 1.0, 1.6, 0.5], abs=4 * error[-4:].max())


def test_periods_follow_the_length_of_the_log():
    assert [period_length(longest) for longest in (20.0, 100.0, 700.0, 1_500.0)] == [1.0, 7.0, 7.0, 28.0]


def test_two_periods_by_quadrature():
    """The posterior of the level on two periods, the standard deviations known, against the integral over both."""
    pace = Pace(length=7.0, seen=np.array([14.0, 31.0]), expected=np.array([20.0, 22.0]))
    found = fit_pace(pace, DECAY_PRIORS)
    cell = np.argmax((found.walk > 0.1) & (found.week > 0.15))
    share = pace.expected / pace.expected.sum()
    # Levels less their mean: the walk's one step, seen from both of its ends.
    sides = np.array([-share[1], share[0] + share[1] - share[1]])
    covariance = found.walk[cell] ** 2 * np.outer(sides, sides) + found.week[cell] ** 2 * np.eye(2)
    axis = np.linspace(-2.5, 2.5, 401)
    theta = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    density = multivariate_normal(cov=covariance).pdf(theta)
    density *= np.exp((pace.seen * theta - pace.expected * np.exp(theta)).sum(axis=-1) - 20.0)
    # Given both periods, the level is normal: E[m | theta] is linear in theta.
    gain = found.walk[cell] ** 2 * sides[1] * sides @ np.linalg.inv(covariance)
    left = found.walk[cell] ** 2 * sides[1] ** 2 - found.walk[cell] ** 2 * sides[1] * gain @ sides
    weight, means = density / density.sum(), theta @ gain
    mean = (weight * means).sum()
    spread = np.sqrt(left + (weight * (means - mean) ** 2).sum())
    assert found.level[cell] == pytest.approx(mean, abs=0.005)
    assert found.spread[cell] == pytest.approx(spread, rel=0.02)
    other = np.argmax((found.walk > 0.02) & (found.week > 0.05))
    prior = [
        np.log(DECAY_PRIORS[name].frozen().pdf(v))
        for name, v in (("sigma_walk", found.walk), ("sigma_week", found.week))
    ]
    # The prior's density is even in the logarithm of the values, which the grid is even in.
    prior_mass = prior[0] + prior[1] + np.log(found.walk * found.week)
    evidence = [_evidence(found, own, pace, sides, theta) for own in (cell, other)]
    ours = np.log(found.weight) - prior_mass
    assert ours[cell] - ours[other] == pytest.approx(evidence[0] - evidence[1], abs=0.01)


def _evidence(found, cell, pace, sides, theta):
    covariance = found.walk[cell] ** 2 * np.outer(sides, sides) + found.week[cell] ** 2 * np.eye(2)
    density = multivariate_normal(cov=covariance).pdf(theta)
    return np.log((density * np.exp((pace.seen * theta - pace.expected * np.exp(theta)).sum(axis=-1))).sum())


def test_what_is_learned_holds_what_is_true():
    """Over shops drawn from the priors, 90 % intervals hold the standard deviations and the future's mean pace."""
    rng, weeks, ahead, ranks = np.random.default_rng(3), 30, 20, []
    for _ in range(50):
        walk, week = (DECAY_PRIORS[name].frozen().rvs(random_state=rng) for name in ("sigma_walk", "sigma_week"))
        level = np.cumsum(walk * rng.standard_normal(weeks + ahead))
        level -= level[:weeks].mean()
        own = level + week * rng.standard_normal(weeks + ahead)
        own[weeks:] -= (walk**2 * np.arange(1, ahead + 1) + week**2) / 2
        expected = np.full(weeks, 300.0)
        found = fit_pace(
            Pace(length=7.0, seen=rng.poisson(expected * np.exp(own[:weeks])) * 1.0, expected=expected), DECAY_PRIORS
        )
        drawn = draw_shocks(found, (1, 400), rng).isel(chain=0).rename(draw="sample")
        future = segments(paths(drawn, drawn.attrs[SEED]), 0.0, np.array([7.0 * ahead]))
        truth = (walk, week, np.exp(own[weeks:]).mean())
        draws = (drawn["sigma_walk"], drawn["sigma_week"], future[:, 0])
        ranks.append([float(np.mean(np.asarray(own) < value)) for own, value in zip(draws, truth, strict=True)])
    inside = np.mean(np.abs(np.array(ranks) - 0.5) < 0.45, axis=0)
    # Four standard errors of 50 trials of 0.9 are 0.17.
    assert np.all(inside > 0.73)
    assert np.abs(np.mean(ranks, axis=0) - 0.5).max() < 4 * np.sqrt(1 / 12 / 50)


def test_the_first_few_users_are_no_shop():
    pace = Pace(length=7.0, seen=np.array([0.0] * 6 + [400.0] * 20), expected=np.array([5.0] * 6 + [400.0] * 20))
    whole = fit_pace(pace, DECAY_PRIORS)
    later = fit_pace(Pace(length=7.0, seen=pace.seen[6:], expected=pace.expected[6:]), DECAY_PRIORS)
    assert whole.weight @ whole.walk == pytest.approx(later.weight @ later.walk, rel=1e-9)


def test_nothing_seen_leaves_the_priors():
    found = fit_pace(Pace(length=1.0, seen=np.zeros(1), expected=np.array([0.5])), DECAY_PRIORS)
    for name, values in (("sigma_walk", found.walk), ("sigma_week", found.week)):
        median = np.exp(found.weight @ np.log(values))
        assert median == pytest.approx(DECAY_PRIORS[name].frozen().median(), rel=0.05)
    assert found.weight @ found.spread < 0.05


def test_priors_are_the_users():
    pace = Pace(length=7.0, seen=np.full(20, 100.0), expected=np.full(20, 100.0))
    still = Prior(distribution="LogNormal", parameters={"mu": np.log(1e-4), "sigma": 0.1})
    found = fit_pace(pace, {**DECAY_PRIORS, "sigma_walk": still, "sigma_week": still})
    assert max(found.walk.max(), found.week.max()) < 2e-4
