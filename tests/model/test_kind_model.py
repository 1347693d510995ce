"""The model of kinds: its likelihood against scipy, and its priors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayesdecay.model.kind_model import KindModel, KindTails
from bayesdecay.model.prior import Prior
from tests.model.kind_worlds import KINDS, SHARES, drawn_counts
from tests.model.made_up import evaluated


def expected_loglik(counts: np.ndarray, concentration: np.ndarray) -> float:
    """By scipy, of the kinds in the order they came: without the number of orders."""
    n = counts.sum(axis=1)
    orders = stats.multinomial.logpmf(counts, n, np.full_like(counts, 1.0, dtype=float) / counts.shape[1])
    orders += n * np.log(counts.shape[1])
    return float(np.sum(stats.dirichlet_multinomial.logpmf(counts, concentration, n) - orders))


@pytest.mark.parametrize("grouped", [False, True])
def test_likelihood_is_that_of_scipy(grouped):
    rng = np.random.default_rng(2)
    counts = drawn_counts(rng.poisson(6, 300), np.tile([0.5, 1.0, 3.0], (300, 1)), rng)
    group = rng.integers(0, 2, 300) if grouped else np.zeros(300, np.int64)
    names = ("ads", "friends") if grouped else ()
    model = KindModel().build(KindTails.of(counts, group), KINDS, names)
    _, found = evaluated(model, ["loglik"], random_seed=3)
    share = found["group_share"] if grouped else found["share"][None]
    assert share.sum(axis=1) == pytest.approx(1.0)
    assert found["loglik"] == pytest.approx(expected_loglik(counts, found["concentration"] * share[group]), rel=1e-10)


def test_tails_are_few_however_many_users():
    rng = np.random.default_rng(4)
    counts = rng.multinomial(5, SHARES, size=100_000).astype(np.int64)
    tails = KindTails.of(counts, np.zeros(100_000, np.int64))
    assert tails.users.size <= 15
    assert (tails.users.sum(), tails.total.tolist()) == (500_000, [100_000] * 5)
    np.testing.assert_array_equal(tails.users[tails.order == 0], (counts > 0).sum(axis=0))


def test_priors_are_told_and_changed():
    table = KindModel().priors_table().set_index("parameter")
    # Of two kinds: the difference of two logarithms.
    assert np.exp(1.645 * np.sqrt(2) * 2.0) == pytest.approx(100, rel=0.06)
    assert table.loc["concentration", ["5 %", "median", "95 %"]].to_list() == pytest.approx([0.42, 5.0, 59.0], rel=0.02)
    narrow = Prior(distribution="LogNormal", parameters={"mu": 0.0, "sigma": 0.1})
    assert KindModel(priors={"concentration": narrow}).priors_in_force()["concentration"] is narrow
    with pytest.raises(ValueError, match="unknown prior 'share'; did you mean 'tau_share'"):
        KindModel(priors={"share": narrow})
