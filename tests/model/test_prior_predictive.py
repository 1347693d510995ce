"""What the priors say of new users, against closed forms and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from bayesdecay.model.decay import DecayModel
from bayesdecay.model.prior import DECAY_PRIORS, Prior
from bayesdecay.model.prior_predictive import prior_predictive, prior_summary

SIZE = 20_000


@pytest.fixture(scope="module")
def users():
    return prior_predictive(DecayModel(), n=SIZE, random_seed=1)


def test_columns_and_their_ranges(users):
    assert list(users.columns) == [
        "half_life",
        "interest_per_week",
        "p_return_30d",
        "p_never",
        "activities_90d",
        "restoration",
    ]
    assert len(users) == SIZE
    assert users.notna().all().all()
    assert (users[["half_life", "interest_per_week"]] > 0).all().all()
    assert users[["p_return_30d", "p_never", "restoration"]].stack().between(0, 1).all()


def test_half_life_has_its_closed_quantiles(users):
    """Log half-life is normal given sigma, and sigma half-normal: one integral, inverted."""
    mu, sd = DECAY_PRIORS["mu_log_rate"].parameters.values()
    spread = DECAY_PRIORS["sigma_log_rate"].frozen()

    def below(log_half_life):
        def given(sigma):
            rate = np.log(np.log(2)) - log_half_life
            return spread.pdf(sigma) * stats.norm.sf(rate, mu, np.hypot(sd, sigma))

        return integrate.quad(given, 0, 12)[0]

    for probability in (0.05, 0.25, 0.5, 0.75, 0.95):
        quantile = np.exp(optimize.brentq(lambda x, p=probability: below(x) - p, -20, 25))
        share = np.mean(users["half_life"] <= quantile)
        assert share == pytest.approx(probability, abs=4 * np.sqrt(probability * (1 - probability) / SIZE))


def test_median_user_is_the_one_of_the_reasons(users):
    assert 28 < users["half_life"].median() < 32
    assert 0.03 < users["interest_per_week"].median() < 1.0  # one in two weeks, less for the uneven


def test_counts_agree_with_the_chances():
    """The chance of no activity at all in the window is 1 - P(return), whatever the restoration."""
    users = prior_predictive(DecayModel(), n=SIZE, random_seed=2, horizon="90d")
    none = users["activities_90d"] == 0
    p = 1 - users["p_return_90d"]
    assert abs((none - p).sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_counts_have_their_closed_mean_without_restoration():
    priors = {
        "mu_log_rate": Prior(distribution="Normal", parameters={"mu": -3.0, "sigma": 0.1}),
        "sigma_log_rate": Prior(distribution="HalfNormal", parameters={"sigma": 0.1}),
        "mu_log_interest": Prior(distribution="Normal", parameters={"mu": -1.0, "sigma": 0.1}),
        "alpha": Prior(distribution="LogNormal", parameters={"mu": 1.0, "sigma": 0.1}),
    }
    model = DecayModel(restoration=0.0, coupling=0.0, priors=priors)
    users = prior_predictive(model, n=SIZE, random_seed=3, observed="40d", activity="event")
    rate, interest = np.log(2) / users["half_life"], users["interest_per_week"] / 7
    expected = interest * -np.expm1(-40 * rate) / rate
    off = users["activities_40d"] - expected
    assert abs(off.sum()) < 4 * np.sqrt(expected.sum())
    assert np.mean(off**2) == pytest.approx(expected.mean(), rel=0.05)  # Poisson given the user
    assert expected.mean() == pytest.approx(np.exp(-1) * -np.expm1(-40 * np.exp(-3)) / np.exp(-3), rel=0.05)


def test_active_days_are_one_a_day_at_most():
    days, events = (
        prior_predictive(DecayModel(), n=SIZE, random_seed=5, horizon="90d", activity=unit) for unit in ("day", "event")
    )
    assert days["activities_90d"].max() <= 90 < events["activities_90d"].max()
    none, p = days["activities_90d"] == 0, 1 - days["p_return_90d"]
    assert abs((none - p).sum()) < 4 * np.sqrt((p * (1 - p)).sum())
    instants = prior_predictive(DecayModel(clock="instants"), n=SIZE, random_seed=5, horizon="90d")
    assert instants.equals(events)


def test_fixed_restoration_and_its_effect():
    none, full = (prior_predictive(DecayModel(restoration=rho), n=5_000, random_seed=4) for rho in (0.0, 1.0))
    assert (none["restoration"] == 0).all()
    assert (full["restoration"] == 1).all()
    np.testing.assert_array_equal(none["p_never"], full["p_never"])  # before any visit it has no say
    assert full["activities_90d"].mean() > 1.2 * none["activities_90d"].mean()


def test_same_seed_same_users(users):
    assert users.equals(prior_predictive(DecayModel(), n=SIZE, random_seed=1))
    assert not users.equals(prior_predictive(DecayModel(), n=SIZE, random_seed=2))


def test_summary_says_it_in_words(users):
    table = prior_summary(users)
    assert list(table.index) == list(users.columns)
    assert table.loc["half_life", "median"] == users["half_life"].median()
    assert table.loc["p_never", "95 %"] == users["p_never"].quantile(0.95)
    words = table["in words"]
    assert words["half_life"].startswith("a user's interest halves in 3")
    assert "days, 90 % between" in words["half_life"]
    assert words["half_life"].endswith("years")
    assert words["p_return_30d"].startswith("a new user returns within 30 days with a chance of 4")
    assert words["p_never"].endswith("90 % between less than 1 % and more than 99 %")
    assert words["activities_90d"].startswith("activities of a new user in the first 90 days: 1, 90 % between 0 and")
    assert words["restoration"] == "the part of lost interest that a visit restores: 50 %, 90 % between 5 % and 95 %"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be at least 1 user, got 0"),
        ({"horizon": 0}, "horizon and observed must be above zero, got 0 and '90d'"),
        ({"observed": "9 parsecs"}, "duration '9 parsecs' cannot be read"),
        ({"activity": "dy"}, "unknown activity 'dy'; did you mean 'day'"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        prior_predictive(DecayModel(), **options)
