"""What comes again a year later: its covariances, what is learned of it and what is forecast, each by a second road."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import multivariate_normal, multivariate_t

from bayesdecay.data.calendar import Calendar
from bayesdecay.data.simulate import simulate
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.pace import Pace, pace_of
from bayesdecay.model.pace_fit import PaceFit, draw_shocks, fit_pace
from bayesdecay.model.posterior import read_tree, write_tree
from bayesdecay.model.prior import DECAY_PRIORS
from bayesdecay.model.scoring import forecast_totals
from bayesdecay.model.season import AHEAD, Alike, season_factors
from bayesdecay.model.season_fit import PARAMETERS, Season, Weeks, weighted_points
from bayesdecay.model.shocks import SEED, SHOCKS, paths
from tests.model.worlds import SHOP, history_of, population_at

YEAR = 365.2425 / 7
POINT = np.array([0.02, 0.08, 0.3, 0.7, 0.05])
# A shop that users stay with, so that more than a year has something to tell.
LASTING = replace(SHOP, half_life=90, interest=0.12, restoration=0.8)


def even(weeks: int, *, size: int = 1, day: float = 100.0, response: float = 0.0) -> Alike:
    """Periods of an even log; its users take up the same part of each earlier period."""
    back = np.arange(weeks)[::-1]
    return Alike.of(back, size, np.ones(weeks), np.full(weeks, response), day=day)


def test_a_season_comes_again_and_the_rest_does_not():
    alike = even(110)
    # The year has 52.18 weeks: a week and that of a year before are all but the same place in it.
    assert alike.recurring[109, 57] / alike.recurring[109, 109] == pytest.approx(1.0, abs=0.01)
    assert alike.passing[109, 57] < 1e-30
    assert alike.holiday[109, 57] / alike.holiday[109, 109] == pytest.approx(1 - (YEAR - 52), abs=0.05)
    assert alike.passing[109, 105] == pytest.approx(np.exp(-0.5))
    # The level stays as it was in the last week; what a week has of its own is gone.
    np.testing.assert_allclose(alike.walk[110:, 110:], alike.walk[109, 109])
    assert not alike.week[110:].any()
    for of_all in (alike.recurring, alike.passing, alike.holiday, alike.walk):
        assert np.linalg.eigvalsh(of_all).min() > -1e-9


def test_the_level_has_mean_zero_over_the_log():
    assert np.ones(60) @ even(60).walk[:60, :60] == pytest.approx(np.zeros(60), abs=1e-9)


def test_a_longer_period_is_the_mean_of_its_weeks():
    weeks, months = even(80), even(20, size=4)
    mean = np.kron(np.eye(20), np.full((1, 4), 0.25))
    for name in ("recurring", "passing", "holiday", "week"):
        np.testing.assert_allclose(
            getattr(months, name)[:20, :20], mean @ getattr(weeks, name)[:80, :80] @ mean.T, atol=1e-12
        )
        np.testing.assert_allclose(getattr(months, name)[20:, 20:], getattr(weeks, name)[80:, 80:], atol=1e-12)


def test_the_end_of_the_year_is_given_more():
    # A cutoff on the 7th of October: eight weeks later is the first of December, twelve weeks later the New Year.
    alike = even(60, day=280.0)
    most = np.sqrt(np.diag(alike.recurring)[60:])
    assert most[[7, 30]] == pytest.approx([3.0, 1.0], abs=0.1)
    assert np.sqrt(np.diag(alike.holiday)[60:])[[11, 30]] == pytest.approx([6.0, 1.0], abs=0.4)


def test_what_users_have_taken_up_is_not_above_what_is_expected():
    free, taken = even(60), even(60, response=0.01)
    lag = np.subtract.outer(np.arange(60), np.arange(60))
    by_hand = np.eye(60 + AHEAD)
    by_hand[:60, :60] -= 0.01 * (lag > 0)
    by_hand[60:, :60] -= 0.01
    np.testing.assert_allclose(taken.passing, by_hand @ free.passing @ by_hand.T, atol=1e-12)


def test_many_activities_tell_the_pace_exactly():
    """With a million activities a week the posterior is that of normal variables of which the first ones are known."""
    size, alike = 70, even(70, response=0.01)
    season = alike.season(POINT)
    joint = season + alike.pace(POINT)
    mean = -0.5 * np.diag(season)
    seen = mean + np.linalg.cholesky(joint + 1e-10 * np.eye(size + AHEAD)) @ np.random.default_rng(2).standard_normal(
        size + AHEAD
    )
    weeks = Weeks(seen=1e8 * np.exp(seen[:size]), expected=np.full(size, 1e8), alike=alike)
    gain = np.linalg.solve(joint[:size, :size], joint[:size, size:]).T
    found, covariance = weeks.ahead(POINT)
    # Level and season together are the pace of the weeks ahead.
    both = np.concatenate([np.ones((AHEAD, 1)), np.eye(AHEAD)], axis=1)
    np.testing.assert_allclose(both @ found, mean[size:] + gain @ (seen - mean)[:size], atol=2e-3)
    np.testing.assert_allclose(both @ covariance @ both.T, joint[size:, size:] - gain @ joint[:size, size:], atol=2e-4)
    level = np.linalg.solve(joint[:size, :size], alike.pace(POINT)[:size, size])
    assert found[0] == pytest.approx(level @ (seen - mean)[:size], abs=2e-3)
    other = np.array([0.03, 0.1, 0.2, 0.4, 0.1])
    evidence = [weeks.posterior(point).evidence for point in (POINT, other)]
    exact = []
    for point in (POINT, other):
        own = alike.season(point, size)
        law = multivariate_normal(-0.5 * np.diag(own), own + alike.pace(point, size))
        exact.append(law.logpdf(seen[:size]))
    assert evidence[0] - evidence[1] == pytest.approx(exact[0] - exact[1], abs=0.02)


def test_points_are_weighted_by_a_density_far_from_the_first_round():
    mean = np.array([2.0, -1.5, 0.3, 0.0, 1.0])
    root = 0.15 * np.eye(5) + 0.05 * np.tri(5, k=-1)
    law = multivariate_t(mean, root @ root.T, df=8)
    z, log_weight = weighted_points(law.logpdf, 5)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    assert 1 / np.square(weight).sum() > 200
    np.testing.assert_allclose(weight @ z, mean, atol=0.04)
    np.testing.assert_allclose((z - mean).T * weight @ (z - mean), root @ root.T * 8 / 6, atol=0.01)


def made_up(weeks: int, amplitude: float, seed: int) -> tuple[Pace, np.ndarray]:
    """Weeks of a shop with so strong a season, and the season of the year ahead; all of it from the cutoff back."""
    rng = np.random.default_rng(seed)
    place = np.arange(-weeks, AHEAD) + 0.5
    peak, low = (np.exp(-0.5 * ((place % YEAR - middle) / 2.5) ** 2) for middle in (30, 12))
    season = amplitude * (0.5 * np.cos(2 * np.pi * place / YEAR) + 2 * peak - low)
    own = season + 0.06 * rng.standard_normal(place.size)
    own[:weeks] += np.cumsum(0.015 * rng.standard_normal(weeks))
    seen = rng.poisson(400 * np.exp(own[:weeks] - own[:weeks].mean())) * 1.0
    pace = Pace(length=7.0, seen=seen, expected=np.full(weeks, 400.0), response=np.zeros(weeks), day=100.0)
    return pace, season[weeks:]


def test_a_season_is_found_again():
    pace, season = made_up(110, 0.3, seed=4)
    found = fit_pace(pace, DECAY_PRIORS)
    drawn = draw_shocks(found, (1, 400), np.random.default_rng(1)).isel(chain=0)["log_season"].to_numpy()
    # A level that lasts is no season's.
    away = drawn.mean(axis=0) - season
    assert away.std() < 0.4 * season.std()
    inside = np.abs((drawn - season - away.mean()).mean(axis=0)) < 1.645 * drawn.std(axis=0)
    assert inside.mean() > 0.8
    assert found.weight @ found.points[:, PARAMETERS.index("share_recurring")] > 0.6


def test_no_season_is_made_up():
    pace, _ = made_up(110, 0.0, seed=5)
    drawn = draw_shocks(fit_pace(pace, DECAY_PRIORS), (1, 400), np.random.default_rng(1)).isel(chain=0)
    assert drawn["log_season"].mean("draw").std() < 0.03
    short = replace(pace, seen=pace.seen[-50:], expected=pace.expected[-50:], response=None)
    without = draw_shocks(fit_pace(short, DECAY_PRIORS), (1, 400), np.random.default_rng(1)).isel(chain=0)
    paced = [paths(one.rename(draw="sample"), 1).std(axis=0)[:26].mean() for one in (drawn, without)]
    assert paced[0] < 1.5 * paced[1]


def test_a_log_of_a_year_has_no_season():
    pace, _ = made_up(55, 0.3, seed=6)
    found = fit_pace(pace, DECAY_PRIORS)
    assert isinstance(found, PaceFit)
    same = fit_pace(replace(pace, response=None), DECAY_PRIORS)
    np.testing.assert_array_equal(found.weight, same.weight)
    assert isinstance(fit_pace(made_up(56, 0.3, seed=6)[0], DECAY_PRIORS), Season)


def test_factors_repeat_by_the_year():
    log_season = np.log(np.arange(1.0, AHEAD + 1))[None, :]
    found = season_factors(log_season, 260)[0]
    np.testing.assert_allclose(found[:52], np.arange(1.0, 53.0))
    # The middle of the 53rd week lies in the year after.
    np.testing.assert_allclose(found[[52, 53, 104]], [1.0, 2.0, 1.0])
    assert found[-1] == pytest.approx(np.arange(1.0, 53.0).mean())


def test_a_saved_fit_forecasts_the_same(fit, tmp_path, few):
    pace, _ = made_up(60, 0.3, seed=7)
    sizes = fit.idata["posterior"].sizes
    tree = xr.DataTree.from_dict(fit.idata.to_dict())
    tree.attrs.update(fit.idata.attrs)
    tree[SHOCKS] = xr.DataTree(
        draw_shocks(fit_pace(pace, DECAY_PRIORS), (sizes["chain"], sizes["draw"]), np.random.default_rng(3))
    )
    read = DecayFit(idata=read_tree(write_tree(tree, tmp_path / "decay.nc")))
    now, later = (one.population(60) for one in (DecayFit(idata=tree), read))
    np.testing.assert_array_equal(now.path, later.path)
    totals = [forecast_totals(one, few, "90d", random_seed=1) for one in (now, later)]
    np.testing.assert_array_equal(*totals)
    shocks = tree[SHOCKS].to_dataset()
    flat = shocks.stack(sample=("chain", "draw"), create_index=False).transpose("sample", ...)
    own = paths(flat.drop_vars("log_season"), shocks.attrs[SEED])
    all_of = DecayFit(idata=tree).population().path
    season = np.exp(flat["log_season"].to_numpy()[:, :20] + flat["log_level_doubt"].to_numpy()[:, None])
    np.testing.assert_allclose(all_of[:, :20] / own[:, :20], season)


@pytest.fixture(scope="module")
def restless():
    """A shop whose pace is known: two long waves, one week of half and one of double, over 70 weeks."""
    weeks = np.arange(70)
    pace = np.exp(0.4 * np.sin(2 * np.pi * weeks / 35.0))
    pace[40], pace[60] = 0.5 * pace[40], 2.0 * pace[60]
    drawn = simulate(
        1_500, population=LASTING, pace=pace, acquired_within="490d", observed="490d", start="2024-01-01", random_seed=8
    )
    return history_of(drawn), pace


def test_users_take_up_what_is_shared_as_the_response_says(restless):
    history, pace = restless
    found = pace_of(population_at(LASTING, draws=2, longest=490.0), history)
    lag = np.subtract.outer(np.arange(70), np.arange(70))
    taken = np.where(lag > 0, found.response[np.maximum(lag, 1) - 1], 0.0)
    assert taken[-1].sum() > 0.3
    above, shared = np.log(found.seen / np.maximum(found.expected, 1.0))[25:], np.log(pace)
    left = [np.std(above - told[25:]) for told in (shared, shared - taken @ shared)]
    error = np.sqrt(np.mean(1.0 / found.seen[25:]))
    assert left[1] < 0.6 * left[0]
    assert left[1] < 1.4 * error


def test_what_a_calendar_tells_of_the_past_is_expected(restless):
    history, pace = restless
    days = pd.date_range("2024-01-01", periods=70, freq="7D")
    factors = {
        f"{day:%Y-%m-%d}/{day + pd.Timedelta(days=6):%Y-%m-%d}": own for day, own in zip(days, pace, strict=True)
    }
    population = population_at(LASTING, draws=2, longest=490.0)
    found = pace_of(population, history, Calendar(factors=factors))
    above = np.log(found.seen / np.maximum(found.expected, 1.0))[25:]
    error = np.sqrt(np.mean(1.0 / found.seen[25:]))
    assert np.std(above) < 1.4 * error
    assert abs(above.mean()) < 0.05
    # What users have taken up of it is not forecast again.
    mean = found.known_level / np.exp(found.response[::-1] @ np.log(pace / np.average(pace, weights=found.expected)))
    assert mean == pytest.approx(np.average(pace, weights=found.expected), rel=0.1)
    other = pace_of(population, history, Calendar(factors={"1999-01-01": 3.0}))
    np.testing.assert_allclose(other.expected, pace_of(population, history).expected)
    assert other.known_level == 1.0


def test_forecasts_have_the_calendar_of_the_fit(few):
    closed = Calendar(factors={"2024-06-29/2024-07-05": 0.0})
    population = replace(population_at(SHOP, draws=20), calendar=closed, calendar_level=0.5)
    ends = np.array([7.0, 14.0])
    np.testing.assert_allclose(population.shock(few.at, ends), [[0.0, 2.0]] * 20, atol=1e-6)
    np.testing.assert_allclose(population.shock(few.at, ends, calendar=Calendar()), 2.0)
    assert population.knowing(None) is population
    np.testing.assert_allclose(population.knowing(Calendar()).shock(few.at, ends), 2.0)
    assert forecast_totals(population, few, "7d", random_seed=1).max() == 0.0


def test_a_calendar_that_closes_all_is_refused(restless):
    history, _ = restless
    with pytest.raises(ValueError, match="calendar: the whole log has factor 0, but there are activities in it"):
        pace_of(
            population_at(LASTING, draws=1, longest=490.0),
            history,
            Calendar(
                factors=dict.fromkeys(("monday", "tuesday", "wednesday", "thursday"), 0.0)
                | dict.fromkeys(("friday", "saturday", "sunday"), 0.0)
            ),
        )


def test_a_log_of_a_few_days_knows_its_calendar():
    drawn = simulate(300, population=SHOP, acquired_within="1d", observed="6d", start="2024-01-01", random_seed=2)
    history, population = history_of(drawn), population_at(SHOP, draws=1, longest=6.0)
    plain, known = (pace_of(population, history, one) for one in (None, Calendar(factors={"2024-01-05": 2.0})))
    share = plain.expected / plain.expected.sum()
    mean = 1.0 + share[-2]
    np.testing.assert_allclose(known.expected, plain.expected / mean * [1, 1, 1, 1, 2, 1])
    assert known.known_level == pytest.approx(mean)
