"""Fits of kinds: the truth recovered, groups, saving, and the scores that a fit gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bayesdecay.data.history import History
from bayesdecay.data.kinds import KindCounts
from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Population as Truth
from bayesdecay.errors import DataError, NotConvergedError
from bayesdecay.model.fits import load
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.kind_fit import KindFit
from bayesdecay.model.kind_model import KindModel
from bayesdecay.model.kind_scoring import KindPopulation
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scores import ScoreOptions, write_scores
from tests.model.kind_worlds import CONCENTRATION, KINDS, SHARES, drawn_counts
from tests.model.worlds import history_of


@pytest.fixture(scope="module")
def counts(history: History) -> KindCounts:
    """Kinds of the activities of the shop of 600 users."""
    n = history.table["n"].to_numpy()
    alike = np.tile(CONCENTRATION * SHARES, (len(n), 1))
    return KindCounts(history=history, kinds=KINDS, counts=drawn_counts(n, alike, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def kinds_fit(counts: KindCounts, made_once: Callable) -> KindFit:
    return KindFit(
        idata=made_once("kinds", lambda: KindModel().fit(counts, sampling=Sampling(chains=2), random_seed=1).idata)
    )


def test_the_truth_is_recovered(kinds_fit):
    assert kinds_fit.verdict.converged, kinds_fit.verdict
    table = kinds_fit.summary()
    assert table.index.to_list() == ["concentration", *(f"share[{kind}]" for kind in KINDS)]
    for name, value in [("concentration", CONCENTRATION), *zip(table.index[1:], SHARES, strict=True)]:
        row = table.loc[name]
        assert row["mean"] == pytest.approx(value, abs=3.5 * row["sd"]), name
        assert row["sd"] < 0.15 * value


def test_groups_are_told_apart_and_an_unseen_one_lies_among_them():
    rng = np.random.default_rng(5)
    drawn = simulate(600, population=Truth(half_life={"a": 20, "b": 20, "c": 20}, interest=0.3), random_seed=6)
    history = history_of(drawn, group="group")
    group = history.table["group"].to_numpy().astype(str)
    truth = {"'a'": [0.1, 0.2, 0.7], "'b'": [0.2, 0.2, 0.6], "'c'": [0.1, 0.4, 0.5]}
    truth = {name: truth.get(name, truth[f"'{name.strip(chr(39))}'"]) for name in np.unique(group)}
    own = 8.0 * np.array([truth[name] for name in group])
    counts = KindCounts(history=history, kinds=KINDS, counts=drawn_counts(history.table["n"].to_numpy(), own, rng))
    fit = KindModel().fit(counts, sampling=Sampling(draws=300, tune=200, chains=2), random_seed=1)
    share = fit.idata["posterior"]["group_share"]
    mean, sd = share.mean(("chain", "draw")), share.std(("chain", "draw"))
    for name, value in truth.items():
        np.testing.assert_array_less(np.abs(mean.sel(group=name) - value), 4.0 * sd.sel(group=name))
    population = KindPopulation.of(fit.idata["posterior"].to_dataset(), activity="event", acquisition=False, draws=400)
    assert population.concentration.shape == (400, 4, 3)
    unseen = population.concentration[:, -1] / population.concentration[:, -1].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(unseen.mean(axis=0), np.mean(list(truth.values()), axis=0), atol=0.1)
    assert unseen.std(axis=0).min() > float(sd.max())
    assert population.place(np.array(["d", population.groups[1]]), 2).tolist() == [3, 1]
    with pytest.raises(DataError, match="the fit of kinds has groups but the history has none"):
        population.place(None, 2)


def test_save_and_load_give_the_same_fit(kinds_fit, tmp_path):
    again = load(kinds_fit.save(tmp_path / "kinds.nc"))
    assert isinstance(again, KindFit)
    assert again.verdict == kinds_fit.verdict
    assert again.idata["posterior"].to_dataset().identical(kinds_fit.idata["posterior"].to_dataset())
    assert again.description["kinds"] == list(KINDS)
    assert "Fit of kinds: converged" in again._repr_html_()


def test_nobody_with_an_activity_is_refused(history):
    idle = history.over(history.table.filter(pa.array(history.table["n"].to_numpy() == 0)))
    counts = KindCounts(history=idle, kinds=KINDS, counts=np.zeros((len(idle), 3), np.int64))
    with pytest.raises(DataError, match=r"no user has an activity that counts, acquisitions aside; count these too"):
        KindModel().fit(counts)


def test_the_fit_scores_in_a_table_in_parts_and_in_draws(kinds_fit, fit, counts, tmp_path):
    options = ScoreOptions(horizons="30d", random_seed=1)
    scores = kinds_fit.score(counts, fit, options=options)
    head = ["user", *(f"share_purchase{end}" for end in ("", "_lower", "_upper"))]
    assert scores.table.column_names[:5] == [*head, "p_purchase_30d"]
    assert len(scores.table.column_names) == 1 + 3 * 9
    write_scores(kinds_fit.score_parts(counts, fit, options=options), tmp_path / "kinds.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "kinds.parquet"), scores.to_pandas(), check_like=True)
    draws = kinds_fit.draws(counts, fit, options=options)
    assert dict(draws.sizes) == {"sample": 200, "user": len(counts), "kind": 3, "horizon": 1}
    np.testing.assert_allclose(draws["share"].sum("kind"), 1.0)
    own = scores.to_pandas()
    np.testing.assert_allclose(draws["share"].sel(kind="view").mean("sample"), own["share_view"])
    (upper,) = interval_ends(draws["p"].sel(kind="cart", horizon="30d").transpose("user", "sample").to_numpy(), (0.95,))
    np.testing.assert_allclose(upper, own["p_cart_30d_upper"])


def test_what_cannot_be_scored_is_refused(kinds_fit, fit, counts):
    with pytest.raises(ValueError, match="is said within horizons; give at least one"):
        kinds_fit.score(counts, fit, options=ScoreOptions(horizons=()))
    turned = KindCounts(history=counts.history, kinds=KINDS[::-1], counts=counts.counts[:, ::-1])
    with pytest.raises(DataError, match=r"made with kinds=\('purchase', 'cart', 'view'\), these counts have"):
        kinds_fit.score(turned, fit)
    few = KindModel().fit(
        counts.select(counts.history.table["user"].to_pylist()[:20]),
        sampling=Sampling(draws=20, tune=5, chains=2),
        random_seed=1,
    )
    assert not few.verdict.converged
    for refused in (few.summary, lambda: few.score(counts, fit)):
        with pytest.raises(NotConvergedError, match="the fit did not converge"):
            refused()
    assert not few.summary(allow_unconverged=True)["converged"].any()
