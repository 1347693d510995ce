"""Whole days against the law itself: each day active with its own chance, parameters integrated out by brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.history_times import summarize_times
from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model import ahead, days
from bayesdecay.model import grid as grids
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.design import FitData
from bayesdecay.model.grid import Grid
from bayesdecay.model.population import Population
from bayesdecay.model.reference import ReferenceModel
from bayesdecay.model.reference import log_likelihood as reference_loglik
from bayesdecay.model.scoring import ScoreOptions, forecast_counts, score, user_draws
from bayesdecay.model.user_statistics import Statistics, marginal_loglik, statistics
from tests.model.worlds import block_of, population_at

SHOP = Truth(half_life=30, half_life_spread=0.8, interest=0.6, interest_shape=1.2, coupling=0.3, restoration=0.6)
START = pd.Timestamp("2024-01-01")


def silent_sum(times, T, rate, rho):
    """Sum of e^(-r V) over the silent days, and its value on the active ones: day by day."""
    silent, active, last = 0.0, [], 0
    for day in range(1, int(T) + 1):
        interest = np.exp(-rate * (day - rho * last))
        if day in times:
            active.append(interest)
            last = day
        else:
            silent = silent + interest
    return silent, active


def law(times, T, *, rate, initial, rho):
    """Log-likelihood of the days of one user."""
    silent, active = silent_sum(times, T, rate, rho)
    return sum(np.log(-np.expm1(-initial * one)) for one in active) - initial * silent


def simulated_days(initial, rate, rho, T, rng):
    """Active days of a user, one after the other."""
    times, last = [], 0
    for day in range(1, T + 1):
        if rng.random() < -np.expm1(-initial * np.exp(-rate * (day - rho * last))):
            times.append(float(day))
            last = day
    return times


def daily(shop: Truth = SHOP, *, draws: int = 1, n_rates: int = 48) -> Population:
    """A posterior without uncertainty, of active days."""
    grid = Grid.covering(180.0, 1.0, restoration=shop.restoration, n_rates=n_rates, clock="days")
    return replace(population_at(shop, draws=draws), grid=grid, activity="day")


def history_of_days(times, T):
    """History of users 0, 1, ... with these active days since the acquisition, which is T days before the cutoff."""
    at = START + pd.Timedelta(days=max(T))
    acquired = [at - pd.Timedelta(days=own) for own in T]
    instants = {
        user: [first, *(first + pd.Timedelta(days=day) for day in own)]
        for user, (first, own) in enumerate(zip(acquired, times, strict=True))
    }
    return summarize_times(instants, at=at)


def test_an_active_day_is_matched_in_slope_and_curvature():
    x = np.geomspace(0.02, 4.0, 20)  # activities a day
    count = np.array([days._count(own) for own in x])
    step = 1e-4
    low, here, high = (np.log(-np.expm1(-x * np.exp(shift))) for shift in (-step, 0.0, step))
    slope, curvature = (high - low) / (2 * step), (high - 2 * here + low) / step**2
    exposed = count / x - 1.0 / np.expm1(x)
    np.testing.assert_allclose(count - exposed * x, slope, atol=1e-6)
    np.testing.assert_allclose(-exposed * x, curvature, atol=1e-5)
    assert days._count(1e-3) == pytest.approx(1.0, abs=1e-7)


def test_days_of_a_rare_user_are_one_activity_and_half_a_day_each():
    times = [30.0, 90.0, 200.0]
    block = block_of([times, []], [365.0, 10.0])
    n, counted, taken = days.weighed_days(*parts(block))
    assert n.tolist() == [3.0, 0.0]
    np.testing.assert_allclose(counted, 1.0, rtol=1e-3)
    np.testing.assert_allclose(taken, 0.5, atol=0.005)
    grid = Grid(rates=np.array([0.1, 0.2, 0.4]), restorations=np.array([0.0, 0.5, 1.0]), clock="days")
    ageing = Statistics.from_block(block, grid).ageing
    np.testing.assert_allclose(ageing, [[320.0, 260.0, 200.0], [0.0, 0.0, 0.0]], rtol=1e-3)


def parts(block):
    return block.times, block.offsets, block.T


@given(active=st.lists(st.booleans(), min_size=1, max_size=80), rho=st.floats(0, 1), rate=st.floats(1e-6, 2.5))
@settings(max_examples=80, deadline=None)
def test_exposure_is_what_silent_days_and_a_part_of_the_active_ones_leave(active, rho, rate):
    times, T = [float(day) for day in np.flatnonzero(active) + 1], float(len(active))
    block = block_of([times], [T])
    n, _, taken = days.weighed_days(*parts(block))
    assert n[0] == round(n[0])
    assert min(len(times), 1) <= n[0] <= len(times)
    assert np.all((taken >= 0) & (taken <= 1))
    rates = np.array([rate, 2 * rate, 4 * rate])
    grid = Grid(rates=rates, restorations=np.array([rho]), clock="days")
    part = Statistics.from_block(block, grid)
    silent, at_days = silent_sum(times, T, rates, rho)
    expected = silent + sum(((1 - gone) * one for gone, one in zip(taken, at_days, strict=True)), 0.0 * rates)
    np.testing.assert_allclose(part.exposure[0, 0], np.maximum(expected, 1e-5), rtol=1e-8, atol=1e-9)
    # Each day counts the same share of its effective age as of its activity.
    before = np.array([0.0, *times])[: len(times)]
    if times:
        share = part.ageing[0, 0] / np.sum(np.array(times) - rho * before)
        assert 0.3 * n[0] / len(times) < share < 3.0 * n[0] / len(times)


def exact(times, T, shop: Truth, *, window: int):
    """Log-likelihood of a user, and mean and sd of the first interest, log rate and P(return), on a fine rectangle."""
    truth = shop.truth()
    z = np.linspace(-6, 6, 241)[:, None]
    log_initial = np.linspace(-14.0, 4.0, 1_201)[None, :]
    rate, initial = np.exp(truth["mu_log_rate"] + truth["sigma_log_rate"] * z), np.exp(log_initial)
    log_beta = np.log(truth["alpha"]) - truth["mu_log_interest"] - truth["kappa"] * z
    log_prior = -0.5 * z**2 + truth["alpha"] * (log_beta + log_initial) - np.exp(log_beta) * initial
    density = log_prior + law(times, T, rate=rate, initial=initial, rho=shop.restoration)
    total = logsumexp(density)
    weight = np.exp(density - total)
    age = np.arange(T + 1, T + 1 + window) - shop.restoration * (times[-1] if times else 0.0)
    returns = -np.expm1(-initial * np.exp(-rate[..., None] * age).sum(axis=-1))
    mean = np.sum(weight * initial)
    prior = logsumexp(log_prior)
    return {
        "loglik": total - prior,
        "mean": mean,
        "sd": np.sqrt(np.sum(weight * initial**2) - mean**2),
        "p_return": np.sum(weight * returns),
    }


def approximated(times, T, shop: Truth, *, window: int, clock: str = "days"):
    """The same from the marginal model's statistics; the log-likelihood with what :mod:`days` leaves out of it."""
    grid = Grid.covering(180.0, 1.0, restoration=shop.restoration, n_rates=80, clock=clock)
    block, truth, rho = block_of([times], [float(T)]), shop.truth(), shop.restoration
    part, log_rates = Statistics.from_block(block, grid), np.log(grid.rates)
    weight = grids.log_weights(log_rates, truth["mu_log_rate"], truth["sigma_log_rate"])
    shape = {"alpha": truth["alpha"], "kappa": truth["kappa"], "sigma_r": truth["sigma_log_rate"]}
    log_beta = grids.log_beta(log_rates, (truth["mu_log_rate"], truth["mu_log_interest"]), shape)
    alpha = truth["alpha"]
    loglik = marginal_loglik(part, grid, weight, log_beta, alpha=alpha, rho=rho)[0]
    age = part.ageing[0, 0]
    shape_u, scale = alpha + part.n[0], np.exp(log_beta) + part.exposure[0, 0]
    share = weight + alpha * log_beta - grid.rates * age - shape_u * np.log(scale)
    share = np.exp(share - logsumexp(share))
    mean = share @ (shape_u / scale)
    left = np.exp(-grid.rates * (T - rho * (times[-1] if times else 0.0))) * -np.expm1(-grid.rates * window)
    return {
        "loglik": loglik + constant(block),
        "mean": mean,
        "sd": np.sqrt(share @ (shape_u * (shape_u + 1) / scale**2) - mean**2),
        "p_return": 1 - share @ (1 + left * grid.forever / scale) ** -shape_u,
    }


def constant(block) -> float:
    """What the tangents of log(1 - e^-x) leave out, the same for all parameters."""
    busy = np.empty(block.times.size)
    total = days._activities(block.times, block.T[0], busy)
    n, _, taken = days.weighed_days(*parts(block))
    count = np.array([days._count(own) for own in busy]) * n[0] / max(total, 1e-300)
    return float(np.sum(np.log(-np.expm1(-busy)) - count * np.log(busy) + (1 - taken) * busy))


# First interest a day; how far off the log-likelihood [nats], mean and sd (parts of them) and P(return) may be; and by
# how much of the mean the clock of instants is off, at least.
@pytest.mark.parametrize(
    ("initial", "loglik", "mean", "sd", "p_return", "instants"),
    [
        (0.02, 0.01, 0.005, 0.01, 0.001, 0.0),
        (0.2, 0.05, 0.02, 0.03, 0.002, 0.05),
        (0.6, 0.1, 0.03, 0.05, 0.004, 0.2),
        (1.5, 0.3, 0.08, 0.1, 0.006, 0.4),
        (4.0, 0.6, 0.12, 0.35, 0.006, 0.9),
    ],
)
def test_users_of_all_kinds_beside_the_exact_likelihood(initial, loglik, mean, sd, p_return, instants):
    rng = np.random.default_rng(5)
    apart = []
    for half_life in (25.0, 1e4):
        for T in (45, 100):
            times = simulated_days(initial, np.log(2) / half_life, SHOP.restoration, T, rng)
            one, other = (way(times, T, SHOP, window=7) for way in (exact, approximated))
            assert abs(one["loglik"] - other["loglik"]) < loglik
            assert abs(np.log(other["mean"] / one["mean"])) < mean
            assert abs(np.log(other["sd"] / one["sd"])) < sd
            assert abs(other["p_return"] - one["p_return"]) < p_return
            naive = approximated(times, T, SHOP, window=7, clock="instants") if times else other
            apart.append(abs(np.log(naive["mean"] / one["mean"])))
    assert max(apart) >= instants


@pytest.mark.parametrize("rho", [0.0, 0.45, 1.0])
def test_reference_likelihood_is_the_law_of_days(rho):
    histories, ends = [[], [1.0, 2.0], [], [1.0, 4.0, 30.0]], [0.0, 9.0, 40.0, 33.0]
    rate, initial = np.array([0.01, 0.2, 3.0, 0.05]), np.array([0.3, 1.0, 0.01, 2.0])
    block = block_of(histories, ends)
    found = reference_loglik(block, pt.constant(initial), pt.constant(rate), rho, clock="days").eval()
    rows = zip(histories, ends, rate, initial, strict=True)
    expected = sum(law(times, T, rate=r, initial=i, rho=rho) for times, T, r, i in rows)
    assert float(found) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("rho", [0.0, 0.6, 1.0])
def test_counts_of_days_are_those_of_a_walk_day_by_day(rho):
    size, initial, rate, length = 20_000, 1.2, 0.05, 30
    rng = np.random.default_rng(3)
    after = np.full(size, initial) * rate / np.expm1(rate)  # when the day of the acquisition ends
    law = (np.full(size, rate), np.full(size, rho), np.full(size, np.inf))
    counts = ahead.count_activities(after, *law, float(length), True, rng)
    last, walked = np.zeros(size), np.zeros(size)
    for day in range(1, length + 1):
        active = rng.random(size) < -np.expm1(-initial * np.exp(-rate * (day - rho * last)))
        last[active] = day
        walked += active
    assert counts.max() <= length
    error = np.sqrt((counts.var() + walked.var()) / size)
    assert counts.mean() == pytest.approx(walked.mean(), abs=4 * error)
    assert counts.var() == pytest.approx(walked.var(), rel=0.06)


def test_scores_of_a_user_of_days_by_brute_force():
    times, T = [1.0, 2.0, 3.0, 7.0, 8.0, 15.0, 22.0], 40
    one = exact(times, T, SHOP, window=7)
    options = ScoreOptions(horizons={"week": "7d"}, random_seed=1)
    history = history_of_days([times], [T])
    table = score(daily(draws=1_000), history, options).to_pandas()
    assert table["p_return_week"][0] == pytest.approx(one["p_return"], abs=0.002)
    forecast = forecast_counts(daily(draws=1_000), history, "7d", random_seed=2)
    assert forecast.pmf.shape[1] <= 8  # a day is active once
    assert forecast.pmf[0, 0] == pytest.approx(1 - one["p_return"], abs=0.02)
    drawn = user_draws(daily(draws=1_000), history, options)
    assert float(drawn["p_return"].mean()) == pytest.approx(one["p_return"], abs=0.01)
    # Interest is told as the cutoff's day ends: its integral over the first day after is that day's own interest.
    first_day = score(daily(draws=50), history, ScoreOptions(horizons={"d": "1d"}, random_seed=1)).to_pandas()
    assert first_day["p_return_d"][0] == pytest.approx(exact(times, T, SHOP, window=1)["p_return"], abs=0.002)


def test_many_active_days_are_forecast_once_a_day():
    history = history_of_days([list(np.arange(1.0, 61.0))], [60])
    forecast = forecast_counts(daily(draws=2_000), history, "10d", random_seed=2)
    assert forecast.pmf.shape[1] == 11
    assert 8.5 < forecast.pmf[0] @ np.arange(11) < 10.0


@pytest.fixture(scope="module")
def busy():
    """A shop whose users come on most days, counted by days, and its truth."""
    drawn = simulate(2_000, population=SHOP, observed="180d", resolution="day", random_seed=4)
    return summarize(read_events(drawn.events), at=drawn.end)


@pytest.fixture(scope="module")
def fit(busy):
    return DecayModel(rates=64).fit(busy, method="laplace", random_seed=1)


def test_a_log_of_days_tells_the_truth_of_continuous_time(fit):
    assert fit.verdict.converged
    posterior, truth = fit.idata["posterior"], SHOP.truth()
    off = {
        name: float(posterior[name].mean() - truth[name]) / float(posterior[name].std())
        for name in ("mu_log_rate", "sigma_log_rate", "mu_log_interest", "kappa", "alpha", "rho")
    }
    assert max(map(abs, off.values())) < 3.5, off  # with the clock of instants up to 40


def test_the_clock_follows_the_unit_of_activity_and_is_kept_in_the_fit(fit, busy, tmp_path):
    from bayesdecay.model.posterior import read_tree

    assert fit.population(2).grid.clock == "days"
    read = read_tree(fit.save(tmp_path / "fit.nc"))
    assert Population.of(read).scoring_grid().clock == "days"
    del read["constant_data"]["rate"].attrs["clock"]  # as in a fit made before there were two clocks
    assert Population.of(read).grid.clock == "instants"
    assert DecayModel(clock="instants").grid(busy).clock == "instants"
    sessions = replace(busy, activity="session")
    assert DecayModel().grid(sessions).clock == "instants"
    with pytest.raises(
        ValueError, match="clock='days' is for active days, the history's unit of activity is the session"
    ):
        DecayModel(clock="days").grid(sessions)
    for model in (DecayModel, ReferenceModel):
        with pytest.raises(ValueError, match="unknown clock 'day'; did you mean 'days'"):
            model(clock="day")


def test_built_likelihood_counts_days_as_the_plain_one(busy):
    model = DecayModel(restoration=0.6, coupling=0.3)
    data, grid = FitData.of(busy), model.grid(busy)
    part = Statistics.from_block(data.block, grid)
    above = data.n_above(grid)
    assert above[0] == data.weight @ (part.n > 0)
    assert above.sum() == pytest.approx(data.weight @ part.n)
    assert part.n.sum() < data.block.n.sum()


def test_statistics_of_days_add_up_users_and_not_their_order(busy):
    grid = DecayModel(restoration=0.6).grid(busy)
    one, other = busy.select([5, 9]), busy.select([9])
    found, alone = (statistics(part, grid) for part in (one, other))
    np.testing.assert_array_equal(found["E"].sel(user=9), alone["E"].sel(user=9))
    assert found["n"].dtype == np.int64
