"""The figure of the frontier: every plan and audience at its place, and at the edge, with a word, what is far off."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from bayesdecay.decide import Campaign, choose
from bayesdecay.decide.effects import Effect
from bayesdecay.decide.offers import Offer
from bayesdecay.decide.plan import Plan
from bayesdecay.decide.risk import Risk
from bayesdecay.show.frontier import plot_frontier
from bayesdecay.show.sections.contact import contact_section

OFFERS = {
    "mail": Offer(cost=0.1, effect=Effect.normal(0.15, 0.1)),
    "coupon": Offer(cost=0.1, cost_if_returns=4.0, effect=Effect.normal(0.6, 0.3), capacity=20),
}


def planned(risk: Risk | None = None, **changes) -> Plan:
    rng = np.random.default_rng(1)
    users = [f"u{i}" for i in range(30)]
    p = xr.DataArray(rng.beta(2, 6, size=(40, 30)), dims=("sample", "user"), coords={"user": users})
    interest = pd.Series(rng.random(30), index=users)
    campaign = Campaign(**{"offers": OFFERS, "value": 20.0, "budget": 3.0, **changes})
    return choose(p, campaign, risk=risk, interest=interest, random_seed=1)


def named(axes) -> dict:
    """What is drawn, by its label in the legend."""
    marks = {line.get_label(): line for line in axes.lines}
    told = [text.get_text() for text in axes.get_legend().get_texts() if text.get_text()]
    assert set(told) <= set(marks)
    return {label: marks[label] for label in told}


@pytest.mark.parametrize("risk", ["cvar", "p_loss"])
def test_every_plan_lies_at_its_profit_and_risk(risk):
    plan, settings = planned(), dict(mpl.rcParams)
    frontier, chosen = plan.frontier(weights=[0, 1], budgets=[1.5, 3.0]), plan.summary()
    axes = plot_frontier(frontier, chosen=chosen, risk=risk, ax=Figure().subplots())
    drawn = named(axes)
    for budget, label in ((1.5, "budget 1.5"), (3.0, "budget 3")):
        wanted = frontier[frontier["budget"] == budget]
        np.testing.assert_allclose(drawn[label].get_xydata(), wanted[[risk, "profit"]])
    np.testing.assert_allclose(drawn["chosen"].get_xydata(), [[chosen[risk], chosen["profit"]]])
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for name, row in frontier[frontier["audience"] != "chosen"].set_index("audience").iterrows():
        inside = left <= row[risk] <= right and bottom <= row["profit"] <= top
        found = drawn[name if inside else f"{name} (off the edge)"].get_xydata()[0]
        np.testing.assert_allclose(found, [np.clip(row[risk], left, right), np.clip(row["profit"], bottom, top)])
    assert "[money]" in axes.get_ylabel()
    assert axes.get_xlabel() == ("P(loss)" if risk == "p_loss" else "mean profit in the worst 5 % of cases [money]")
    assert dict(mpl.rcParams) == settings


def table(**places: tuple[float, float]) -> pd.DataFrame:
    """A frontier of two plans, weights 0 and 1, and of simpler audiences at the places (cvar, profit) told."""
    rows = [("chosen", 0.0, 10.0, -100.0, 100.0), ("chosen", 1.0, 10.0, 0.0, 0.0)]
    rows += [(name.replace("_", " "), np.nan, np.nan, *place) for name, place in places.items()]
    return pd.DataFrame(rows, columns=["audience", "risk_weight", "budget", "cvar", "profit"])


def test_an_audience_far_off_does_not_squeeze_the_plans():
    far = table(everybody=(-5_000.0, 300.0), nobody=(0.0, 0.0), most_likely_to_return=(-120.0, 90.0))
    axes = plot_frontier(far, ax=Figure().subplots())
    left, right = axes.get_xlim()
    assert -200 < left < -120
    assert right > 0
    assert {"everybody (off the edge)", "nobody", "most likely to return"} < set(named(axes))


def test_weights_are_written_at_the_dots_of_a_single_budget():
    axes = plot_frontier(table(nobody=(0.0, 0.0)), ax=Figure().subplots())
    assert {text.get_text(): text.xy for text in axes.texts} == {"0": (-100.0, 100.0), "1": (0.0, 0.0)}
    twice = pd.concat([table(), table().assign(budget=20.0)])
    assert not plot_frontier(twice, ax=Figure().subplots()).texts
    all_alike = table().assign(cvar=0.0, profit=0.0)
    assert [text.get_text() for text in plot_frontier(all_alike, ax=Figure().subplots()).texts] == ["0 to 1"]


def test_the_level_of_the_plan_names_the_axis():
    frontier = planned(Risk.cvar(level=0.8, weight=0.5)).frontier(weights=[0], budgets=[None])
    axes = plot_frontier(frontier, ax=Figure().subplots())
    assert axes.get_xlabel() == "mean profit in the worst 20 % of cases [money]"
    assert "no limit (weights at dots)" in named(axes)


def test_another_risk_is_refused():
    with pytest.raises(ValueError, match="unknown risk 'cvra'; did you mean 'cvar'"):
        plot_frontier(table(), risk="cvra", ax=Figure().subplots())


@pytest.mark.parametrize(
    ("risk", "offers", "axis", "safer", "labels"),
    [
        (None, ["mail"], "mean profit in the worst 5 % of cases", "right", ["budget 1.5", "budget 3", "budget 6"]),
        (Risk.max_loss_probability(0.2), list(OFFERS), "P(loss)", "left", ["budget 3 (weights at dots)"]),
    ],
)
def test_the_report_shows_it_and_says_how_to_read_it(risk, offers, axis, safer, labels):
    plan = planned(risk, offers={name: OFFERS[name] for name in offers})
    (figure,) = [part for part in contact_section(plan).parts if 'id="frontier-' in getattr(part, "svg", "")]
    assert axis in figure.svg
    assert f"further to the {safer} is less risk" in figure.caption
    for label in (*labels, "chosen", "nobody", "low interest, likely to return"):
        assert label in figure.svg


def test_where_no_contact_pays_there_is_no_frontier():
    parts = contact_section(planned(value=0.01)).parts
    assert not [part for part in parts if hasattr(part, "svg")]
