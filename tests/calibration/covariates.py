"""The decay model with a covariate of the half-life and of the first interest."""

from __future__ import annotations

import math

import numpy as np

from bayesdecay.data.simulate import Simulation, simulate
from bayesdecay.model.prior import DECAY_PRIORS
from tests.calibration.decay import AFTER, MODEL, SAMPLING, SEEN, drawn_truth, history_of, shop_of, users_found
from tests.calibration.study import Replicate, Study, faults_of, prior_draw, ranked_parameters

__all__ = ["COVARIATES"]

USERS, ASKED = 128, 48
NAME = "x"


def _replicate(seed: int) -> Replicate:
    rng = np.random.default_rng([seed, 6])
    truth = drawn_truth(rng)
    slopes = {name: float(prior_draw(DECAY_PRIORS, name, rng)) for name in ("delta", "gamma")}
    drawn = _simulated(truth, (slopes["delta"], slopes["gamma"]), int(rng.integers(2**31)))
    history = history_of(drawn, covariates=[NAME])
    fit = MODEL.fit(history, method="laplace", sampling=SAMPLING, random_seed=seed)
    found = ranked_parameters(fit.idata["posterior"].to_dataset(), truth | slopes, rng)
    asked = history.select(np.sort(rng.choice(history.table["user"].to_numpy(), ASKED, replace=False)))
    found |= users_found(fit, asked, drawn, truth["rho"], rng)
    return Replicate(quantities=found, faults=faults_of(decay=fit.verdict))


def _simulated(truth: dict[str, float], slopes: tuple[float, float], seed: int) -> Simulation:
    """A log whose slopes are those of the covariate as the fit will standardise it.

    The same seed draws the same covariate whatever its slopes are, so it is looked at first.
    """
    plan = {"acquired_within": "60d", "observed": SEEN + AFTER, "random_seed": seed}
    x = simulate(USERS, population=shop_of(truth, covariates={NAME: (0.0, 0.0)}), **plan).users[NAME]
    own = tuple(slope / x.std(ddof=0) for slope in slopes)
    rate, interest = (truth[name] - slope * x.mean() for name, slope in zip(_LOCATIONS, own, strict=True))
    located = {"half_life": math.log(2) / math.exp(rate), "interest": math.exp(interest)}
    return simulate(USERS, population=shop_of(truth, covariates={NAME: own}, **located), **plan)


_LOCATIONS = ("mu_log_rate", "mu_log_interest")

COVARIATES = Study(
    name="covariates",
    title="Decay model with a covariate",
    about=(
        f"{USERS} users of a population as above, and a standard normal covariate that moves the logarithms of the "
        "decay rate and of the first interest, by the default priors Normal(0, 0.5) of both slopes. By "
        '`method="laplace"`.'
    ),
    replicate=_replicate,
)
