"""Paths of what all users share, and the scores and totals made with them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.integrate import quad

from bayesdecay import curves
from bayesdecay.data.calendar import Calendar
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model import ahead
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.posterior import read_tree, write_tree
from bayesdecay.model.scoring import ScoreOptions, forecast_counts, forecast_totals, score, user_draws
from bayesdecay.model.shocks import SHOCKS, paths, segments
from tests.model.worlds import SHOP, history_of, population_at, simulated, user_posterior


def sample(size: int, walk: float, week: float, level: float = 0.0) -> xr.Dataset:
    values = {"sigma_walk": walk, "sigma_week": week, "log_level": level}
    return xr.Dataset({name: ("sample", np.full(size, value)) for name, value in values.items()})


def with_path(population, path, at):
    return replace(population, path=np.broadcast_to(path, (population.size, len(path))).copy(), fitted_at=at)


def test_paths_have_mean_one_and_the_walks_variance():
    path = paths(sample(40_000, 0.04, 0.1), seed=1)
    logs = np.log(path)
    for week in (0, 25, 99):
        variance = 0.04**2 * (week + 1) + 0.1**2
        assert path[:, week].mean() == pytest.approx(1.0, abs=4 * np.sqrt(np.expm1(variance) / 40_000))
        assert logs[:, week].var() == pytest.approx(variance, rel=0.03)
    both = np.cov(logs[:, 10], logs[:, 60])[0, 1]
    assert both == pytest.approx(0.04**2 * 11, rel=0.1)


def test_what_is_known_of_the_level_fades():
    ratio = paths(sample(3, 0.04, 0.1, 0.2), seed=1) / paths(sample(3, 0.04, 0.1), seed=1)
    np.testing.assert_allclose(ratio[:, [3, 7, 200]], np.exp([[0.1, 0.05, 0.0]] * 3), atol=1e-9)


def test_segments_are_means_over_time():
    path = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 6.0]])
    found = segments(path, 3.0, np.array([2.0, 10.0, 30.0]))
    days = np.repeat(path, 7, axis=1)
    later = np.repeat(path[:, -1:], 40, axis=1)
    days = np.concatenate([days, later], axis=1)
    expected = [days[:, 3 + a : 3 + b].mean(axis=1) for a, b in ((0, 2), (2, 10), (10, 30))]
    np.testing.assert_allclose(found, np.array(expected).T)


def test_integral_of_the_intensity_under_shocks():
    ends, shock, rate = np.array([5.0, 12.0, 60.0]), np.array([[1.5, 0.5, 2.0], [1.0, 1.0, 1.0]]), 0.07
    found = ahead.shocked_time(np.array([rate]), ends, shock)[:, 0]
    for s in range(2):
        for h, end in enumerate(ends):
            integral, _ = quad(
                lambda t, s=s: np.exp(-rate * t) * shock[s, np.searchsorted(ends, t)], 0, end, points=[5.0, 12.0]
            )
            assert found[h, s] == pytest.approx(integral, rel=1e-7)
    np.testing.assert_allclose(found[:, 1], curves.decayed_time(rate, ends))


@pytest.mark.parametrize("row", [0, 40])
def test_one_user_under_a_known_shock_by_brute_force(few, row):
    one = few.over(few.table.slice(row, 1))
    times, T = (np.array(one.table["times"][0].as_py()) / 86_400_000_000).tolist(), one.table["T"][0].as_py()
    exact = user_posterior(times, T, SHOP)
    interest = exact["initial"] * np.exp(-exact["rate"] * (T - SHOP.restoration * (times[-1] if times else 0.0)))
    population = with_path(population_at(SHOP, draws=200, n_rates=240), [2.0, 0.5], few.at)
    # Given in any order, and one of them twice.
    options = ScoreOptions(horizons={"month": 28.0, "week": 7.0, "four weeks": 28.0}, random_seed=1)
    found = score(population, one, options).to_pandas()
    week = 2.0 * curves.decayed_time(exact["rate"], 7.0)
    rest = 0.5 * (curves.decayed_time(exact["rate"], 28.0) - curves.decayed_time(exact["rate"], 7.0))
    for label, integral in (("week", week), ("month", week + rest), ("four weeks", week + rest)):
        expected = exact["weight"] @ -np.expm1(-interest * integral)
        assert found[f"p_return_{label}"][0] == pytest.approx(expected, abs=2e-4)
    assert found["p_never"][0] == pytest.approx(exact["weight"] @ np.exp(-interest / exact["rate"]), abs=2e-4)


def test_counts_under_a_known_shock_have_a_closed_form_without_restoration():
    shop = Truth(half_life=30, half_life_spread=0.7, interest=0.3, interest_shape=1.5, restoration=0.0)
    history = history_of(simulated(1_500, shop=shop, random_seed=2))
    population = with_path(population_at(shop, draws=60), [3.0, 0.2, 1.0], history.at)
    horizons = {"7d": 7.0, "14d": 14.0, "60d": 60.0}
    totals = forecast_totals(population, history, horizons, random_seed=3)
    draws = user_draws(population, history, ScoreOptions(horizons=horizons, random_seed=4))
    to = [0.0, 7.0, 14.0, 60.0]
    part = [curves.decayed_time(draws["rate"], b) - curves.decayed_time(draws["rate"], a) for a, b in pairwise(to)]
    for h, factors in enumerate(([3.0], [3.0, 0.2], [3.0, 0.2, 1.0])):
        own = (draws["interest"] * sum(f * p for f, p in zip(factors, part, strict=False))).sum("user").to_numpy()
        error = np.sqrt((own.var() + totals[:, h].var()) / 60)
        assert totals[:, h].mean() == pytest.approx(own.mean(), abs=4 * error)
    p = user_draws(population, history, ScoreOptions(horizons="60d", random_seed=4))["p_return"].mean().item()
    expected = forecast_counts(population, history, "60d", random_seed=5).pmf[:, 0]
    assert (1 - expected).mean() == pytest.approx(p, abs=0.005)


def test_totals_are_as_wide_as_what_all_share(few):
    population = population_at(SHOP, draws=400)
    shaken = replace(population, path=paths(sample(400, 0.0, 0.0, 0.0), 1), fitted_at=few.at)
    rng = np.random.default_rng(8)
    shaken = replace(shaken, path=np.exp(0.3 * rng.standard_normal((400, 1)) - 0.045) * shaken.path)
    options = {"random_seed": 6}
    calm, wide = (forecast_totals(one, few, "30d", **options)[:, 0] for one in (population, shaken))
    assert np.std(np.log(wide)) > 2 * np.std(np.log(calm))
    assert np.corrcoef(wide, shaken.path[:, 0])[0, 1] > 0.9
    # The path is the draw's, not the batch's.
    parts = [few.over(few.table.slice(start, 100)) for start in (0, 100)]
    joined = sum(forecast_totals(shaken, part, "30d", **options)[:, 0] for part in parts)
    np.testing.assert_array_equal(joined, wide)


def test_without_shocks_the_path_is_not_looked_at(few):
    population = population_at(SHOP, draws=50)
    shaken = with_path(population, [5.0], few.at)
    for use in (
        lambda one, **asked: forecast_totals(one, few, "30d", random_seed=1, **asked),
        lambda one, **asked: forecast_counts(one, few, "30d", random_seed=1, **asked).pmf,
        lambda one, **asked: score(one, few, ScoreOptions(random_seed=1, **asked)).to_pandas().drop(columns="user"),
    ):
        np.testing.assert_array_equal(use(shaken, shocks=False), use(population))


def test_at_a_later_cutoff_the_path_has_gone_on(few):
    population = with_path(population_at(SHOP, draws=2), [1.0, 2.0, 3.0], few.at)
    later = population.shock(few.at + pd.Timedelta(days=7), np.array([7.0, 14.0]))
    np.testing.assert_allclose(later, [[2.0, 3.0]] * 2)
    earlier = population.shock(few.at - pd.Timedelta(days=30), np.array([7.0]))
    np.testing.assert_allclose(earlier, [[1.0]] * 2)


def test_a_fit_keeps_its_shocks(fit, tmp_path):
    kept = DecayFit(idata=read_tree(write_tree(fit.idata, tmp_path / "decay.nc"))).population(100)
    np.testing.assert_array_equal(kept.path, fit.population(100).path)
    assert kept.path.shape == (100, 260)
    assert kept.take(np.array([4])).path.shape == (1, 260)
    assert kept.fitted_at == pd.Timestamp("2024-06-28 23:59:59.999999")


def test_a_file_from_before_knows_none(fit, tmp_path, few):
    groups = {path: part for path, part in fit.idata.to_dict().items() if path != f"/{SHOCKS}"}
    old = xr.DataTree.from_dict(groups)
    old.attrs.update(fit.idata.attrs)
    read = DecayFit(idata=read_tree(write_tree(old, tmp_path / "old.nc")))
    assert read.population(10).path is None
    assert len(read.score(few, options=ScoreOptions(random_seed=1))) == len(few)


def test_a_calendar_counts_by_its_mean(few):
    calendar = Calendar(factors={"2024-07-01": 5.0, "2024-07-03/2024-07-04": 0.0})
    population = population_at(SHOP, draws=2)
    assert few.at == pd.Timestamp("2024-06-28 23:59:59.999999")
    # The 29th and 30th; the first four days of July; ten days more.
    found = population.shock(few.at, np.array([2.0, 6.0, 16.0]), calendar=calendar)
    np.testing.assert_allclose(found, [[1.0, 1.5, 1.0]] * 2, rtol=1e-6)
    shaken = with_path(population, [2.0, 3.0], few.at)
    both = shaken.shock(few.at, np.array([2.0, 6.0, 7.0, 16.0]), calendar=calendar)
    np.testing.assert_allclose(both, [[2.0, 3.0, 2.0, 3.0]] * 2, rtol=1e-6)
    np.testing.assert_allclose(shaken.shock(few.at, np.array([6.0]), shocks=False, calendar=calendar), 4 / 3, rtol=1e-6)
    closed = population.shock(few.at, np.array([10.0, 4_000.0]), calendar=Calendar(factors={"monday": 0.0}))
    np.testing.assert_allclose(closed, [[0.8, 6 / 7]] * 2, atol=1e-3)


def test_a_closed_shop_sees_nobody(few):
    closed = Calendar(factors={"2024-06-29/2024-07-28": 0.0})
    options = ScoreOptions(horizons=["30d", "60d"], calendar=closed, random_seed=1)
    found = score(population_at(SHOP, draws=40), few, options).to_pandas()
    assert found["activities_30d_upper"].max() == 0.0
    assert found["p_return_30d"].max() < 1e-6 < found["p_return_60d"].min()
