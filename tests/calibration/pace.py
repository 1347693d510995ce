"""Totals of a shop whose pace is not even: what all users share, learned from the past and drawn for the future."""

from __future__ import annotations

import numpy as np

from bayesdecay.data.simulate import simulate
from bayesdecay.model.prior import DECAY_PRIORS
from bayesdecay.model.scoring import forecast_totals
from bayesdecay.model.shocks import SHOCKS
from tests.calibration.decay import AFTER, DRAWS, MODEL, SAMPLING, drawn_truth, history_of, shop_of
from tests.calibration.study import Replicate, Study, faults_of, prior_draw, ranked, ranked_parameters

__all__ = ["PACE"]

USERS, WEEKS = 640, 17
SPREADS = ("sigma_walk", "sigma_week")
WINDOWS = ("7d", "28d")


def _replicate(seed: int) -> Replicate:
    rng = np.random.default_rng([seed, 8])
    truth = drawn_truth(rng)
    spread = {name: float(prior_draw(DECAY_PRIORS, name, rng)) for name in SPREADS}
    walk, week = rng.standard_normal((2, -(-(WEEKS * 7 + AFTER) // 7)))
    pace = np.exp(spread["sigma_walk"] * np.cumsum(walk) + spread["sigma_week"] * week)
    drawn = simulate(
        USERS,
        population=shop_of(truth),
        pace=pace.tolist(),
        acquired_within="60d",
        observed=WEEKS * 7 + AFTER,
        random_seed=rng,
    )
    history = history_of(drawn)
    fit = MODEL.fit(history, method="laplace", sampling=SAMPLING, random_seed=seed)
    found = ranked_parameters(fit.idata[SHOCKS].to_dataset(), spread, rng)
    population = fit.population(DRAWS, allow_unconverged=True)
    later = drawn.events[
        (drawn.events["time"] > history.at) & drawn.events["user"].isin(history.table["user"].to_pylist())
    ]
    passed = (later["time"] - history.at) / np.timedelta64(1, "D")
    came = np.array([(passed <= float(window.removesuffix("d"))).sum() for window in WINDOWS])
    for name, shocks in (("total of {}", True), ("(total of {} if the pace is taken for even)", False)):
        totals = forecast_totals(population, history, list(WINDOWS), shocks=shocks, random_seed=seed)
        found |= {
            name.format(window): ranked(count, total, rng)
            for window, count, total in zip(WINDOWS, came, totals.T, strict=True)
        }
    return Replicate(quantities=found, faults=faults_of(decay=fit.verdict))


PACE = Study(
    name="pace",
    title="Totals of a shop whose pace is not even",
    about=(
        f"{USERS} users of a population as above in a shop where everybody's interest is multiplied, week by week, by "
        "a factor that walks and has weeks of its own, their standard deviations from the default priors. The decay "
        'fit, by `method="laplace"`, takes the pace for even, and what it leaves over tells how restless the shop is. '
        "So this is no simulation-based calibration in the strict sense: the walk is in the users' own pasts too, and "
        "a forecast lets the known level fade, which the simulated one does not. Judged are the numbers of activities "
        "of all users together after the cutoff, with what they share and without it."
    ),
    replicate=_replicate,
)
