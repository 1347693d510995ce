"""What is simulated is what is fitted: the slope of the likelihood at the truth is no more than chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from bayesdecay.model.decay import DecayModel
from bayesdecay.model.density import Density
from bayesdecay.model.design import FitData
from bayesdecay.model.variables import RestorationTransform
from tests.model.worlds import SHOP, history_of, simulated

LOGS, USERS = 2, 8_000
# Unconstrained, as the density has them.
FORWARD = {
    "sigma_log_rate_log__": np.log,
    "alpha_log__": np.log,
    "rho_restoration__": lambda rho: RestorationTransform().forward(rho).eval(),
}


def score_at_the_truth(random_seed: int) -> float:
    """Chi-square, with six degrees of freedom, of the density's slope at the truth of a simulated log."""
    shop = replace(SHOP, interest=0.1)
    drawn = simulated(USERS, shop=shop, observed="270d", random_seed=random_seed)
    history, model = history_of(drawn), DecayModel(rates=80)
    density = Density.of(model.build(FitData.of(history), model.grid(history)))
    truth = np.array(
        [
            FORWARD.get(owner, float)(drawn.truth[owner.removesuffix("_log__").removesuffix("_restoration__")])
            for owner in density.owner
        ]
    )
    steps = 0.01 * np.eye(truth.size)
    hessian = np.stack([(density(truth + step)[1] - density(truth - step)[1]) / 0.02 for step in steps])
    slope = density(truth)[1]
    return float(-slope @ np.linalg.solve((hessian + hessian.T) / 2, slope))


def test_likelihood_has_no_slope_at_the_truth():
    """The priors' own slope is a few hundredths of a standard deviation here."""
    found = [score_at_the_truth(seed) for seed in range(LOGS)]
    low, high = stats.chi2(6 * LOGS).ppf([0.001, 0.999])
    assert low < sum(found) < high, found
