r"""The compiled loop of the reactivation model: a logistic likelihood with inputs that are not known exactly.

Of row i, with features x, offset a, and levels :math:`\ell_1..\ell_J` of a latent input, of probabilities c,

.. math::

    p_i = \sum_j c_j \sum_q w_q\,
        \sigma\big(s_i\,(a + x_i \cdot b + b_I (\ell_{ij} + m_{ij} \cdot \eta) + v_i \xi_q)\big),

where s is 1 if it happened and -1 if not; :math:`m_{ij} \cdot \eta` is how the levels of all rows move together; and
:math:`v_i` is the standard deviation of the part of the logit that rests on missing features, a normal number that is
averaged over at Gauss-Hermite nodes :math:`\xi_q` with weights :math:`w_q`; without missing features v is 0 and one
node is enough. The tests hold it against plain numpy.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.vector_math import exp, log

__all__ = ["NODES", "NODE_WEIGHTS", "mixed_logistic_loglik"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Normal expectations of a logistic function: 11 nodes leave 2e-4 of it at a standard deviation of 2, 2e-7 at 1.
_hermite_nodes, _hermite_weights = np.polynomial.hermite_e.hermegauss(11)
NODES, NODE_WEIGHTS = _hermite_nodes, _hermite_weights / _hermite_weights.sum()
# Beyond this a logistic function is 0 or 1 to every digit, and its exponential still finite.
_STEEPEST = 700.0

# Rows that are worked on at a time, in columns, so that each step is one plain loop over vector registers.
_LANES = 128

_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


@_loop
def mixed_logistic_loglik(  # noqa: C901, PLR0913 - one pass: five parameters and the data, block by block
    coefficient: Floats,
    offset: Floats,
    slope: float,
    spread: Floats,
    shared: Floats,
    x: Floats,
    code: Integers,
    pair: Integers,
    level: Floats,
    move: Floats,
    sign: Floats,
    weight: Floats,
    chance: Floats,
) -> tuple[float, Floats, Floats, float, Floats, Floats]:
    r"""Weighted sum of :math:`\log p_i` and its gradient to the first five arguments.

    ``coefficient`` b (feature,); ``offset`` a (code,); ``slope`` b_I; ``spread`` v (pair,);
    ``shared`` :math:`\eta` (direction,); ``x`` (feature, row); ``code`` and ``pair`` (row,) point into the offsets and
    spreads; ``level`` (j, row); ``move`` m (j, direction, row); ``sign`` and ``weight`` (row,); ``chance`` (j,).
    Fastest where rows of equal ``pair`` stand together.
    """
    value, d_slope = 0.0, 0.0
    d_coefficient, d_offset, d_spread = np.zeros_like(coefficient), np.zeros_like(offset), np.zeros_like(spread)
    d_shared, along_move = np.zeros_like(shared), np.zeros((shared.size, _LANES))
    logit, at, v, p, change = _rows(), _rows(), _rows(), _rows(), _rows()
    moved, total, along, along_level, along_node = _rows(), _rows(), _rows(), _rows(), _rows()
    for first in range(0, sign.size, _LANES):
        last = min(first + _LANES, sign.size)
        size = last - first
        for i in range(size):
            logit[i], v[i] = offset[code[first + i]], spread[pair[first + i]]
        for f in range(coefficient.size):
            _add_product(coefficient[f], x[f, first:last], logit)
        total[:], along[:], along_level[:], along_node[:], along_move[:] = 0.0, 0.0, 0.0, 0.0, 0.0
        known = v[:size].max() == 0.0
        for q in range(1 if known else NODES.size):
            node, share = (0.0, 1.0) if known else (NODES[q], NODE_WEIGHTS[q])
            for i in range(size):
                at[i] = logit[i] + v[i] * node
            for j in range(level.shape[0]):
                moved[:size] = level[j, first:last]
                for k in range(shared.size):
                    _add_product(shared[k], move[j, k, first:last], moved)
                _at_level(at, slope, moved[:size], sign[first:last], share * chance[j], p, change)
                _add_level(p, change, moved[:size], total, along, along_level)
                for k in range(shared.size):
                    _add_products(change, move[j, k, first:last], along_move[k])
                _add_product(node, change[:size], along_node)
        value += _finish(total, along, sign[first:last], weight[first:last], at)
        # From here on ``along`` is each row's slope in its logit, and ``at`` what turns a sum into a slope.
        d_slope += _dot(at, along_level[:size])
        for k in range(shared.size):
            d_shared[k] += slope * _dot(at, along_move[k, :size])
        for i in range(size):
            d_offset[code[first + i]] += along[i]
        for i in range(size):
            d_spread[pair[first + i]] += at[i] * along_node[i] if v[i] > 0.0 else 0.0
        for f in range(coefficient.size):
            d_coefficient[f] += _dot(along, x[f, first:last])
    return value, d_coefficient, d_offset, d_slope, d_spread, d_shared


@_loop
def _rows() -> Floats:
    return np.zeros(_LANES)


# The steps of a block of rows. Each writes one or two arrays: with more, the compiler cannot rule out that they overlap
# and gives up on vector registers.


@_loop
def _add_product(factor: float, values: Floats, out: Floats) -> None:
    for i in range(values.size):
        out[i] += factor * values[i]


@_loop
def _add_products(factors: Floats, values: Floats, out: Floats) -> None:
    for i in range(values.size):
        out[i] += factors[i] * values[i]


@_loop
def _add_level(p: Floats, change: Floats, level: Floats, total: Floats, along: Floats, along_level: Floats) -> None:
    for i in range(level.size):
        total[i] += p[i]
        along[i] += change[i]
    for i in range(level.size):
        along_level[i] += change[i] * level[i]


@_loop
def _dot(x: Floats, y: Floats) -> float:
    total = 0.0
    for i in range(y.size):
        total += x[i] * y[i]
    return total


@_loop
def _at_level(
    logit: Floats, slope: float, level: Floats, sign: Floats, share: float, p: Floats, change: Floats
) -> None:
    """Write p at one level, and how it changes with the logit, each times a share."""
    for i in range(level.size):
        against = exp(-max(-_STEEPEST, min(_STEEPEST, sign[i] * (logit[i] + slope * level[i]))))
        happened = 1.0 / (1.0 + against)
        p[i] = share * happened
        change[i] = share * against * happened * happened


@_loop
def _finish(total: Floats, along: Floats, sign: Floats, weight: Floats, scale: Floats) -> float:
    """Sum the weighted log p; write what turns sums over levels into slopes, and the slopes in the logits."""
    for i in range(sign.size):
        scale[i] = weight[i] * sign[i] / total[i]
    for i in range(sign.size):
        along[i] *= scale[i]
    value = 0.0
    for i in range(sign.size):
        value += weight[i] * log(total[i])
    return value
