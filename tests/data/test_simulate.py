"""Simulated logs against what the law says by another road: closed forms, quadrature, known distributions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Coupon, Population

ALIKE = {"half_life_spread": 0.0, "half_life": 20.0}
RATE = np.log(2) / 20.0


def visits(drawn) -> pd.Series:
    """Activities after the acquisition, by user."""
    return drawn.events.groupby("user").size().reindex(drawn.users["user"]).fillna(0) - 1


def within_errors(values, expected, *, errors=4.0):
    """Is a sample's mean within so many standard errors of what is expected?"""
    return abs(np.mean(values) - expected) < errors * np.std(values) / np.sqrt(len(values))


def test_counts_follow_the_closed_form_without_restoration():
    drawn = simulate(20_000, population=Population(**ALIKE), acquired_within=0, observed=50, random_seed=1)
    counts, interest = visits(drawn).to_numpy(), drawn.users["initial_interest"].to_numpy()
    expected = interest * -np.expm1(-RATE * 50) / RATE  # E[N(T)] = I0 (1 - exp(-rT)) / r
    assert within_errors(counts - expected, 0.0)
    # Poisson given the interest: the variance about its own mean is the mean.
    assert within_errors((counts - expected) ** 2 - expected, 0.0)


def test_rates_and_interests_have_the_hierarchys_moments():
    shop = Population(half_life=10, half_life_spread=0.7, interest=0.3, interest_shape=2.0, coupling=0.5)
    users = simulate(50_000, population=shop, observed=90, random_seed=2).users
    z = (np.log(users["rate"]) - np.log(np.log(2) / 10)) / 0.7
    assert stats.kstest(z, "norm").pvalue > 0.001
    scaled = users["initial_interest"] / (0.3 * np.exp(0.5 * z)) * 2.0
    assert stats.kstest(scaled, stats.gamma(2.0).cdf).pvalue > 0.001
    assert abs(np.corrcoef(z, scaled)[0, 1]) < 4 / np.sqrt(len(users))


def test_first_gap_has_the_laws_distribution():
    shop = Population(**ALIKE, interest=0.2, interest_shape=2.0)
    drawn = simulate(10_000, population=shop, acquired_within=0, observed=400, random_seed=3)
    first_visit = drawn.events.groupby("user")["time"].nth(1)
    who = drawn.events.loc[first_visit.index, "user"].to_numpy()
    gap = (first_visit.to_numpy() - np.datetime64("2024-01-01")) / np.timedelta64(1, "D")
    interest = drawn.users.set_index("user").loc[who, "initial_interest"].to_numpy()

    def p_by(t):
        return -np.expm1(-interest * -np.expm1(-RATE * t) / RATE)

    # Given a return within the log, the probability transform of its time is uniform.
    assert stats.kstest(p_by(gap) / p_by(400.0), "uniform").pvalue > 0.001


@pytest.mark.parametrize("rho", [0.0, 0.6, 1.0])
def test_never_returning_agrees_with_quadrature(rho):
    shop = Population(half_life=5, half_life_spread=0.8, interest=0.2, coupling=0.4, restoration=rho)
    drawn = simulate(20_000, population=shop, acquired_within=0, observed=2_000, random_seed=4)
    mu = np.log(np.log(2) / 5)

    def gone(z):  # I0 integrates out: (beta / (beta + 1/r))^alpha with alpha = 1
        beta, rate = 1 / (0.2 * np.exp(0.4 * z)), np.exp(mu + 0.8 * z)
        return beta / (beta + -np.expm1(-rate * 2_000) / rate) * stats.norm.pdf(z)

    expected, _ = integrate.quad(gone, -8, 8)
    assert within_errors(visits(drawn).to_numpy() == 0, expected)  # before any visit rho has no say


def test_full_restoration_restarts_interest_at_every_visit():
    shop = Population(**ALIKE, interest=0.05, restoration=1.0, interest_shape=50.0)
    drawn = simulate(10_000, population=shop, acquired_within=0, observed=3_000, random_seed=5)
    # Each stretch is the last with probability q = exp(-I0/r), so the number of visits is geometric.
    last = np.exp(-drawn.users["initial_interest"].to_numpy() / RATE)
    counts = visits(drawn).to_numpy()
    assert within_errors(counts == 0, last.mean())
    lower = 1 - (1 - last) ** counts
    upper = 1 - (1 - last) ** (counts + 1)
    spread = lower + (upper - lower) * np.random.default_rng(0).random(10_000)
    # The randomised probability transform of a discrete count is uniform.
    assert stats.kstest(spread, "uniform").pvalue > 0.001


def test_interest_at_the_end_counts_the_visits():
    shop = Population(**ALIKE, restoration=0.7)
    drawn = simulate(300, population=shop, observed=60, acquired_within=30, random_seed=6)
    last = drawn.events.groupby("user")["time"].max().to_numpy()
    first = drawn.users["first"].to_numpy()
    end = pd.Timestamp("2024-03-01")
    age = ((end.to_datetime64() - first) - 0.7 * (last - first)) / np.timedelta64(1, "D")
    expected = drawn.users["initial_interest"] * np.exp(-RATE * age)
    np.testing.assert_allclose(drawn.users["interest"], expected, rtol=1e-6)
    assert drawn.end == end - pd.Timedelta(microseconds=1)


def test_coupon_moves_the_log_odds_and_nothing_else():
    coupon = Coupon(at="2024-02-29", effect=0.9, within="30d", share=0.4, lapsed_after="10d")
    shop = Population(half_life_spread=0.5, interest=0.15, restoration=0.5)
    drawn = simulate(60_000, population=shop, coupon=coupon, acquired_within=80, observed=120, random_seed=7)
    users = drawn.users
    at = pd.Timestamp("2024-02-29 23:59:59.999999")
    assert not users.loc[users["first"] > at, "eligible"].any()
    assert users.loc[users["first"] > at, "p_return_with"].isna().all()
    assert not users.loc[~users["eligible"], "treated"].any()
    events = drawn.events
    before = events[events["time"] <= at].groupby("user")["time"].max().reindex(users["user"]).to_numpy()
    silent = (at.to_datetime64() - before) / np.timedelta64(1, "D")
    assert (silent[users["eligible"]] >= 10 - 1e-6).all()

    lapsed = users[users["eligible"]].copy()
    assert within_errors(lapsed["treated"], 0.4)
    with_, without = lapsed["p_return_with"], lapsed["p_return_without"]
    shift = np.log(with_ / (1 - with_)) - np.log(without / (1 - without))
    usual = without.between(1e-6, 1 - 1e-6)
    np.testing.assert_allclose(shift[usual], 0.9, atol=1e-6)
    inside = events[(events["time"] > at) & (events["time"] <= at + pd.Timedelta(days=30))]
    lapsed["returned"] = lapsed["user"].isin(inside["user"])
    treated, control = lapsed[lapsed["treated"]], lapsed[~lapsed["treated"]]
    assert within_errors(treated["returned"] - treated["p_return_with"], 0.0)
    assert within_errors(control["returned"] - control["p_return_without"], 0.0)


def test_kinds_groups_and_covariates_are_marks_of_the_log():
    shop = Population(
        half_life={"ads": "10d", "friends": "60d"},
        kinds={"view": 6, "cart": 3, "purchase": 1},
        kind_concentration=5.0,
        covariates={"price": (0.4, -0.2)},
    )
    drawn = simulate(20_000, population=shop, random_seed=8)
    assert list(drawn.events.columns) == ["user", "time", "kind", "group", "price"]
    shares = drawn.users[["share_view", "share_cart", "share_purchase"]]
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares.mean(), [0.6, 0.3, 0.1], atol=0.01)
    np.testing.assert_allclose(shares.var().iloc[0], 0.6 * 0.4 / 6.0, rtol=0.05)  # Dirichlet: m (1 - m) / (c + 1)
    own = drawn.users.set_index("user")["share_purchase"].reindex(drawn.events["user"]).to_numpy()
    assert within_errors((drawn.events["kind"] == "purchase").to_numpy() - own, 0.0)
    half_life = drawn.users.groupby("group")["half_life"].median()
    assert half_life["ads"] == pytest.approx(10, rel=0.1)
    assert half_life["friends"] == pytest.approx(60, rel=0.1)
    slope = stats.linregress(drawn.users["price"], np.log(drawn.users["rate"]) - np.log(2))
    assert slope.slope == pytest.approx(0.4, abs=0.08)
    assert drawn.truth["delta"] == {"price": 0.4}
    assert drawn.truth["mu_log_rate"]["ads"] == pytest.approx(np.log(np.log(2) / 10))


def test_log_is_sorted_within_its_span_and_begins_with_the_acquisition():
    drawn = simulate(500, start="2023-05-01", acquired_within="20d", observed="80d", random_seed=9)
    events, users = drawn.events, drawn.users
    pd.testing.assert_frame_equal(events, events.sort_values(["user", "time"], ignore_index=True))
    assert events["time"].between("2023-05-01", drawn.end).all()
    assert (users["first"] < pd.Timestamp("2023-05-21")).all()
    np.testing.assert_array_equal(events.groupby("user")["time"].min(), users["first"])
    assert stats.kstest((users["first"] - pd.Timestamp("2023-05-01")) / pd.Timedelta(days=20), "uniform").pvalue > 0.001


def test_day_resolution_is_the_same_log_cut_to_days():
    shop = Population(interest=2.0, kinds={"view": 1.0, "buy": 1.0})
    fine = simulate(200, population=shop, random_seed=10)
    days = simulate(200, population=shop, resolution="day", random_seed=10)
    cut = fine.events.assign(time=fine.events["time"].dt.normalize()).drop_duplicates(ignore_index=True)
    assert len(cut) < len(fine.events)
    pd.testing.assert_frame_equal(days.events, cut)


def test_same_seed_same_log_and_another_seed_another():
    one, same, other = (simulate(100, random_seed=seed) for seed in (11, 11, 12))
    pd.testing.assert_frame_equal(one.events, same.events)
    pd.testing.assert_frame_equal(one.users, same.users)
    assert len(one.events) != len(other.events) or not one.events.equals(other.events)
    generator = simulate(100, random_seed=np.random.default_rng(11))
    pd.testing.assert_frame_equal(one.events, generator.events)


def test_extreme_populations_give_finite_logs():
    shop = Population(half_life="1h", half_life_spread=3.0, interest=5.0, interest_shape=0.05, coupling=1.0)
    coupon = Coupon(at="2024-03-01", effect=-2.0)
    drawn = simulate(2_000, population=shop, coupon=coupon, random_seed=13)
    assert np.isfinite(drawn.users[["rate", "half_life", "initial_interest", "interest"]].to_numpy()).all()
    assert drawn.users["p_return_with"].dropna().between(0, 1).all()


def test_results_do_not_change_under_the_users_hands():
    drawn = simulate(10, random_seed=14)
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawn.end = pd.Timestamp("2030-01-01")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"half_life": 0}, "half_life must be finite and above zero, got 0"),
        ({"half_life": {"a": 5, "b": "0d"}}, "half_life 'b' must be finite and above zero"),
        ({"interest": -1.0}, "interest must be finite and above zero, got -1"),
        ({"interest_shape": np.inf}, "interest_shape must be finite and above zero"),
        ({"half_life_spread": -0.1}, "half_life_spread must be finite and not negative"),
        ({"restoration": 1.2}, "restoration is a part between 0 and 1, got 1.2"),
        ({"kinds": {"view": 0.0}}, "the share of kind 'view' must be finite and above zero"),
        ({"covariates": {"x": (0.1,)}}, "covariate 'x': expected effects on log rate and log interest"),
        ({"half_life": {"a": 1.0}, "interest": {"b": 1.0}}, "must name the same groups"),
    ],
)
def test_impossible_populations_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Population(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 1.0}, "share must lie between 0 and 1"),
        ({"effect": np.nan}, "effect must be a finite difference of log-odds"),
        ({"within": 0}, "within must be finite and above zero"),
    ],
)
def test_impossible_coupons_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Coupon(**{"at": "2024-03-01", "effect": 0.5, **settings})


def test_impossible_plans_are_refused():
    with pytest.raises(TypeError, match=r"n_users is a whole number, not 2\.5"):
        simulate(2.5)
    with pytest.raises(ValueError, match="n_users must be at least 1, got 0"):
        simulate(0)
    with pytest.raises(ValueError, match="let it be observed longer"):
        simulate(10, acquired_within="60d", observed="30d")
    with pytest.raises(ValueError, match="did you mean 'day'"):
        simulate(10, resolution="days")
    with pytest.raises(ValueError, match="move it or let the log be observed longer"):
        simulate(10, coupon=Coupon(at="2025-03-01", effect=0.5))
