"""The effect model of an amount that is mostly zero: who buys, how much, and what a contact changes in both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

from bayesdecay.data.experiment import Experiment
from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.model.effect_fit import EffectFit
from bayesdecay.model.effect_model import EffectModel
from bayesdecay.model.prior import EFFECT_PRIORS, with_changes
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.uncertainty import DrawOptions
from tests.calibration.study import Ranked, Replicate, Study, faults_of, normal, prior_draw, ranked, ranked_parameters

__all__ = ["EFFECTS"]

USERS, ASKED = 300, 12
FEATURES = ("visits", "spent")
EFFECT_MODEL = EffectModel(formula="paid ~ visits + spent", priors={"intercept": normal(-0.5, 0.7)})
SAMPLING = Sampling(draws=500, tune=300, chains=2, cores=1, progress=False)
DRAWN = 500


def _replicate(seed: int) -> Replicate:
    rng = np.random.default_rng([seed, 4])
    truth = _drawn_effects(rng)
    experiment, expected = _simulated(truth, rng)
    fit = EFFECT_MODEL.fit(experiment, sampling=SAMPLING, random_seed=seed)
    named = {name: value for name, value in truth.items() if name in fit.idata["posterior"]}
    # The fit counts amounts in their mean.
    named["amount_intercept"] = truth["amount_intercept"] - np.log(fit.description["unit"])
    found = ranked_parameters(fit.idata["posterior"].to_dataset(), named, rng)
    found |= _of_users(fit, experiment, expected, rng)
    return Replicate(quantities=found, faults=faults_of(effect=fit.verdict))


def _drawn_effects(rng: np.random.Generator) -> dict[str, Any]:
    """Coefficients and effects of both parts from the priors of the model, features being standardised."""
    priors, size = with_changes(EFFECT_PRIORS, EFFECT_MODEL.priors), len(FEATURES)
    plain = ("intercept", "effect", "effect_by_response", "tau_effect", "amount_intercept", "amount_effect")
    truth: dict[str, Any] = {
        name: float(prior_draw(priors, name, rng)) for name in (*plain, "tau_amount_effect", "amount_shape")
    }
    truth |= {name: prior_draw(priors, name, rng, size) for name in ("slope", "amount_slope")}
    truth["effect_slope"] = truth["effect_by_response"] * truth["slope"] + truth["tau_effect"] * rng.normal(size=size)
    truth["amount_effect_slope"] = truth["tau_amount_effect"] * rng.normal(size=size)
    return truth


def _simulated(truth: dict[str, Any], rng: np.random.Generator) -> tuple[Experiment, xr.Dataset]:
    """An experiment, and each user's expectations under both arms: of buying, of the amount, of the two together."""
    x = rng.normal(size=(USERS, len(FEATURES)))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    given = rng.permutation(USERS) % 2
    arms = np.arange(2)
    logit = truth["intercept"] + x @ truth["slope"]
    logit = logit[:, None] + arms * (truth["effect"] + x @ truth["effect_slope"])[:, None]
    amount = truth["amount_intercept"] + x @ truth["amount_slope"]
    amount = np.exp(amount[:, None] + arms * (truth["amount_effect"] + x @ truth["amount_effect_slope"])[:, None])
    p, rows = expit(logit), np.arange(USERS)
    shape = truth["amount_shape"]
    paid = rng.gamma(shape, amount[rows, given] / shape) * (rng.random(USERS) < p[rows, given])
    table = pd.DataFrame(x, columns=list(FEATURES)).assign(paid=paid, arm=np.array(["none", "coupon"])[given])
    experiment = read_experiment(table, arm="arm", control="none", outcomes=["paid"], features=list(FEATURES))
    parts = {"happened": p, "amount": amount, "outcome": p * amount}
    return experiment, xr.Dataset({name: (("user", "arm"), values) for name, values in parts.items()})


def _of_users(
    fit: EffectFit, experiment: Experiment, expected: xr.Dataset, rng: np.random.Generator
) -> dict[str, Ranked]:
    """Rank what the contact changes on average, how far users differ in it, and what it changes for some of them."""
    options = DrawOptions(draws=DRAWN, random_seed=int(rng.integers(2**31)), allow_unconverged=True)
    found, asked = {}, rng.choice(USERS, ASKED, replace=False)
    words = {"happened": "P(buys)", "amount": "amount if bought", "outcome": "expected amount"}
    for part, word in words.items():
        draws = fit.draws(experiment, part=part, options=options).transpose("arm", "user", "sample").to_numpy()
        effect, true = draws[1] - draws[0], (expected[part][:, 1] - expected[part][:, 0]).to_numpy()
        found[f"average effect on {word}"] = ranked(true.mean(), effect.mean(axis=0), rng)
        found[f"spread of users' effects on {word}"] = ranked(true.std(), effect.std(axis=0), rng)
        found[f"user: {word} if left alone"] = ranked(expected[part].to_numpy()[asked, 0], draws[0][asked], rng)
        found[f"user: effect on {word}"] = ranked(true[asked], effect[asked], rng)
    return found


EFFECTS = Study(
    name="effects",
    title="Effects of a contact, and spend",
    about=(
        f"An experiment with {USERS} users, half of them contacted, and an amount that is zero for most; two features. "
        "All truths from the default priors but for the intercept, Normal(-0.5, 0.7), so that few experiments have no "
        "buyers. The fit counts amounts in their mean, so the prior of their intercept is one about the data; this "
        f"moves next to nothing, as the data know it to a tenth of that prior's width. {ASKED} users of each are asked "
        "about. Two chains of 500 draws."
    ),
    replicate=_replicate,
    design=2,
)
