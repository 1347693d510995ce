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
from collections.abc import Callable

import numba
import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray

from bayesdecay.model.grid import chebyshev_nodes
from bayesdecay.model.kernel import exponentiate
from bayesdecay.model.user_statistics import Statistics
from bayesdecay.model.vector_math import exp32, softplus32

__all__ = ["LANES", "marginal_loglik", "side_by_side"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

# Users in a block. Fewer leave the loops too short, more fall out of the fastest cache.
LANES = 128
# Logarithms of shares and of beta are rounded to 2^-18, so that their sums and products with counts are exact up to
# 64; alpha to 2^-17 of itself, so that alpha + n is (n below 64, of alpha near 1); the place of the restoration on a
# part of its range so that T_2 is. Finer, they would not be; coarser, the gradient would be that of another place.
_FINE_LOG, _FINE_ALPHA = 2.0**18, 18
_FINE_PLACE, _FINE_PLACE_WIDE, _WIDE = 2.0**12, 2.0**14, 0.3
# Ratios E/beta are computed up to e^80, as far as single precision reaches.
_MOST_LOG = np.float32(80.0)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)

# Sums may be re-ordered, so that they run in vector registers.
_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


def side_by_side(part: Statistics, weight: Floats, design: Integers) -> dict[str, NDArray]:
    """Lay users out in blocks, those of one design next to each other, as :func:`marginal_loglik` reads them.

    Parameters
    ----------
    part : Statistics
        Of each row.
    weight : array (row,)
        Number of users that a row stands for.
    design : array (row,)
        Which design each row has.

    Returns
    -------
    dict
        ``log_exposure`` (block, power, rate, lane): its polynomial along the restoration, in single precision;
        ``ageing`` (block, power, lane) that of A, in double; ``n``, ``weight`` and ``design`` (block, lane). The last
        block is filled up with rows of no weight.
    """
    order = np.argsort(design, kind="stable")
    n_blocks = -(-order.size // LANES)
    rows = np.concatenate([order, np.full(n_blocks * LANES - order.size, order[-1])])
    counted = np.where(np.arange(rows.size) < order.size, weight[rows], 0.0)
    _, n_nodes, n_rates = part.exposure.shape
    log_exposure = np.empty((n_blocks, n_nodes, n_rates, LANES), np.float32)
    coefficients = _coefficients(n_nodes)
    ageing = part.ageing[rows] @ coefficients.T
    for block, lanes in enumerate(rows.reshape(n_blocks, LANES)):
        values = np.log(part.exposure[lanes]).transpose(1, 2, 0)
        log_exposure[block] = (coefficients @ values.reshape(n_nodes, -1)).reshape(values.shape)
    return {
        "log_exposure": log_exposure,
        "ageing": np.ascontiguousarray(ageing.reshape(n_blocks, LANES, -1).swapaxes(1, 2)),
        "n": part.n[rows].reshape(n_blocks, LANES),
        "weight": counted.reshape(n_blocks, LANES),
        "design": design[rows].reshape(n_blocks, LANES),
    }


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
    polynomials in ``log_exposure`` and ``ageing``; the other arrays as :func:`side_by_side` lays them out. Returns the
    value and its gradients to the first four arguments.
    """
    n_rates = rates.size
    value, d_alpha, d_rho = 0.0, 0.0, 0.0
    d_log_weight, d_log_beta = np.zeros_like(log_weight), np.zeros_like(log_beta)
    log_weight32, log_beta32, alpha32 = _near_logs(log_weight), _near_logs(log_beta), _near_alpha(alpha)
    near_rho, exact_at, exact_slope = _polynomials(rho, restorations, log_exposure.shape[1])
    at, slope_at = exact_at.astype(np.float32), exact_slope.astype(np.float32)
    rates32 = rates.astype(np.float32)

    tables, lanes = np.empty((7, n_rates, LANES), np.float32), np.empty((7, LANES), np.float32)
    lane_weight, lane_beta, log_e, d_log_e = tables[0], tables[1], tables[2], tables[3]
    excess, share, term = tables[4], tables[5], tables[6]
    age, late, count, total, top, norm, scale = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5], lanes[6]
    sum_weight, sum_beta = np.zeros((n_rates, LANES)), np.zeros((n_rates, LANES))
    owner = design[0].copy()
    _spread(log_weight32, owner, lane_weight)
    _spread(log_beta32, owner, lane_beta)
    for b in range(n.shape[0]):
        if _differ(owner, design[b]):
            _gather(sum_weight, owner, d_log_weight)
            _gather(sum_beta, owner, d_log_beta)
            owner[:] = design[b]
            _spread(log_weight32, owner, lane_weight)
            _spread(log_beta32, owner, lane_beta)
        for i in range(LANES):
            age[i], late[i] = _polynomial(exact_at, exact_slope, ageing[b, :, i])
            count[i] = n[b, i]
            total[i] = alpha32 + count[i]
        _mix(at, slope_at, log_exposure[b], log_e, d_log_e)
        _ratios(log_e.ravel(), lane_beta.ravel(), excess.ravel(), share.ravel())
        _terms(lane_weight, lane_beta, rates32, age, count, total, excess, term)
        exponentiate(term, top, norm)
        for i in range(LANES):
            scale[i] = weight[b, i] / norm[i]
            value += weight[b, i] * (top[i] + math.log(norm[i]))
        if owner[0] == owner[-1]:  # sorted, so all lanes are of one design
            sums = (d_log_weight[owner[0]], d_log_beta[owner[0]])
            of_alpha, of_rho = _lane_sums(term, scale, excess, share, total, count, late, d_log_e, rates, *sums)
        else:
            _weigh(term, scale)
            of_alpha = float(_dot(term.ravel(), excess.ravel()))
            of_rho = _slope(term, rates, late, total, share, d_log_e)
            _add(term.ravel(), sum_weight.ravel())
            _add_beta(term, share, total, count, sum_beta)
        d_alpha -= of_alpha
        d_rho += of_rho
    _gather(sum_weight, owner, d_log_weight)
    _gather(sum_beta, owner, d_log_beta)
    # From the rounded parameters to the given ones.
    value += d_alpha * (alpha - float(alpha32)) + d_rho * (rho - near_rho)
    value += np.sum(d_log_weight * (log_weight - log_weight32)) + np.sum(d_log_beta * (log_beta - log_beta32))
    return value, d_log_weight, d_log_beta, d_alpha, d_rho


# The steps of a block. Each loop writes one or two arrays, or sums: with more, the compiler cannot rule out that they
# overlap and gives up on vector registers.


def _coefficients(count: int) -> Floats:
    """Matrix (power, node) from values at Chebyshev nodes to that at the lowest, and to the coefficients of T_p."""
    if count == 1:
        return np.ones((1, 1))
    found = np.linalg.inv(chebvander(chebyshev_nodes(-1.0, 1.0, count), count - 1))
    found[0] = np.eye(count)[0]
    return found.astype(np.float64)


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
def _polynomials(rho: float, restorations: Floats, count: int) -> tuple[float, Floats, Floats]:
    """A restoration near ``rho``, 1 and T_p less its value at the lowest (power,) there, and their slopes in it.

    About the lowest: about the middle, where the posterior is, what is added to the constant is less than its last
    digit for many users at once, and is lost.
    """
    low, high = restorations[0], restorations[-1]
    value, slope = np.ones(count), np.zeros(count)
    if count == 1:
        return rho, value, slope
    fine = _FINE_PLACE if high - low <= _WIDE else _FINE_PLACE_WIDE
    x = np.round((2.0 * rho - low - high) / (high - low) * fine) / fine
    value[1], slope[1] = x, 2.0 / (high - low)
    for c in range(2, count):
        value[c] = 2.0 * x * value[c - 1] - value[c - 2]
        slope[c] = 2.0 * (slope[1] * value[c - 1] + x * slope[c - 1]) - slope[c - 2]
    value[1::2] += 1.0
    value[2::2] -= 1.0
    return 0.5 * (x * (high - low) + low + high), value, slope


@_loop
def _polynomial(at: Floats, slope_at: Floats, powers: Floats) -> tuple[float, float]:
    """A polynomial at the restoration, and its slope in it."""
    value, slope = powers[0], 0.0
    for c in range(1, at.size):
        value += at[c] * powers[c]
        slope += slope_at[c] * powers[c]
    return value, slope


@_loop
def _differ(owner: Integers, design: Integers) -> bool:
    """Whether the lanes' designs have changed."""
    changed = 0
    for i in range(LANES):
        changed += owner[i] != design[i]
    return changed > 0


@_loop
def _spread(values: Singles, owner: Integers, out: Singles) -> None:
    """Write each design's values (design, rate) into its lanes (rate, lane)."""
    for i in range(LANES):
        for k in range(out.shape[0]):
            out[k, i] = values[owner[i], k]


@_loop
def _gather(sums: Floats, owner: Integers, out: Floats) -> None:
    """Add the lanes' sums (rate, lane) to their designs' (design, rate), and begin them anew."""
    for i in range(LANES):
        for k in range(sums.shape[0]):
            out[owner[i], k] += sums[k, i]
            sums[k, i] = 0.0


def _unrolled(count: int) -> Callable[..., None]:
    """Write a polynomial and its slope; with the number of powers known beforehand it is three times as fast."""

    @_loop
    def mix(at: Singles, slope_at: Singles, powers: Singles, out: Singles, slope: Singles) -> None:
        for i in range(out.size):
            x, y = powers[0, i], _ZERO
            for c in range(1, count):
                value = powers[c, i]
                x += at[c] * value
                y += slope_at[c] * value
            out[i], slope[i] = x, y

    return mix


# Powers of a learned restoration over all its range, and over parts of it (``Grid.narrowed``).
_mix_ten, _mix_five, _mix_four = _unrolled(10), _unrolled(5), _unrolled(4)


@_loop
def _mix(at: Singles, slope_at: Singles, log_exposure: Singles, out: Singles, slope: Singles) -> None:
    """Evaluate log E at the restoration, and its slope in it, from the coefficients (power, any)."""
    powers, flat, flat_slope = log_exposure.reshape(at.size, out.size), out.ravel(), slope.ravel()
    if at.size == 10:
        _mix_ten(at, slope_at, powers, flat, flat_slope)
        return
    if at.size == 5:
        _mix_five(at, slope_at, powers, flat, flat_slope)
        return
    if at.size == 4:
        _mix_four(at, slope_at, powers, flat, flat_slope)
        return
    flat[:], flat_slope[:] = powers[0], _ZERO
    for c in range(1, at.size):
        for i in range(flat.size):
            flat[i] += at[c] * powers[c, i]
            flat_slope[i] += slope_at[c] * powers[c, i]


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
def _weigh(term: Singles, scale: Singles) -> None:
    for k in range(term.shape[0]):
        for i in range(LANES):
            term[k, i] *= scale[i]


@_loop
def _dot(x: Singles, y: Singles) -> np.float32:
    total = _ZERO
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@_loop
def _slope(term: Singles, rates: Floats, late: Singles, total: Singles, share: Singles, d_log_e: Singles) -> float:
    """Slope in the restoration: what it takes from the age, less what it adds to the exposure."""
    slope = 0.0
    for k in range(term.shape[0]):
        aged, exposed = _ZERO, _ZERO
        for i in range(LANES):
            aged -= term[k, i] * late[i]
            exposed += term[k, i] * total[i] * share[k, i] * d_log_e[k, i]
        slope += rates[k] * aged - exposed
    return slope


@_loop
def _add(values: Singles, sums: Floats) -> None:
    for i in range(values.size):
        sums[i] += values[i]


@_loop
def _add_beta(term: Singles, share: Singles, total: Singles, count: Singles, sums: Floats) -> None:
    """Add each lane's slope in log beta."""
    for k in range(term.shape[0]):
        for i in range(LANES):
            sums[k, i] += term[k, i] * (total[i] * share[k, i] - count[i])
