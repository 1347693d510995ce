from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from bayesdecay.decide.aim import Aim
from bayesdecay.decide.averse import least_risky, limits_of
from bayesdecay.decide.cells import cells_of, nearest_users
from bayesdecay.decide.chance import loss_of, seldom_losing
from bayesdecay.decide.mixture import best_mixture
from bayesdecay.decide.risk import Risk
from bayesdecay.decide.stakes import Stakes
from tests.decide.problems import problem


def highest_profit_that_seldom_loses(stakes: Stakes, most: float) -> float:
    """Expected profit that no plan exceeds whose expected profit is negative in at most a share of the samples."""
    users, offers = stakes.cost.shape
    profit = stakes.profit(slice(0, users), list(range(offers))).astype(float)
    profit = profit.transpose(1, 2, 0).reshape(stakes.samples, -1)  # sample, pair
    pairs, samples = profit.shape[1], stakes.samples
    one = np.kron(np.eye(users), np.ones(offers))
    found = milp(
        -np.concatenate([profit.mean(axis=0), np.zeros(samples)]),
        integrality=np.concatenate([np.zeros(pairs), np.ones(samples)]),
        bounds=Bounds(0, 1),
        constraints=[
            # A sample may lose where its switch is 1.
            LinearConstraint(np.column_stack([profit, np.diag(-np.minimum(profit, 0).sum(axis=1))]), lb=0.0),
            LinearConstraint(np.column_stack([one, np.zeros((users, samples))]), ub=1.0),
            LinearConstraint(np.concatenate([np.zeros(pairs), np.ones(samples)])[None], ub=int(most * samples)),
        ],
        options={"mip_rel_gap": 1e-3},
    )
    return -float(found.mip_dual_bound)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_comes_near_the_best_that_seldom_loses(seed: int) -> None:
    stakes, most = problem(200, 40, seed=seed), 0.2
    neutral = least_risky(stakes, Risk.neutral())
    assert loss_of(stakes, neutral.pick, 1) > most  # the rule binds
    best = highest_profit_that_seldom_loses(stakes, most)
    plans = seldom_losing(stakes, most, 1, neutral)
    assert all(loss_of(stakes, plan.pick, 1) <= most for plan in plans)
    # The program does not know the chance of outcomes, which costs such a small campaign a part of its profit.
    assert 0.6 * best <= max(float(plan.totals.mean()) for plan in plans) < neutral.totals.mean()


def test_an_aim_is_the_score_of_its_risk() -> None:
    rng = np.random.default_rng(0)
    for weight, level in ((0.3, 0.9), (1.0, 0.77), (0.0, 0.5)):
        risk, totals = Risk.cvar(level, weight), rng.normal(size=37)
        aim = Aim.shortfall(risk, 37)
        assert aim.score(totals) == pytest.approx(risk.score(totals), abs=1e-12)
        assert aim.weights(totals) @ totals == pytest.approx(risk.score(totals))


def test_an_aim_fines_what_lies_below_its_floor() -> None:
    aim = Aim.no_loss(np.array([0.0, 1.0, 1.0]), np.array([True, True, False]), fine=10.0)
    assert aim.score(np.array([-2.0, 4.0, -100.0])) == pytest.approx(-98 / 3 - 20.0)
    weights = aim.weights(np.array([-2.0, 4.0, -100.0]))
    np.testing.assert_allclose(weights, [1 / 3 + 10, 1 / 3, 1 / 3])


def test_cells_hold_all_users_and_sum_what_they_bring() -> None:
    stakes = problem(500, 20, seed=1)
    everybody = stakes.profit(slice(0, 500), [0, 1]).astype(float).sum(axis=2)  # offer, sample
    margin = np.column_stack([np.zeros(500), stakes.weighted(np.full(20, 1 / 20))])
    pick = (margin.argmax(axis=1) - 1).astype(np.int8)
    cells = cells_of(stakes, margin, [pick, np.full(500, -1, dtype=np.int8)], 40, np.random.default_rng(0))
    assert 10 < cells.size.size < 80
    assert cells.size.sum() == 500
    np.testing.assert_allclose(cells.gain[1:].sum(axis=1), everybody, rtol=1e-9)
    np.testing.assert_allclose(cells.cost[1:].sum(axis=1), stakes.cost.sum(axis=0))
    for cell in range(cells.size.size):
        assert (pick[cells.cell == cell] == cells.present[cell]).all()


def test_cells_of_a_sample_sum_to_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesdecay.decide.cells._LOOKED_AT", 1_000)
    stakes = problem(4_000, 20, seed=1)
    everybody = stakes.profit(slice(0, 4_000), [0, 1]).astype(float).sum(axis=2)
    margin = np.column_stack([np.zeros(4_000), stakes.weighted(np.full(20, 1 / 20))])
    pick = (margin.argmax(axis=1) - 1).astype(np.int8)
    sums = []
    for seed in range(10):
        cells = cells_of(stakes, margin, [pick], 50, np.random.default_rng(seed))
        sums.append(cells.gain[1:].sum(axis=1))
    error = np.array(sums) - everybody
    assert 0 < np.abs(error).max() < 0.1 * np.abs(everybody).max()  # it is a sample
    assert (np.abs(error.mean(axis=0)) < 4 * error.std(axis=0) / np.sqrt(10) + 1e-9).mean() > 0.95  # without bias


def test_single_users_are_the_whole_program() -> None:
    stakes, risk = problem(30, 25, seed=4, budget=12.0, calls=8), Risk.cvar(0.8, 0.6)
    aim, nobody = Aim.shortfall(risk, 25), np.full(30, -1, dtype=np.int8)
    margin = np.column_stack([np.zeros(30), stakes.weighted(np.full(25, 1 / 25))])
    cells = nearest_users(stakes, margin, nobody, 30)
    found = best_mixture(aim, cells, nobody, np.zeros(25), limits_of(stakes))
    assert found is not None
    exact = least_risky(stakes, risk)
    # The program with shares is a bound, and its weights make the same bound.
    relaxed = aim.score(found.totals)
    assert exact.score <= relaxed + 1e-6
    shares = found.shares[:, 1:]
    assert (stakes.cost * shares).sum() <= 12.0 + 1e-6
    assert shares[:, 1].sum() <= 8 + 1e-6
    np.testing.assert_allclose(found.shares.sum(axis=1), 1.0)
    profit = stakes.profit(slice(0, 30), [0, 1]).astype(float)
    np.testing.assert_allclose(found.totals, np.einsum("asu,ua->s", profit, shares), rtol=1e-6, atol=1e-6)
    assert found.weights @ found.totals == pytest.approx(relaxed, rel=1e-6)
    given = found.given_out(cells, nobody)
    np.testing.assert_array_equal(given, found.shares.argmax(axis=1) - 1)
