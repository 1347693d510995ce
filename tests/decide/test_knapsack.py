from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, linprog, milp

from bayesdecay.decide import knapsack
from bayesdecay.decide.knapsack import affordable, best_set, fill

# Cents and tenths, so that sets that fit exactly are common.
contacts = st.lists(st.tuples(st.integers(-20, 100), st.integers(0, 30)), min_size=1, max_size=9)


def unzip(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs, dtype=float)
    return table[:, 0] / 10, table[:, 1] / 10


def brute_force(profit: np.ndarray, cost: np.ndarray, budget: float) -> float:
    sets = np.array(list(itertools.product([0.0, 1.0], repeat=profit.size)))
    return float((sets @ profit)[sets @ cost <= budget + 1e-9].max())


def best_of_milp(profit: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """Highest profit by the solver, all contacts at once."""
    found = milp(
        -profit,
        integrality=np.ones(profit.size),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(cost[None, :], ub=budget),
        options={"mip_rel_gap": 0.0},
    )
    return -float(found.fun)


@settings(max_examples=200, deadline=None)
@given(pairs=contacts, budget=st.integers(0, 120))
def test_best_set_is_the_best_of_all_subsets(pairs: list[tuple[int, int]], budget: int) -> None:
    profit, cost = unzip(pairs)
    best = best_set(profit, cost, budget / 10)
    reached = profit[best.chosen].sum()
    assert cost[best.chosen].sum() <= budget / 10 + 1e-9
    assert best.exact
    assert reached == pytest.approx(brute_force(profit, cost, budget / 10), abs=1e-9)
    assert reached <= best.bound + 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_best_of_twelve_with_continuous_costs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    profit, cost = rng.exponential(1, 12), rng.uniform(0.2, 2, 12)
    best = best_set(profit, cost, 5.0)
    assert profit[best.chosen].sum() == pytest.approx(brute_force(profit, cost, 5.0), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_solver_of_the_whole_problem(seed: int) -> None:
    rng = np.random.default_rng(seed)
    profit, cost = rng.normal(1, 2, 900), rng.integers(20, 200, 900) / 100
    best = best_set(profit, cost, 40.0)
    assert best.exact
    assert profit[best.chosen].sum() == pytest.approx(best_of_milp(profit, cost, 40.0), rel=1e-6)


@pytest.mark.parametrize("n", [60, 3_000])
def test_bound_is_no_higher_than_that_of_the_fractional_problem(n: int) -> None:
    rng = np.random.default_rng(7)
    profit, cost = rng.normal(0.5, 1, n), rng.uniform(0.2, 2, n)
    relaxed = linprog(-profit, A_ub=cost[None, :], b_ub=[n / 10], bounds=(0, 1))
    best = best_set(profit, cost, n / 10)
    assert profit[best.chosen].sum() <= best.bound <= -relaxed.fun * (1 + 1e-8)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_currency_does_not_matter(unit: float) -> None:
    rng = np.random.default_rng(1)
    profit, cost = rng.exponential(1, 10), rng.uniform(0.2, 2, 10)
    best = best_set(profit * unit, cost * unit, 4.0 * unit)
    assert profit[best.chosen].sum() == pytest.approx(brute_force(profit, cost, 4.0), rel=1e-12)
    assert best.exact


@settings(deadline=None)
@given(pairs=contacts, budgets=st.tuples(st.integers(0, 120), st.integers(0, 120)))
def test_more_budget_never_lowers_the_expected_profit(pairs: list[tuple[int, int]], budgets: tuple[int, int]) -> None:
    profit, cost = unzip(pairs)
    less, more = (profit[best_set(profit, cost, b / 10).chosen].sum() for b in sorted(budgets))
    unlimited = profit[best_set(profit, cost, None).chosen].sum()
    assert less <= more + 1e-9
    assert more <= unlimited + 1e-9


def test_equal_costs_take_the_top_and_ties_the_first() -> None:
    profit = np.array([1.0, 3.0, 2.0, 2.0, -1.0, 2.0])
    best = best_set(profit, np.full(6, 0.5), 1.5)
    assert np.flatnonzero(best.chosen).tolist() == [1, 2, 3]
    assert best.exact
    assert best.bound == pytest.approx(7.0, rel=1e-8)


def test_rounding_does_not_cost_a_contact() -> None:
    # 0.1 + 0.1 + 0.1 is more than 0.3 in floating point.
    assert best_set(np.ones(5), np.full(5, 0.1), 0.3).chosen.sum() == 3
    assert best_set(np.ones(2_000_000), np.full(2_000_000, 0.1), 100_000.0).chosen.sum() == 1_000_000


def test_one_great_contact_beats_many_trifles() -> None:
    # Per money the trifle is better, and after it the great one no longer fits.
    best = best_set(np.array([1.1, 100.0]), np.array([1.0, 100.0]), 100.0)
    assert best.chosen.tolist() == [False, True]


@pytest.mark.parametrize(("budget", "count"), [(0.0, 1), (0.4, 1), (None, 3)])
def test_free_contacts_need_no_budget(budget: float | None, count: int) -> None:
    best = best_set(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.5, 0.5]), budget)
    assert best.chosen.sum() == count


def test_alike_contacts_of_uneven_costs_take_the_first() -> None:
    profit, cost = np.tile([2.0, 3.0], 20), np.tile([1.0, 1.6], 20)
    chosen = best_set(profit, cost, 25.0).chosen
    for kind in (chosen[::2], chosen[1::2]):
        assert not np.any(kind[1:] & ~kind[:-1])


@pytest.mark.parametrize("n", [1_000, 20_000])
def test_a_hard_problem_tells_its_gap(n: int) -> None:
    # Profit equal to cost: every set that spends the same is as good, and no price decides anybody.
    cost = np.random.default_rng(0).uniform(0.2, 2, n)
    best = best_set(cost, cost, n / 7)
    assert cost[best.chosen].sum() <= affordable(n / 7)
    assert 0 <= best.bound - cost[best.chosen].sum() < 1e-5 * best.bound


def test_where_the_solver_gives_up_the_ranking_and_its_bound_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knapsack, "milp", lambda *_, **__: OptimizeResult(x=None, mip_dual_bound=None))
    rng = np.random.default_rng(3)
    profit, cost = rng.exponential(1, 50), rng.uniform(0.2, 2, 50)
    best = best_set(profit, cost, 10.0)
    order = np.argsort(-profit / cost)
    assert best.chosen.tolist() == fill(order, cost, affordable(10.0)).tolist()
    assert not best.exact
    assert best.bound >= best_of_milp(profit, cost, 10.0)


@pytest.mark.parametrize("costs", ["cents", "any", "three prices", "as profits"])
@pytest.mark.parametrize("n", [1_000, 200_000])
def test_large_problems_are_solved_to_a_negligible_gap(n: int, costs: str) -> None:
    rng = np.random.default_rng(3)
    cost = {
        "cents": rng.integers(20, 200, n) / 100,
        "any": rng.uniform(0.2, 2, n),
        "three prices": rng.choice([0.5, 1.0, 2.5], n),
        "as profits": rng.uniform(0.2, 2, n),
    }[costs]
    profit = cost + rng.normal(0, 0.05, n) if costs == "as profits" else rng.normal(0, 1, n)
    best = best_set(profit, cost, n / 50)
    assert cost[best.chosen].sum() <= affordable(n / 50)
    assert 0 <= best.bound - profit[best.chosen].sum() < 1e-6 * best.bound


def test_fill_goes_on_to_what_still_fits() -> None:
    taken = fill(np.array([2, 0, 1, 3]), np.array([5.0, 1.0, 2.0, 1.0]), 4.0)
    assert taken.tolist() == [False, True, True, True]
