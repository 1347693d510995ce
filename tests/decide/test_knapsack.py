from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from bayesdecay.decide.knapsack import affordable, best_set, fill

# Cents and tenths, so that sets that fit exactly are common.
contacts = st.lists(st.tuples(st.integers(-20, 100), st.integers(0, 30)), min_size=1, max_size=9)


def unzip(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs, dtype=float)
    return table[:, 0] / 10, table[:, 1] / 10


def brute_force(profit: np.ndarray, cost: np.ndarray, budget: float) -> float:
    sets = np.array(list(itertools.product([0.0, 1.0], repeat=profit.size)))
    return float((sets @ profit)[sets @ cost <= budget + 1e-9].max())


@settings(max_examples=200)
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
def test_agrees_with_a_mixed_integer_solver(seed: int) -> None:
    rng = np.random.default_rng(seed)
    profit, cost = rng.normal(1, 2, 300), rng.integers(20, 200, 300) / 100
    best = best_set(profit, cost, 40.0)
    other = milp(
        -profit,
        integrality=np.ones(300),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(cost[None, :], ub=40.0),
        options={"mip_rel_gap": 0.0},
    )
    assert best.exact
    assert profit[best.chosen].sum() == pytest.approx(-other.fun, abs=1e-5)


def test_bound_is_the_optimum_of_the_fractional_problem() -> None:
    rng = np.random.default_rng(7)
    profit, cost = rng.normal(0.5, 1, 60), rng.uniform(0.2, 2, 60)
    relaxed = linprog(-profit, A_ub=cost[None, :], b_ub=[9.0], bounds=(0, 1))
    assert best_set(profit, cost, 9.0).bound == pytest.approx(-relaxed.fun, rel=1e-8)


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


def test_a_hard_problem_reports_its_gap() -> None:
    # Profit equal to cost: every set that spends the same is as good, and no price decides anybody.
    cost = np.random.default_rng(0).uniform(0.2, 2, 20_000)
    best = best_set(cost, cost, 3_000.0)
    reached = cost[best.chosen].sum()
    assert not best.exact
    assert reached <= affordable(3_000.0)
    assert 0 <= best.bound - reached < 1e-4 * best.bound


@pytest.mark.parametrize("n", [1_000, 200_000])
def test_large_problems_are_solved_to_a_negligible_gap(n: int) -> None:
    rng = np.random.default_rng(3)
    profit, cost = rng.normal(0, 1, n), rng.integers(20, 200, n) / 100
    best = best_set(profit, cost, n / 50)
    assert cost[best.chosen].sum() <= affordable(n / 50)
    assert best.exact or best.bound - profit[best.chosen].sum() < 1e-6 * best.bound


def test_fill_goes_on_to_what_still_fits() -> None:
    taken = fill(np.array([2, 0, 1, 3]), np.array([5.0, 1.0, 2.0, 1.0]), 4.0)
    assert taken.tolist() == [False, True, True, True]
