r"""Propensities: the probability of each arm for each user, by design or, where nobody drew lots, estimated.

In: the arm given, and a design or features. Out: :math:`e_a(x)`, a row a user and a column an arm. Estimated, it is a
multinomial logistic regression,

.. math:: e_a(x) \propto \exp(\alpha_a + x \beta_a), \qquad \beta \sim \mathrm{Normal}(0, 1) \text{ on standardized } x,

at its mode. The prior keeps a perfectly predicted arm from having a propensity of exactly 0.
"""

from __future__ import annotations

import numbers
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from bayesdecay.errors import DataError, unknown_name

__all__ = ["designed", "estimated", "observed_shares"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def observed_shares(given: Integers, arms: int) -> Floats:
    """Give every user the observed share of each arm.

    Parameters
    ----------
    given
        int64[user], the number of the arm.
    arms
        How many arms there are.

    Returns
    -------
    numpy.ndarray
        float64[user, arm].
    """
    return np.tile(np.bincount(given, minlength=arms) / given.size, (given.size, 1))


def designed(propensity: Any, arms: Sequence[Hashable], table: pd.DataFrame) -> Floats:
    """Read the design's probabilities.

    Parameters
    ----------
    propensity
        By arm, a share, or the name of the column that holds each user's.
    arms
        The arms that were given.
    table
        Holds the columns.

    Returns
    -------
    numpy.ndarray
        float64[user, arm].

    Raises
    ------
    TypeError, ValueError
        If it is no mapping, or not of these arms.
    DataError
        If a probability lies outside (0, 1], or those of a user do not add up to 1.
    """
    if not isinstance(propensity, Mapping):
        raise TypeError(
            f"experiment: propensity is {propensity!r}; give a mapping of each arm to its share or to the name of a "
            "column, 'estimated', or None for the observed shares"
        )
    for arm in propensity:
        if arm not in arms:
            raise unknown_name("arm in propensity=, or an arm without rows,", arm, map(str, arms))
    if missing := [arm for arm in arms if arm not in propensity]:
        raise ValueError(f"experiment: propensity has no entry for the arm {missing[0]!r}; give every arm one")
    columns = [_column(propensity[arm], arm, table) for arm in arms]
    probabilities = np.column_stack(columns)
    _refuse_no_distribution(probabilities)
    return probabilities


def _column(entry: Any, arm: Hashable, table: pd.DataFrame) -> Floats:
    """Probability of one arm, float64[user]."""
    if isinstance(entry, numbers.Real) and not isinstance(entry, bool):
        values, said = np.full(len(table), float(entry)), f"propensity of the arm {arm!r}"
    else:
        values, said = table[entry].to_numpy(dtype=float, na_value=np.nan), f"propensity column {entry!r}"
    wrong = np.flatnonzero(~((values > 0) & (values <= 1)))
    if wrong.size:
        raise DataError(
            f"experiment: {said} is {values[wrong[0]]:g} in {wrong.size:,} rows (the first is row {wrong[0]}); "
            "expected a probability above 0 and at most 1: leave out users who could not have been given this arm"
        )
    return values


def _refuse_no_distribution(probabilities: Floats) -> None:
    total = probabilities.sum(axis=1)
    wrong = np.flatnonzero(np.abs(total - 1) > 1e-6)  # shares such as 0.3333333 are meant to be a third
    if wrong.size:
        raise DataError(
            f"experiment: the propensities add up to {total[wrong[0]]:.6g} in {wrong.size:,} rows (the first is row "
            f"{wrong[0]}); expected 1: give the share of every arm, the control's too"
        )


def estimated(features: Floats, given: Integers, arms: int) -> Floats:
    """Estimate the propensities from standardized features (user, column).

    Returns
    -------
    numpy.ndarray
        float64[user, arm].

    Raises
    ------
    RuntimeError
        If the mode was not found.
    """
    design = np.column_stack([np.ones(given.size), features])
    dealt = np.eye(arms)[given]

    def loss(flat: Floats) -> tuple[float, Floats]:
        beta = flat.reshape(design.shape[1], arms)
        log_p = log_softmax(design @ beta, axis=1)
        slopes = beta.copy()
        slopes[0] = 0.0  # the intercepts are free
        value = -log_p[np.arange(given.size), given].sum() + 0.5 * (slopes**2).sum()
        # In units of a user's log-probability, so that the tolerance does not depend on how many users there are.
        return value / given.size, ((design.T @ (np.exp(log_p) - dealt) + slopes) / given.size).ravel()

    start = np.zeros((design.shape[1], arms))
    start[0] = np.log(dealt.mean(axis=0))
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2_000, "gtol": 1e-8})
    if np.abs(found.jac).max() > 1e-4:
        raise RuntimeError(f"experiment: the propensities could not be estimated: {found.message}; use fewer features")
    return softmax(design @ found.x.reshape(start.shape), axis=1)
