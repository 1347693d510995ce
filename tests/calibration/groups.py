"""The decay model over groups: how far they lie apart, where each lies, and where a group lies that nobody has seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bayesdecay.data.simulate import simulate
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.prior import DECAY_PRIORS, with_changes
from bayesdecay.model.sampling import Sampling
from tests.calibration.decay import AFTER, MODEL, SEEN, drawn_truth, history_of, shop_of, users_found
from tests.calibration.study import Replicate, Study, faults_of, prior_draw, ranked, ranked_parameters

__all__ = ["GROUPS"]

NAMES = tuple("abcdef")
USERS, ASKED = 128, 48
GROUPED = DecayModel(priors=MODEL.priors, rates=MODEL.rates, shoulder=MODEL.shoulder, regulars=MODEL.regulars)
SAMPLING = Sampling(draws=500, chains=2, cores=1, progress=False)
QUANTITIES = ("log_rate", "log_interest")


def _replicate(seed: int) -> Replicate:
    rng = np.random.default_rng([seed, 2])
    truth, unseen = _drawn_groups(rng)
    shop = shop_of(
        truth,
        half_life={name: math.log(2) / math.exp(mu) for name, mu in zip(NAMES, truth["group_log_rate"], strict=True)},
        interest={name: math.exp(mu) for name, mu in zip(NAMES, truth["group_log_interest"], strict=True)},
    )
    drawn = simulate(USERS, population=shop, acquired_within="60d", observed=SEEN + AFTER, random_seed=rng)
    history = history_of(drawn, group="group")
    fit = GROUPED.fit(history, sampling=SAMPLING, random_seed=seed)
    found = ranked_parameters(fit.idata["posterior"].to_dataset(), truth, rng)
    location = fit.population(allow_unconverged=True).location[:, :, -1]
    for quantity, draws, value in zip(QUANTITIES, location, unseen, strict=True):
        found[f"{quantity} of a group not seen"] = ranked(value, draws, rng)
    asked = history.select(np.sort(rng.choice(history.table["user"].to_numpy(), ASKED, replace=False)))
    found |= users_found(fit, asked, drawn, truth["rho"], rng)
    return Replicate(quantities=found, faults=faults_of(decay=fit.verdict))


def _drawn_groups(rng: np.random.Generator) -> tuple[dict[str, Any], list[float]]:
    """A population whose groups differ, and the location of one more group for each quantity."""
    truth: dict[str, Any] = drawn_truth(rng)
    priors, unseen = with_changes(DECAY_PRIORS, GROUPED.priors), []
    for quantity in QUANTITIES:
        spread = truth[f"tau_{quantity}"] = float(prior_draw(priors, f"tau_{quantity}", rng))
        *own, other = rng.normal(truth[f"mu_{quantity}"], spread, len(NAMES) + 1)
        truth[f"group_{quantity}"] = np.array(own)
        unseen.append(float(other))
    return truth, unseen


GROUPS = Study(
    name="groups",
    title="Decay model over groups",
    about=(
        f"{USERS} users in {len(NAMES)} groups of random sizes; the population as above, the groups' locations normal "
        "about it with the default prior of their spreads, LogNormal(log 0.25, 0.7). One more group is drawn and not "
        "shown to the fit. Two chains of 500 draws."
    ),
    replicate=_replicate,
    design=2,
)
