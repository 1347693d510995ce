"""Intercepts of very many small groups, averaged over: likelihood, gradient, and what is known of each afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit

from bayesdecay.model.formula import Formula
from bayesdecay.model.grouped_logistic import group_moments, group_nodes, grouped_logistic_loglik
from bayesdecay.model.logistic import NODE_WEIGHTS, NODES, mixed_logistic_loglik
from bayesdecay.model.logit_graph import Outcome, rows_by_group
from bayesdecay.model.small_groups import small_groups
from bayesdecay.model.terms import Terms

ROWS, GROUPS = 300, 140
FINE, FINE_WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
FINE_WEIGHTS = FINE_WEIGHTS / FINE_WEIGHTS.sum()


@pytest.fixture
def parameters() -> list[Any]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=4), rng.normal(size=3), 0.5, np.array([0.0, 0.8]), np.array([0.7, -0.4]), 0.9]


@pytest.fixture
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    _, starts = rows_by_group(np.sort(rng.integers(0, GROUPS, ROWS)))
    return {
        "x": rng.standard_normal((ROWS, 4)),
        "code": rng.integers(0, 3, ROWS),
        "pair": rng.integers(0, 2, ROWS),
        "level": rng.standard_normal((ROWS, 3)),
        "move": 0.3 * rng.standard_normal((ROWS, 2, 3)),
        "sign": rng.choice([-1.0, 1.0], ROWS),
        "weight": rng.integers(1, 3, ROWS).astype(float),
        "chance": np.array([0.5, 0.3, 0.2]),
        "starts": starts,
    }


def moved(shared: np.ndarray, data: dict[str, np.ndarray]) -> np.ndarray:
    """Levels (row, j) at what all rows share."""
    return data["level"] + np.einsum("rkj,k->rj", data["move"], shared)


def log_likelihood_at(parameters: list[Any], data: dict[str, np.ndarray], xi: np.ndarray) -> np.ndarray:
    """Log-likelihood (group, node) of each group's outcomes, its normal number being given."""
    coefficient, offset, slope, spread, shared, tau = parameters
    logit = offset[data["code"]] + data["x"] @ coefficient
    within = logit[:, None] + slope * moved(shared, data)
    at = within[:, :, None, None] + (spread[data["pair"]][:, None] * NODES)[:, None, :, None] + tau * xi
    p = (expit(data["sign"][:, None, None, None] * at) * NODE_WEIGHTS[:, None]).sum(axis=2)
    p = np.einsum("rjq,j->rq", p, data["chance"])
    return np.add.reduceat(data["weight"][:, None] * np.log(p), data["starts"][:-1], axis=0)


def test_likelihood_is_the_integral(parameters, data):
    value = grouped_logistic_loglik(*parameters, *data.values(), *group_nodes(20))[0]
    expected = np.log(np.exp(log_likelihood_at(parameters, data, FINE)) @ FINE_WEIGHTS).sum()
    assert value == pytest.approx(expected, abs=0.01)
    coarse = grouped_logistic_loglik(*parameters, *data.values(), *group_nodes(8))[0]
    assert coarse == pytest.approx(expected, abs=0.1)
    assert coarse != value


def test_gradient(parameters, data):
    nodes = group_nodes(8)

    def value(place: int, change: Any) -> float:
        moved = [*parameters]
        moved[place] = moved[place] + change
        return grouped_logistic_loglik(*moved, *data.values(), *nodes)[0]

    gradients = grouped_logistic_loglik(*parameters, *data.values(), *nodes)[1:]
    for place, gradient in enumerate(gradients):
        for step in np.eye(np.size(parameters[place])) * 1e-5:
            if place == 3 and step[0]:  # a standard deviation of exactly zero has no other side
                continue
            change = step if np.ndim(parameters[place]) else step[0]
            slope = (value(place, change) - value(place, -change)) / 2e-5
            assert np.ravel(gradient) @ step / 1e-5 == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_without_spread_between_groups_it_is_the_plain_likelihood(parameters, data):
    parameters[5] = 0.0
    grouped = grouped_logistic_loglik(*parameters, *data.values(), *group_nodes(8))
    arrays = {name: np.ascontiguousarray(values.T) for name, values in data.items() if name != "starts"}
    plain = mixed_logistic_loglik(*parameters[:5], *arrays.values())
    for one, other in zip(grouped[:6], plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_moments_of_each_group(parameters, data):
    coefficient, offset, slope, spread, shared, tau = parameters
    rows = (offset[data["code"]] + data["x"] @ coefficient, slope, spread[data["pair"]], tau)
    own = (moved(shared, data), *(data[name] for name in ("sign", "weight", "chance", "starts")))
    mean, square = group_moments(*rows, *own, *group_nodes(20))
    weight = np.exp(log_likelihood_at(parameters, data, FINE)) * FINE_WEIGHTS
    weight /= weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mean, weight @ (tau * FINE), atol=2e-3)
    np.testing.assert_allclose(square, weight @ (tau * FINE) ** 2, atol=5e-3)


def test_rows_by_group():
    order, starts = rows_by_group(np.array([2, 0, 2, 1, 0]))
    assert order.tolist() == [1, 4, 3, 0, 2]
    assert starts.tolist() == [0, 2, 3, 5]


def test_what_is_known_of_users():
    """Users with a known posterior: their intercepts lie where the means say, as far off as the deviations say."""
    rng = np.random.default_rng(3)
    users, visits, tau = 2_000, 6, 1.0
    own = tau * rng.standard_normal(users)
    table = pd.DataFrame({"user": np.repeat(np.arange(users), visits), "x": rng.standard_normal(users * visits)})
    returned = rng.random(len(table)) < expit(-0.5 + 0.7 * table["x"] + own[table["user"]])
    terms = Terms.learn(Formula.parse("returned ~ x + (1 | user)"), table, np.zeros((len(table), 2)))
    assert terms.averaged == 0
    known = {"intercept": -0.5, "slope_interest": 0.0, "tau_intercept_user": tau}
    posterior = xr.Dataset({name: (("chain", "draw"), [[value] * 4]) for name, value in known.items()})
    posterior["slope"] = (("chain", "draw", "feature"), np.full((1, 4, 1), 0.7))
    design = terms.design(table, np.zeros((len(table), 2)))
    found = small_groups(posterior, terms, design, Outcome(returned=returned, weight=np.ones(len(table))))
    ids = np.array(terms.pooled[0].groups).astype(int)
    off = (own[ids] - found["mean"].to_numpy()) / found["sd"].to_numpy()
    assert np.mean(off) == pytest.approx(0, abs=4 / np.sqrt(users))
    assert np.std(off) == pytest.approx(1, abs=0.05)
    assert found["sd"].max() < tau
    assert found.attrs["group"] == "user"


def test_few_or_large_groups_are_sampled_one_by_one():
    few = pd.DataFrame({"user": np.arange(400) % 200, "x": np.arange(400.0)})
    large = pd.DataFrame({"user": np.arange(30_000) % 600, "x": np.arange(30_000.0)})
    for table in (few, large):
        terms = Terms.learn(Formula.parse("returned ~ x + (1 | user)"), table, np.zeros((len(table), 1)))
        assert terms.averaged is None


def test_only_one_bracket_is_averaged_over():
    table = pd.DataFrame({"user": np.arange(3_000) % 1_500, "shop": np.arange(3_000) % 600, "x": np.arange(3_000.0)})
    formula = Formula.parse("returned ~ x + (1 | shop) + (1 | user)")
    terms = Terms.learn(formula, table, np.zeros((len(table), 1)))
    assert [one.averaged for one in terms.pooled] == [False, True]
    assert terms.averaged == 1
