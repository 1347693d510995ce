"""The decay model with regulars, whose interest does not fade."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bayesdecay.data.simulate import simulate
from tests.calibration.decay import AFTER, MODEL, SAMPLING, SEEN, drawn_truth, history_of, shop_of, users_found
from tests.calibration.study import Replicate, Study, faults_of, prior_draw, ranked_parameters

__all__ = ["REGULARS"]

USERS, ASKED = 128, 48
WITH_REGULARS = replace(MODEL, regulars=True)
PARAMETERS = ("share_regular", "shift_regular")


def _replicate(seed: int) -> Replicate:
    rng = np.random.default_rng([seed, 7])
    truth = drawn_truth(rng)
    share, shift = (float(prior_draw(WITH_REGULARS.priors_in_force(), name, rng)) for name in PARAMETERS)
    shop = shop_of(truth, regulars=share, regulars_shift=shift)
    drawn = simulate(USERS, population=shop, acquired_within="60d", observed=SEEN + AFTER, random_seed=rng)
    history = history_of(drawn)
    fit = WITH_REGULARS.fit(history, sampling=SAMPLING, random_seed=seed)
    own = truth | dict(zip(PARAMETERS, (share, shift), strict=True))
    found = ranked_parameters(fit.idata["posterior"].to_dataset(), own, rng)
    asked = history.select(np.sort(rng.choice(history.table["user"].to_numpy(), ASKED, replace=False)))
    found |= users_found(fit, asked, drawn, truth["rho"], rng)
    del found["user: half-life"]  # of a regular there is none, and the grid's slowest rate stands for it
    return Replicate(quantities=found, faults=faults_of(decay=fit.verdict))


REGULARS = Study(
    name="regulars",
    title="Decay model with regulars",
    about=(
        f"{USERS} users of a population as above, but that a share of them, Beta(1, 4), does not fade, and comes "
        "exp(Normal(1, 0.5)) times as often as a typical user does at first: the default priors. By NUTS, two chains "
        "of 500 draws."
    ),
    replicate=_replicate,
)
