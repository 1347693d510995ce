from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from bayesdecay.decide import assignment
from bayesdecay.decide.assignment import Limits, assign
from bayesdecay.decide.knapsack import affordable

pairs = st.lists(st.tuples(*[st.integers(-20, 60)] * 2, *[st.integers(0, 30)] * 2), min_size=1, max_size=6)


def limits_for(cost: np.ndarray, budget: float | None, capacity: list[float]) -> Limits:
    return Limits(cost=cost, budget=budget, capacity=np.array(capacity, dtype=float), closed=np.zeros(len(cost), bool))


def total(profit: np.ndarray, pick: np.ndarray) -> float:
    rows = np.flatnonzero(pick >= 0)
    return float(profit[rows, pick[rows]].sum())


def brute_force(profit: np.ndarray, limits: Limits) -> float:
    users, offers = profit.shape
    best = 0.0
    for way in itertools.product(range(-1, offers), repeat=users):
        pick = np.array(way)
        rows = np.flatnonzero(pick >= 0)
        counts = np.array([(pick == a).sum() for a in range(offers)])
        if limits.cost[rows, pick[rows]].sum() <= limits.money + 1e-9 and (counts <= limits.capacity).all():
            best = max(best, total(profit, pick))
    return best


@settings(max_examples=60, deadline=None)
@given(rows=pairs, budget=st.integers(0, 100), capacity=st.integers(0, 4))
def test_agrees_with_every_way_to_give_out_offers(rows: list[tuple[int, ...]], budget: int, capacity: int) -> None:
    table = np.array(rows, dtype=float) / 10
    limits = limits_for(table[:, 2:], budget / 10, [capacity, np.inf])
    found = assign(table[:, :2], limits)
    best = brute_force(table[:, :2], limits)
    assert total(table[:, :2], found.pick) == pytest.approx(best, abs=1e-6)
    assert found.bound == pytest.approx(best, abs=1e-5)
    assert found.exact


@settings(max_examples=40, deadline=None)
@given(rows=pairs, budgets=st.tuples(st.integers(0, 100), st.integers(0, 100)))
def test_more_budget_never_lowers_the_expected_profit(rows: list[tuple[int, ...]], budgets: tuple[int, int]) -> None:
    table = np.array(rows, dtype=float) / 10
    profit, cost = table[:, :2], table[:, 2:]
    less, more = (
        total(profit, assign(profit, limits_for(cost, budget / 10, [2, np.inf])).pick) for budget in sorted(budgets)
    )
    assert less <= more + 1e-9


@pytest.mark.parametrize("capacity", [[np.inf] * 3, [60.0, 40.0, np.inf]])
def test_bound_is_that_of_the_linear_program(capacity: list[float]) -> None:
    users, rng = 3_000, np.random.default_rng(1)
    profit, cost = rng.normal(0, 1, (users, 3)), rng.uniform(0.2, 2, (users, 3))
    limits = limits_for(cost, users / 20, capacity)
    at = np.arange(3 * users)
    rules = [csr_array((np.ones(3 * users), (at // 3, at))), csr_array(cost.reshape(1, -1))]
    rules += [csr_array((at % 3 == a)[None, :].astype(float)) for a in range(3)]
    ends = [*np.ones(users), affordable(users / 20), *np.minimum(capacity, users)]
    relaxed = -linprog(-profit.ravel(), A_ub=vstack(rules), b_ub=ends, bounds=(0, 1)).fun
    found = assign(profit, limits)
    assert found.bound == pytest.approx(relaxed, rel=1e-6)
    assert 0 <= found.bound - total(profit, found.pick) < 1e-3 * relaxed
    rows = np.flatnonzero(found.pick >= 0)
    assert cost[rows, found.pick[rows]].sum() <= limits.money
    assert all((found.pick == a).sum() <= capacity[a] for a in range(3))


def test_equal_users_are_taken_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "_SMALL", 0)
    profit, cost = np.tile([2.0, 1.0], (50, 1)), np.tile([1.0, 0.5], (50, 1))
    pick = assign(profit, limits_for(cost, 10.0, [5, np.inf])).pick
    assert total(profit, pick) == 20.0
    contacted = np.flatnonzero(pick >= 0)
    assert contacted.tolist() == list(range(contacted.size))
    assert pick.tolist() == assign(profit, limits_for(cost, 10.0, [5, np.inf])).pick.tolist()


def test_closed_users_and_zero_capacity_get_nothing() -> None:
    limits = Limits(
        cost=np.ones((3, 2)), budget=None, capacity=np.array([0.0, np.inf]), closed=np.array([1, 0, 0], bool)
    )
    assert assign(np.array([[5.0, 5.0], [9.0, 1.0], [9.0, -1.0]]), limits).pick.tolist() == [-1, 1, -1]
