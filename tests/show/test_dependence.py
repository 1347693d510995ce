"""Average marginal effects and partial dependence: by the public draws of changed users, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from bayesdecay.data.snapshots import snapshots
from bayesdecay.model.uncertainty import DrawOptions
from bayesdecay.show import dependence as module
from bayesdecay.show.dependence import average_marginal_effects, partial_dependence
from tests.show import made
from tests.show.returned import PLAIN, RICH, fitted, lapsed, with_table

OPTIONS = DrawOptions(draws=60, random_seed=3)
ASKED = {"draws": 60, "random_seed": 3}


@pytest.fixture(scope="module")
def shop_of_300():
    return made.shop(300)


@pytest.fixture(scope="module")
def decay(shop_of_300):
    return made.fit(shop_of_300[1])


@pytest.fixture(scope="module")
def told(shop_of_300):
    return lapsed(shop_of_300[0])


@pytest.fixture(scope="module")
def plain(told):
    return fitted(told, PLAIN)


@pytest.fixture(scope="module")
def complete(told):
    """Nothing is missing, so that whatever is moved is moved alone."""
    return with_table(told, spend=told.table["spend"].fillna(3.0))


def row_of(table, feature: str, step: str):
    (row,) = table[(table["feature"] == feature) & (table["step"] == step)].to_dict("records")
    return row


def kept(fit, name: str) -> np.ndarray:
    """The 60 draws (..., sample) that are taken of a variable."""
    values = fit.idata["posterior"][name].stack(sample=("chain", "draw")).to_numpy()
    return values[..., np.linspace(0, values.shape[-1] - 1, 60).round().astype(int)]


@pytest.mark.parametrize("feature", ["recency", "frequency", "tenure"])
def test_effects_are_those_of_users_with_more_of_a_feature(plain, told, decay, feature):
    table = average_marginal_effects(plain, told, decay, options=OPTIONS)
    p = plain.draws(told, decay, **ASKED)
    for step, size in (("one unit", 1.0), ("one standard deviation", told.table[feature].std(ddof=0))):
        more = with_table(told, **{feature: told.table[feature] + size})
        change = (plain.draws(more, decay, **ASKED) - p).mean("user")
        row = row_of(table, feature, step)
        assert row["size"] == pytest.approx(size)
        assert row["change"] == pytest.approx(float(change.mean()), rel=1e-9)
        assert row["change_lower"] == pytest.approx(float(change.quantile(0.05, method="weibull")), rel=1e-9)
        assert row["change_upper"] == pytest.approx(float(change.quantile(0.95, method="weibull")), rel=1e-9)


def test_effects_of_every_kind_of_feature(complete, decay):
    fit = fitted(complete, RICH)
    table = average_marginal_effects(fit, complete, decay, options=OPTIONS)
    assert list(table) == ["feature", "step", "size", "unit", "change", "change_lower", "change_upper"]
    assert (table["change_lower"] <= table["change_upper"]).all()
    both = ["one unit", "one standard deviation"]
    assert table.groupby("feature", sort=False)["step"].agg(list).to_dict() == {
        **dict.fromkeys(["interest", "recency", "frequency", "spend"], both),
        "channel": ["friends instead of ads", "search instead of ads"],
        "member": ["yes instead of no"],
        **dict.fromkeys(["active_30d", "visits"], both),
    }
    assert table.attrs == {"ci_prob": 0.9, "horizon": "30d"}
    for feature, before, after, step in (
        ("channel", "ads", "search", "search instead of ads"),
        ("member", False, True, "yes instead of no"),
    ):
        one, other = (fit.draws(with_table(complete, **{feature: value}), decay, **ASKED) for value in (before, after))
        row = row_of(table, feature, step)
        assert np.isnan(row["size"])
        assert row["change"] == pytest.approx(float((other - one).mean()), rel=1e-9)


def test_effect_of_interest_by_hand(told, decay):
    fit = fitted(told, "returned ~ interest")
    parts, terms = fit.logit_parts(told, decay, **ASKED), fit.terms
    baseline, slope = parts.sel(part="baseline").to_numpy(), kept(fit, "slope_interest")[:, None]
    level = parts.sel(part="interest").to_numpy() / slope  # standardised
    interest = np.exp(level * terms.interest_scale + terms.interest_center)
    more = (np.log(interest + 1 / 30) - terms.interest_center) / terms.interest_scale
    table = average_marginal_effects(fit, told, decay, options=OPTIONS)
    for step, moved, size in (
        ("one unit", more, 1.0),
        ("one standard deviation", level + 1, np.exp(terms.interest_scale)),
    ):
        row = row_of(table, "interest", step)
        change = expit(baseline + slope * moved) - expit(baseline + slope * level)
        assert row["change"] == pytest.approx(change.mean(), rel=1e-6)
        assert row["size"] == pytest.approx(size)


def test_what_stands_for_a_missing_feature_stays(told, decay):
    """Recency goes with spend here, so more of it would be a sign of more spend; but all else is to be as it was."""
    rng = np.random.default_rng(1)
    spend = 2.0 * told.table["recency"] + rng.normal(size=len(told))
    told = with_table(told, spend=spend.mask(rng.random(len(told)) < 0.5))
    fit = fitted(told, "returned ~ recency + spend")
    slope, p = kept(fit, "slope"), fit.draws(told, decay, **ASKED)
    wanted = expit(logit(p) + slope[0][:, None] / fit.terms.scales["recency"]) - p
    table = average_marginal_effects(fit, told, decay, options=OPTIONS)
    assert row_of(table, "recency", "one unit")["change"] == pytest.approx(float(wanted.mean()), rel=1e-6)
    moved = fit.draws(with_table(told, recency=told.table["recency"] + 1), decay, **ASKED) - p
    assert abs(float(moved.mean() - wanted.mean())) > 0.02 * abs(float(wanted.mean()))  # another question
    # Of spend itself those count who have one.
    known = told.table["spend"].notna().to_numpy()
    wanted = (expit(logit(p) + slope[1][:, None] / fit.terms.scales["spend"]) - p)[:, known]
    assert row_of(table, "spend", "one unit")["change"] == pytest.approx(float(wanted.mean()), rel=1e-6)


def test_a_plugin_fit_takes_interest_as_known(told, decay):
    fit = fitted(told, PLAIN)
    tree = fit.idata.copy()
    tree.attrs["model"] = tree.attrs["model"].replace('"uncertain"', '"plugin"')
    plugin = type(fit)(idata=tree)
    more = with_table(told, recency=told.table["recency"] + 1)
    change = (plugin.draws(more, decay, **ASKED) - plugin.draws(told, decay, **ASKED)).mean()
    table = average_marginal_effects(plugin, told, decay, options=OPTIONS)
    assert row_of(table, "recency", "one unit")["change"] == pytest.approx(float(change), rel=1e-9)


def test_of_very_many_users_some_stand_for_all(plain, told, decay, monkeypatch):
    whole = average_marginal_effects(plain, told, decay, options=OPTIONS)
    monkeypatch.setattr(module, "_USERS", 50)
    table = average_marginal_effects(plain, told, decay, options=OPTIONS)
    assert table.equals(average_marginal_effects(plain, told, decay, options=OPTIONS))
    np.testing.assert_allclose(table["change"], whole["change"], atol=0.05)
    assert not np.allclose(table["change"], whole["change"], rtol=1e-6)


# --- partial dependence ---


def test_curve_is_the_mean_of_users_with_that_value(plain, told, decay):
    curve = partial_dependence(plain, told, decay, "recency", options=OPTIONS)
    assert list(curve) == ["value", "p", "p_lower", "p_upper"]
    assert len(curve) == 25
    assert curve["value"].iloc[[0, -1]].tolist() == pytest.approx(np.quantile(told.table["recency"], [0.05, 0.95]))
    for row in curve.iloc[[0, 12, 24]].to_dict("records"):
        means = plain.draws(with_table(told, recency=row["value"]), decay, **ASKED).mean("user")
        assert row["p"] == pytest.approx(float(means.mean()), rel=1e-9)
        assert row["p_lower"] == pytest.approx(float(means.quantile(0.05, method="weibull")), rel=1e-9)
        assert row["p_upper"] == pytest.approx(float(means.quantile(0.95, method="weibull")), rel=1e-9)


def test_curve_of_interest(told, decay):
    fit = fitted(told, "returned ~ interest")
    values = partial_dependence(fit, told, decay, "interest", options=OPTIONS)["value"].to_numpy()
    np.testing.assert_allclose(values[1:] / values[:-1], values[1] / values[0])
    level = (np.log(0.02) - fit.terms.interest_center) / fit.terms.interest_scale
    p = expit(kept(fit, "intercept") + kept(fit, "slope_interest") * level)
    (row,) = partial_dependence(fit, told, decay, "interest", values=[0.02], options=OPTIONS).to_dict("records")
    assert row["value"] == 0.02
    assert row["p"] == pytest.approx(p.mean())
    assert row["p_upper"] == pytest.approx(np.quantile(p, 0.95, method="weibull"))


def test_grids_fit_the_feature(complete, decay):
    fit = fitted(complete, RICH)

    def grid(feature: str) -> list:
        return partial_dependence(fit, complete, decay, feature, options=OPTIONS)["value"].tolist()

    assert grid("channel") == ["ads", "friends", "search"]
    assert grid("member") == [False, True]
    visits = complete.table["visits"]
    assert grid("visits") == sorted(set(visits[visits.between(*visits.quantile([0.05, 0.95]))]))
    one = partial_dependence(fit, complete, decay, "channel", values=["search"], options=OPTIONS)
    p = fit.draws(with_table(complete, channel="search"), decay, **ASKED)
    assert one["p"].tolist() == pytest.approx([float(p.mean())])


def test_a_value_that_was_missing_is_known_in_the_curve(told, decay):
    fit = fitted(told, "returned ~ spend")
    (row,) = partial_dependence(fit, told, decay, "spend", values=[4.0], options=OPTIONS).to_dict("records")
    p = fit.draws(with_table(told, spend=4.0), decay, **ASKED).mean("user")
    assert row["p"] == pytest.approx(float(p.mean()), rel=1e-9)
    assert row["p_lower"] == pytest.approx(float(p.quantile(0.05, method="weibull")), rel=1e-9)


def test_what_cannot_be_asked(plain, told, decay, shop_of_300):
    with pytest.raises(ValueError, match="unknown feature 'recensy'; did you mean 'recency'"):
        partial_dependence(plain, told, decay, "recensy")
    with pytest.raises(ValueError, match="unknown feature 'channel'"):
        partial_dependence(plain, told, decay, "channel")
    two = snapshots(shop_of_300[0], cutoffs=["2024-05-28", made.CUTOFF], horizon="30d", activity="event")
    with pytest.raises(ValueError, match="expected snapshots at one cutoff, got 2"):
        average_marginal_effects(plain, two, decay)
