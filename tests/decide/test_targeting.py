from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesdecay.decide import stakes
from bayesdecay.decide.effects import Effect, contacted
from bayesdecay.decide.risk import cvar, p_loss
from bayesdecay.decide.targeting import Campaign, Plan, choose
from bayesdecay.names import P_REACTIVATION, bounds


def draws_of(p: np.ndarray, users: object = None) -> xr.DataArray:
    users = np.arange(p.shape[1]) if users is None else users
    return xr.DataArray(p, dims=("sample", "user"), coords={"user": users})


@pytest.fixture
def p() -> xr.DataArray:
    rng = np.random.default_rng(11)
    level = rng.beta(0.5, 2, 60) * np.exp(rng.normal(0, 0.1, (200, 60)))
    return draws_of(np.clip(level, 0, 1), [f"u{i:02d}" for i in range(60)])


CAMPAIGN = Campaign(cost=0.5, value=20.0, budget=10.0, horizon="30d")


def test_table_has_a_row_a_candidate_and_agrees_with_the_formula(p: xr.DataArray) -> None:
    plan = choose(p, Campaign(cost=0.5, value=20.0, effect=Effect.point(0.4)), ci_prob=0.8, random_seed=1)
    gain = 20.0 * (contacted(p.to_numpy(), 0.4) - p.to_numpy()) - 0.5
    assert plan.table.columns.tolist() == [
        *("user", "offer", "p_reactivation", "p_reactivation_lower", "p_reactivation_upper"),
        *("profit", "profit_lower", "profit_upper", "p_profit", "assumed_uplift", "cost", "chosen", "rank", "reason"),
    ]
    assert plan.table["user"].tolist() == p["user"].to_numpy().tolist()
    np.testing.assert_allclose(plan.table["profit"], gain.mean(axis=0))
    ends = np.quantile(gain, [0.1, 0.9], axis=0, method="weibull")
    np.testing.assert_allclose(plan.table[list(bounds("profit"))].T, ends)
    np.testing.assert_allclose(plan.table["p_profit"], (gain > 0).mean(axis=0))
    np.testing.assert_allclose(plan.table[P_REACTIVATION], p.mean("sample"))
    np.testing.assert_allclose(plan.table["assumed_uplift"] * 20 - 0.5, plan.table["profit"])


def test_equal_costs_choose_the_top_of_expected_profit(p: xr.DataArray) -> None:
    plan = choose(p, CAMPAIGN, random_seed=1)
    order = plan.table.sort_values("profit", ascending=False, kind="stable")
    assert plan.audience["user"].tolist() == order["user"].head(20).tolist()
    assert plan.audience["rank"].tolist() == list(range(1, 21))
    assert plan.exact
    assert plan.gap == pytest.approx(0, abs=1e-6)
    assert plan.bound == pytest.approx(plan.audience["profit"].sum(), rel=1e-6)


def test_each_user_gets_a_reason(p: xr.DataArray) -> None:
    costs = pd.Series(0.5, index=p["user"].to_numpy())
    costs["u02"] = 11.0
    worth = pd.Series(2_000.0, index=p["user"].to_numpy())
    worth["u01"] = 0.0
    table = choose(p, Campaign(cost=costs, value=worth, budget=10.0), random_seed=1).table.set_index("user")
    assert table.loc["u02", "reason"] == "costs more than the whole budget of 10.00"
    assert table.loc["u01", "reason"] == "a return is worth nothing: the value is 0"
    assert table["reason"].str.match(r"chosen: expected profit [\d,.]+ for 0.50")[table["chosen"]].all()
    spent = (table["profit"] > 0) & ~table["chosen"] & (table["cost"] < 10)
    assert spent.sum() > 10
    assert (table["reason"][spent] == "budget spent on a better set").all()


def test_total_is_unbiased_for_the_expected_profit(p: xr.DataArray) -> None:
    many = xr.concat([p] * 50, "sample")
    plan = choose(many, CAMPAIGN, random_seed=2)
    error = float(plan.profit.std()) / np.sqrt(plan.profit.size)
    assert abs(float(plan.profit.mean()) - plan.summary()["profit"]) < 4 * error
    np.testing.assert_allclose(plan.profit, 20 * plan.extra_returns - 10.0)


def test_shared_effect_widens_the_total_by_its_closed_form() -> None:
    n, samples, value = 400, 20_000, 10.0
    effect = Effect.normal(0.3, 0.2)
    same = draws_of(np.full((samples, n), 0.3))
    plan = choose(same, Campaign(cost=0.0, value=value, effect=effect), random_seed=3)
    assert plan.summary()["contacts"] == n
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    lift = contacted(0.3, 0.3 + 0.2 * node) - 0.3
    weight /= weight.sum()
    mean = weight @ lift
    shared = weight @ (lift - mean) ** 2
    chance = weight @ (np.abs(lift) * (1 - np.abs(lift)))
    closed = value * np.sqrt(n**2 * shared + n * chance)
    independent = value * np.sqrt(n * (shared + chance))
    assert float(plan.profit.mean()) == pytest.approx(value * n * mean, rel=0.01)
    assert float(plan.profit.std()) == pytest.approx(closed, rel=0.02)
    assert closed > 2 * independent  # what a sum over independent users would have promised


def test_contact_changes_an_outcome_one_way_only() -> None:
    p = draws_of(np.full((500, 30), 0.4))
    more = choose(p, Campaign(cost=0.0, value=1.0, effect=Effect.point(0.5)), random_seed=4)
    assert float(more.extra_returns.min()) >= 0
    # Value per user makes a harmful effect choose nobody, so the baseline shows the sign.
    less = choose(p, Campaign(cost=0.0, value=1.0, effect=Effect.point(-0.5)), random_seed=4)
    assert not less.table["chosen"].any()
    assert less.baselines().loc["most likely to return", "extra_returns_upper"] <= 0


def test_baselines_stand_beside_the_plan(p: xr.DataArray) -> None:
    plan = choose(p, CAMPAIGN, random_seed=5)
    table = plan.baselines()
    assert table.index.tolist() == ["chosen", "most likely to return", "everybody", "nobody"]
    assert (table.loc["nobody"] == 0).all()
    assert table.loc["chosen", "profit"] >= table.loc["most likely to return", "profit"]
    assert table.loc["most likely to return", "spend"] == 10.0
    assert table.loc["chosen", "cvar"] == cvar(plan.profit, 0.95)
    assert table.loc["chosen", "p_loss"] == p_loss(plan.profit)


def test_the_most_likely_are_often_the_wrong_ones() -> None:
    p = draws_of(np.tile([0.99, 0.98, 0.5, 0.4], (50, 1)), list("abcd"))
    plan = choose(p, Campaign(cost=0.5, value=20.0, budget=1.0, effect=Effect.point(0.3)), random_seed=1)
    assert plan.audience["user"].tolist() == ["c", "d"]
    assert plan.baselines().loc["most likely to return", "profit"] < 0 < plan.summary()["profit"]


def test_batches_change_nothing(p: xr.DataArray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = choose(p, CAMPAIGN, random_seed=6)
    monkeypatch.setattr(stakes, "_BATCH", 7 * p.sizes["sample"])
    parts = choose(p, CAMPAIGN, random_seed=6)
    pd.testing.assert_frame_equal(whole.table, parts.table)
    xr.testing.assert_allclose(whole.outcomes, parts.outcomes)


def test_seed_repeats_and_arguments_stay(p: xr.DataArray) -> None:
    before = p.copy(deep=True)
    first, again, other = (choose(p, CAMPAIGN, random_seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(first.outcomes, again.outcomes)
    assert not first.outcomes.equals(other.outcomes)
    xr.testing.assert_identical(p, before)


@pytest.mark.parametrize(
    "users",
    [
        [3, 1, 2],
        ["a", "b", "c"],
        [1.5, 2.5, 3.5],
        pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["id", "category"]),
    ],
)
def test_users_keep_their_ids(users: object) -> None:
    index = users if isinstance(users, pd.Index) else pd.Index(users)
    coords = (
        xr.Coordinates.from_pandas_multiindex(index, "user") if isinstance(index, pd.MultiIndex) else {"user": index}
    )
    p = xr.DataArray(np.full((4, 3), 0.3), dims=("sample", "user"), coords=coords)
    costs = pd.Series([0.1, 0.2, 0.3], index=index)
    plan = choose(p, Campaign(cost=costs, value=20.0, effect=Effect.point(0.3)), random_seed=1)
    assert plan.table["user"].tolist() == index.tolist()
    assert plan.table["cost"].tolist() == [0.1, 0.2, 0.3]
    assert choose(p, Campaign(cost=costs.to_dict(), value=20.0), random_seed=1).table["cost"].tolist() == [
        0.1,
        0.2,
        0.3,
    ]


def test_chain_and_draw_stay_on_the_total(p: xr.DataArray) -> None:
    index = pd.MultiIndex.from_product([range(4), range(50)], names=["chain", "draw"])
    stacked = p.assign_coords(xr.Coordinates.from_pandas_multiindex(index, "sample")).transpose("user", "sample")
    plan = choose(stacked, CAMPAIGN, random_seed=1)
    assert plan.profit.dims == ("sample",)
    assert plan.profit.unstack("sample").sizes == {"chain": 4, "draw": 50}
    np.testing.assert_array_equal(plan.profit, choose(p, CAMPAIGN, random_seed=1).profit)


def test_a_budget_too_small_is_a_plan_that_says_so(p: xr.DataArray, tmp_path: Path) -> None:
    plan = choose(p, Campaign(cost=0.5, value=20.0, budget=0.3), random_seed=1)
    assert plan.audience.empty
    assert plan.statement.startswith(
        "Contact nobody: the budget of 0.30 is below the cheapest contact that is expected to pay (0.50). In this plan"
    )
    assert plan.summary()[["contacts", "spend", "profit", "p_loss", "cvar", "bound"]].tolist() == [0.0] * 6
    plan.to_csv(tmp_path / "audience.csv")
    assert len((tmp_path / "audience.csv").read_text().splitlines()) == 1


def test_nobody_is_contacted_when_nobody_pays(p: xr.DataArray) -> None:
    plan = choose(p, Campaign(cost=0.5, value=20.0, effect=Effect.none()), random_seed=1)
    assert "no contact is expected to pay (the best has an expected profit of -0.50)" in plan.statement
    assert (plan.table["p_profit"] == 0).all()
    nobody = choose(p.isel(user=slice(0)), CAMPAIGN, random_seed=1)
    assert "there are no candidates" in nobody.statement
    assert len(nobody.table) == 0


def test_output_says_that_the_effect_is_assumed(p: xr.DataArray, tmp_path: Path) -> None:
    plan = choose(p, CAMPAIGN, random_seed=1)
    assumed = "contact is ASSUMED to multiply the odds of returning by 1.35 [0.97, 1.88]; no randomised treatment"
    assert plan.statement.startswith("Contact 20 of 60 users for 10.00: expected profit ")
    assert "more returns within 30d" in plan.statement
    for text in (plan.statement, str(plan), plan._repr_html_(), plan.summary().attrs["statement"]):
        assert assumed in text
    plan.to_csv(tmp_path / "audience.csv")
    written = pd.read_csv(tmp_path / "audience.csv")
    assert written["user"].tolist() == plan.audience["user"].tolist()
    assert (written["assumption"] == "contact is assumed to multiply the odds of returning by 1.35 [0.97, 1.88]").all()


def test_html_escapes_what_users_are_called() -> None:
    p = draws_of(np.full((4, 1), 0.3), ["<script>"])
    text = choose(p, CAMPAIGN, random_seed=1)._repr_html_()
    assert "&lt;script&gt;" in text
    assert "<script>" not in text


def test_csv_is_whole_or_not_there(p: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = choose(p, CAMPAIGN, random_seed=1)
    target = tmp_path / "audience.csv"
    target.write_text("earlier")

    def half_written(self: pd.DataFrame, path: Path, *, index: bool) -> None:
        path.write_text("user,ra")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", half_written)
        with pytest.raises(OSError, match="disk full"):
            plan.to_csv(target)
    assert target.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]
    plan.to_csv(target)
    assert len(pd.read_csv(target)) == 20
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing; make it first"):
        plan.to_csv(tmp_path / "missing" / "audience.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cost": -0.5}, "cost is -0.5; give 0 or more"),
        ({"cost": pd.Series({"a": 1.0, "b": -2.0})}, "cost is -2 for user 'b'; give 0 or more"),
        ({"cost": float("nan")}, "cost is missing or infinite; give a finite number"),
        ({"cost": {"a": 1.0, "b": None}}, "cost is missing or infinite for user 'b'"),
        ({"cost": {}}, "cost is empty"),
        ({"cost": pd.Series([1.0, 2.0], index=["a", "a"])}, "cost has several rows for user 'a'; give each user one"),
        ({"value": 0}, "value is 0, so no contact can pay; give what a returning user is worth"),
        ({"value": -1}, "value is -1; give 0 or more"),
        ({"budget": -5}, "budget is -5; give 0 or more, or None for no limit"),
        ({"budget": float("nan")}, "budget is nan; give 0 or more"),
    ],
)
def test_campaign_refuses_numbers_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Campaign(**({"cost": 0.5, "value": 20.0} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cost": "0.5"}, "cost is '0.5'; give one number, or a Series or mapping"),
        ({"value": {"a": "much"}}, "value holds something that is not a number"),
        ({"budget": "500"}, "budget is '500'; give a number, or None"),
        ({"effect": 0.3}, "effect is 0.3; make one with Effect.normal"),
    ],
)
def test_campaign_refuses_wrong_kinds(options: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Campaign(**({"cost": 0.5, "value": 20.0} | options))  # type: ignore[arg-type]


def test_choose_refuses_draws_it_cannot_read(p: xr.DataArray) -> None:
    with pytest.raises(TypeError, match=r"p is ndarray; expected an xarray.DataArray with dims \(sample, user\)"):
        choose(p.to_numpy(), CAMPAIGN)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="campaign is None; describe it with Campaign"):
        choose(p, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"p has the dims \{'user': 60\}; expected draws with dims \(sample, user\)"):
        choose(p.mean("sample"), CAMPAIGN)
    with pytest.raises(ValueError, match="p has no coordinate 'user'; give it the users' ids"):
        choose(p.drop_vars("user"), CAMPAIGN)
    with pytest.raises(ValueError, match="user 'u00' comes more than once in p"):
        choose(xr.concat([p, p], "user"), CAMPAIGN)
    with pytest.raises(ValueError, match="ci_prob is 90; expected a share"):
        choose(p, CAMPAIGN, ci_prob=90)
    with pytest.raises(ValueError, match="cost has no row for users 'u01', 'u02', 'u03' and 56 more; give every"):
        choose(p, Campaign(cost={"u00": 1.0}, value=20.0))


@pytest.mark.parametrize("bad", [np.nan, -0.01, 1.01])
def test_choose_names_the_user_with_a_wrong_probability(p: xr.DataArray, bad: float) -> None:
    wrong = p.copy(deep=True)
    wrong[3, 5] = bad
    with pytest.raises(ValueError, match="p of user 'u05' is missing or outside"):
        choose(wrong, CAMPAIGN)


def test_a_plan_is_not_changed(p: xr.DataArray) -> None:
    plan = choose(p, CAMPAIGN, random_seed=1)
    with pytest.raises(AttributeError):
        plan.bound = 1.0  # type: ignore[misc]
    taken_out = plan.audience
    taken_out.loc[0, "profit"] = 99.0
    assert plan.audience.loc[0, "profit"] != 99.0
    assert plan.table["profit"].max() < 99.0
    assert isinstance(plan, Plan)
