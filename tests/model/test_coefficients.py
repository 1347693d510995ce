"""A user's logit: the sum of its parts, each by hand; missing features and unseen groups; P averaged over both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit
from scipy.stats import norm

from bayesdecay.model.coefficients import BASELINE, MISSING, Coefficients
from bayesdecay.model.matrices import Design
from bayesdecay.model.pointwise import probability
from bayesdecay.model.terms import Terms
from tests.model.made_up import posterior_of, terms_of

N_ROWS, DRAWS = 80, 25
SAMPLES = 2 * DRAWS
FORMULA = "returned ~ interest + visits + channel + (1 + spend + visits | segment) + (1 | region)"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    visits = rng.normal(size=N_ROWS)
    made = pd.DataFrame(
        {
            "visits": visits,
            "spend": visits + rng.normal(size=N_ROWS),
            "channel": rng.choice(["ads", "friends", "search"], N_ROWS),
            "segment": rng.choice(list("abcd"), N_ROWS),
            "region": rng.choice(["north", "south"], N_ROWS),
        }
    )
    made.loc[::4, "spend"] = np.nan
    made.loc[::10, "visits"] = np.nan
    return made


@pytest.fixture(scope="module")
def log_interest() -> np.ndarray:
    return np.random.default_rng(4).normal(size=(N_ROWS, SAMPLES))


@pytest.fixture(scope="module")
def terms(table, log_interest) -> Terms:
    return terms_of(FORMULA, table, log_interest)


@pytest.fixture(scope="module")
def posterior(terms) -> xr.Dataset:
    return posterior_of(terms, draws=DRAWS)


@pytest.fixture(scope="module")
def drawn(terms, posterior) -> Coefficients:
    return coefficients(posterior, terms)


@pytest.fixture(scope="module")
def design(terms, table, log_interest) -> Design:
    return terms.design(table, log_interest)


def coefficients(posterior: xr.Dataset, terms: Terms, draws: int = 10_000) -> Coefficients:
    return Coefficients.of(xr.DataTree.from_dict({"posterior": posterior}), terms, draws)


def sample(posterior: xr.Dataset, s: int) -> xr.Dataset:
    """One draw, by its number over the chains."""
    return posterior.isel(chain=s // DRAWS, draw=s % DRAWS)


def test_logit_is_the_sum_of_its_parts(drawn, design):
    parts = drawn.parts(design, np.random.default_rng(7))
    assert list(parts) == [BASELINE, "group segment", "group region", "visits", "channel", "interest", MISSING]
    assert all(part.shape == (N_ROWS, SAMPLES) for part in parts.values())
    np.testing.assert_array_equal(sum(parts.values()), drawn.logit(design, np.random.default_rng(7)))


def test_parts_by_hand(drawn, design, posterior, terms, table):
    parts = drawn.parts(design, np.random.default_rng(7))
    x = pd.DataFrame(design.x, columns=terms.labels)
    for s in (0, 24, 25, 49):
        own = sample(posterior, s)
        np.testing.assert_allclose(parts[BASELINE][:, s], float(own["intercept"]))
        segment, region = (xr.DataArray(table[name].to_numpy(), dims="row") for name in ("segment", "region"))
        by_segment = own.sel(segment=segment)
        wanted = by_segment["intercept_segment"].to_numpy()
        for name in ("spend", "visits"):
            wanted = wanted + by_segment["slope_segment"].sel(segment_feature=name).to_numpy() * x[name]
        np.testing.assert_allclose(parts["group segment"][:, s], wanted)
        np.testing.assert_allclose(parts["group region"][:, s], own["intercept_region"].sel(region=region))
        slope = own["slope"].to_series()
        np.testing.assert_allclose(parts["visits"][:, s], slope["visits"] * x["visits"])
        both = ["channel[T.friends]", "channel[T.search]"]
        np.testing.assert_allclose(parts["channel"][:, s], x[both] @ slope[both])
        np.testing.assert_allclose(parts["interest"][:, s], float(own["slope_interest"]) * design.level[:, s])


def test_spread_of_what_is_missing_by_hand(drawn, design, posterior, terms, table):
    spread = drawn.spread(design)
    covariance = {name: place for place, name in enumerate(terms.labels)}
    for row in (0, 4, 10, 20, 1):
        gone = [name for name in ("visits", "spend") if pd.isna(table.loc[row, name])]
        root = design.root[design.pattern[row]]
        places = [covariance[name] for name in gone]
        left = (root @ root.T)[np.ix_(places, places)]
        for s in (3, 40):
            own = sample(posterior, s)
            group = own["slope_segment"].sel(segment=table.loc[row, "segment"]).to_series()
            along = np.array([group[name] for name in gone])
            along = along + [float(own["slope"].sel(feature="visits")) * (name == "visits") for name in gone]
            assert spread[row, s] == pytest.approx(np.sqrt(along @ left @ along), abs=1e-12), (row, gone)
    known = table.notna().all(axis=1)
    assert (spread[known] == 0).all()
    assert (spread[~known] > 0).all()


def test_missing_part_is_normal_with_that_spread(terms, table, log_interest):
    many = coefficients(posterior_of(terms, draws=4_000), terms, 8_000)
    design = terms.design(table.iloc[:11], log_interest[:11, :1])
    spread, part = many.spread(design), many.parts(design, np.random.default_rng(8))[MISSING]
    gone = spread[:, 0] > 0
    assert gone.sum() == 4
    assert (part[~gone] == 0).all()
    z = part[gone] / spread[gone]
    np.testing.assert_allclose(z.mean(axis=1), 0.0, atol=0.05)
    np.testing.assert_allclose(z.std(axis=1), 1.0, atol=0.05)
    np.testing.assert_allclose(np.corrcoef(z), np.eye(len(z)), atol=0.05)


def test_where_nothing_is_missing_there_is_no_such_part(drawn, terms, table, log_interest):
    rows = table.notna().all(axis=1).to_numpy()
    design = terms.design(table[rows], log_interest[rows])
    parts = drawn.parts(design, np.random.default_rng(7))
    assert MISSING not in parts
    np.testing.assert_array_equal(drawn.logit(design, np.random.default_rng(1)), sum(parts.values()))


def test_without_interest_there_is_no_such_part(table, log_interest):
    terms = terms_of("returned ~ channel", table, log_interest)
    parts = coefficients(posterior_of(terms), terms).parts(terms.design(table, log_interest), np.random.default_rng(1))
    assert list(parts) == [BASELINE, "channel"]


def test_only_a_baseline(table, log_interest):
    terms = terms_of("returned ~ 1", table, log_interest)
    drawn = coefficients(posterior_of(terms), terms)
    logit = drawn.logit(terms.design(table, log_interest), np.random.default_rng(1))
    np.testing.assert_array_equal(logit, np.broadcast_to(drawn.intercept, (N_ROWS, drawn.size)))


# --- groups that the fit has not seen ---


@pytest.fixture(scope="module")
def unseen(terms, table, log_interest) -> tuple[dict[str, np.ndarray], xr.Dataset]:
    """Parts of two rows of unseen groups that differ in their features, and the posterior."""
    posterior = posterior_of(terms, draws=4_000)
    later = table.iloc[[1, 2]].assign(segment="new", region="far away", visits=[0.0, 1.0], spend=[0.5, 0.5])
    design = terms.design(later, log_interest[:2, :1])
    return coefficients(posterior, terms, 8_000).parts(design, np.random.default_rng(9)), posterior


def test_unseen_groups_are_as_far_from_the_others_as_these_from_each_other(unseen, terms):
    parts, posterior = unseen
    tau = posterior["tau_intercept_region"].stack(sample=("chain", "draw")).to_numpy()
    z = parts["group region"][0] / tau
    assert z.mean() == pytest.approx(0.0, abs=0.05)
    assert z.std() == pytest.approx(1.0, abs=0.05)
    # From one row to the other the group's slope of visits makes the difference.
    tau = posterior["tau_slope_segment"].sel(segment_feature="visits").stack(sample=("chain", "draw")).to_numpy()
    z = (parts["group segment"][1] - parts["group segment"][0]) * terms.scales["visits"] / tau
    assert z.std() == pytest.approx(1.0, abs=0.05)


def test_what_is_unseen_is_unknown_each_for_itself(unseen):
    parts, posterior = unseen
    region = parts["group region"][0]
    segment, slope = parts["group segment"][0], parts["group segment"][1] - parts["group segment"][0]
    tau = posterior["tau_intercept_region"].stack(sample=("chain", "draw")).to_numpy()
    for other in (segment, slope):
        assert abs(np.corrcoef(region / tau, other)[0, 1]) < 0.05


# --- P averaged over interest and over what is missing ---


def test_probability_is_the_average(drawn, terms, table, log_interest):
    design = terms.design(table, log_interest[:, :8])
    p = probability(drawn, design)
    assert p.shape == (N_ROWS, SAMPLES)
    spread, grid = drawn.spread(design), np.linspace(-8, 8, 4_001)
    mass = norm.pdf(grid) * (grid[1] - grid[0])
    for row, s in ((0, 3), (4, 11), (10, 40), (20, 49), (1, 7), (2, 30)):
        silent = replace(design.rows([row]), level=np.zeros((1, 1)))
        parts, level = drawn.parts(silent, np.random.default_rng(0)), design.level[row]
        without = sum(part[0, s] for name, part in parts.items() if name not in (MISSING, "interest"))
        logit = without + drawn.interest[s] * level[:, None] + spread[row, s] * grid
        wanted = (expit(logit) @ mass).mean() if spread[row, s] > 0 else expit(logit[:, 0]).mean()
        assert p[row, s] == pytest.approx(wanted, rel=1e-4), (row, s)
