"""The reactivation model: recovery of what is true, what it is told and what it tells, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr
from scipy.special import expit, logit

from bayesdecay.data.events import read_events
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import DataError, LeakageError, NotConvergedError
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.fits import load, save_fits
from bayesdecay.model.prior import Prior
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.returning import ReactivationFit
from bayesdecay.model.sampling import Sampling
from tests.model.worlds import COEFFICIENTS, NOW, PAST, REGIONS, RETURNING_SAMPLING, SEGMENTS, described, looked_at

BRIEF = Sampling(draws=5, tune=5, chains=2)


def claiming(tree: xr.DataTree, **figures: float) -> xr.DataTree:
    """Make the same fit with other figures in its verdict."""
    changed = tree.copy(deep=True)
    changed.attrs["verdict"] = json.dumps(json.loads(tree.attrs["verdict"]) | figures)
    return changed


def test_recovers_what_is_true(grouped_returning):
    assert grouped_returning.verdict.converged, grouped_returning.verdict
    table = grouped_returning.summary(scale="original")
    for name, row in (("visits", "slope[visits]"), ("spend", "slope[spend]"), ("interest", "slope_interest")):
        mean, sd = table.loc[row, ["mean", "sd"]].astype(float)
        assert abs(mean - COEFFICIENTS[name]) < 3.5 * sd, (name, mean, sd)
        assert sd < 0.25 * COEFFICIENTS[name]  # and that says something
    posterior = grouped_returning.idata["posterior"].to_dataset().mean(("chain", "draw"))
    for group, truth in (("segment", SEGMENTS), ("region", REGIONS)):
        found, true = posterior[f"intercept_{group}"], np.array(list(truth.values()))
        assert found[group].to_numpy().tolist() == list(truth)
        assert np.corrcoef(found, true)[0, 1] > 0.9
        assert np.abs(found).max() < np.abs(true).max() + 0.5
    # log1p(recency) does nothing in this world, in no group.
    assert posterior["slope_segment"].dims == ("segment", "segment_feature")
    assert float(np.abs(posterior["slope_segment"]).max()) < 0.3


def test_what_was_missing_is_told(grouped_returning, returning, made_up):
    table = grouped_returning.missing_table()
    gone = made_up.table["spend"].isna()
    assert gone.sum() > 200
    assert table.to_dict("records") == [
        {"column": "spend", "missing": gone.sum(), "share": pytest.approx(gone.mean()), "treatment": "model"}
    ]
    assert list(returning.missing_table()) == ["column", "missing", "share", "treatment"]
    assert returning.missing_table().empty


def test_users_may_differ(made_up, fit, now):
    """With several snapshots of each user: 250 intercepts, more than share coordinates."""
    rng, users = np.random.default_rng(13), np.unique(made_up.table["user"])[:250]
    effect = pd.Series(rng.normal(scale=1.5, size=users.size), index=users)
    told = of_users(made_up, users)
    came = rng.random(len(told)) < expit(told.table["visits"] - 3 + told.table["user"].map(effect).to_numpy())
    told = replace(told, table=told.table.assign(returned=pd.array(came, dtype="boolean")))
    model = ReactivationModel(formula="returned ~ visits + (1 | user)")
    found = model.fit(told, fit, sampling=Sampling(draws=400, tune=400, chains=2), random_seed=3)
    assert found.verdict.worst_rhat < 1.1
    assert found.verdict.divergences == 0
    table = found.summary(scale="original", allow_unconverged=True)
    for name, truth in (("tau_intercept_user", 1.5), ("slope[visits]", 1.0)):
        mean, sd = table.loc[name, ["mean", "sd"]].astype(float)
        assert abs(mean - truth) < 3.5 * sd, (name, mean, sd)
    posterior = found.idata["posterior"].to_dataset()
    assert posterior["intercept_user"].dims == ("chain", "draw", "user")
    assert (
        np.corrcoef(
            posterior["intercept_user"].mean(("chain", "draw")), effect.sort_index(key=lambda i: i.astype("str"))
        )[0, 1]
        > 0.6
    )
    # A user of the fit is known better than one who was not in it.
    p = found.draws(described(now), fit, draws=400, random_seed=1, allow_unconverged=True)
    spread = pd.Series(logit(p.clip(1e-12, 1 - 1e-12)).std("sample").to_numpy(), index=p["user"].to_numpy())
    seen = spread.index.isin(users)
    assert 0 < seen.sum() < len(now)
    assert spread[seen].mean() < 0.85 * spread[~seen].mean()


def of_users(told: Snapshots, users: np.ndarray) -> Snapshots:
    histories = {
        at: own.over(own.table.filter(pa.array(np.isin(own.table["user"].to_numpy(), users))))
        for at, own in told.histories.items()
    }
    return replace(told, table=told.table[told.table["user"].isin(users)].reset_index(drop=True), histories=histories)


@pytest.mark.parametrize("missing", ["model", "mean", "median", "indicator"])
def test_each_way_with_missing_features_is_told(made_up, fit, missing):
    formula = "returned ~ interest + visits + spend"
    found = ReactivationModel(formula=formula, missing=missing).fit(made_up, fit, sampling=BRIEF, random_seed=1)
    assert found.missing_table()["treatment"].tolist() == [missing]
    marked = ["visits", "spend", *(["missing(spend)"] if missing == "indicator" else [])]
    assert found.idata["posterior"]["feature"].to_numpy().tolist() == marked


def test_missing_features_may_be_refused(made_up, fit):
    model = ReactivationModel(formula="returned ~ interest + visits + spend", missing="refuse")
    with pytest.raises(DataError, match=r"missing values \(spend in \d+ of \d+ rows\); .* missing='model'"):
        model.fit(made_up, fit)


def test_an_embedding_enters_by_its_components(past, now, fit, tmp_path):
    def with_embedding(told: Snapshots) -> Snapshots:
        known = np.log1p(told.table[["recency", "frequency"]].to_numpy())
        columns = np.column_stack([known, known @ [[1.0, 2.0], [2.0, -1.0]]])
        own = {f"emb_{i}": column for i, column in enumerate(columns.T)}
        return replace(told, table=told.table.assign(**own))

    model = ReactivationModel(formula="returned ~ interest + log1p(tenure)", embedding="emb_*")
    found = model.fit(with_embedding(past), fit, sampling=BRIEF, random_seed=1)
    assert found.terms.slopes == ("log1p(tenure)", "embedding_1", "embedding_2")
    again = load(found.save(tmp_path / "embedded.nc"))
    parts, same = (
        one.logit_parts(with_embedding(now), fit, draws=10, random_seed=1, allow_unconverged=True)
        for one in (found, again)
    )
    assert parts["part"].to_numpy().tolist() == ["baseline", "log1p(tenure)", "embedding", "interest"]
    assert (parts.sel(part="embedding").std("user") > 0).all()
    xr.testing.assert_identical(parts, same)


def test_fit_describes_itself(returning, past):
    assert returning.verdict.converged, returning.verdict
    assert returning.horizon == "30d"
    told = returning.description
    assert told["rows"] == len(past)
    assert told["returned"] == int(past.table["returned"].sum())
    assert told["cutoffs"] == [str(at) for at in past.histories]
    assert set(told["priors"]) == {"intercept", "slope", "slope_interest", "tau_intercept", "tau_slope"}
    assert set(returning.idata["posterior"].dims) == {"chain", "draw", "feature", "shared_interest_direction"}
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


def test_in_its_own_data_the_model_is_right_on_the_whole(returning, fit, past, log):
    parts = [returning.draws(looked_at(log, at), fit, random_seed=4).mean("sample").to_numpy() for at in PAST]
    p, came = np.concatenate(parts), past.table["returned"].to_numpy(dtype=bool)
    assert p.mean() == pytest.approx(came.mean(), abs=0.03)
    assert p[came].mean() > 1.5 * p[~came].mean()


def test_features_are_the_same_model_as_their_formula(past, fit):
    listed = ReactivationModel(features=["interest", "recency", "tenure"])
    written = ReactivationModel(formula="returned ~ recency + tenure + interest")
    assert listed.parsed() == written.parsed()
    trees = [model.fit(past, fit, sampling=BRIEF, random_seed=3) for model in (listed, written)]
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
    refitted = ReactivationModel().fit(told, fit, sampling=RETURNING_SAMPLING, random_seed=1)
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
    pd.testing.assert_frame_equal(again.missing_table(), saved.missing_table())
    told = described(now)
    xr.testing.assert_identical(*(one.draws(told, fit, draws=30, random_seed=1) for one in (saved, again)))


def test_several_saved_by_horizon(returning, grouped_returning, tmp_path):
    path = save_fits({"30d": returning, "90d": grouped_returning}, tmp_path / "both.nc")
    both = load(path)
    assert list(both) == ["30d", "90d"]
    assert both["90d"].description == grouped_returning.description
    xr.testing.assert_identical(both["30d"].idata["posterior"].to_dataset(), returning.idata["posterior"].to_dataset())


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
        ({"features": ["interest", "emb_*"]}, r"'emb_\*' is a pattern; .* go in embedding='emb_\*'"),
        ({"group": "segment"}, r"in a formula write \(1 \| segment\)"),
        ({"interest": "plug-in"}, "did you mean 'plugin'"),
        ({"missing": "modell"}, "unknown way with missing features 'modell'; did you mean 'model'"),
        ({"shrinkage": "horseshoes"}, "unknown shrinkage 'horseshoes'; did you mean 'horseshoe'"),
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
