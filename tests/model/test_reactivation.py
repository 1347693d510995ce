"""The reactivation model: recovery of what is true, P(reactivation), and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit

from bayesdecay.data.events import Events, read_events
from bayesdecay.data.simulate import Simulation
from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.errors import DataError, LeakageError, NotConvergedError
from bayesdecay.model.decay import DecayFit
from bayesdecay.model.fits import load, save_fits
from bayesdecay.model.prior import Prior
from bayesdecay.model.reactivation import ReactivationFit, ReactivationModel, score_reactivation
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import interest_draws

PAST, NOW = ("2024-03-31", "2024-04-30"), "2024-05-31"
SAMPLING = Sampling(draws=700, tune=400, chains=2)


def looked_at(log: Events, cutoffs, **options) -> Snapshots:
    return snapshots(log, cutoffs=cutoffs, horizon="30d", lapsed_after="14d", activity="event", **options)


def log_interest(fit: DecayFit, told: Snapshots, *, draws: int, random_seed: int) -> np.ndarray:
    parts = [interest_draws(fit.population(draws), own, random_seed=random_seed) for own in told.histories.values()]
    return np.log(np.maximum(np.concatenate(parts), 1e-12))


def claiming(tree: xr.DataTree, **figures: float) -> xr.DataTree:
    """Make the same fit with other figures in its verdict."""
    changed = tree.copy(deep=True)
    changed.attrs["verdict"] = json.dumps(json.loads(tree.attrs["verdict"]) | figures)
    return changed


# --- by the public road, on a simulated shop ---


@pytest.fixture(scope="session")
def log(drawn: Simulation) -> Events:
    return read_events(drawn.events)


@pytest.fixture(scope="session")
def past(log: Events) -> Snapshots:
    return looked_at(log, PAST)


@pytest.fixture(scope="session")
def now(log: Events) -> Snapshots:
    return looked_at(log, NOW, observed_until=NOW)


@pytest.fixture(scope="session")
def returning(past: Snapshots, fit: DecayFit, made_once: Callable) -> ReactivationFit:
    model = ReactivationModel()
    tree = made_once("returning", lambda: model.fit(past, fit, sampling=SAMPLING, random_seed=1).idata)
    return ReactivationFit(idata=tree)


TRUTH = {"intercept": -0.7, "slope": 0.8, "slope_interest": 0.35}
SEGMENTS = dict(zip("abcdefgh", (-1.2, -0.8, -0.4, 0.0, 0.0, 0.4, 0.8, 1.2), strict=True))


@pytest.fixture(scope="session")
def made_up(log: Events, fit: DecayFit) -> Snapshots:
    """Snapshots whose outcomes are drawn by the model's own law, interest being a draw of each user's posterior."""
    told = looked_at(log, ["2024-02-29", "2024-03-20", "2024-04-10", "2024-04-30", "2024-05-20"])
    rng = np.random.default_rng(11)
    table = told.table.assign(visits=rng.poisson(3, len(told)), segment=rng.choice(list(SEGMENTS), len(told)))
    level = log_interest(fit, told, draws=1, random_seed=99)[:, 0]
    logit = TRUTH["intercept"] + TRUTH["slope"] * table["visits"] + TRUTH["slope_interest"] * level
    logit += table["segment"].map(SEGMENTS)
    table["returned"] = pd.array(rng.random(len(told)) < expit(logit), dtype="boolean")
    return replace(told, table=table, columns=("visits", "segment"))


@pytest.fixture(scope="session")
def grouped_returning(made_up: Snapshots, fit: DecayFit, made_once: Callable) -> ReactivationFit:
    model = ReactivationModel(formula="returned ~ interest + visits + (1 + log1p(recency) | segment)")
    sampling = Sampling(draws=800, tune=600, chains=2)
    tree = made_once("grouped_returning", lambda: model.fit(made_up, fit, sampling=sampling, random_seed=2).idata)
    return ReactivationFit(idata=tree)


def test_recovers_what_is_true(grouped_returning):
    assert grouped_returning.verdict.converged, grouped_returning.verdict
    table = grouped_returning.summary()
    for name, row in (("slope", "slope[visits]"), ("slope_interest", "slope_interest")):
        mean, sd = table.loc[row, ["mean", "sd"]].astype(float)
        truth = TRUTH[name] * float(table.loc[row, "unit"])
        assert abs(mean - truth) < 3.5 * sd, (name, mean, sd, truth)
        assert sd < 0.25 * abs(truth)  # and that says something
    found = grouped_returning.idata["posterior"]["group_intercept"].mean(("chain", "draw"))
    assert list(found["group"].to_numpy()) == list(SEGMENTS)
    true = np.array(list(SEGMENTS.values()))
    assert np.corrcoef(found, true)[0, 1] > 0.9
    assert np.abs(found).max() < np.abs(true).max() + 0.5
    # log1p(recency) does nothing in this world, in no group.
    slopes = grouped_returning.idata["posterior"]["group_slope"].to_dataset()
    assert float(np.abs(slopes["group_slope"].mean(("chain", "draw"))).max()) < 0.3


def test_fit_describes_itself(returning, past):
    assert returning.verdict.converged, returning.verdict
    assert returning.horizon == "30d"
    told = returning.description
    assert told["rows"] == len(past)
    assert told["returned"] == int(past.table["returned"].sum())
    assert told["cutoffs"] == [str(at) for at in past.histories]
    assert set(told["priors"]) == {"intercept", "slope", "slope_interest", "tau_intercept", "tau_slope"}
    assert set(returning.idata["posterior"].dims) == {"chain", "draw", "feature"}
    table = returning.summary()
    assert list(table.index[1:]) == [
        "slope[log1p(recency)]",
        "slope[log1p(frequency)]",
        "slope[log1p(tenure)]",
        "slope_interest",
    ]
    assert table.loc["slope[log1p(recency)]", "unit"] == pytest.approx(np.log1p(past.table["recency"]).std(ddof=0))
    assert float(table.loc["slope_interest", "mean"]) > 0
    assert "Reactivation fit, 30d: converged" in returning._repr_html_()


def test_draws_are_labelled_probabilities(returning, fit, now):
    p = returning.draws(now, fit, draws=300, random_seed=4)
    assert p.dims == ("sample", "user")
    assert p.sizes == {"sample": 300, "user": len(now)}
    assert p["user"].to_numpy().tolist() == now.table["user"].tolist()
    assert p.name == "p_reactivation"
    assert p.attrs["horizon"] == "30d"
    assert float(p.min()) >= 0
    assert float(p.max()) <= 1


def test_in_its_own_data_the_model_is_right_on_the_whole(returning, fit, past, log):
    parts = [returning.draws(looked_at(log, at), fit, random_seed=4).mean("sample").to_numpy() for at in PAST]
    p, came = np.concatenate(parts), past.table["returned"].to_numpy(dtype=bool)
    assert p.mean() == pytest.approx(came.mean(), abs=0.03)
    assert p[came].mean() > 1.5 * p[~came].mean()


@pytest.mark.parametrize("way", ["uncertain", "plugin"])
def test_draws_are_the_equation(returning, fit, now, way):
    tree = returning.idata.copy()
    tree.attrs["model"] = json.dumps(returning.description | {"interest": way})
    p = ReactivationFit(idata=tree).draws(now, fit, draws=50, random_seed=4).to_numpy()
    level = log_interest(fit, now, draws=50, random_seed=4)
    if way == "plugin":
        level = np.log(np.exp(level).mean(axis=1, keepdims=True))
    terms = returning.description["terms"]
    kept = returning.idata["posterior"].to_dataset().stack(sample=("chain", "draw"))
    kept = kept.isel(sample=np.linspace(0, kept.sizes["sample"] - 1, 50).round().astype(int))
    features = np.log1p(now.table[["recency", "frequency", "tenure"]].to_numpy())
    x = (features - terms["fixed"]["center"]) / terms["fixed"]["scale"]
    logit = kept["intercept"].to_numpy() + x @ kept["slope"].transpose("feature", "sample").to_numpy()
    logit = logit + kept["slope_interest"].to_numpy() * (level - terms["interest_center"]) / terms["interest_scale"]
    np.testing.assert_allclose(p, expit(logit).T, rtol=1e-10)


def test_draws_by_seed(returning, fit, now):
    one, again, other = (returning.draws(now, fit, draws=40, random_seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(one, again)
    assert not np.array_equal(one, other)


def test_draws_of_two_fits_of_unequal_length(returning, fit, now):
    """As many as the shorter has, so that each draw of one meets one of the other."""
    short = ReactivationFit(idata=returning.idata.isel(draw=slice(0, 15)))
    assert short.draws(now, fit, draws=200, random_seed=1).sizes["sample"] == 30
    brief = DecayFit(idata=fit.idata.isel(draw=slice(0, 10)))
    assert returning.draws(now, brief, draws=200, random_seed=1).sizes["sample"] == 20


def test_nobody_to_score(returning, fit, log):
    nobody = snapshots(log, cutoffs=NOW, horizon="30d", lapsed_after="9999d", activity="event")
    p = returning.draws(nobody, fit, draws=20)
    assert p.sizes == {"sample": 20, "user": 0}
    assert score_reactivation(p).table.num_rows == 0


def test_one_cutoff_at_a_time(returning, fit, past):
    with pytest.raises(ValueError, match="expected snapshots at one cutoff, got 2"):
        returning.draws(past, fit)


def test_an_unseen_group_is_scored_with_more_doubt(grouped_returning, fit, made_up):
    at, own = next(iter(made_up.histories.items()))
    table = made_up.table[made_up.table["at"] == at]
    one = replace(made_up, table=table, histories={at: own})
    known = grouped_returning.draws(replace(one, table=table.assign(segment="d")), fit, draws=800, random_seed=1)
    unseen = grouped_returning.draws(replace(one, table=table.assign(segment="new")), fit, draws=800, random_seed=1)
    assert np.isfinite(unseen).all()
    logit = {name: np.log(p / (1 - p)).mean("user") for name, p in (("known", known), ("unseen", unseen))}
    assert float(logit["unseen"].std()) > 2 * float(logit["known"].std())
    # One unseen user among known ones leaves the others as they were.
    mixed = table.assign(segment=["new", *["d"] * (len(table) - 1)])
    both = grouped_returning.draws(replace(one, table=mixed), fit, draws=800, random_seed=1)
    np.testing.assert_array_equal(both[:, 1:], known[:, 1:])
    np.testing.assert_array_equal(both[:, 0], unseen[:, 0])


def test_features_are_the_same_model_as_their_formula(past, fit):
    listed = ReactivationModel(features=["interest", "recency", "tenure"])
    written = ReactivationModel(formula="returned ~ recency + tenure + interest")
    assert listed.parsed() == written.parsed()
    trees = [
        model.fit(past, fit, sampling=Sampling(draws=5, tune=5, chains=2), random_seed=3) for model in (listed, written)
    ]
    xr.testing.assert_equal(*(tree.idata["posterior"].to_dataset() for tree in trees))


# --- nothing after the cutoff ---


def test_later_events_change_nothing(drawn, log, past, now, fit, returning):
    """Forge, after what may be seen, a log in which everybody acts every day."""
    seen = drawn.events[drawn.events["time"] < pd.Timestamp(NOW) + pd.Timedelta(days=1)]
    days = pd.date_range("2024-06-01", periods=5)
    forged = pd.MultiIndex.from_product([range(1, 700), days], names=["user", "time"]).to_frame(index=False)
    other = read_events(pd.concat([seen, forged], ignore_index=True))
    assert other.n_rows != log.n_rows
    told = looked_at(other, PAST, observed_until=NOW)
    pd.testing.assert_frame_equal(told.table, past.table)
    refitted = ReactivationModel().fit(told, fit, sampling=SAMPLING, random_seed=1)
    xr.testing.assert_equal(refitted.idata["posterior"].to_dataset(), returning.idata["posterior"].to_dataset())
    p, again = (
        by.draws(at, fit, draws=100, random_seed=2)
        for by, at in ((returning, now), (refitted, looked_at(other, NOW, observed_until=NOW)))
    )
    xr.testing.assert_identical(p, again)


def test_outcomes_that_are_not_observed_are_refused(log, fit):
    with pytest.raises(LeakageError, match="reaches beyond"):
        ReactivationModel().fit(looked_at(log, ["2024-04-30", "2024-06-20"]), fit)


# --- to a file and back ---


@pytest.mark.parametrize("name", ["returning", "grouped_returning"])
def test_saved_and_loaded(name, request, tmp_path, fit, now):
    saved: ReactivationFit = request.getfixturevalue(name)
    again = load(saved.save(tmp_path / "reactivation.nc"))
    assert isinstance(again, ReactivationFit)
    assert again.description == saved.description
    assert again.verdict == saved.verdict
    pd.testing.assert_frame_equal(again.summary(), saved.summary())
    told = replace(now, table=now.table.assign(visits=np.arange(len(now)), segment="b"))
    xr.testing.assert_identical(
        *(one.draws(told, fit, draws=30, random_seed=1) for one in (saved, again)),
    )


def test_several_saved_by_horizon(returning, grouped_returning, tmp_path):
    path = save_fits({"30d": returning, "90d": grouped_returning}, tmp_path / "both.nc")
    both = load(path)
    assert list(both) == ["30d", "90d"]
    assert both["90d"].description == grouped_returning.description
    xr.testing.assert_identical(both["30d"].idata["posterior"].to_dataset(), returning.idata["posterior"].to_dataset())


# --- the table of scores ---


def test_score_table():
    p = xr.DataArray(
        np.linspace(0, 1, 101)[:, None] * [1.0, 0.5],
        dims=("sample", "user"),
        coords={"user": ["ann", "bob"]},
        attrs={"horizon": "30d"},
    )
    scores = score_reactivation(p, ci_prob=0.8)
    assert scores.ci_prob == 0.8
    table = scores.to_pandas()
    assert list(table) == [
        "user",
        "p_reactivation_30d",
        "p_reactivation_30d_lower",
        "p_reactivation_30d_upper",
    ]
    assert table["user"].tolist() == ["ann", "bob"]
    np.testing.assert_allclose(table.iloc[0, 1:].to_numpy(dtype=float), [0.5, 0.1, 0.9])
    np.testing.assert_allclose(table.iloc[1, 1:].to_numpy(dtype=float), [0.25, 0.05, 0.45])


# --- refused ---


def test_unconverged_fits_are_refused(returning, fit, past, now):
    poor, shaky = DecayFit(idata=claiming(fit.idata, worst_rhat=1.4)), claiming(returning.idata, divergences=300)
    for attempt in (
        lambda: ReactivationModel().fit(past, poor),
        lambda: returning.draws(now, poor),
        lambda: ReactivationFit(idata=shaky).draws(now, fit),
        lambda: ReactivationFit(idata=shaky).summary(),
    ):
        with pytest.raises(NotConvergedError, match="the fit did not converge"):
            attempt()
    marked = ReactivationFit(idata=shaky).summary(allow_unconverged=True)
    assert not marked["converged"].any()
    assert ReactivationFit(idata=shaky).draws(now, poor, draws=20, allow_unconverged=True).sizes["sample"] == 20


@pytest.mark.parametrize("outcome", [False, True])
def test_one_outcome_only_is_refused(past, fit, outcome):
    table = past.table.assign(returned=pd.array([outcome] * len(past), dtype="boolean"))
    with pytest.raises(
        DataError, match=f"{len(past) * outcome} of {len(past)} users returned; .* choose other cutoffs"
    ):
        ReactivationModel().fit(replace(past, table=table), fit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formula": "returned ~ interest", "features": ["recency"]}, "either a formula or a list of features"),
        ({"formula": "returned ~ interest", "group": "segment"}, "either a formula or a list of features"),
        ({"group": "segment"}, r"in a formula write \(1 \| segment\)"),
        ({"interest": "plug-in"}, "did you mean 'plugin'"),
        ({"formula": "returned ~ interest:recency"}, "interest is latent"),
        ({"priors": {"slop": Prior(distribution="Normal", parameters={"mu": 0, "sigma": 1})}}, "did you mean 'slope'"),
    ],
)
def test_description_is_checked_when_made(options, message):
    with pytest.raises(ValueError, match=message):
        ReactivationModel(**options)


def test_unknown_feature_is_refused_before_sampling(past, fit):
    with pytest.raises(ValueError, match="unknown feature 'recncy'; did you mean 'recency'"):
        ReactivationModel(features=["interest", "recncy"]).fit(past, fit)


def test_priors_in_force():
    own = Prior(distribution="Normal", parameters={"mu": 0, "sigma": 0.1}, reason="told by us")
    table = ReactivationModel(priors={"slope": own}).priors_table().set_index("parameter")
    assert table.loc["slope", "reason"] == "told by us"
    assert table.loc["intercept", "prior"] == "Normal(-1.5, 1.5)"
