r"""One number a user and arm that estimates without bias what the user's outcome is under that arm.

In: an experiment, an outcome, and a guess :math:`m_a(x)` of its mean. Out: the scores

.. math:: \psi_{ia} = m_a(x_i) + \frac{1\{A_i = a\}}{e_a(x_i)}\,(y_i - m_a(x_i)),
          \qquad E[\psi_{ia} \mid x_i] = E[y_i(a) \mid x_i],

whatever the guess, if the propensities :math:`e_a` are right. The better the guess, the less they scatter. Values of
policies, uplift curves and calibration are all means of these.

References
----------
Robins, J. M., Rotnitzky, A. and Zhao, L. P. (1994). Estimation of regression coefficients when some regressors are
not always observed. *JASA* 89(427), 846-866. https://doi.org/10.1080/01621459.1994.10476818
Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters. *Econometrics
Journal* 21(1), C1-C68. https://doi.org/10.1111/ectj.12097 (why the guess is made from other users)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay.data.covariates import encoded, standardized
from bayesdecay.data.experiment import Experiment

__all__ = ["arm_means", "arm_scores", "by_arm", "cross_fitted", "effect_scores", "given_predictions", "weights"]

Floats = NDArray[np.float64]

# Five parts: each guess is learnt from 80 % of the users, and more parts hardly add to that.
_PARTS = 5
# Before the data, all features together are thought to explain about a tenth of the variance of an outcome.
_EXPLAINED = 0.1


def weights(experiment: Experiment) -> Floats:
    """Inverse propensity of the arm given in that arm's column, 0 in the others, float64[user, arm]."""
    dealt = np.eye(len(experiment.arms))[experiment.given]
    return np.asarray(dealt / experiment.propensity)


def arm_means(experiment: Experiment, outcome: Floats) -> Floats:
    """Weighted mean outcome of each arm (Hájek), the guess that knows no features, float64[arm]."""
    weight = weights(experiment)
    return np.asarray(weight.T @ outcome / weight.sum(axis=0))


def arm_scores(experiment: Experiment, outcome: Floats, predictions: Floats) -> Floats:
    """Score of every user under every arm, from guesses that broadcast to (user, arm); float64[user, arm]."""
    return np.asarray(predictions + weights(experiment) * (outcome[:, None] - predictions))


def effect_scores(experiment: Experiment, outcome: Floats, place: int, predictions: Any = None) -> Floats:
    """Score of the effect of an arm over the control, float64[user]; its mean estimates the mean effect.

    Without predictions the guess is the arm's mean outcome, and the mean of the scores is the difference of the
    weighted means.
    """
    if predictions is None:
        guess = arm_means(experiment, outcome)[None, :]
    else:
        guess = given_predictions(experiment, predictions)
    scores = arm_scores(experiment, outcome, guess)
    return np.asarray(scores[:, place] - scores[:, 0])


def by_arm(experiment: Experiment, values: Any, what: str) -> Floats:
    """Read a number for each user and arm: a frame with a column an arm, or an array in the order of the arms.

    Raises
    ------
    ValueError
        If an arm has no column, the shape is another, or a number is missing.
    """
    if isinstance(values, pd.DataFrame):
        lost = [arm for arm in experiment.arms if arm not in values.columns]
        if lost:
            raise ValueError(f"{what} has no column for the arm {lost[0]!r}; give one an arm, the control's too")
        values = values[list(experiment.arms)]
    found = np.asarray(experiment.aligned(values, what), dtype=float)
    expected = (len(experiment), len(experiment.arms))
    if found.shape != expected:
        raise ValueError(
            f"{what} has the shape {found.shape}; expected {expected}, a column for each of the arms "
            f"{', '.join(map(str, experiment.arms))} in this order"
        )
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise ValueError(f"{what} is missing or infinite (the first is row {row}); give a number for each user and arm")
    return found


def given_predictions(experiment: Experiment, predictions: Any) -> Floats:
    """Read the mean outcomes predicted by the caller's own model, float64[user, arm]; it must not have seen these."""
    return by_arm(experiment, predictions, "predictions")


def cross_fitted(experiment: Experiment, outcome: Floats, random_seed: int | None) -> Floats:
    """Predict each user's outcome under each arm by regressions that have not seen the user.

    A least-squares line an arm on the standardized features, shrunk towards the arm's mean by a ridge, learnt from the
    users of the other parts, weighted by their inverse propensity. It need not be right: it only takes scatter away.
    Without features it is the arm's mean over the other parts; with fewer than two users of the arm there, over all.

    Returns
    -------
    numpy.ndarray
        float64[user, arm].
    """
    x = np.empty((len(experiment), 0))
    if experiment.features:
        x = standardized(encoded(experiment.covariates())[0])
    part = np.random.default_rng(random_seed).permutation(len(experiment)) % _PARTS
    predicted, weight = np.empty((len(experiment), len(experiment.arms))), weights(experiment)
    overall = arm_means(experiment, outcome)
    for k in range(_PARTS):
        for place in range(len(experiment.arms)):
            inside = (part != k) & (experiment.given == place)
            if inside.sum() < 2:
                predicted[part == k, place] = overall[place]
            else:
                predicted[part == k, place] = _ridge(x[inside], outcome[inside], weight[inside, place], x[part == k])
    return predicted


def _ridge(x: Floats, y: Floats, weight: Floats, at: Floats) -> Floats:
    """Predict at new features by a ridge regression; the penalty is that of the share thought to be explained."""
    weight = weight / weight.mean()
    mean, middle = np.average(y, weights=weight), np.average(x, axis=0, weights=weight)
    centred = x - middle
    weighted = weight[:, None] * centred
    penalty = x.shape[1] * (1 - _EXPLAINED) / _EXPLAINED
    slopes = np.linalg.solve(weighted.T @ centred + penalty * np.eye(x.shape[1]), weighted.T @ (y - mean))
    return np.asarray(mean + (at - middle) @ slopes)
