"""The joint form: its density is the sum of the two models', and it says of the coefficients what slices say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy.special import expit, log_expit
from scipy.stats import gamma, norm

from bayesdecay.data.events import Events, read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import DataError
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.joint import build_joint
from bayesdecay.model.latent_interest import KnownInterest
from bayesdecay.model.matrices import Design
from bayesdecay.model.prior import DECAY_PRIORS, REACTIVATION_PRIORS
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.terms import Terms
from tests.model.made_up import evaluated
from tests.model.worlds import PARAMETERS, RATES, log_interest, log_likelihood, looked_at, simulated

CUTOFF = "2024-05-20"
MODEL = ReactivationModel(formula="returned ~ interest + visits + spend + (1 + visits | segment)", interest="joint")
COEFFICIENTS = {"intercept": 0.5, "visits": 0.7, "interest": 0.9}


@pytest.fixture(scope="module")
def small_log() -> Events:
    return read_events(simulated(200, random_seed=8).events)


@pytest.fixture(scope="module")
def everybody(small_log: Events) -> History:
    return summarize(small_log, at=CUTOFF, activity="event")


@pytest.fixture(scope="module")
def decay(everybody: History) -> DecayFit:
    return DecayModel(rates=RATES).fit(everybody, sampling=Sampling(draws=500, tune=300), random_seed=1)


@pytest.fixture(scope="module")
def lapsed(small_log: Events, decay: DecayFit) -> Snapshots:
    """Lapsed users whose outcomes follow the model's own law; spend is noise, and missing in some rows."""
    told = looked_at(small_log, CUTOFF)
    rng, n = np.random.default_rng(2), len(told)
    visits, segment = rng.normal(size=n), rng.choice(["a", "b", "c"], n)
    level = log_interest(decay, told, draws=1, random_seed=9)[:, 0]
    logit = COEFFICIENTS["intercept"] + COEFFICIENTS["visits"] * visits
    logit += COEFFICIENTS["interest"] * (level - level.mean())
    own = {"visits": visits, "spend": np.where(np.arange(n) % 4 == 0, np.nan, rng.normal(size=n)), "segment": segment}
    returned = pd.array(rng.random(n) < expit(logit), dtype="boolean")
    return replace(told, table=told.table.assign(**own, returned=returned))


def terms_and_design(lapsed: Snapshots, decay: DecayFit, model: ReactivationModel = MODEL) -> tuple[Terms, Design]:
    level = KnownInterest.of(decay.population(), lapsed).level
    terms = Terms.learn(model.parsed(), lapsed.table, level)
    return terms, terms.design(lapsed.table, level)


def built(lapsed: Snapshots, decay: DecayFit, history: History | None, model: ReactivationModel = MODEL) -> pm.Model:
    return build_joint(model, *terms_and_design(lapsed, decay, model), lapsed, decay, history)


def test_density_is_the_sum_of_its_parts(lapsed, decay, everybody):
    """Priors by scipy, each user's activities gap by gap, and the outcomes by their logit, all by hand."""
    terms, design = terms_and_design(lapsed, decay)
    model = build_joint(MODEL, terms, design, lapsed, decay, everybody)
    pm.Deterministic("total", model.logp(jacobian=False), model=model)
    _, at = evaluated(model, [], random_seed=4)

    by_hand = sum(float(DECAY_PRIORS[name].frozen().logpdf(at[name])) for name in PARAMETERS)
    for prior, name in {
        "intercept": "intercept",
        "slope": "slope",
        "slope_interest": "slope_interest",
        "tau_intercept": "tau_intercept_segment",
        "tau_slope": "tau_slope_segment",
    }.items():
        # The prior of interest's slope is one of log interest itself, which is standardised here.
        own = REACTIVATION_PRIORS[prior].scaled(terms.interest_scale if prior == "slope_interest" else 1.0)
        by_hand += float(own.frozen().logpdf(at[name]).sum())
    for name in ("z", "intercept_segment_offset_", "slope_segment_offset_", "missing_offset_"):
        by_hand += norm.logpdf(at[name]).sum()

    mean = np.exp(at["mu_log_interest"] + at["kappa"] * at["z"])
    by_hand += gamma.logpdf(at["initial_interest"], at["alpha"], scale=mean / at["alpha"]).sum()
    rate = np.exp(at["mu_log_rate"] + at["sigma_log_rate"] * at["z"])
    (block,) = everybody.blocks(len(everybody))
    last = np.zeros(len(everybody))
    for user, (start, end) in enumerate(zip(block.offsets[:-1], block.offsets[1:], strict=True)):
        times = block.times[start:end].tolist()
        last[user] = times[-1] if times else 0.0
        initial = at["initial_interest"][user]
        by_hand += log_likelihood(times, block.T[user], rate=rate[user], initial=initial, rho=at["rho"])

    place = {user: i for i, user in enumerate(everybody.table["user"].to_pylist())}
    row = np.array([place[user] for user in lapsed.table["user"]])
    assert len(row) < len(everybody)
    interest = np.log(at["initial_interest"]) - rate * (block.T - at["rho"] * last)
    level = (interest[row] - terms.interest_center) / terms.interest_scale
    logit = at["intercept"] + design.x @ at["slope"] + at["slope_interest"] * level
    group = lapsed.table["segment"].map({"a": 0, "b": 1, "c": 2}).to_numpy()
    logit += at["intercept_segment"][group] + at["slope_segment"][group, 0] * design.x[:, 0]
    gone = lapsed.table["spend"].isna().to_numpy()
    unsure = np.abs(at["slope"][1]) * np.abs(design.root[1][1, 1])
    logit[gone] += unsure * at["missing_offset_"]
    by_hand += log_expit(np.where(lapsed.table["returned"].to_numpy(dtype=bool), logit, -logit)).sum()
    assert float(at["total"]) == pytest.approx(by_hand, rel=1e-9)


def test_every_user_is_in_it(lapsed, decay, everybody):
    model = built(lapsed, decay, everybody)
    assert list(model.coords["user"]) == everybody.table["user"].to_pylist()
    assert model.named_vars_to_dims["initial_interest"] == ("user",)
    assert model.named_vars_to_dims["slope"] == ("feature",)


# --- refused ---


def test_a_fit_with_regulars_is_refused(lapsed, decay, everybody):
    tree = decay.idata.copy()
    tree.attrs = tree.attrs | {"model": json.dumps(json.loads(tree.attrs["model"]) | {"regulars": True})}
    with pytest.raises(
        ValueError, match="one kind of users, and some of this fit never fade; give it a decay fit without"
    ):
        ReactivationModel(interest="joint").fit(lapsed, DecayFit(idata=tree), history=everybody)


def test_several_cutoffs_are_refused(small_log, decay, everybody):
    model = ReactivationModel(interest="joint")
    told = looked_at(small_log, ["2024-04-20", CUTOFF])
    with pytest.raises(ValueError, match="interest='joint' takes snapshots at one cutoff, got 2"):
        model.fit(told, decay, history=everybody)


def test_no_history_is_refused(lapsed, decay):
    with pytest.raises(ValueError, match="samples the interests of all users too; give their history=, at the cutoff"):
        MODEL.fit(lapsed, decay)


def test_other_users_are_refused(lapsed, decay, everybody):
    others = everybody.over(everybody.table.slice(5))
    with pytest.raises(
        DataError, match=r"needs all users of the snapshots at their cutoff 2024-05-20 .* at that cutoff"
    ):
        built(lapsed, decay, others)


def test_another_cutoff_is_refused(lapsed, decay, small_log):
    later = summarize(small_log, at="2024-06-01", activity="event")
    with pytest.raises(DataError, match=r"history: at 2024-06-01 .* with 200 users; interest='joint' needs all users"):
        built(lapsed, decay, later)


def test_a_bracket_over_users_is_refused(lapsed, decay, everybody):
    model = ReactivationModel(formula="returned ~ interest + (1 | user)", interest="joint")
    with pytest.raises(
        ValueError, match=r"take \(... \| user\) out of the formula \(at one cutoff each user has one row"
    ):
        built(lapsed, decay, everybody, model)


# --- what it says ---


def test_joint_and_uncertain_agree(lapsed, decay, everybody):
    """They differ by what the slices lose and by what outcomes say of interests: less than the posterior is wide."""
    formula = "returned ~ interest + visits + spend"
    joint = ReactivationModel(formula=formula, interest="joint").fit(
        lapsed, decay, history=everybody, sampling=Sampling(draws=500, tune=500, chains=2), random_seed=5
    )
    sliced = ReactivationModel(formula=formula).fit(
        lapsed, decay, sampling=Sampling(draws=500, tune=300, chains=2), random_seed=5
    )
    assert joint.verdict.worst_rhat < 1.05, joint.verdict
    assert joint.verdict.divergences <= 2
    names = ["intercept", "slope[visits]", "slope[spend]", "slope_interest"]
    one, other = (fit.summary(allow_unconverged=True).loc[names].astype(float) for fit in (joint, sliced))
    apart = (one["mean"] - other["mean"]).abs() / other["sd"]
    assert (apart < 1.0).all(), apart
    assert (one["sd"] / other["sd"]).between(0.7, 1.5).all()
    for name, row, prior in (("visits", "slope[visits]", "slope"), ("interest", "slope_interest", "slope_interest")):
        mean, sd, unit = one.loc[row, ["mean", "sd", "unit"]]
        # What the data alone say, without the prior, which is one of log interest itself.
        own = REACTIVATION_PRIORS[prior].scaled(unit if prior == "slope_interest" else 1.0).parameters
        mu, sigma = own["mu"], own["sigma"]
        precision = 1 / sd**2 - 1 / sigma**2
        alone = (mean / sd**2 - mu / sigma**2) / precision
        assert abs(alone - COEFFICIENTS[name] * unit) < 3.0 / np.sqrt(precision)
    # What is kept is of the population alone, and scores as any other fit.
    assert "user" not in joint.idata["posterior"].dims
    p, q = (fit.draws(lapsed, decay, draws=400, random_seed=6, allow_unconverged=True) for fit in (joint, sliced))
    assert float(np.abs(p.mean("sample") - q.mean("sample")).max()) < 0.15
