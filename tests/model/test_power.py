"""The power law: compiled formulas against quadrature and sums, users against a walk, a fit against the truth."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from bayesdecay import DecayModel, ReferenceModel, curves, load, read_events, simulate
from bayesdecay.data.history import summarize
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model import ahead, pace, power
from bayesdecay.model.grid import Grid
from bayesdecay.model.past_counts import tally_replicated
from bayesdecay.model.reference import log_likelihood
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import ScoreOptions, forecast_counts, score, user_draws
from bayesdecay.model.user_statistics import Statistics, marginal_loglik, weighed
from tests.model.worlds import block_of, history_of, population_at

SHOULDERS = (3.0, 30.0, 400.0)
TIMES, END = [2.0, 3.0, 11.0, 40.0, 41.0], 75.0
SHOP = Truth(half_life=8, half_life_spread=0.8, interest=0.6, interest_shape=1.2, restoration=0.7, shoulder=12)


def left(rate, age, shoulder):
    return (1.0 + age / shoulder) ** (-rate * shoulder)


@pytest.mark.parametrize("shoulder", SHOULDERS)
@pytest.mark.parametrize("rate", [1e-5, 1 / 30.0, 0.5, 2.0])
def test_curves_are_those_of_the_law_from_any_age_on(rate, shoulder):
    for age in (0.0, 4.0, 60.0):
        now = left(rate, age, shoulder)
        local = (curves.rate_after(rate, age, shoulder), curves.shoulder_after(age, shoulder))
        later = curves.interest_after(now, local[0], 9.0, local[1])
        assert later == pytest.approx(left(rate, age + 9.0, shoulder), rel=1e-12)
        whole, _ = quad(lambda v: left(rate, v, shoulder), age, age + 25.0, epsabs=0.0, epsrel=1e-10)
        assert now * curves.decayed_time(local[0], 25.0, local[1]) == pytest.approx(whole, rel=1e-9)
        half = curves.half_life(*local)
        assert np.isinf(half) or curves.interest_after(1.0, local[0], half, local[1]) == pytest.approx(0.5)
        exposure = 0.4 * curves.decayed_time(local[0], 3.0, local[1])
        assert curves.return_time(0.4, local[0], exposure, local[1]) == pytest.approx(3.0, rel=1e-6)
        assert power.wait(exposure, 0.4, *local) == pytest.approx(3.0, rel=1e-6)


def test_a_far_shoulder_is_the_exponential_law():
    rate = np.array([0.001, 0.05, 1.0])
    for found, expected in (
        (curves.decayed_time(rate, 30.0, 1e13), curves.decayed_time(rate, 30.0)),
        (curves.half_life(rate, 1e13), curves.half_life(rate)),
        (curves.lasting(rate, 1e13), 1.0 / rate),
        (curves.return_time(0.5, rate, 0.2, 1e13), curves.return_time(0.5, rate, 0.2)),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_over_all_time_a_slow_tail_has_no_bound():
    assert curves.lasting(0.5, 4.0) == pytest.approx(quad(lambda v: left(0.5, v, 4.0), 0.0, np.inf)[0])
    assert curves.lasting(np.array([0.2, 0.25]), 4.0).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("shoulder", SHOULDERS)
@pytest.mark.parametrize("rho", [0.0, 0.6, 1.0])
def test_statistics_of_instants_are_integrals(rho, shoulder):
    grid = Grid(rates=np.geomspace(1e-4, 2.9, 12), restorations=np.array([rho]), shoulder=shoulder)
    part = Statistics.from_block(block_of([TIMES], [END]), grid)
    gaps = [*pairwise([0.0, *TIMES]), (TIMES[-1], END)]
    expected = [
        sum(quad(lambda t, r=rate, start=a: left(r, t - rho * start, shoulder), a, b, epsabs=1e-12)[0] for a, b in gaps)
        for rate in grid.rates
    ]
    np.testing.assert_allclose(part.exposure[0, 0], expected, rtol=1e-7)
    aged = sum(shoulder * np.log1p((b - rho * a) / shoulder) for a, b in gaps[:-1])
    assert part.ageing[0, 0] == pytest.approx(aged, rel=1e-12)
    assert part.n[0] == 5.0


@pytest.mark.parametrize("shoulder", SHOULDERS)
@pytest.mark.parametrize("rho", [0.0, 0.6, 1.0])
def test_statistics_of_days_are_sums_over_days(rho, shoulder):
    rates = np.geomspace(1e-4, 1.5, 12)
    grid = Grid(rates=rates, restorations=np.array([rho]), shoulder=shoulder, clock="days")
    block = block_of([TIMES], [END])
    n, counted, taken = weighed(block, "days")
    part = Statistics.from_block(block, grid)
    last, exposure, ageing = 0.0, np.zeros(rates.size), 0.0
    for day in np.arange(1.0, END + 1.0):
        of_day = left(rates, day - rho * last, shoulder)
        exposure += of_day
        if day in TIMES:
            j = TIMES.index(day)
            exposure -= taken[j] * of_day
            ageing += counted[j] * shoulder * np.log1p((day - rho * last) / shoulder)
            last = day
    np.testing.assert_allclose(part.exposure[0, 0], exposure, rtol=2e-4)
    np.testing.assert_allclose(part.exposure[0, 0, :8], exposure[:8], rtol=1e-7)
    assert part.ageing[0, 0] == pytest.approx(ageing, rel=1e-12)
    assert part.n[0] == n[0]


@pytest.mark.parametrize("clock", ["instants", "days"])
def test_the_reference_model_has_the_same_law(clock):
    rate, initial, rho, shoulder = np.array([0.2, 0.03]), np.array([0.5, 0.1]), 0.6, 15.0
    block = block_of([TIMES, []], [END, 30.0])
    found = log_likelihood(block, initial, rate, rho, clock=clock, shoulder=shoulder).eval()
    expected = 0.0
    for r, i0, times, end in zip(rate, initial, (TIMES, []), (END, 30.0), strict=True):
        gaps = [*pairwise([0.0, *times]), (times[-1] if times else 0.0, end)]
        if clock == "instants":
            expected += sum(np.log(i0 * left(r, b - rho * a, shoulder)) for a, b in gaps[:-1])
            expected -= sum(
                i0 * quad(lambda t, start=a, r=r: left(r, t - rho * start, shoulder), a, b)[0] for a, b in gaps
            )
            continue
        for a, b in gaps:
            for day in np.arange(a + 1, b + 1):
                interest = i0 * left(r, day - rho * a, shoulder)
                expected += np.log(-np.expm1(-interest)) if day in times else -interest
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def drawn():
    return simulate(2_000, population=SHOP, acquired_within="60d", observed="180d", random_seed=4)


@pytest.fixture(scope="module")
def history(drawn):
    return history_of(drawn)


def test_scores_are_those_of_users_walked_ahead_by_thinning(drawn, history):
    """A simulated log's own future: what was expected and what came."""
    early = summarize_until(drawn, "2024-03-31")
    options = ScoreOptions(horizons=["20d", "60d"], random_seed=1)
    table = score(population_at(SHOP, draws=200), early, options).to_pandas()
    log = drawn.events.merge(table[["user"]])
    since = (log["time"] - early.at) / pd.Timedelta(days=1)
    for label, length in (("20d", 20.0), ("60d", 60.0)):
        came = log["user"][(since > 0) & (since <= length)]
        p, seen = table[f"p_return_{label}"], table["user"].isin(came)
        assert p.sum() == pytest.approx(seen.sum(), abs=3.5 * np.sqrt((p * (1 - p)).sum()))
        number, low, high = (table[f"activities_{label}{end}"] for end in ("", "_lower", "_upper"))
        counts = table["user"].map(came.value_counts()).fillna(0)
        assert number.sum() == pytest.approx(counts.sum(), rel=0.12)
        assert 0.88 < ((low <= counts) & (counts <= high)).mean() <= 1.0


def summarize_until(drawn, at):
    return history_of(drawn, at=at)


def test_probabilities_are_those_of_the_draws_and_halves_are_of_the_interest_now(history):
    some = history.select(history.table["user"].to_pylist()[:60])
    population = population_at(SHOP, draws=4_000)
    options = ScoreOptions(horizons=["7d", "90d"], silent=["30d"], random_seed=2)
    table, draws = score(population, some, options).to_pandas(), user_draws(population, some, options)
    for h, label in enumerate(("7d", "90d")):
        mean = draws["p_return"].isel(horizon=h).mean("sample").to_numpy()
        np.testing.assert_allclose(table[f"p_return_{label}"], mean, atol=0.03)
    block = next(some.blocks())
    shoulder = SHOP.shoulder_days + block.T - SHOP.restoration * block.last
    interest, rate = (draws[name].to_numpy() for name in ("interest", "rate"))
    np.testing.assert_allclose(
        table["interest_after_30d"], curves.interest_after(interest, rate, 30.0, shoulder).mean(axis=0), rtol=0.05
    )
    half = np.median(curves.half_life(rate, shoulder), axis=0)
    apart = np.log(table["half_life"] / half)  # the table's draws lie anywhere in their cells
    assert abs(apart.mean()) < 0.05
    assert apart.abs().max() < 0.6
    never = np.exp(-interest * curves.lasting(rate, shoulder)).mean(axis=0)
    np.testing.assert_allclose(table["p_never"], never, atol=0.03)
    assert (table["p_never"] <= 1 - table["p_return_90d"] + 1e-6).all()


def test_shocks_act_on_the_stretches_they_are_of():
    ends, shock, found = np.array([7.0, 30.0]), np.array([2.0, 0.5]), np.empty(2)
    ahead.time_ahead(0.1, 20.0, ends, shock, found)
    first, second = (quad(lambda v: left(0.1, v, 20.0), a, b)[0] for a, b in ((0.0, 7.0), (7.0, 30.0)))
    np.testing.assert_allclose(found, [2 * first, 2 * first + 0.5 * second], rtol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.7, 1.0])
def test_counts_of_days_are_those_of_a_walk_day_by_day(rho):
    size, initial, rate, shoulder, length = 20_000, 0.9, 0.12, 9.0, 30
    rng = np.random.default_rng(3)
    law = (np.full(size, rate), np.full(size, rho), np.full(size, shoulder))
    counts = ahead.count_activities(np.full(size, initial), *law, float(length), True, rng)
    last, walked = np.zeros(size), np.zeros(size)
    for day in range(1, length + 1):
        active = rng.random(size) < -np.expm1(-initial * left(rate, day - rho * last, shoulder))
        last[active] = day
        walked += active
    error = np.sqrt((counts.var() + walked.var()) / size)
    assert counts.mean() == pytest.approx(walked.mean(), abs=4 * error)
    assert counts.std() == pytest.approx(walked.std(), rel=0.03)


def test_pace_of_the_truth_is_even(history):
    found = pace.pace_of(population_at(SHOP, draws=4), history)
    assert found.seen.sum() == history.table["n"].to_numpy().sum()
    deviation = (found.seen - found.expected) / np.sqrt(found.expected)
    assert np.square(deviation).mean() == pytest.approx(1.0, abs=0.6)
    assert found.seen.sum() == pytest.approx(found.expected.sum(), abs=4 * np.sqrt(found.expected.sum()))


def test_the_past_is_replicated_by_the_law(history):
    cuts = np.array([5.0, 20.0])
    users = tally_replicated(population_at(SHOP, draws=3), history, cuts, cuts, np.random.default_rng(1)).users
    number = (users * np.arange(users.shape[1])).sum(axis=1)
    assert number.mean() == pytest.approx(history.table["n"].to_numpy().sum(), rel=0.08)


def test_days_of_a_forecast_agree_with_a_walk_of_days(drawn):
    """By days, with the truth as the posterior: totals of a forecast beside what came."""
    events = drawn.events.assign(time=drawn.events["time"].dt.normalize()).drop_duplicates()
    log = read_events(events)
    early = summarize(log, at="2024-03-31")
    fit = DecayModel(shoulder=12).fit(early, method="laplace", random_seed=1)
    assert fit.verdict.converged
    population = fit.population(200)
    assert population.grid.is_power
    assert population.grid.clock == "days"
    forecast = forecast_counts(population, early, "60d", random_seed=1)
    counted = summarize(log, at="2024-05-30").table["n"].to_numpy()
    known = dict(zip(early.table["user"].to_pylist(), early.table["n"].to_pylist(), strict=True))
    later = summarize(log, at="2024-05-30").table
    pairs = zip(later["user"].to_pylist(), counted, strict=True)
    seen = sum(n - known[user] for user, n in pairs if user in known)
    low, high = np.quantile(forecast.total, [0.005, 0.995])
    assert low < seen < high


def test_a_fit_finds_the_truth_and_likes_its_own_shoulder(history):
    fits = {
        shoulder: DecayModel(shoulder=shoulder).fit(history, method="laplace", random_seed=1)
        for shoulder in (12, np.inf)
    }
    assert all(fit.verdict.converged for fit in fits.values())
    told = fits[12].summary()
    truth = SHOP.truth()
    inside = [
        (name, told.loc[name, "5 %"] <= truth[name] <= told.loc[name, "95 %"])
        for name in ("mu_log_rate", "sigma_log_rate", "mu_log_interest", "alpha", "kappa", "rho")
    ]
    assert sum(found for _, found in inside) >= 4, inside
    mean = float(fits[12].idata["posterior"]["mu_log_rate"].mean())
    assert mean == pytest.approx(truth["mu_log_rate"], abs=0.3)
    likelihood = {}
    for shoulder, fit in fits.items():
        population = fit.population(1)
        block = next(history.blocks(len(history)))
        part = Statistics.from_block(block, replace(population.grid, restorations=population.rho))
        design, log_weight, log_beta = population.designs(block)
        grid = replace(population.grid, restorations=population.rho)
        own = {"alpha": population.alpha[0], "rho": population.rho[0]}
        each = marginal_loglik(part, grid, log_weight[design, 0], log_beta[design, 0], **own)
        likelihood[shoulder] = each.sum()
    assert likelihood[12] > likelihood[np.inf] + 5.0


def test_the_reference_and_the_marginal_model_agree():
    shop = simulate(60, population=SHOP, acquired_within="10d", observed="90d", random_seed=2)
    few = history_of(shop)
    sampling = Sampling(draws=400, tune=400, chains=2)
    marginal = DecayModel(shoulder=12, restoration=0.7).fit(few, sampling=sampling, random_seed=1)
    whole = ReferenceModel(shoulder=12, restoration=0.7).fit(few, sampling=sampling, random_seed=1)
    for name in ("mu_log_rate", "mu_log_interest", "sigma_log_rate"):
        one, other = (fit.idata["posterior"][name].to_numpy() for fit in (marginal, whole))
        assert one.mean() == pytest.approx(other.mean(), abs=0.45 * one.std())


def test_a_saved_fit_keeps_its_law(history, tmp_path):
    some = history.select(history.table["user"].to_pylist()[:300])
    fit = DecayModel(shoulder="12d", restoration=0.7).fit(some, method="laplace", random_seed=1)
    read = load(fit.save(tmp_path / "fit.nc"))
    assert read.population(2, allow_unconverged=True).grid.shoulder == 12.0


def test_a_shoulder_is_a_time_above_zero():
    with pytest.raises(ValueError, match="shoulder must be above zero, got '0d'"):
        DecayModel(shoulder="0d")
    with pytest.raises(ValueError, match="shoulder must be finite and above zero"):
        Truth(shoulder=0)


def described(fit) -> dict:
    return json.loads(fit.idata.attrs["model"])


def test_the_log_says_which_law_it_follows(history):
    fit = DecayModel().fit(history, method="laplace", random_seed=1)
    told = described(fit)
    assert told["log_bayes_factor_of_power_law"] > math.log(20)
    assert told["shoulder"] == fit.population(1).grid.shoulder
    assert abs(math.log(told["shoulder"] / 12.0)) < 4 * told["log_shoulder_sd"]
    assert 0.0 < told["log_shoulder_sd"] < 1.0


def test_a_log_that_fades_exponentially_is_told_so():
    shop = simulate(800, population=replace(SHOP, shoulder=None), acquired_within="60d", observed="180d", random_seed=4)
    fit = DecayModel().fit(history_of(shop), method="laplace", random_seed=1)
    told = described(fit)
    assert told["log_bayes_factor_of_power_law"] < math.log(20)
    assert "shoulder" not in told
    assert not fit.population(1).grid.is_power
