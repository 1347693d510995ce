r"""The regularised horseshoe: a prior under which most coefficients are next to nothing and a few are not.

.. math::

    b_j = z_j \tau \tilde\lambda_j, \qquad z_j \sim \mathrm{Normal}(0, 1), \qquad
    \tilde\lambda_j^2 = \frac{c^2\lambda_j^2}{c^2 + \tau^2\lambda_j^2}, \qquad
    \lambda_j \sim \mathrm{HalfCauchy}(1), \qquad
    \tau \sim \mathrm{HalfCauchy}(\tau_0), \qquad c^2 \sim \mathrm{InvGamma}(2, 2 s^2) .

With D coefficients of which :math:`p_0` are expected to matter, n rows and a share q that returned,
:math:`\tau_0 = \frac{p_0}{D - p_0}\,\frac{1}{\sqrt{q(1-q)\,n}}`.

References
----------
Piironen, J. and Vehtari, A. (2017). Sparsity information and regularization in the horseshoe and other shrinkage
priors. *Electronic Journal of Statistics* 11(2), 5018-5051. https://doi.org/10.1214/17-EJS1337SI
"""

from __future__ import annotations

import math
from typing import Any

import pymc as pm
import pytensor.tensor as pt

from bayesdecay.model.variables import HORSESHOE, OFFSET

__all__ = ["MANY", "horseshoe"]

# Columns above which the slopes get this prior unless told otherwise: with fewer, a normal prior costs next to nothing.
MANY = 30
# A tenth of the columns are expected to matter; the data move this by an order of magnitude if they want to.
_RELEVANT = 0.1
# A coefficient that matters stays below about twice this, a factor of 50 on the odds for one standard deviation.
_SLAB = 2.0


def horseshoe(*, columns: int, rows: float, share: float) -> Any:
    """Make the coefficients (column,) of standardised columns.

    Parameters
    ----------
    columns : int
        How many there are.
    rows : float
        Rows of the data.
    share : float
        Share of them that returned.
    """
    relevant = max(_RELEVANT * columns, 1.0)
    scale = relevant / max(columns - relevant, 1.0) / math.sqrt(share * (1.0 - share) * rows)
    tau = pm.HalfCauchy(f"{HORSESHOE}_scale", scale)
    slab = pm.InverseGamma(f"{HORSESHOE}_slab", 2.0, 2.0 * _SLAB**2)
    own = pm.HalfCauchy(f"{HORSESHOE}_own{OFFSET}", 1.0, shape=columns)
    direction = pm.Normal(f"{HORSESHOE}_direction{OFFSET}", shape=columns)
    limited = own * pt.sqrt(slab / (slab + (tau * own) ** 2))
    return direction * tau * limited
