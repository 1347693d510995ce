r"""The compiled loop of the reactivation model: a logistic likelihood with inputs that are not known exactly.

Of row i, with features x, offset a, and levels :math:`\ell_1..\ell_J` of a latent input, each as probable as the other,

.. math::

    p_i = \frac1J \sum_j \sum_q w_q\, \sigma\big(s_i\,(a + x_i \cdot b + b_I \ell_{ij} + v_i \xi_q)\big),

where s is 1 if it happened and -1 if not, and :math:`v_i` is the standard deviation of the part of the logit that rests
on missing features, a normal number that is averaged over at Gauss-Hermite nodes :math:`\xi_q` with weights
:math:`w_q`; without missing features v is 0 and one node is enough. The tests hold it against plain numpy.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.vector_math import exp

__all__ = ["NODES", "NODE_WEIGHTS", "mixed_logistic_loglik"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Normal expectations of a logistic function: 11 nodes leave 2e-4 of it at a standard deviation of 2, 2e-7 at 1.
_hermite_nodes, _hermite_weights = np.polynomial.hermite_e.hermegauss(11)
NODES, NODE_WEIGHTS = _hermite_nodes, _hermite_weights / _hermite_weights.sum()
# Beyond this a logistic function is 0 or 1 to every digit, and its exponential still finite.
_STEEPEST = 700.0

_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


@_loop
def mixed_logistic_loglik(  # noqa: PLR0913 - four parameters and the data of one pass
    coefficient: Floats,
    offset: Floats,
    slope: float,
    spread: Floats,
    x: Floats,
    code: Integers,
    pair: Integers,
    level: Floats,
    sign: Floats,
    weight: Floats,
) -> tuple[float, Floats, Floats, float, Floats]:
    r"""Weighted sum of :math:`\log p_i` and its gradient to the first four arguments.

    ``coefficient`` b (feature,); ``offset`` a (code,); ``slope`` b_I; ``spread`` v (pair,); ``x`` (row, feature);
    ``code`` and ``pair`` (row,) point into the offsets and spreads; ``level`` (row, j); ``sign`` and ``weight`` (row,).
    """
    value, d_slope = 0.0, 0.0
    d_coefficient, d_offset, d_spread = np.zeros_like(coefficient), np.zeros_like(offset), np.zeros_like(spread)
    for i in range(sign.size):
        logit = offset[code[i]] + _product(coefficient, x[i])
        v = spread[pair[i]]
        if v > 0.0:
            total, along, along_level, along_node = _averaged(logit, slope, v, level[i], sign[i])
        else:
            total, along, along_level = _over_levels(logit, slope, level[i], sign[i])
            along_node = 0.0
        value += weight[i] * math.log(total / level.shape[1])
        scale = weight[i] * sign[i] / total
        d_offset[code[i]] += scale * along
        d_slope += scale * along_level
        d_spread[pair[i]] += scale * along_node
        _add_along(scale * along, x[i], d_coefficient)
    return value, d_coefficient, d_offset, d_slope, d_spread


@_loop
def _product(coefficient: Floats, x: Floats) -> float:
    total = 0.0
    for f in range(x.size):
        total += coefficient[f] * x[f]
    return total


@_loop
def _add_along(step: float, x: Floats, gradient: Floats) -> None:
    for f in range(x.size):
        gradient[f] += step * x[f]


@_loop
def _over_levels(logit: float, slope: float, level: Floats, sign: float) -> tuple[float, float, float]:
    """Sums over the levels of p, of its change with the logit, and of that change times the level."""
    total, along, along_level = 0.0, 0.0, 0.0
    for j in range(level.size):
        p = 1.0 / (1.0 + exp(-max(-_STEEPEST, min(_STEEPEST, sign * (logit + slope * level[j])))))
        total += p
        change = p * (1.0 - p)
        along += change
        along_level += change * level[j]
    return total, along, along_level


@_loop
def _averaged(logit: float, slope: float, v: float, level: Floats, sign: float) -> tuple[float, float, float, float]:
    """The same sums averaged over the normal part of the logit, and the change with its standard deviation."""
    total, along, along_level, along_node = 0.0, 0.0, 0.0, 0.0
    for q in range(NODES.size):
        part, change, change_level = _over_levels(logit + v * NODES[q], slope, level, sign)
        total += NODE_WEIGHTS[q] * part
        along += NODE_WEIGHTS[q] * change
        along_level += NODE_WEIGHTS[q] * change_level
        along_node += NODE_WEIGHTS[q] * change * NODES[q]
    return total, along, along_level, along_node
