r"""What a fit would have said of each user's outcomes had it not seen that user: PSIS, without a new fit.

In: draws of the log-likelihood of each row, and whose row it is. Out: the expected log density of each row with all
rows of its user left out, and the k-hat that tells whether to believe it. For user u with the rows :math:`R_u`,

.. math:: \log p(y_i \mid y_{-u}) \approx \log \sum_s w_{us}\, p(y_i \mid \theta_s), \qquad
    w_{us} \propto \mathrm{PSIS}\Big(\prod_{i \in R_u} p(y_i \mid \theta_s)^{-1}\Big),

which is the usual leave-one-out where every user has one row.

References
----------
Vehtari, A., Gelman, A. and Gabry, J. (2017). Practical Bayesian model evaluation using leave-one-out cross-validation
and WAIC. *Statistics and Computing* 27, 1413-1432. https://doi.org/10.1007/s11222-016-9696-4
Vehtari, A., Simpson, D., Gelman, A., Yao, Y. and Gabry, J. (2024). Pareto smoothed importance sampling. *JMLR* 25(72).
https://doi.org/10.48550/arXiv.1507.02646
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["good_k", "leave_user_out"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def leave_user_out(loglik: Floats, user: Integers) -> tuple[Floats, Floats]:
    """Log density of each row without its user, and the user's k-hat.

    Parameters
    ----------
    loglik : array (sample, row)
        Log-likelihood of each row's outcome at each draw [nats].
    user : array of int (row,)
        Number of each row's user.

    Returns
    -------
    elpd, khat : array (row,)
        [nats], and the shape of the Pareto tail of the user's weights.
    """
    from arviz_stats.base.array import array_stats

    _, own = np.unique(user, return_inverse=True)
    together = np.zeros((own.max() + 1, len(loglik)))
    np.add.at(together, own, loglik.T)
    # A user that nothing depends on has no tail to fit: its weights are all equal, and as good as can be.
    alike = np.ptp(together, axis=1) == 0
    weights, khat = np.full_like(together, -math.log(len(loglik))), np.full(len(together), -np.inf)
    if not alike.all():
        weights[~alike], khat[~alike] = array_stats.psislw(together[~alike], axis=-1)
    return np.asarray(logsumexp(weights[own] + loglik.T, axis=1)), khat[own]


def good_k(draws: int) -> float:
    """Largest k-hat at which so many draws give a leave-one-out estimate that can be relied on, 0.7 at most."""
    return min(1.0 - 1.0 / math.log10(max(draws, 11)), 0.7)
