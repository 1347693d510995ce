r"""The ridge of a density along one of its parameters: the mode of all others, given each value of that one.

Where the posterior of the decay model is bent, it is bent along the restoration: the less a visit restores, the more
users must differ in their decay. That of the reactivation model is bent along the slope of the interest: the more the
interest counts, the more its doubt spreads the users, and the intercept makes up for it. A cubic through the ridge
takes the bend out of the others' coordinates (:mod:`bayesdecay.model.whitening`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

__all__ = ["ridge", "root_of_others"]

Floats = NDArray[np.float64]
Loss = Callable[[Floats], tuple[float, Floats]]

# Steps of this many standard deviations, until the density has fallen to e^-8 of its height; a step that alone makes
# it fall by e^-3 is halved: where the mode lies on a plateau, its curvature tells nothing of the width.
_STRIDE, _DEPTH, _MOST_DROP, _MOST_STRIDES = 0.7, 8.0, 3.0, 24
_POWERS = 3
# Weight of a point far down the slope, beside 1 in all for those where the probability is: it keeps the cubic near.
_LEAST_WEIGHT = 1e-6


def ridge(axis: int, loss: Loss, mode: Floats, hessian: Floats) -> Floats:
    r"""Follow the ridge of exp(-loss) from the mode both ways.

    Parameters
    ----------
    axis
        The parameter that is followed.
    loss
        Negative log-density of the parameters (parameter,), and its gradient.
    mode, hessian
        Where it is least, and its positive definite second derivatives there.

    Returns
    -------
    numpy.ndarray
        Coefficients (power, parameter) of the cubic :math:`c_0 + c_1 u + c_2 u^2 + c_3 u^3` along the ridge; u counts
        the standard deviations of the parameter that is followed, as the height along the ridge tells them, from its
        mean.
    """
    covariance = np.linalg.inv(hessian)
    others = np.arange(mode.size) != axis
    factor = root_of_others(axis, hessian)
    least = loss(mode)[0]
    points, depths = [mode], [0.0]
    for direction in (1.0, -1.0):
        point, depth = mode, 0.0
        stride = direction * _STRIDE * covariance[axis] / np.sqrt(covariance[axis, axis])
        for _ in range(_MOST_STRIDES):
            found, value = _lowest(loss, point + stride, others, factor)
            if value - least - depth > _MOST_DROP:
                stride = stride / 2.0
                continue
            point, stride, depth = found, found - point, value - least
            points.append(point)
            depths.append(depth)
            if depth > _DEPTH:
                break
    order = np.argsort([point[axis] for point in points])
    path, height = np.stack(points)[order], np.exp(-np.maximum(np.array(depths)[order], 0.0))
    at = path[:, axis]
    weight = height * np.gradient(at)
    weight /= weight.sum()
    mean = weight @ at
    u = (at - mean) / np.sqrt(weight @ (at - mean) ** 2)
    return np.polynomial.polynomial.polyfit(u, path, _POWERS, w=np.sqrt(weight + _LEAST_WEIGHT))


def root_of_others(axis: int, hessian: Floats) -> Floats:
    """Square root of the covariance of all parameters but one, given that one."""
    others = np.arange(hessian.shape[0]) != axis
    return np.linalg.cholesky(np.linalg.inv(hessian[np.ix_(others, others)]))


def _lowest(loss: Loss, start: Floats, others: NDArray[np.bool_], factor: Floats) -> tuple[Floats, float]:
    """Lowest point that is reached by moving the other parameters alone."""

    def moved(step: Floats) -> Floats:
        point = start.copy()
        point[others] += factor @ step
        return point

    def along(step: Floats) -> tuple[float, Floats]:
        value, gradient = loss(moved(step))
        return value, factor.T @ gradient[others]

    found = optimize.minimize(along, np.zeros(factor.shape[0]), jac=True, method="L-BFGS-B", options={"maxiter": 30})
    return moved(found.x), float(found.fun)
