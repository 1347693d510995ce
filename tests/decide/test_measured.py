"""From an experiment to a plan: the prospects are the fit's draws, and the plan contacts those whom contact moves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from bayesdecay.data.experiment import Experiment
from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.measured import measured_prospects, measured_value
from bayesdecay.decide.offers import Offer
from bayesdecay.decide.risk import Risk
from bayesdecay.decide.targeting import choose
from bayesdecay.model.effect_fit import EffectFit
from bayesdecay.model.effect_model import EffectModel
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.uncertainty import DrawOptions

ROWS = 3_000
OPTIONS = DrawOptions(draws=200, random_seed=1, allow_unconverged=True)


def truth(visits: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """P(buying): the mail moves those with many visits only, the call nobody."""
    return expit(-1.0 + 0.3 * visits + (arm == "mail") * 1.2 * (visits > 0) * visits)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    rng = np.random.default_rng(1)
    visits, arm = rng.normal(size=ROWS), rng.choice(["nothing", "mail", "call"], ROWS)
    bought = rng.random(ROWS) < truth(visits, arm)
    table = pd.DataFrame({"arm": arm, "visits": visits, "paid": bought * rng.gamma(2.0, 10.0, ROWS)})
    return read_experiment(table, arm="arm", control="nothing", outcomes=["paid"], features=["visits"])


@pytest.fixture(scope="module")
def fit(experiment: Experiment) -> EffectFit:
    model = EffectModel(formula="paid ~ visits")
    return model.fit(experiment, sampling=Sampling(draws=200, tune=200, chains=2), random_seed=1)


def test_prospects_are_the_draws_of_the_fit(fit, experiment):
    some = experiment.table.head(50)
    prospects = measured_prospects(fit, some, options=OPTIONS)
    drawn = fit.draws(some, part="happened", options=OPTIONS)
    assert prospects.offers == ("call", "mail")
    assert prospects.users.tolist() == some["user"].tolist()
    np.testing.assert_allclose(prospects.without, drawn.sel(arm="nothing"), rtol=1e-6)
    for place, name in enumerate(prospects.offers):
        np.testing.assert_allclose(prospects.under[place], drawn.sel(arm=name), rtol=1e-6)
    value = measured_value(fit, some, options=OPTIONS)
    whole = fit.draws(some, options=OPTIONS).sel(arm="nothing")
    np.testing.assert_allclose(value * drawn.sel(arm="nothing"), whole, rtol=1e-9)


def test_the_plan_contacts_those_whom_contact_moves(fit, experiment):
    some = experiment.table.head(400)
    campaign = Campaign(
        offers={"call": Offer(cost=1.0, effect=None), "mail": Offer(cost=1.0, effect=None)},
        value=measured_value(fit, some, options=OPTIONS),
        budget=100.0,
    )
    plan = choose(measured_prospects(fit, some, options=OPTIONS), campaign, risk=Risk.cvar(0.9, 0.2), random_seed=1)
    chosen = plan.table["chosen"].to_numpy()
    assert 20 < chosen.sum() <= 100
    assert (plan.table.loc[chosen, "offer"] == "mail").all()
    assert some["visits"][chosen].min() > 0
    assert "uplift" in plan.table
    assert "assumed_uplift" not in plan.table
    assert "measured, draw by draw, and not assumed" in plan.statement


def test_refused(fit, experiment):
    some = experiment.table.head(10)
    fit.idata.attrs["model"] = fit.idata.attrs["model"].replace('"randomised": true', '"randomised": false')
    try:
        with pytest.raises(ValueError, match=r"NOT given their arm at random.*; measure the effect in an experiment"):
            measured_prospects(fit, some, options=OPTIONS)
    finally:
        fit.idata.attrs["model"] = fit.idata.attrs["model"].replace('"randomised": false', '"randomised": true')
    with pytest.raises(ValueError, match="there are no users"):
        measured_prospects(fit, some.head(0), options=OPTIONS)
    with pytest.raises(ValueError, match="unknown part 'sum'"):
        fit.draws(some, part="sum", options=OPTIONS)
    wrong = Campaign(offers={"coupon": Offer(cost=1.0, effect=None)}, value=1.0)
    with pytest.raises(ValueError, match="about the offers"):
        choose(measured_prospects(fit, some, options=OPTIONS), wrong)
