r"""The marginal likelihood and its gradient as one compiled pass: all that a fit spends its time on.

Plain arrays in, plain arrays out; the formula stands in :mod:`bayesdecay.model.grid`, which the tests hold against this
loop. Users lie side by side in blocks of ``LANES``, so that each step of a block is one plain loop over vector
registers, in single precision: half the memory and twice the numbers a register.

Single precision is enough because nothing shared by all users is rounded unseen: of a million users, 1e-7 each in the
same direction is a tenth of a nat. The pass takes place at parameters so near that sums and products of them with
counts are exact, and is carried to the given ones by its own gradient; log E along the restoration is a polynomial
whose constant is each user's own; and :math:`\beta_k + E_k` never appears but as :math:`\log(1 + E_k/\beta_k)`, which
keeps its digits however alike users are. What is left is the rounding of each user's own terms, about 1e-6 of its
log-likelihood, which does not add up.

Shapes: ``power`` coefficients along the restoration, ``rate`` decay rates, ``design`` distinct combinations of group
and covariates.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.kernel import exponentiate
from bayesdecay.model.lanes import LANES, differ, gather, spread
from bayesdecay.model.polynomials import mix, polynomial, powers_at
from bayesdecay.model.vector_math import exp32, softplus32

__all__ = ["marginal_loglik"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

# Logarithms of shares and of beta are rounded to 2^-18, so that their sums and products with counts are exact up to
# 64; alpha to 2^-17 of itself, so that alpha + n is (n below 64, of alpha near 1). Finer, they would not be; coarser,
# the gradient would be that of another place.
_FINE_LOG, _FINE_ALPHA = 2.0**18, 18
# Ratios E/beta are computed up to e^80, as far as single precision reaches.
_MOST_LOG = np.float32(80.0)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)

# Sums may be re-ordered, so that they run in vector registers.
_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


@_loop
def marginal_loglik(  # noqa: PLR0913, PLR0915 - four parameters and the data of one pass
    log_weight: Floats,
    log_beta: Floats,
    alpha: float,
    rho: float,
    restorations: Floats,
    rates: Floats,
    log_exposure: Singles,
    ageing: Floats,
    n: Floats,
    weight: Floats,
    design: Integers,
) -> tuple[float, Floats, Floats, float, float]:
    r"""Weighted sum of :math:`\log\sum_k w_k e^{-r_k A} \beta_k^{-n} (1 + E_k/\beta_k)^{-(\alpha+n)}` and its gradient.

    ``log_weight``, ``log_beta`` (design, rate); ``restorations`` (node): their first and last are the interval of the
    polynomials in ``log_exposure`` and ``ageing``; the other arrays as :func:`bayesdecay.model.lanes.side_by_side` lays
    them out. Returns the value and its gradients to the first four arguments.
    """
    n_rates = rates.size
    value, d_alpha, d_rho = 0.0, 0.0, 0.0
    d_log_weight, d_log_beta = np.zeros_like(log_weight), np.zeros_like(log_beta)
    log_weight32, log_beta32, alpha32 = _near_logs(log_weight), _near_logs(log_beta), _near_alpha(alpha)
    near_rho, exact_at, exact_slope = powers_at(rho, restorations, log_exposure.shape[1])
    at, slope_at = exact_at.astype(np.float32), exact_slope.astype(np.float32)
    rates32 = rates.astype(np.float32)

    tables, lanes = np.empty((7, n_rates, LANES), np.float32), np.empty((7, LANES), np.float32)
    lane_weight, lane_beta, log_e, d_log_e = tables[0], tables[1], tables[2], tables[3]
    excess, share, term = tables[4], tables[5], tables[6]
    age, late, count, total, top, norm, scale = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5], lanes[6]
    # Of blocks with several designs: each lane's own sums; those over all of its lanes mean nothing.
    sum_weight, sum_beta, unused = np.zeros((n_rates, LANES)), np.zeros((n_rates, LANES)), np.zeros((2, n_rates))
    owner = design[0].copy()
    spread(log_weight32, owner, lane_weight)
    spread(log_beta32, owner, lane_beta)
    for b in range(n.shape[0]):
        if differ(owner, design[b]):
            gather(sum_weight, owner, d_log_weight)
            gather(sum_beta, owner, d_log_beta)
            owner[:] = design[b]
            spread(log_weight32, owner, lane_weight)
            spread(log_beta32, owner, lane_beta)
        for i in range(LANES):
            age[i], late[i] = polynomial(exact_at, exact_slope, ageing[b, :, i])
            count[i] = n[b, i]
            total[i] = alpha32 + count[i]
        mix(at, slope_at, log_exposure[b], log_e, d_log_e)
        _ratios(log_e.ravel(), lane_beta.ravel(), excess.ravel(), share.ravel())
        _terms(lane_weight, lane_beta, rates32, age, count, total, excess, term)
        exponentiate(term, top, norm)
        for i in range(LANES):
            scale[i] = weight[b, i] / norm[i]
            value += weight[b, i] * (top[i] + math.log(norm[i]))
        if owner[0] == owner[-1]:  # sorted, so all lanes are of one design
            sums = (d_log_weight[owner[0]], d_log_beta[owner[0]])
        else:
            sums = (unused[0], unused[1])
            _add(term, scale, sum_weight)
            _add_beta(term, scale, share, total, count, sum_beta)
        of_alpha, of_rho = _lane_sums(term, scale, excess, share, total, count, late, d_log_e, rates, *sums)
        d_alpha -= of_alpha
        d_rho += of_rho
    gather(sum_weight, owner, d_log_weight)
    gather(sum_beta, owner, d_log_beta)
    # From the rounded parameters to the given ones.
    value += d_alpha * (alpha - float(alpha32)) + d_rho * (rho - near_rho)
    value += np.sum(d_log_weight * (log_weight - log_weight32)) + np.sum(d_log_beta * (log_beta - log_beta32))
    return value, d_log_weight, d_log_beta, d_alpha, d_rho


# The steps of a block. Each loop writes one or two arrays, or sums: with more, the compiler cannot rule out that they
# overlap and gives up on vector registers.


@_loop
def _near_logs(values: Floats) -> Singles:
    """Logarithms (design, rate) with few digits after the point."""
    near: Singles = (np.round(values * _FINE_LOG) / _FINE_LOG).astype(np.float32)
    return near


@_loop
def _near_alpha(alpha: float) -> np.float32:
    """Alpha with few digits."""
    mantissa, exponent = math.frexp(alpha)
    return np.float32(math.ldexp(np.round(math.ldexp(mantissa, _FINE_ALPHA)), exponent - _FINE_ALPHA))


@_loop
def _ratios(log_e: Singles, log_beta: Singles, excess: Singles, share: Singles) -> None:
    """Write log(1 + E/beta) and E / (beta + E)."""
    for i in range(log_e.size):
        excess[i] = softplus32(log_e[i] - log_beta[i])
        ratio = exp32(min(log_e[i] - log_beta[i], _MOST_LOG))
        share[i] = ratio / (_ONE + ratio)


@_loop
def _terms(
    log_weight: Singles,
    log_beta: Singles,
    rates: Singles,
    age: Singles,
    count: Singles,
    total: Singles,
    excess: Singles,
    out: Singles,
) -> None:
    for k in range(out.shape[0]):
        rate = rates[k]
        for i in range(LANES):
            out[k, i] = log_weight[k, i] - count[i] * log_beta[k, i] - rate * age[i] - total[i] * excess[k, i]


@_loop
def _lane_sums(  # noqa: PLR0913 - one design's block
    term: Singles,
    scale: Singles,
    excess: Singles,
    share: Singles,
    total: Singles,
    count: Singles,
    late: Singles,
    d_log_e: Singles,
    rates: Floats,
    d_log_weight: Floats,
    d_log_beta: Floats,
) -> tuple[float, float]:
    """Add a block's slopes in log weight and log beta (rate,), and return those in alpha, its sign turned, and rho."""
    of_alpha, of_rho = 0.0, 0.0
    for k in range(term.shape[0]):
        counted, beta, excesses, aged, exposed = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
        for i in range(LANES):
            part = term[k, i] * scale[i]
            shared = part * total[i] * share[k, i]
            counted += part
            beta += shared - part * count[i]
            excesses += part * excess[k, i]
            aged -= part * late[i]
            exposed += shared * d_log_e[k, i]
        d_log_weight[k] += counted
        d_log_beta[k] += beta
        of_alpha += float(excesses)
        of_rho += rates[k] * aged - exposed
    return of_alpha, of_rho


@_loop
def _add(term: Singles, scale: Singles, sums: Floats) -> None:
    """Add each lane's slope in log weight."""
    for k in range(term.shape[0]):
        for i in range(LANES):
            sums[k, i] += term[k, i] * scale[i]


@_loop
def _add_beta(term: Singles, scale: Singles, share: Singles, total: Singles, count: Singles, sums: Floats) -> None:
    """Add each lane's slope in log beta."""
    for k in range(term.shape[0]):
        for i in range(LANES):
            sums[k, i] += term[k, i] * scale[i] * (total[i] * share[k, i] - count[i])
