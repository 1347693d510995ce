from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.decide import averse
from bayesdecay.decide.averse import least_risky
from bayesdecay.decide.prospects import AssumedProspects
from bayesdecay.decide.risk import Risk, cvar, worst_weights
from bayesdecay.decide.selection import selected
from bayesdecay.decide.stakes import Stakes
from tests.decide.problems import problem


def brute_force(stakes: Stakes, risk: Risk) -> float:
    users, offers = stakes.cost.shape
    profit = stakes.profit(slice(0, users), list(range(offers)))
    best = 0.0
    for way in itertools.product(range(-1, offers), repeat=users):
        pick = np.array(way)
        rows = np.flatnonzero(pick >= 0)
        affordable = stakes.budget is None or stakes.cost[rows, pick[rows]].sum() <= stakes.budget
        if rows.size and affordable and all((pick == a).sum() <= stakes.capacity[a] for a in range(offers)):
            best = max(best, risk.score(profit[pick[rows], :, rows].sum(axis=0)))
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weight", [0.3, 0.7, 1.0])
def test_small_problems_agree_with_every_plan(seed: int, weight: float) -> None:
    stakes, risk = problem(6, 24, seed=seed, budget=3.1, calls=2), Risk.cvar(0.8, weight)
    found = least_risky(stakes, risk)
    assert found.score == pytest.approx(brute_force(stakes, risk), rel=1e-6)
    assert found.bound == pytest.approx(found.score, rel=1e-5, abs=1e-9)
    assert found.exact
    assert found.score == pytest.approx(risk.score(found.totals))


@given(
    profit=st.lists(st.integers(-50, 50), min_size=1, max_size=40),
    level=st.sampled_from([0.0, 0.5, 0.77, 0.95]),
    weight=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_worst_weights_give_the_score(profit: list[int], level: float, weight: float) -> None:
    draws, risk = np.array(profit, dtype=float), Risk.cvar(level, weight)
    weights = worst_weights(draws, risk)
    assert weights.sum() == pytest.approx(1)
    assert weights @ draws == pytest.approx((1 - weight) * draws.mean() + weight * cvar(draws, level), abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000), weights=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_more_aversion_never_raises_expected_profit(seed: int, weights: tuple[float, float]) -> None:
    stakes = problem(6, 20, seed=seed, budget=3.0)
    bold, timid = (least_risky(stakes, Risk.cvar(0.8, weight)).totals.mean() for weight in sorted(weights))
    assert timid <= bold + 1e-5


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1_000), most=st.tuples(st.floats(0.01, 0.9), st.floats(0.01, 0.9)))
def test_a_lower_chance_of_loss_never_raises_expected_profit(seed: int, most: tuple[float, float]) -> None:
    stakes = problem(30, 40, seed=seed, budget=10.0)
    timid, bold = (
        stakes.totals(selected(stakes, Risk.max_loss_probability(one), 1).pick).mean() for one in sorted(most)
    )
    assert timid <= bold + 1e-9


@pytest.mark.parametrize("weight", [0.2, 0.6])
def test_many_users_are_solved_to_a_proven_gap(weight: float) -> None:
    stakes, risk = problem(4_000, 100, seed=3, budget=600.0, calls=300), Risk.cvar(0.9, weight)
    found = least_risky(stakes, risk)
    assert 0 <= found.bound - found.score < 2e-3 * found.bound
    rows = np.flatnonzero(found.pick >= 0)
    assert stakes.cost[rows, found.pick[rows]].sum() <= 600.0 * (1 + 1e-9)
    assert (found.pick == 1).sum() <= 300
    neutral = least_risky(stakes, Risk.neutral())
    assert found.score > risk.score(neutral.totals)  # it is worth something to look at risk
    assert found.totals.mean() < neutral.totals.mean()


def test_the_sample_of_many_users_only_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    stakes, risk = problem(4_000, 60, seed=5, budget=600.0), Risk.cvar(0.9, 0.5)
    whole = least_risky(stakes, risk)
    monkeypatch.setattr(averse, "_SAMPLED", 500)
    sampled = least_risky(stakes, risk)
    assert sampled.score == pytest.approx(whole.score, rel=2e-3)
    assert max(sampled.score, whole.score) <= min(sampled.bound, whole.bound) + 1e-9


def test_where_any_contact_may_lose_the_cvar_alone_contacts_nobody() -> None:
    stakes = replace(problem(20, 50, seed=1), on_return=np.array([30.0, 30.0]))
    found = least_risky(stakes, Risk.cvar(0.9, 1.0))
    assert (found.pick == -1).all()
    assert found.score == 0


def test_single_precision_chooses_as_well_as_double() -> None:
    stakes, risk = problem(800, 60, seed=2, budget=100.0), Risk.cvar(0.9, 0.5)
    prospects = stakes.prospects
    assert isinstance(prospects, AssumedProspects)
    single = replace(stakes, prospects=replace(prospects, p=prospects.p.astype(np.float32)))
    exact, near = least_risky(stakes, risk), least_risky(single, risk)
    assert near.score == pytest.approx(exact.score, rel=2e-3)
    np.testing.assert_allclose(stakes.totals(near.pick), near.totals, rtol=1e-4, atol=1e-3)
