r"""How much a user who buys spends: a Gamma regression whose mean is a product, for outcomes that are mostly zero.

.. math:: y_i \mid y_i > 0 \sim \mathrm{Gamma}(\text{shape } k, \text{ mean } m_i), \qquad
          \log m_i = c_0 + x_i \cdot c + \sum_a d_a\,(\theta_{0a} + x_i \cdot \theta_a),

with the amounts divided by their mean beforehand, so that the same priors serve any currency. The mean is what a
decision needs, and the estimating equations of this likelihood, :math:`\sum_i x_i (y_i / m_i - 1) = 0`, hold it right
whatever the amounts' true distribution is.

References
----------
McCullagh, P. and Nelder, J. A. (1989). *Generalized Linear Models*, 2nd ed., chapter 8.
https://doi.org/10.1201/9780203753736
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from bayesdecay.model.prior import Prior
from bayesdecay.model.variables import OFFSET, variable

__all__ = ["PREFIX", "add_amount"]

Floats = NDArray[np.float64]

# Begins the names of this part's variables.
PREFIX = "amount_"


def add_amount(x: Floats, given: Floats, amount: Floats, priors: Mapping[str, Prior]) -> None:
    """Add the likelihood of the positive amounts, and its variables, to the PyMC model.

    Parameters
    ----------
    x : float64[row, moderator]
        Features of the rows that have one.
    given : float64[row, arm]
        1 where a row was given the arm.
    amount : float64[row]
        Amounts, above 0, in units of their mean.
    priors : mapping of str to Prior
        Of ``amount_intercept``, ``amount_slope``, ``amount_effect``, ``tau_amount_effect`` and ``amount_shape``.
    """
    intercept = variable(priors, "amount_intercept")
    effect, spread = variable(priors, "amount_effect", dims="arm"), variable(priors, "tau_amount_effect", dims="arm")
    logarithm: Any = intercept + pt.dot(given, effect)
    if x.shape[1]:
        slope = variable(priors, "amount_slope", dims="moderator")
        offset = pm.Normal(f"amount_effect_slope{OFFSET}", dims=("arm", "moderator"))
        varying = pm.Deterministic("amount_effect_slope", spread[:, None] * offset, dims=("arm", "moderator"))
        logarithm = logarithm + pt.dot(x, slope) + pt.sum(pt.dot(x, varying.T) * given, axis=1)
    shape = variable(priors, "amount_shape")
    # Gamma density of y with shape k and mean m: rate k / m.
    density = shape * (pt.log(shape) - logarithm - amount * pt.exp(-logarithm)) - pt.gammaln(shape)
    pm.Potential("loglik_amount", pt.sum(density + (shape - 1.0) * np.log(amount)))
