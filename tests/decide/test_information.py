"""Value of information: the integrals again by quadrature and by playing the test many times."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import norm

from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.control import control_group_size
from bayesdecay.decide.effects import Effect
from bayesdecay.decide.exploration import explore
from bayesdecay.decide.information import value_of_perfect_information, value_of_test
from bayesdecay.decide.offers import Offer

P, VALUE, COST = 0.2, 20.0, 1.0
EFFECT = Effect.normal(0.3, 0.25)


def draws_of(p: np.ndarray) -> xr.DataArray:
    return xr.DataArray(p, dims=("sample", "user"), coords={"user": [f"u{i}" for i in range(p.shape[1])]})


def alike(users: int, samples: int = 200) -> xr.DataArray:
    return draws_of(np.full((samples, users), P))


def profit(tau: float) -> float:
    """Expected profit of contacting one user."""
    return VALUE * (expit(logit(P) + tau) - P) - COST


def expected(function, mean: float, sd: float) -> float:
    return quad(lambda z: function(mean + sd * z) * norm.pdf(z), -8, 8, limit=200, points=[0.0])[0]


# --- perfect information ---


def test_knowing_the_effect_of_one_kind_of_user():
    users = 50
    found = value_of_perfect_information(alike(users), Campaign(cost=COST, value=VALUE, effect=EFFECT), random_seed=1)
    plan = users * max(expected(profit, EFFECT.mean, EFFECT.sd), 0.0)
    known = users * expected(lambda tau: max(profit(tau), 0.0), EFFECT.mean, EFFECT.sd)
    assert found["plan"] == pytest.approx(plan, rel=0.05)
    # P(return) is certain here, so the effect is all there is to know.
    assert found["everything"] == pytest.approx(known - plan, rel=0.1)
    assert found["effects"] == pytest.approx(found["everything"], rel=0.02)


def test_knowing_users_too_is_worth_more():
    rng = np.random.default_rng(2)
    p = draws_of(expit(rng.normal(-1.4, 1.0, size=(200, 300))))
    found = value_of_perfect_information(p, Campaign(cost=COST, value=VALUE, effect=EFFECT), random_seed=1)
    tau = EFFECT.draws(200, np.random.default_rng(1))
    gained = VALUE * (expit(logit(p.to_numpy()) + tau[:, None]) - p.to_numpy()) - COST
    by_hand = np.maximum(gained, 0).sum(axis=1).mean() - np.maximum(gained.mean(axis=0), 0).sum()
    assert found["everything"] == pytest.approx(by_hand, rel=1e-9)
    assert 0 < found["effects"] < found["everything"]


def test_a_certain_effect_leaves_nothing_to_know():
    found = value_of_perfect_information(alike(10), Campaign(cost=COST, value=VALUE, effect=Effect.point(0.3)))
    assert found["effects"] == pytest.approx(0.0, abs=1e-9)
    assert found["everything"] == pytest.approx(0.0, abs=1e-9)


def test_measured_effects_have_no_value_of_their_own():
    rng = np.random.default_rng(3)
    p = rng.uniform(0.1, 0.5, size=(50, 20, 2))
    given = xr.DataArray(
        p, dims=("sample", "user", "offer"), coords={"user": np.arange(20), "offer": ["none", "coupon"]}
    )
    campaign = Campaign(offers={"coupon": Offer(cost=1.0, effect=None)}, value=10.0)
    found = value_of_perfect_information(given, campaign)
    gained = 10 * (p[:, :, 1] - p[:, :, 0]) - 1.0
    assert found["everything"] == pytest.approx(
        np.maximum(gained, 0).sum(axis=1).mean() - np.maximum(gained.mean(axis=0), 0).sum()
    )
    assert "effects" not in found
    with pytest.raises(ValueError, match="effects are measured here"):
        value_of_test(given, campaign)


# --- a test on n users ---


@pytest.mark.parametrize("users", [400, 4_000])
def test_value_of_a_test_is_the_integral(users):
    campaign = Campaign(cost=COST, value=VALUE, effect=EFFECT)
    found = value_of_test(alike(1_000), campaign, [users], random_seed=1).iloc[0]
    p1 = expit(logit(P) + EFFECT.mean)
    error = np.sqrt(2 / users * (1 / (P * (1 - P)) + 1 / (p1 * (1 - p1))))
    left = (EFFECT.sd**-2 + error**-2) ** -0.5
    assert found["effect_sd"] == pytest.approx(left, rel=1e-6)
    spread = np.sqrt(EFFECT.sd**2 - left**2)
    after = expected(lambda m: max(expected(profit, m, left), 0.0), EFFECT.mean, spread)
    plan = max(expected(profit, EFFECT.mean, EFFECT.sd), 0.0)
    assert found["value"] == pytest.approx(1_000 * (after - plan), rel=0.05)
    assert found["own_profit"] == pytest.approx(users / 2 * expected(profit, EFFECT.mean, EFFECT.sd), rel=0.02)
    assert found["worth"] == pytest.approx(found["value"] + found["own_profit"])


def test_value_of_a_test_by_playing_it():
    users, games = 1_000, 40_000
    rng = np.random.default_rng(4)
    tau = rng.normal(EFFECT.mean, EFFECT.sd, games)
    came = rng.binomial(users // 2, expit(logit(P) + tau)), rng.binomial(users // 2, P, games)
    share = [np.clip(count / (users // 2), 1e-3, 1 - 1e-3) for count in came]
    seen = logit(share[0]) - logit(share[1])
    error2 = sum(1 / (users / 2 * q * (1 - q)) for q in share)
    weight = EFFECT.sd**2 / (EFFECT.sd**2 + error2)
    mean, left = EFFECT.mean + weight * (seen - EFFECT.mean), np.sqrt((1 - weight) * EFFECT.sd**2)
    nodes, shares = np.polynomial.hermite_e.hermegauss(15)
    told = (VALUE * (expit(logit(P) + mean[:, None] + left[:, None] * nodes) - P) - COST) @ (shares / shares.sum())
    earned = np.where(told > 0, VALUE * (expit(logit(P) + tau) - P) - COST, 0.0)
    plan = max(expected(profit, EFFECT.mean, EFFECT.sd), 0.0)
    by_play, error = earned.mean() - plan, earned.std() / np.sqrt(games)
    found = value_of_test(alike(1), Campaign(cost=COST, value=VALUE, effect=EFFECT), [users]).iloc[0]["value"]
    assert abs(found - by_play) < 4 * error + 0.06 * by_play


def test_larger_tests_tell_more_and_never_more_than_all():
    rng = np.random.default_rng(5)
    p = draws_of(expit(rng.normal(-1.4, 1.0, size=(200, 300))))
    campaign = Campaign(cost=COST, value=VALUE, effect=EFFECT, budget=100)
    table = value_of_test(p, campaign, [2, 100, 1_000, 10_000, 10_000_000], random_seed=1)
    assert (np.diff(table["value"]) > -1e-9).all()
    assert (np.diff(table["effect_sd"]) < 0).all()
    known = value_of_perfect_information(p, campaign, random_seed=1)
    assert table["value"].iloc[-1] == pytest.approx(known["effects"], rel=0.1)
    assert table["value"].iloc[0] < 0.1 * known["effects"]
    assert known["effects"] < known["everything"]


def test_one_of_several_offers_is_tested():
    offers = {"mail": Offer(cost=0.2, effect=Effect.normal(0.1, 0.05)), "coupon": Offer(cost=1.0, effect=EFFECT)}
    campaign = Campaign(offers=offers, value=VALUE)
    with pytest.raises(ValueError, match="several offers; name the one to test: mail, coupon"):
        value_of_test(alike(10), campaign)
    with pytest.raises(ValueError, match="unknown offer 'call'"):
        value_of_test(alike(10), campaign, offer="call")
    with pytest.raises(ValueError, match="at least two users"):
        value_of_test(alike(10), campaign, [1], offer="mail")
    mail, coupon = (value_of_test(alike(500), campaign, [2_000], offer=name)["value"].iloc[0] for name in offers)
    assert coupon > 10 * max(mail, 1e-9)
    certain = Campaign(cost=COST, value=VALUE, effect=Effect.point(0.2))
    with pytest.raises(ValueError, match="claims no doubt"):
        value_of_test(alike(10), certain)


# --- the control group ---


def test_control_group_gives_the_width_and_one_user_less_does_not():
    size = control_group_size(0.10, 0.13, 20_000, half_width=0.01)

    def half(held_out: int) -> float:
        return norm.ppf(0.95) * np.sqrt(0.09 / held_out + 0.13 * 0.87 / (20_000 - held_out))

    assert half(size) <= 0.01 < half(size - 1)
    rng = np.random.default_rng(6)
    seen = rng.binomial(20_000 - size, 0.13, 20_000) / (20_000 - size) - rng.binomial(size, 0.10, 20_000) / size
    assert np.mean(np.abs(seen - 0.03) < 0.01) == pytest.approx(0.9, abs=0.01)


def test_control_group_that_cannot_be():
    with pytest.raises(ValueError, match=r"1,000 users give an interval of \+- 0.0\d+ at best, with \d+ held out"):
        control_group_size(0.10, 0.13, 1_000, half_width=0.01)
    with pytest.raises(ValueError, match="p_control is 2; expected a share"):
        control_group_size(2, 0.13, 1_000, half_width=0.01)
    with pytest.raises(ValueError, match="give at least 2 users and a width above 0"):
        control_group_size(0.1, 0.13, 1_000, half_width=0)


# --- Thompson sampling ---


def test_offers_go_out_as_often_as_they_are_best():
    rng = np.random.default_rng(7)
    better = rng.random(400) < 0.3  # in so many draws the call is the better offer
    p = np.full((400, 2_000, 3), 0.1)
    p[:, :, 1], p[:, :, 2] = 0.3, np.where(better, 0.5, 0.2)[:, None]
    given = xr.DataArray(
        p, dims=("sample", "user", "offer"), coords={"user": np.arange(2_000), "offer": ["none", "mail", "call"]}
    )
    campaign = Campaign(offers={name: Offer(cost=0.5, effect=None) for name in ("mail", "call")}, value=10.0)
    found = explore(given, campaign, parts=200, random_seed=1)
    assert found["user"].tolist() == list(range(2_000))
    assert (found["offer"] == "call").mean() == pytest.approx(better.mean(), abs=4 * np.sqrt(0.21 / 200))
    assert found["offer"].notna().all()
    pd.testing.assert_frame_equal(found, explore(given, campaign, parts=200, random_seed=1))
    one = explore(given, campaign, parts=1, random_seed=2)["offer"]
    assert one.nunique() == 1
    kept = explore(given, Campaign(offers=campaign.offers, value=10.0, budget=100, exclude=[0, 1]), random_seed=1)
    assert kept["offer"].notna().sum() <= 200
    assert kept["offer"][:2].isna().all()
    with pytest.raises(ValueError, match="parts is 0; give at least 1"):
        explore(given, campaign, parts=0)


def test_thompson_sampling_has_less_regret_than_greed_and_fixed_splits():
    """Thirty campaigns to 60 users each with four offers, many times over; the posterior is a Beta of what was seen."""
    rates, users, rounds, games = np.array([0.10, 0.13, 0.16, 0.20]), 60, 30, 160
    offers = [f"offer {i}" for i in range(4)]
    campaign = Campaign(offers={name: Offer(cost=0.0, effect=None) for name in offers}, value=1.0)

    def regret(rule: str, seed: int) -> float:
        rng = np.random.default_rng(seed)
        order = rng.permutation(4)
        truth, came, sent, lost = rates[order], np.ones(4), np.full(4, 8.0), 0.0
        for _ in range(rounds):
            given = rng.beta(came[:, None], (sent - came)[:, None], size=(4, 10))
            if rule == "thompson":
                # What users do without contact is known here, and nothing.
                p = np.zeros((10, users, 5))
                p[:, :, 1:] = given.T[:, None, :]
                draws = xr.DataArray(
                    p, dims=("sample", "user", "offer"), coords={"user": np.arange(users), "offer": ["none", *offers]}
                )
                names = explore(draws, campaign, parts=10, random_seed=rng)["offer"]
                pick = names.map({name: i for i, name in enumerate(offers)}).to_numpy()
            elif rule == "greedy":
                pick = np.full(users, int(np.argmax(came / sent)))
            else:
                pick = np.arange(users) % 4
            returned = rng.random(users) < truth[pick]
            came += np.bincount(pick, returned, 4)
            sent += np.bincount(pick, minlength=4)
            lost += float((truth.max() - truth[pick]).sum())
        return lost

    found = {rule: np.array([regret(rule, seed) for seed in range(games)]) for rule in ("thompson", "greedy", "split")}
    for other in ("greedy", "split"):
        gained = found[other] - found["thompson"]
        assert gained.mean() > 2.5 * gained.std() / np.sqrt(games), (other, {k: v.mean() for k, v in found.items()})
