r"""Stacking: the weights with which candidates, mixed, would have forecast best.

In: the log density that each candidate gave to each held-out row. Out: weights on the simplex,

.. math:: \max_w \frac1n \sum_i \log \sum_k w_k\, p_k(y_i), \qquad w_k \ge 0,\ \sum_k w_k = 1,

a concave problem. Unlike a ranking, it looks at which rows a candidate is good for: of two that say the same, both are
not needed, and one that is worse on average may still have a part.

References
----------
Yao, Y., Vehtari, A., Simpson, D. and Gelman, A. (2018). Using stacking to average Bayesian predictive distributions.
*Bayesian Analysis* 13(3), 917-1007. https://doi.org/10.1214/17-BA1091
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = ["stacking_weights"]

Floats = NDArray[np.float64]


def stacking_weights(log_density: Floats) -> Floats:
    """Weights (candidate,) that maximise the log score of the mixture.

    Parameters
    ----------
    log_density : array (candidate, row)
        Log of what each candidate's forecast, made without the row, gave to what happened [nats].

    Notes
    -----
    Candidates that say the same share a weight evenly. Where candidates say nearly the same, the weights are as
    uncertain as the ranking.
    """
    size = len(log_density)
    # What all candidates lack on a row shifts the score and not the weights.
    density = np.exp(log_density - log_density.max(axis=0))

    def loss(weight: Floats) -> tuple[float, Floats]:
        mixture = weight @ density
        return -float(np.log(mixture).mean()), -(density / mixture).mean(axis=1)

    found = minimize(
        loss,
        np.full(size, 1.0 / size),
        jac=True,
        method="SLSQP",
        # Away from zero by less than is ever printed: a row that one candidate alone thought possible stays so.
        bounds=[(1e-9, 1.0)] * size,
        constraints={"type": "eq", "fun": lambda weight: weight.sum() - 1.0, "jac": lambda _: np.ones(size)},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    weight = np.where(found.x < 1e-6, 0.0, found.x)
    return np.asarray(weight / weight.sum())
