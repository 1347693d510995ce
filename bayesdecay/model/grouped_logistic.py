r"""The logistic likelihood with an intercept for each of very many small groups, such as users, averaged over.

Rows of one group g share a normal number :math:`\xi_g`, scaled by :math:`\tau`:

.. math::

    p(y_g) = \int \prod_{i \in g} p_i(\xi)\, \mathrm{Normal}(\xi; 0, 1)\, d\xi
        \approx \sum_q w_q \prod_{i \in g} p_i(\xi_q), \qquad
    p_i(\xi) = \sum_j c_j\, \sigma\big(s_i\,(a + x_i \cdot b + b_I \ell_{ij} + \tau\xi + \dots)\big),

at Gauss-Hermite nodes, so that the sampler sees :math:`\tau` and no variable a group. It holds where a group has few
rows: with many, its own :math:`\xi` is known better than the nodes are dense.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.logistic import _STEEPEST, NODE_WEIGHTS, NODES, _add_product, _dot, _loop
from bayesdecay.model.vector_math import exp, log

__all__ = ["group_moments", "group_nodes", "grouped_logistic_loglik"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def group_nodes(most_rows: int) -> tuple[Floats, Floats]:
    """Gauss-Hermite nodes, and the logarithms of their weights, for groups of at most so many rows.

    With tau = 1, 9 nodes leave 8e-4 in the log-likelihood of a group of 8 rows (on average; 3e-5 of it one way), and 15
    nodes 2e-3 (3e-5) in that of a group of 20.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(9 if most_rows <= 8 else 15)
    return nodes, np.log(weights / weights.sum())


@_loop
def grouped_logistic_loglik(  # noqa: PLR0913 - six parameters and the data of one pass
    coefficient: Floats,
    offset: Floats,
    slope: float,
    spread: Floats,
    shared: Floats,
    tau: float,
    x: Floats,
    code: Integers,
    pair: Integers,
    level: Floats,
    move: Floats,
    sign: Floats,
    weight: Floats,
    chance: Floats,
    starts: Integers,
    nodes: Floats,
    log_weights: Floats,
) -> tuple[float, Floats, Floats, float, Floats, Floats, float]:
    """Sum of the groups' log-likelihoods and its gradient to the first six arguments.

    As :func:`bayesdecay.model.logistic.mixed_logistic_loglik`, with rows first in all arrays; those of group g are
    ``starts[g]`` up to ``starts[g + 1]``.
    """
    value, d_slope, d_tau = 0.0, 0.0, 0.0
    d_coefficient, d_offset, d_spread = np.zeros_like(coefficient), np.zeros_like(offset), np.zeros_like(spread)
    d_shared, moved = np.zeros_like(shared), np.empty(level.shape[1])
    along = np.empty((_most_rows(starts), 3 + shared.size, nodes.size))
    share, work = np.empty(nodes.size), np.empty((6, nodes.size))
    for g in range(starts.size - 1):
        share[:] = log_weights
        for i in range(starts[g], starts[g + 1]):
            logit = offset[code[i]] + _dot(coefficient, x[i])
            work[0] = logit + tau * nodes
            moved[:] = level[i]
            for k in range(shared.size):
                _add_product(shared[k], move[i, k], moved)
            own = along[i - starts[g]]
            _at_nodes(work, slope, spread[pair[i]], moved, move[i], sign[i], weight[i], chance, share, own)
        value += _normalise(share)
        for i in range(starts[g], starts[g + 1]):
            own = along[i - starts[g]]
            d_logit = 0.0
            for q in range(share.size):
                step = share[q] * own[0, q]
                d_logit += step
                d_tau += step * nodes[q]
                d_slope += share[q] * own[1, q]
                d_spread[pair[i]] += share[q] * own[2, q]
            for k in range(shared.size):
                d_shared[k] += slope * _dot(share, own[3 + k])
            d_offset[code[i]] += d_logit
            _add_product(d_logit, x[i], d_coefficient)
    return value, d_coefficient, d_offset, d_slope, d_spread, d_shared, d_tau


@_loop
def group_moments(  # noqa: PLR0913 - as above
    logit: Floats,
    slope: float,
    spread: Floats,
    tau: float,
    level: Floats,
    sign: Floats,
    weight: Floats,
    chance: Floats,
    starts: Integers,
    nodes: Floats,
    log_weights: Floats,
) -> tuple[Floats, Floats]:
    """Mean and mean square (group,) of each group's intercept, given the parameters and the group's outcomes.

    ``logit`` and ``spread`` are of each row here.
    """
    mean, square = np.zeros(starts.size - 1), np.zeros(starts.size - 1)
    share, work, unused = np.empty(nodes.size), np.empty((6, nodes.size)), np.empty((3, nodes.size))
    still = np.empty((0, level.shape[1]))
    for g in range(starts.size - 1):
        share[:] = log_weights
        for i in range(starts[g], starts[g + 1]):
            work[0] = logit[i] + tau * nodes
            _at_nodes(work, slope, spread[i], level[i], still, sign[i], weight[i], chance, share, unused)
        _normalise(share)
        for q in range(share.size):
            mean[g] += share[q] * tau * nodes[q]
            square[g] += share[q] * (tau * nodes[q]) ** 2
    return mean, square


@_loop
def _most_rows(starts: Integers) -> int:
    most = 1
    for g in range(starts.size - 1):
        most = max(most, starts[g + 1] - starts[g])
    return most


@_loop
def _at_nodes(  # noqa: PLR0913 - a row, and what is written of it
    work: Floats,
    slope: float,
    v: float,
    level: Floats,
    move: Floats,
    sign: float,
    weight: float,
    chance: Floats,
    log_share: Floats,
    along: Floats,
) -> None:
    """Add a row's log-likelihood to every node's, and write its changes with the logit, slope, spread and moves.

    ``work[0]`` holds the row's logit at each node; the other rows are scratch, so that each loop runs over nodes.
    """
    at, total, change, change_level, change_node, step = work[0], work[1], work[2], work[3], work[4], work[5]
    total[:] = 0.0
    change[:] = 0.0
    change_level[:] = 0.0
    change_node[:] = 0.0
    along[3:] = 0.0
    n_inner = NODES.size if v > 0.0 else 1
    for m in range(n_inner):
        node, share = (NODES[m], NODE_WEIGHTS[m]) if v > 0.0 else (0.0, 1.0)
        for j in range(level.size):
            shift = slope * level[j] + v * node
            for q in range(at.size):
                p = 1.0 / (1.0 + exp(-max(-_STEEPEST, min(_STEEPEST, sign * (at[q] + shift)))))
                d = share * chance[j] * p * (1.0 - p)
                total[q] += share * chance[j] * p
                change[q] += d
                change_level[q] += d * level[j]
                change_node[q] += d * node
                step[q] = d
            for k in range(move.shape[0]):
                _add_product(move[k, j], step, along[3 + k])
    for q in range(at.size):
        scale = weight * sign / total[q]
        log_share[q] += weight * log(total[q])
        along[0, q], along[1, q], along[2, q] = scale * change[q], scale * change_level[q], scale * change_node[q]
        along[3:, q] *= scale


@_loop
def _normalise(log_share: Floats) -> float:
    """Turn logarithms into shares that sum to one; give the logarithm of their sum."""
    top = log_share.max()
    norm = 0.0
    for q in range(log_share.size):
        log_share[q] = math.exp(log_share[q] - top)
        norm += log_share[q]
    for q in range(log_share.size):
        log_share[q] /= norm
    return top + math.log(norm)
