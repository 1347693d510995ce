"""What a reactivation fit says: P(reactivation) and its parts, coefficients on two scales, likelihoods of outcomes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit

from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.errors import LeakageError
from bayesdecay.model import returning as module
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.interest_slices import log_expected_interest
from bayesdecay.model.latent_interest import KnownInterest
from bayesdecay.model.paired import paired
from bayesdecay.model.returning import ReactivationFit, score_reactivation
from bayesdecay.model.scoring import interest_draws
from tests.model.made_up import returning_of, terms_of
from tests.model.worlds import NOW, described, with_outcomes


def test_draws_are_labelled_probabilities(returning, fit, now):
    p = returning.draws(now, fit, draws=300, random_seed=4)
    assert p.dims == ("sample", "user")
    assert p.sizes == {"sample": 300, "user": len(now)}
    assert p["user"].to_numpy().tolist() == now.table["user"].tolist()
    assert p.name == "p_reactivation"
    assert p.attrs["horizon"] == "30d"
    assert float(p.min()) >= 0
    assert float(p.max()) <= 1


@pytest.mark.parametrize("way", ["uncertain", "plugin"])
def test_draws_are_the_equation(returning, fit, now, way):
    tree = returning.idata.copy()
    tree.attrs["model"] = json.dumps(returning.description | {"interest": way})
    p = ReactivationFit(idata=tree).draws(now, fit, draws=50, random_seed=4).to_numpy()
    population = paired(tree, returning.terms, fit, 50)[1]
    (history,) = now.histories.values()
    level = np.log(np.maximum(interest_draws(population, history, random_seed=4), 1e-12))
    if way == "plugin":
        level = log_expected_interest(population, [history])
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


def test_score_table():
    p = xr.DataArray(
        np.arange(1, 100)[:, None] * [0.01, 0.005],  # the 10th of 99 draws has a tenth of their 100 gaps below it
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


# --- a fit with everything, of any numbers ---

FORMULA = "returned ~ interest + visits + log1p(recency) + spend * region + (1 + visits + spend | segment)"


@pytest.fixture(scope="module")
def told(past: Snapshots, fit: DecayFit) -> Snapshots:
    return with_outcomes(past, fit)


@pytest.fixture(scope="module")
def level(told: Snapshots, fit: DecayFit) -> np.ndarray:
    return KnownInterest.of(fit.population(), told).level


@pytest.fixture(scope="module")
def rich(told: Snapshots, level: np.ndarray) -> ReactivationFit:
    return returning_of(terms_of(FORMULA, told.table, level), told)


@pytest.fixture(scope="module")
def scored(now: Snapshots, fit: DecayFit) -> Snapshots:
    return with_outcomes(now, fit)


def test_parts_make_the_logit(rich, scored, fit):
    parts = rich.logit_parts(scored, fit, draws=30, random_seed=4)
    assert parts.dims == ("sample", "user", "part")
    assert parts["user"].to_numpy().tolist() == scored.table["user"].tolist()
    assert parts.attrs["horizon"] == "30d"
    assert parts["part"].to_numpy().tolist() == [
        "baseline",
        "group segment",
        "visits",
        "log1p(recency)",
        "spend",
        "region",
        "spend:region",
        "interest",
        "missing features",
    ]
    p = rich.draws(scored, fit, draws=30, random_seed=4)
    assert p.sizes == {"sample": 30, "user": len(scored)}
    np.testing.assert_allclose(expit(parts.sum("part")), p, rtol=1e-12)
    gone = scored.table["spend"].isna().to_numpy()
    assert gone.any()
    beyond = parts.sel(part="missing features").to_numpy()
    assert (beyond[:, gone] != 0).all()
    assert (beyond[:, ~gone] == 0).all()


def test_users_may_be_taken_a_few_at_a_time(rich, scored, fit, monkeypatch):
    ((at, history),) = scored.histories.items()
    some = replace(scored, table=scored.table.iloc[:12], histories={at: history.over(history.table.slice(0, 12))})
    whole = rich.logit_parts(some, fit, draws=30, random_seed=4)
    monkeypatch.setattr(module, "_NUMBERS", 30)  # a user at a time, some with nothing missing
    single = rich.logit_parts(some, fit, draws=30, random_seed=4)
    np.testing.assert_allclose(expit(single.sum("part")), rich.draws(some, fit, draws=30, random_seed=4), rtol=1e-12)
    # What is not drawn anew is the same.
    certain = [name for name in whole["part"].to_numpy() if name != "missing features"]
    np.testing.assert_allclose(single.sel(part=certain), whole.sel(part=certain), rtol=1e-12, atol=1e-12)


def test_parts_of_nobody(rich, log, fit):
    nobody = snapshots(log, cutoffs=NOW, horizon="30d", lapsed_after="9999d", activity="event")
    none = replace(nobody, table=nobody.table.assign(visits=1.0, spend=1.0, segment="a", region="west"))
    assert rich.logit_parts(none, fit, draws=20).sizes == {"sample": 20, "user": 0, "part": 0}


def test_a_known_interest_makes_narrower_intervals(returning, now, fit):
    def width(**options) -> float:
        p = returning.draws(now, fit, draws=400, random_seed=4, **options)
        return float((p.quantile(0.95, "sample") - p.quantile(0.05, "sample")).mean())

    assert width(interest="plugin") < 0.8 * width(interest="uncertain")
    assert width() == width(interest="uncertain")  # as in the fit
    with pytest.raises(ValueError, match="unknown way to enter interest 'plug-in'; did you mean 'plugin'"):
        returning.draws(now, fit, interest="plug-in")


# --- two scales ---


def raw_logits(table: pd.DataFrame, told: pd.DataFrame, interest: np.ndarray) -> np.ndarray:
    """Logit of each row by coefficients for one of each feature itself, nothing being centred."""
    mean = table["mean"].astype(float)
    region, spend = told["region"], told["spend"]
    found = mean["intercept"] + mean["slope_interest"] * interest
    found += mean["slope[visits]"] * told["visits"] + mean["slope[log1p(recency)]"] * np.log1p(told["recency"])
    found += mean["slope[spend]"] * spend
    for name in sorted(region.unique())[1:]:
        found += mean[f"slope[region[T.{name}]]"] * (region == name)
        found += mean[f"slope[spend:region[T.{name}]]"] * spend * (region == name)
    segment = told["segment"]
    found += segment.map({name: mean[f"intercept_segment[{name}]"] for name in "abcdefgh"})
    for feature in ("visits", "spend"):
        found += segment.map({name: mean[f"slope_segment[{name}, {feature}]"] for name in "abcdefgh"}) * told[feature]
    return found.to_numpy()


def test_both_scales_say_the_same_of_raw_features(rich, told, level):
    """A logit is linear in the coefficients, so its mean over the draws is that of the mean coefficients."""
    known = told.table["spend"].notna().to_numpy()
    terms = rich.terms
    design = terms.design(told.table[known], level[known][:, :1])
    posterior = rich.idata["posterior"].to_dataset().mean(("chain", "draw"))
    x = xr.DataArray(design.x[:, : len(terms.slopes)], dims=("row", "feature"), coords={"feature": list(terms.slopes)})
    z = x.sel(feature=["visits", "spend"]).rename(feature="segment_feature")
    own = posterior.sel(segment=xr.DataArray(told.table["segment"][known].to_numpy(), dims="row"))
    expected = posterior["intercept"] + (x * posterior["slope"]).sum("feature") + own["intercept_segment"]
    expected = expected + (z * own["slope_segment"]).sum("segment_feature")
    expected = expected.to_numpy() + float(posterior["slope_interest"]) * design.level[:, 0]
    table = rich.summary(scale="original")
    # What this computes by hand for features as they are, with `level` the raw log interest.
    np.testing.assert_allclose(raw_logits(table, told.table[known], level[known, 0]), expected, rtol=1e-9, atol=1e-9)


def test_original_scale_draw_for_draw(rich):
    terms, posterior = rich.terms, rich.idata["posterior"].to_dataset()
    scale = xr.DataArray([terms.scales[name] for name in terms.slopes], dims="feature")
    center = xr.DataArray([terms.centers[name] for name in terms.slopes], dims="feature")
    intercept = posterior["intercept"] - (posterior["slope"] * center / scale).sum("feature")
    intercept = intercept - posterior["slope_interest"] * terms.interest_center / terms.interest_scale
    standardised, original = rich.summary(), rich.summary(scale="original")
    assert original.loc["intercept", "sd"] == pytest.approx(float(intercept.std(ddof=1)))
    for name in terms.slopes:
        unit = standardised.loc[f"slope[{name}]", "unit"]
        assert unit == pytest.approx(terms.scales[name])
        assert original.loc[f"slope[{name}]", "unit"] == 1.0
        for column in ("mean", "sd", "5 %", "95 %"):
            ratio = standardised.loc[f"slope[{name}]", column] / original.loc[f"slope[{name}]", column]
            assert ratio == pytest.approx(unit)
    ratio = standardised.loc["slope_interest", "sd"] / original.loc["slope_interest", "sd"]
    assert ratio == pytest.approx(terms.interest_scale)
    for name in ("tau_intercept_segment", "intercept_segment[a]"):
        assert np.isnan(original.loc[name, "unit"])
    pd.testing.assert_index_equal(standardised.index, original.index)


def test_unknown_scale_is_refused(rich):
    with pytest.raises(ValueError, match="unknown scale 'originl'; did you mean 'original'"):
        rich.summary(scale="originl")


# --- the likelihood of single outcomes ---


def test_log_likelihood_by_hand(rich, told, fit):
    found = rich.log_likelihood(told, fit, draws=40)
    assert found.dims == ("sample", "row")
    assert found.sizes == {"sample": 40, "row": len(told)}
    known = told.table["spend"].notna().to_numpy()
    interest = KnownInterest.of(fit.population(), told)
    terms, posterior = rich.terms, rich.idata["posterior"].to_dataset().stack(sample=("chain", "draw"))
    design = terms.design(told.table, interest.level, chance=interest.chance)
    x = xr.DataArray(design.x[:, : len(terms.slopes)], dims=("row", "feature"), coords={"feature": list(terms.slopes)})
    z = x.sel(feature=["visits", "spend"]).rename(feature="segment_feature")
    own = posterior.sel(segment=xr.DataArray(told.table["segment"].to_numpy(), dims="row"))
    logits = posterior["intercept"] + x.dot(posterior["slope"]) + own["intercept_segment"]
    logits = (logits + (z * own["slope_segment"]).sum("segment_feature")).transpose("sample", "row").to_numpy()
    slope = posterior["slope_interest"].to_numpy()
    p = expit(logits[:, :, None] + slope[:, None, None] * design.level) @ interest.chance
    came = told.table["returned"].to_numpy(dtype=bool)
    by_hand = np.log(np.where(came, p, 1 - p))
    # By hand 1 - p loses digits where p is small.
    np.testing.assert_allclose(found.to_numpy()[:, known], by_hand[:, known], rtol=1e-9, atol=1e-14)
    # Where a feature is missing, what it may be is averaged over: its expectation alone is not that.
    assert np.abs(found.to_numpy() - by_hand)[:, ~known].mean() > 0.01


@pytest.mark.parametrize("name", ["returning", "grouped_returning"])
def test_likelihood_averages_what_the_draws_spread(name, request, fit, log, past):
    """Two roads to P(return): averaged within each draw of the coefficients, and over draws of it all."""
    by: ReactivationFit = request.getfixturevalue(name)
    told = described(replace(past, table=past.table.assign(returned=True)))
    p = np.exp(by.log_likelihood(told, fit, draws=400)).mean("sample").to_numpy()
    for at, own in told.histories.items():
        rows = (told.table["at"] == at).to_numpy()
        one = replace(told, table=told.table[rows], histories={at: own})
        drawn = by.draws(one, fit, draws=400, random_seed=6).mean("sample").to_numpy()
        np.testing.assert_allclose(drawn, p[rows], atol=0.06)
        assert drawn.mean() == pytest.approx(p[rows].mean(), abs=0.005)


def test_likelihood_of_outcomes_that_are_not_observed_is_refused(returning, now, fit):
    with pytest.raises(LeakageError, match="reaches beyond"):
        returning.log_likelihood(now, fit)
