"""Where the doubt about a return comes from: shares that sum to 1, by brute force, and where they must vanish."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm

from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.errors import NotConvergedError
from bayesdecay.model import uncertainty as module
from bayesdecay.model.coefficients import Coefficients
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.uncertainty import SOURCES, DrawOptions, interval_widening, share_of, variance_shares
from tests.model.made_up import returning_of, terms_of
from tests.model.worlds import NOW, described, log_interest

FORMULA = "returned ~ interest + visits + spend + log1p(recency) + (1 | region)"
OPTIONS = DrawOptions(draws=40, random_seed=4)
SHARES = [share_of(source) for source in SOURCES]


@pytest.fixture(scope="module")
def told(now: Snapshots) -> Snapshots:
    """40 of those to be scored, the spend of every third unknown."""
    some = described(now).of_users(now.table["user"].iloc[:40])
    visits = np.random.default_rng(2).poisson(3, 40)
    spend = np.where(np.arange(40) % 3 == 0, np.nan, visits + np.random.default_rng(3).normal(size=40))
    return replace(some, table=some.table.assign(visits=visits, spend=spend, region=list("nnsw") * 10))


@pytest.fixture(scope="module")
def rich(told: Snapshots) -> ReactivationFit:
    level = np.random.default_rng(5).normal(-4, 1.5, (len(told), 3))
    return returning_of(terms_of(FORMULA, told.table, level), told)


def shares(by: ReactivationFit, told: Snapshots, fit: DecayFit, **options) -> pd.DataFrame:
    return variance_shares(by, told, fit, options=OPTIONS, **options)


def test_shares_sum_to_one(rich, told, fit):
    table = shares(rich, told, fit)
    assert table["user"].tolist() == told.table["user"].tolist()
    p = ["p_reactivation", "p_reactivation_lower", "p_reactivation_upper"]
    assert list(table) == ["user", *p, "variance", *SHARES]
    assert SHARES == ["share_interest", "share_missing_features", "share_coefficients", "share_chance"]
    np.testing.assert_allclose(table[SHARES].sum(axis=1), 1.0, rtol=1e-13)
    assert (table[SHARES] >= 0).all(axis=None)
    mean, lower, upper = (table[name] for name in p)
    np.testing.assert_allclose(table["variance"], mean * (1 - mean))
    assert ((lower < mean) & (mean < upper)).all()
    assert table.attrs == {"ci_prob": 0.9, "horizon": "30d"}
    gone = told.table["spend"].isna()
    assert (table.loc[gone, "share_missing_features"] > 0.001).all()
    assert (table.loc[~gone, "share_missing_features"] == 0).all()


def test_p_is_that_of_the_draws(rich, told, fit):
    """Two roads: each draw with each other here, one draw with one there."""
    many = returning_of(rich.terms, told, draws=100)
    table = variance_shares(many, told, fit, options=DrawOptions(draws=200, random_seed=1))
    p = many.draws(told, fit, draws=200, random_seed=2)
    error = p.std("sample").to_numpy() / np.sqrt(p.sizes["sample"])
    assert (np.abs(table["p_reactivation"].to_numpy() - p.mean("sample").to_numpy()) < 4.5 * error + 0.01).all()
    width = p.quantile(0.95, "sample") - p.quantile(0.05, "sample")
    found = table["p_reactivation_upper"] - table["p_reactivation_lower"]
    assert found.mean() == pytest.approx(float(width.mean()), rel=0.05)


# --- by brute force ---


def by_hand(rich, told, fit, row: int) -> dict[str, float]:
    """Shares of one user: loops over the draws, missing features by a fine rule, all orders one by one."""
    drawn, terms = Coefficients.of(rich.idata, rich.terms, 40), rich.terms
    seed = int(np.random.default_rng(4).integers(2**63))
    log_level = log_interest(fit, told, draws=40, random_seed=seed)
    design, level = terms.design(told.table, log_level), (log_level[row] - terms.interest_center) / terms.interest_scale
    region = terms.pooled[0].groups.index(told.table["region"].iloc[row])
    nodes = norm.ppf((np.arange(400) + 0.5) / 400)
    p = np.empty((40, 40, 400))
    for s, m in itertools.product(range(40), range(40)):
        base = drawn.intercept[s] + drawn.groups[0].intercept[s, region] + design.x[row] @ drawn.slope[s]
        v = np.linalg.norm(drawn.slope[s] @ design.root[design.pattern[row]])
        p[s, m] = expit(base + drawn.interest[s] * level[m] + v * nodes)
    axes = {"coefficients": 0, "interest": 1, "missing features": 2}
    gains = dict.fromkeys(axes, 0.0)
    for order in itertools.permutations(axes):
        unknown, before = set(axes.values()), 0.0
        for source in order:
            unknown.remove(axes[source])
            after = float(p.mean(axis=tuple(unknown)).var())
            gains[source] += (after - before) / 6
            before = after
    return {share_of(source): gain / (p.mean() * (1 - p.mean())) for source, gain in gains.items()}


def test_shares_by_brute_force(rich, told, fit):
    table = shares(rich, told, fit)
    for row in (0, 1, 3, 8, 20):  # 0 and 3: with spend not known
        for name, share in by_hand(rich, told, fit, row).items():
            assert table[name].iloc[row] == pytest.approx(share, abs=0.004), (row, name)


def test_outcomes_vary_as_told(rich, told, fit):
    """The law of total variance, by throwing the dice: outcomes, and pairs of outcomes of one and the same P."""
    table, rng = shares(rich, told, fit), np.random.default_rng(6)
    p = np.concatenate([rich.draws(told, fit, draws=40, random_seed=seed).to_numpy() for seed in range(100)])
    first, second = (rng.random(p.shape) < p for _ in range(2))
    chance = table["variance"] * table["share_chance"]
    by_pairs = ((first != second) / 2).mean(axis=0)  # half the squared difference
    np.testing.assert_allclose(first.var(axis=0), table["variance"], atol=0.035)
    np.testing.assert_allclose(by_pairs, chance, atol=0.035)
    assert by_pairs.mean() == pytest.approx(chance.mean(), abs=0.008)


def test_missing_features_by_few_values():
    """A few values against a fine quadrature, also where a feature that is missing means much."""
    grid = np.linspace(-9, 9, 20_001)
    mass = norm.pdf(grid) * (grid[1] - grid[0])
    for middle, sd in itertools.product((-4.0, -1.0, 0.5, 3.0), (0.3, 1.0, 2.0)):
        few, fine = expit(middle + sd * module._NODES), expit(middle + sd * grid)
        assert few.mean() == pytest.approx(fine @ mass, abs=2.5e-3)
        wanted = np.sqrt((fine**2) @ mass - (fine @ mass) ** 2)
        assert few.std() == pytest.approx(wanted, rel=0.09 if middle < -2 else 0.04)


# --- limits ---


def test_a_known_interest_has_no_share(rich, told, fit):
    known = shares(rich, told, fit, interest="plugin")
    assert (known["share_interest"] == 0).all()
    assert (known["share_coefficients"] > 0).all()
    np.testing.assert_allclose(known[SHARES].sum(axis=1), 1.0, rtol=1e-13)
    assert (shares(rich, told, fit)["share_interest"] > 0).all()
    tree = rich.idata.copy()
    tree.attrs["model"] = json.dumps(rich.description | {"interest": "plugin"})
    pd.testing.assert_frame_equal(shares(ReactivationFit(idata=tree), told, fit), known)
    without = returning_of(terms_of("returned ~ visits", told.table, np.zeros((40, 1))), told)
    np.testing.assert_allclose(shares(without, told, fit)["share_interest"], 0.0, atol=1e-15)


def test_a_single_draw_of_the_coefficients_has_no_share(rich, told, fit):
    one = ReactivationFit(idata=rich.idata.isel(chain=slice(0, 1), draw=slice(0, 1)))
    table = shares(one, told, fit)
    assert (table["share_coefficients"] == 0).all()
    assert (table["share_interest"] > 0).all()
    alone = shares(one, told, fit, interest="plugin")
    known = told.table["spend"].notna().to_numpy()
    np.testing.assert_allclose(alone.loc[known, "share_chance"], 1.0, rtol=1e-13)
    assert (alone.loc[~known, "share_chance"] < 1.0).all()


def test_a_certain_outcome_has_no_doubt(told, fit):
    sure = returning_of(terms_of("returned ~ 1", told.table, np.zeros((40, 1))), told)
    sure.idata["posterior"]["intercept"][:] = 800.0
    table = shares(sure, told, fit)
    assert (table["variance"] == 0).all()
    assert (table[SHARES] == 0).all(axis=None)


# --- in parts, by seed, and who is refused ---


def test_users_may_be_taken_a_few_at_a_time(rich, told, fit, monkeypatch):
    whole = shares(rich, told, fit)
    monkeypatch.setattr(module, "_NUMBERS", 1)
    pd.testing.assert_frame_equal(shares(rich, told, fit), whole)
    monkeypatch.setattr(module, "_USERS", 7)
    blocks = shares(rich, told, fit)  # each with draws of interest of its own
    assert blocks["user"].tolist() == whole["user"].tolist()
    np.testing.assert_allclose(blocks["p_reactivation"], whole["p_reactivation"], atol=0.15)


def test_shares_by_seed_and_interval(rich, told, fit):
    one, again = shares(rich, told, fit), shares(rich, told, fit)
    pd.testing.assert_frame_equal(one, again)
    other = variance_shares(rich, told, fit, options=replace(OPTIONS, random_seed=5))
    assert not one["share_interest"].equals(other["share_interest"])
    narrow = variance_shares(rich, told, fit, options=replace(OPTIONS, ci_prob=0.5))
    assert (narrow["p_reactivation_upper"] < one["p_reactivation_upper"]).all()
    assert narrow.attrs["ci_prob"] == 0.5


def test_nobody(returning, log, fit):
    nobody = snapshots(log, cutoffs=NOW, horizon="30d", lapsed_after="9999d", activity="event")
    table = variance_shares(returning, nobody, fit)
    assert len(table) == 0
    assert list(table)[-4:] == SHARES
    assert interval_widening(returning, nobody, fit)["times_wider"].isna().all()


def test_what_is_refused(returning, past, now, fit):
    with pytest.raises(ValueError, match="users are chosen at one cutoff, got 2"):
        variance_shares(returning, past, fit)
    tree = returning.idata.copy()
    tree.attrs["verdict"] = json.dumps(json.loads(tree.attrs["verdict"]) | {"worst_rhat": 2.0})
    with pytest.raises(NotConvergedError):
        variance_shares(ReactivationFit(idata=tree), now, fit)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        DrawOptions(draws=0)
    with pytest.raises(ValueError, match="ci_prob must lie between 0 and 1, got 90"):
        DrawOptions(ci_prob=90)


# --- how much wider honest intervals are ---


def test_widening_by_hand(returning, now, fit):
    table = interval_widening(returning, now, fit, options=DrawOptions(draws=200, random_seed=7))
    width = {}
    for way in ("uncertain", "plugin"):
        p = returning.draws(now, fit, interest=way, draws=200, random_seed=7)
        width[way] = (p.quantile(0.95, "sample") - p.quantile(0.05, "sample")).to_numpy()
    assert table["quantile"].tolist() == [0.05, 0.25, 0.5, 0.75, 0.95]
    np.testing.assert_allclose(
        table["times_wider"], np.quantile(width["uncertain"] / width["plugin"], table["quantile"])
    )
    assert table["times_wider"].iloc[2] > 1.2


def test_without_interest_nothing_gets_wider(told, fit):
    without = returning_of(terms_of("returned ~ visits", told.table, np.zeros((40, 1))), told)
    np.testing.assert_allclose(interval_widening(without, told, fit, options=OPTIONS)["times_wider"], 1.0)


def test_what_all_users_share_is_in_the_coefficients(returning, now, fit):
    """Own interest and the shared moves apart give the P and the width that paired draws give together."""
    found = variance_shares(returning, now, fit, options=DrawOptions(draws=200, random_seed=1))
    drawn = returning.draws(now, fit, draws=400, random_seed=2)
    p = drawn.mean("sample").to_numpy()
    np.testing.assert_allclose(found["p_reactivation"], p, atol=0.06)
    assert found["p_reactivation"].mean() == pytest.approx(p.mean(), abs=0.005)
    width = (found["p_reactivation_upper"] - found["p_reactivation_lower"]).mean()
    assert width == pytest.approx(float(drawn.quantile([0.05, 0.95], "sample").diff("quantile").mean()), rel=0.1)
