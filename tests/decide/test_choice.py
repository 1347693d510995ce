"""Offers, left-out users, measured effects, the frontier, and whether what a plan announces comes true."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, logit

from bayesdecay.decide import Campaign, Effect, Offer, Risk, choose, coupon_rule, cvar, p_loss
from bayesdecay.decide.assignment import Limits
from bayesdecay.decide.effects import contacted
from bayesdecay.decide.prospects import HeldProspects

OFFERS = {
    "e-mail": Offer(cost=0.1, effect=Effect.normal(0.2, 0.1)),
    "coupon": Offer(cost=0.2, cost_if_returns=3.0, effect=Effect.normal(0.7, 0.3), capacity=12),
}


def draws_of(p: np.ndarray) -> xr.DataArray:
    return xr.DataArray(p, dims=("sample", "user"), coords={"user": [f"u{i:03d}" for i in range(p.shape[1])]})


@pytest.fixture
def p() -> xr.DataArray:
    rng = np.random.default_rng(5)
    return draws_of(expit(rng.normal(-1.5, 1.2, 80) + rng.normal(0, 0.3, (150, 1)) + rng.normal(0, 0.2, (150, 80))))


def test_offers_are_judged_by_what_they_cost_if_the_user_returns(p: xr.DataArray) -> None:
    points = {
        name: Offer(cost=0.1, cost_if_returns=k, effect=Effect.point(0.5)) for name, k in (("a", 0.0), ("b", 4.0))
    }
    plan = choose(p, Campaign(offers=points, value=20.0), random_seed=1)
    change = contacted(p.to_numpy(), 0.5) - p.to_numpy()
    np.testing.assert_allclose(plan.table["profit"], (20 * change - 0.1).mean(axis=0))
    only = choose(p, Campaign(offers={"b": points["b"]}, value=20.0), random_seed=1)
    expected = (20 * change - 0.1 - 4 * contacted(p.to_numpy(), 0.5)).mean(axis=0)
    np.testing.assert_allclose(only.table["profit"], expected)
    assert set(plan.audience["offer"]) == {"a"}


def test_plan_keeps_to_budget_and_capacity_and_says_who_gets_what(p: xr.DataArray) -> None:
    plan = choose(p, Campaign(offers=OFFERS, value=20.0, budget=6.0), random_seed=1)
    counts = plan.audience["offer"].value_counts()
    assert counts["coupon"] <= 12
    assert plan.audience["cost"].sum() <= 6.0 + 1e-9
    assert f"{counts['e-mail']} with 'e-mail' and {counts['coupon']} with 'coupon'" in plan.statement
    assert "'coupon' is ASSUMED to multiply the odds" in plan.statement
    assert plan.gap < 1e-3 * plan.bound
    assert plan.audience["reason"].str.contains("of '").all()


def test_excluded_and_held_out_users_are_named_and_not_contacted(p: xr.DataArray) -> None:
    campaign = Campaign(cost=0.0, value=20.0, exclude=["u003", "of another shop"], control=0.25)
    table = choose(p, campaign, random_seed=1).table.set_index("user")
    assert table.loc["u003", "reason"] == "excluded from the campaign"
    held = table["reason"] == "control group: held out at random"
    assert held.sum() == round(0.25 * 79)
    assert not table["chosen"][held].any()
    assert not table.loc["u003", "chosen"]
    again = choose(p, campaign, random_seed=1).table.set_index("user")
    assert (again["reason"] == table["reason"]).all()
    other = choose(p, campaign, random_seed=2).table.set_index("user")
    assert (other["reason"] != table["reason"]).any()


def test_measured_draws_give_what_the_same_assumed_effect_gives(p: xr.DataArray) -> None:
    assumed = {"mail": Offer(cost=0.1, effect=Effect.point(0.4))}
    measured = Campaign(offers={"mail": Offer(cost=0.1)}, value=20.0, budget=3.0)
    both = xr.concat([p, contacted(p, 0.4)], pd.Index(["none", "mail"], name="offer"))
    plan = choose(both, measured, random_seed=1)
    same = choose(p, Campaign(offers=assumed, value=20.0, budget=3.0), random_seed=1)
    pd.testing.assert_frame_equal(plan.table, same.table.rename(columns={"assumed_uplift": "uplift"}))
    assert "measured" in plan.statement
    assert "ASSUMED" not in plan.statement
    own = HeldProspects(
        without=p.to_numpy(), under=contacted(p, 0.4).to_numpy()[None], users=p.indexes["user"], offers=("mail",)
    )
    pd.testing.assert_frame_equal(choose(own, measured, random_seed=1).table, plan.table)
    with pytest.raises(ValueError, match=r"p has the dims .*; expected draws with dims \(sample, user, offer\)"):
        choose(p, measured)
    with pytest.raises(ValueError, match="p has no offer 'none' among"):
        choose(both.isel(offer=[1]), measured)


def test_excluded_ids_of_another_type_are_refused(p: xr.DataArray) -> None:
    numbered = p.assign_coords(user=np.arange(p.sizes["user"]))
    told = {"cost": 0.1, "value": 20.0, "effect": Effect.point(0.3)}
    with pytest.raises(TypeError, match="exclude holds ids of the type string and the candidates' are integer"):
        choose(numbered, Campaign(**told, exclude=["0", "1"]))
    reasons = choose(numbered, Campaign(**told, exclude=[0, 10**6]), random_seed=1).table["reason"]
    assert reasons[0] == "excluded from the campaign"
    assert (
        not choose(numbered, Campaign(**told, exclude=[10**6]), random_seed=1)
        .table["reason"]
        .str.contains("excl")
        .any()
    )


def test_value_may_be_draws(p: xr.DataArray) -> None:
    rng = np.random.default_rng(1)
    value = xr.DataArray(rng.gamma(2, 10, p.shape), dims=p.dims, coords=p.coords)
    plan = choose(p, Campaign(cost=0.5, value=value, effect=Effect.point(0.3)), random_seed=1)
    money = value.to_numpy() * (contacted(p.to_numpy(), 0.3) - p.to_numpy()) - 0.5
    np.testing.assert_allclose(plan.table["profit"], money.mean(axis=0))
    np.testing.assert_allclose(plan.table["profit_lower"], np.quantile(money, 0.05, axis=0, method="weibull"))
    with pytest.raises(ValueError, match="value has 3 draws and P"):
        choose(p, Campaign(cost=0.5, value=value[:3]))


def test_risk_changes_the_plan_and_is_told(p: xr.DataArray) -> None:
    campaign = Campaign(cost=1.0, value=20.0, effect=Effect.normal(0.3, 0.2))
    neutral = choose(p, campaign, random_seed=1)
    timid = choose(p, campaign, risk=Risk.cvar(0.9, 0.25), random_seed=1)
    assert 0 < len(timid.audience) < len(neutral.audience)
    assert timid.summary()["cvar"] > neutral.summary()["cvar"]
    assert "chosen for the highest expected profit less 0.25 times the shortfall of the worst 10 % of cases" in str(
        timid
    )
    left = timid.table[(timid.table["profit"] > 0) & ~timid.table["chosen"]]
    assert (left["reason"] == "not worth its risk").all()


def test_a_highest_chance_of_loss_is_kept_or_said_to_be_impossible() -> None:
    rng = np.random.default_rng(3)
    p = draws_of(expit(rng.normal(-1, 1, 600) + rng.normal(0, 0.2, (300, 1)) + np.zeros((300, 600))))
    cost = pd.Series(rng.uniform(0.1, 1.5, 600), index=p["user"].to_numpy())
    campaign = Campaign(cost=cost, value=20.0, effect=Effect.normal(0.3, 0.15))
    neutral = choose(p, campaign, random_seed=1)
    safe = choose(p, campaign, risk=Risk.max_loss_probability(0.15), random_seed=1)
    assert neutral.summary()["p_loss"] > 0.15 >= safe.summary()["p_loss"]
    assert 0 < safe.summary()["profit"] < neutral.summary()["profit"] <= safe.bound + 1e-6
    assert not safe.exact
    never = choose(
        p, Campaign(cost=1.0, value=20.0, effect=Effect.normal(0.3, 0.5)), risk=Risk.max_loss_probability(0.001)
    )
    assert never.audience.empty
    assert not never.met
    assert "no audience that was tried keeps the probability of a loss at or below 0.001" in never.statement
    assert never.summary()["p_loss"] == 0


def test_frontier_trades_profit_for_risk(p: xr.DataArray) -> None:
    campaign = Campaign(cost=1.0, value=20.0, effect=Effect.normal(0.3, 0.4), budget=20.0)
    plan = choose(p, campaign, interest=pd.Series(np.arange(80.0), index=p["user"].to_numpy()), random_seed=1)
    table = plan.frontier(weights=(0.0, 0.5, 1.0))
    own = table[table["audience"] == "chosen"]
    assert own.groupby("budget")["profit"].apply(lambda profit: (profit.diff().dropna() <= 1e-9).all()).all()
    neutral = own[own["risk_weight"] == 0]
    assert neutral["budget"].tolist() == [5.0, 10.0, 20.0, 40.0]
    assert neutral["profit"].is_monotonic_increasing
    assert (own["spend"] <= own["budget"] * (1 + 1e-9)).all()
    assert neutral.set_index("budget").loc[20.0, "profit"] == pytest.approx(plan.summary()["profit"])
    simple = ["most likely to return", "low interest, likely to return", "everybody", "nobody"]
    assert table["audience"].tolist()[-4:] == simple


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Offer(cost=-1.0), "cost is -1; give 0 or more"),
        (lambda: Offer(cost=1.0, cost_if_returns=-2.0), "cost_if_returns is -2; give 0 or more"),
        (lambda: Offer(cost=1.0, capacity=-3), "capacity is -3; give 0 or more"),
        (lambda: Campaign(value=20.0), "give either cost"),
        (lambda: Campaign(value=20.0, cost=1.0, offers=OFFERS), "give either cost"),
        (lambda: Campaign(value=20.0, offers={}), "offers is empty"),
        (lambda: Campaign(value=20.0, offers={**OFFERS, "c": Offer(cost=1.0)}), "assume all, or measure all"),
        (lambda: Campaign(value=20.0, cost=1.0, control=1.0), "control is 1.0; give a share"),
        (lambda: Risk.cvar(0.95, 1.5), "weight is 1.5; give 0"),
        (lambda: Risk.cvar(95), "risk: level is 95; expected a share"),
        (lambda: Risk.max_loss_probability(5), "the highest P\\(loss\\) is 5; expected a share"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_interest_is_needed_for_everybody(p: xr.DataArray) -> None:
    with pytest.raises(ValueError, match="interest is missing for users 'u001', 'u002', 'u003' and 76 more"):
        choose(p, Campaign(cost=1.0, value=20.0), interest=pd.Series({"u000": 1.0}))
    with pytest.raises(TypeError, match="interest is list; give a Series"):
        choose(p, Campaign(cost=1.0, value=20.0), interest=[1.0])  # type: ignore[arg-type]


def world(rng: np.random.Generator, samples: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw P(return) and the effect from what a posterior knows: [sample, user] and [sample]."""
    level = np.linspace(-2.5, 0.5, users)
    shared = rng.normal(0, 0.3, samples)[:, None]
    return expit(level + shared + rng.normal(0, 0.2, (samples, users))), rng.normal(0.3, 0.25, samples)


@pytest.mark.parametrize("risk", [Risk.neutral(), Risk.cvar(0.9, 0.15)])
def test_announced_risk_comes_true(risk: Risk) -> None:
    """Truths are drawn from the posterior, outcomes from the truths: P(loss) and CVaR must be what was announced."""
    rng = np.random.default_rng(8)
    users, samples, value, cost = 400, 2_000, 20.0, 0.8
    p, _ = world(rng, samples, users)
    campaign = Campaign(cost=cost, value=value, effect=Effect.normal(0.3, 0.25))
    plan = choose(draws_of(p), campaign, risk=risk, random_seed=1)
    chosen = plan.table["chosen"].to_numpy()
    truth, tau = world(rng, 4_000, users)
    truth = truth[:, chosen]
    fate = rng.random(truth.shape)
    # A second road to the outcomes: who returns under contact less who returns without.
    returns = (fate < expit(logit(truth) + tau[:, None])).sum(axis=1) - (fate < truth).sum(axis=1)
    profit = value * returns - cost * chosen.sum()
    row = plan.summary()
    error = np.sqrt(row["p_loss"] * (1 - row["p_loss"]) * (1 / samples + 1 / 4_000))
    assert row["p_loss"] == pytest.approx(p_loss(profit), abs=4 * error)
    spread = profit[profit <= np.quantile(profit, 0.1)].std()
    both = np.sqrt(1 / (0.1 * samples) + 1 / (0.1 * 4_000))
    assert cvar(plan.profit, 0.9) == pytest.approx(cvar(profit, 0.9), abs=6 * spread * both)
    assert row["p_loss"] > 0.02


def test_a_plan_of_posterior_means_has_losses_that_it_did_not_announce() -> None:
    rng = np.random.default_rng(9)
    users, value, cost = 400, 20.0, 0.8
    p, _ = world(rng, 2_000, users)
    means = draws_of(np.broadcast_to(p.mean(axis=0), p.shape))
    blind = choose(means, Campaign(cost=cost, value=value, effect=Effect.point(0.3)), random_seed=1)
    chosen = blind.table["chosen"].to_numpy()
    truth, tau = world(rng, 4_000, users)
    truth = truth[:, chosen]
    gained = (contacted(truth, tau[:, None]) - truth) * value - cost
    lost = (gained.sum(axis=1) < 0).mean()
    assert lost > 0.1
    assert blind.summary()["p_loss"] < lost / 3


def limits_for(users: int, budget: float) -> Limits:
    return Limits(
        cost=np.ones((users, 1)), budget=budget, capacity=np.array([np.inf]), closed=np.zeros(users, dtype=bool)
    )


def test_coupon_rule_takes_the_likely_of_low_interest() -> None:
    p, interest = np.array([0.1, 0.4, 0.3, 0.9, 0.2, 0.5]), np.array([1.0, 2.0, 3.0, 9.0, 8.0, 7.0])
    assert np.flatnonzero(coupon_rule(p, interest, 0, limits_for(6, 9.0)) == 0).tolist() == [1]
    assert (coupon_rule(p, interest, 0, limits_for(6, 0.5)) == -1).all()


@pytest.mark.parametrize(
    ("name", "top", "on_return", "doubt", "share"),
    [("nobody returns anyway", -1.0, 0.0, 0.1, (0.8, 1.0)), ("many return anyway", 3.5, 0.0, 0.1, (-9.0, 0.6)),
     ("a coupon is paid out to all who return", 0.5, 2.5, 0.1, (-9.0, 0.65))],
)  # fmt: skip
def test_when_the_coupon_rule_is_right(
    name: str, top: float, on_return: float, doubt: float, share: tuple[float, float]
) -> None:
    """Its share of the best plan's true expected profit, interest saying nothing beyond P(return)."""
    rng = np.random.default_rng(4)
    users, samples = 1_200, 200
    level = rng.uniform(-3.5, top, users)
    p = draws_of(expit(level + rng.normal(0, 0.1, (samples, 1)) + np.zeros((samples, users))))
    interest = pd.Series(rng.normal(size=users), index=p["user"].to_numpy())
    offers = {"coupon": Offer(cost=0.5, cost_if_returns=on_return, effect=Effect.normal(0.5, doubt))}
    plan = choose(p, Campaign(offers=offers, value=20.0, budget=100.0), interest=interest, random_seed=1)
    table = plan.baselines()["profit"]
    kept = table["low interest, likely to return"] / table["chosen"]
    assert share[0] <= kept <= share[1], f"{name}: {kept:.2f}"


def test_the_coupon_rule_knows_no_risk() -> None:
    rng = np.random.default_rng(6)
    p = draws_of(expit(rng.uniform(-3.5, -0.5, 800) + np.zeros((300, 800))))
    interest = pd.Series(rng.normal(size=800), index=p["user"].to_numpy())
    campaign = Campaign(cost=1.2, value=20.0, effect=Effect.normal(0.4, 0.3), budget=200.0)
    plan = choose(p, campaign, risk=Risk.cvar(0.9, 0.5), interest=interest, random_seed=1)
    table = plan.baselines()
    assert table.loc["low interest, likely to return", "cvar"] < table.loc["chosen", "cvar"]
