r"""Scores of P(y = 1) over rows of which those of one user go together, each with its standard error.

In: forecasts, outcomes, and whose row it is. Out: a score and its standard error. Every score here is, to first order,
a mean of one number a row, :math:`\hat s - s \approx \frac1n \sum_i d_i`, and with users :math:`u = 1..C`

.. math:: \mathrm{se}^2 = \frac{C}{C-1} \sum_u \Big( \frac1n \sum_{i \in u} d_i \Big)^2 .

It says how the score would vary with other users of the same shop at the same cutoffs. It does not know of other times.

References
----------
Obuchowski, N. A. (1997). Nonparametric analysis of clustered ROC curve data. *Biometrics* 53(2), 567-578.
https://doi.org/10.2307/2533958
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bayesdecay.show.scoring_rules import calibration

__all__ = ["area_under_curve", "calibration_error", "mean", "standard_error"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def standard_error(deviation: Floats, user: Integers) -> float:
    """Standard error of a mean of deviations (row,), rows of one user (numbered from 0) being one observation."""
    together = np.bincount(user, weights=deviation)
    users = np.unique(user).size
    if users < 2:
        return np.nan
    return float(np.sqrt(users / (users - 1) * np.square(together).sum()) / deviation.size)


def mean(values: Floats, user: Integers) -> tuple[float, float]:
    """Mean over the rows, with its standard error."""
    found = float(values.mean())
    return found, standard_error(values - found, user)


def area_under_curve(p: Floats, returned: Booleans, user: Integers) -> tuple[float, float]:
    """P(a row that returned has the higher forecast than one that did not), with its standard error.

    NaN where all returned or none.
    """
    ones, zeros = int(returned.sum()), int((~returned).sum())
    if not ones or not zeros:
        return np.nan, np.nan
    ranks, own = rankdata(p), np.empty(p.size)
    own[returned], own[~returned] = rankdata(p[returned]), rankdata(p[~returned])
    # Of the rows of the other outcome, the share that this one stands above (or below, if it did not return).
    below = ranks - own
    won = np.where(returned, below / zeros, 1.0 - below / ones)
    area = float(won[returned].mean())
    share = np.where(returned, ones, zeros) / p.size
    return area, standard_error((won - area) / share, user)


def calibration_error(p: Floats, returned: Booleans, user: Integers) -> tuple[float, float]:
    """Expected calibration error over tenths of the rows by forecast, with its standard error.

    Notes
    -----
    It is the mean of :math:`s_b (p_i - y_i)`, where :math:`s_b` is the sign of the mean of :math:`p - y` in the row's
    bin b.
    """
    bins = calibration(p, returned.astype(float))
    above, order = np.empty(p.size), np.argsort(p)
    # A bin holds rows that follow one another in the order of the forecasts.
    above[order] = np.repeat(np.sign(bins.predicted - bins.observed), bins.rows)
    return bins.error, standard_error(above * (p - returned) - bins.error, user)
