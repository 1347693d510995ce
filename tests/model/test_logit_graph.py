"""The logit as PyMC variables: its likelihood is that which plain numpy makes of the same coefficients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy.special import log_expit

from bayesdecay.model import logit_graph
from bayesdecay.model.coefficients import MISSING, Coefficients
from bayesdecay.model.logit_graph import Outcome
from bayesdecay.model.matrices import Design
from bayesdecay.model.pointwise import probability
from bayesdecay.model.prior import REACTIVATION_PRIORS
from bayesdecay.model.terms import Terms
from tests.model.made_up import evaluated, terms_of

N_ROWS = 70
FORMULAS = [
    "returned ~ 1",
    "returned ~ interest",
    "returned ~ interest + visits + spend",
    "returned ~ visits + (1 | segment)",
    "returned ~ interest + visits + (1 + spend + visits | segment) + (1 | region)",
    "returned ~ interest + visits + (1 + spend | segment) + (visits | region)",
    "returned ~ (1 + spend | segment)",
]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    visits = rng.normal(size=N_ROWS)
    made = pd.DataFrame(
        {
            "visits": visits,
            "spend": visits + rng.normal(size=N_ROWS),
            "segment": rng.choice(list("abcd"), N_ROWS),
            "region": rng.choice(["north", "south"], N_ROWS),
        }
    )
    made.loc[::4, "spend"] = np.nan
    made.loc[::10, "visits"] = np.nan
    return made


@pytest.fixture(scope="module")
def log_interest() -> np.ndarray:
    return np.random.default_rng(4).normal(size=(N_ROWS, 8))


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    rng = np.random.default_rng(5)
    return Outcome(returned=rng.random(N_ROWS) < 0.4, weight=rng.integers(1, 4, N_ROWS).astype(float))


def built(terms: Terms, design: Design, outcome: Outcome, *, sparse: Any = None, level: Any = None) -> pm.Model:
    sparse = np.zeros(len(terms.slopes), dtype=bool) if sparse is None else sparse
    with pm.Model(coords=logit_graph.coords(terms)) as model:
        found = logit_graph.linear(terms, design, REACTIVATION_PRIORS, outcome, sparse)
        if level is None:
            logit_graph.add_loglik(found, terms, design, outcome)
        else:
            logit_graph.add_loglik_at(found, terms, design, outcome, level)
    return model


def plain_loglik(posterior, terms: Terms, design: Design, outcome: Outcome) -> float:
    p = probability(Coefficients.of(posterior, terms, 1), design)[:, 0]
    return float(outcome.weight @ np.log(np.where(outcome.returned, p, 1 - p)))


@pytest.mark.parametrize("formula", FORMULAS)
def test_likelihood_is_that_of_plain_numpy(formula, table, log_interest, outcome):
    terms = terms_of(formula, table, log_interest)
    design = terms.design(table, log_interest)
    model = built(terms, design, outcome)
    posterior, values = evaluated(model, ["loglik"], random_seed=6)
    # Features and levels are in single precision inside.
    assert values["loglik"] == pytest.approx(plain_loglik(posterior, terms, design, outcome), rel=2e-6)
    other, moved = evaluated(model, ["loglik"], random_seed=7)
    assert moved["loglik"] != values["loglik"]
    assert moved["loglik"] == pytest.approx(plain_loglik(other, terms, design, outcome), rel=2e-6)


@pytest.mark.parametrize("sparse", [slice(None), slice(1, None), slice(0, None, 2)])
def test_likelihood_with_a_horseshoe(sparse, table, log_interest, outcome):
    terms = terms_of(FORMULAS[2], table, log_interest)
    design = terms.design(table, log_interest)
    many = np.zeros(len(terms.slopes), dtype=bool)
    many[sparse] = True
    posterior, values = evaluated(built(terms, design, outcome, sparse=many), ["loglik"], random_seed=6)
    assert values["loglik"] == pytest.approx(plain_loglik(posterior, terms, design, outcome), rel=2e-6)


def test_likelihood_where_something_is_missing_in_every_row(table, log_interest, outcome):
    terms = terms_of(FORMULAS[4], table, log_interest)
    rows = np.flatnonzero(table.isna().any(axis=1))
    design, part = (
        terms.design(table, log_interest).rows(rows),
        Outcome(returned=outcome.returned[rows], weight=outcome.weight[rows]),
    )
    assert (design.pattern > 0).all()
    posterior, values = evaluated(built(terms, design, part), ["loglik"], random_seed=6)
    assert values["loglik"] == pytest.approx(plain_loglik(posterior, terms, design, part), rel=2e-6)


def test_gradient_is_finite_where_nothing_has_an_effect(table, log_interest, outcome):
    """At slopes of exactly 0, where NUTS may start, the spread of what is missing has a corner."""
    terms = terms_of(FORMULAS[4], table, log_interest)
    model = built(terms, terms.design(table, log_interest), outcome)
    point = model.initial_point() | {"slope": np.zeros(1), "slope_segment_offset_": np.zeros((4, 2))}
    assert np.isfinite(model.compile_dlogp(mode="FAST_COMPILE")(point)).all()


@pytest.mark.parametrize("formula", FORMULAS[2:6])
def test_likelihood_where_interest_is_a_variable(formula, table, log_interest, outcome):
    terms = terms_of(formula, table, log_interest)
    design = terms.design(table, log_interest)
    level = np.random.default_rng(8).normal(size=N_ROWS)
    model = built(terms, design, outcome, level=level)
    posterior, values = evaluated(model, ["loglik_returns"], random_seed=6)
    drawn = Coefficients.of(posterior, terms, 1)
    known = replace(design, level=level[:, None])
    parts = drawn.parts(known, np.random.default_rng(0))
    logit = sum(part[:, 0] for name, part in parts.items() if name != MISSING)
    if MISSING in parts:
        beyond = np.zeros(N_ROWS)
        beyond[design.pattern > 0] = values["missing_offset_"]
        logit = logit + drawn.spread(design)[:, 0] * beyond
    expected = outcome.weight @ log_expit(np.where(outcome.returned, 1.0, -1.0) * logit)
    assert values["loglik_returns"] == pytest.approx(expected, rel=1e-9)


def test_coordinates_and_priors(table, log_interest, outcome):
    terms = terms_of(FORMULAS[5], table, log_interest)
    model = built(terms, terms.design(table, log_interest), outcome)
    assert {name: tuple(values) for name, values in model.coords.items()} == {
        "feature": ("visits",),
        "segment": ("a", "b", "c", "d"),
        "segment_feature": ("spend",),
        "region": ("north", "south"),
        "region_feature": ("visits",),
    }
    dims = {name: own for name, own in model.named_vars_to_dims.items() if "offset" not in name}
    assert dims == {
        "slope": ("feature",),
        "intercept_segment": ("segment",),
        "slope_segment": ("segment", "segment_feature"),
        "tau_slope_segment": ("segment_feature",),
        "intercept_region": ("region",),
        "slope_region": ("region", "region_feature"),
        "tau_slope_region": ("region_feature",),
    }
    drawn = pm.draw([model[f"tau_intercept_{name}"] for name in ("segment", "region")], 2_000, random_seed=1)
    for own in drawn:  # HalfNormal(0.5)
        assert np.median(own) == pytest.approx(0.5 * 0.6745, rel=0.1)
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.1


@pytest.mark.parametrize("name", ["level", "weight", "x", "user", "my group"])
def test_a_group_may_have_a_plain_name(name, table, log_interest, outcome):
    told = table.rename(columns={"segment": name})
    terms = terms_of(f"returned ~ interest + (1 + visits | `{name}`)", told, log_interest)
    assert f"intercept_{name}" in built(terms, terms.design(told, log_interest), outcome).named_vars


def test_prior_of_interest_is_about_log_interest_itself(table, log_interest, outcome):
    """A log in which interest lies four times as far apart: the slope of log interest has the same prior."""
    prior, points = REACTIVATION_PRIORS["slope_interest"], np.array([-1.0, 0.5, 2.0])
    for stretch in (1.0, 4.0):
        terms = terms_of("returned ~ interest + visits", table, stretch * log_interest)
        assert terms.interest_scale == pytest.approx(stretch * log_interest.std())
        with pm.Model(coords=logit_graph.coords(terms)) as model:
            design = terms.design(table, stretch * log_interest)
            logit_graph.linear(terms, design, REACTIVATION_PRIORS, outcome, np.zeros(1, dtype=bool))
        density = pm.logp(model["slope_interest"], terms.interest_scale * points).eval() + np.log(terms.interest_scale)
        np.testing.assert_allclose(density, prior.frozen().logpdf(points), rtol=1e-6)
