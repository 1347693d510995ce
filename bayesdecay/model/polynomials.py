"""Statistics along the restoration: polynomials of it, made from values at Chebyshev nodes, and read off at one place.

In: log E and A at the nodes of an interval. Out: their coefficients, ``power`` p being that of the Chebyshev polynomial
T_p less its value at the lowest restoration, and with them value and slope at any restoration in between. About the
lowest: about the middle, where the posterior is, what is added to the constant is less than its last digit for many
users at once, and is lost.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray

from bayesdecay.model.grid import chebyshev_nodes

__all__ = ["coefficients", "mix", "polynomial", "powers_at"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# The place of the restoration is rounded, on a part of its range so that T_2 is exact in single precision: finer, it
# would not be; coarser, the gradient would be that of another place.
_FINE_PLACE, _FINE_PLACE_WIDE, _WIDE = 2.0**12, 2.0**14, 0.3
_ZERO = np.float32(0.0)

# Sums may be re-ordered, so that they run in vector registers.
_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


def coefficients(count: int) -> Floats:
    """Matrix (power, node) from values at so many Chebyshev nodes to that at the lowest, and to those of T_p."""
    if count == 1:
        return np.ones((1, 1))
    found = np.linalg.inv(chebvander(chebyshev_nodes(-1.0, 1.0, count), count - 1))
    found[0] = np.eye(count)[0]
    return found.astype(np.float64)


@_loop
def powers_at(rho: float, restorations: Floats, count: int) -> tuple[float, Floats, Floats]:
    """A restoration near ``rho``, 1 and T_p less its value at the lowest (power,) there, and their slopes in it."""
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
def polynomial(at: Floats, slope_at: Floats, powers: Floats) -> tuple[float, float]:
    """A polynomial with the coefficients ``powers`` at the restoration, and its slope in it."""
    value, slope = powers[0], 0.0
    for c in range(1, at.size):
        value += at[c] * powers[c]
        slope += slope_at[c] * powers[c]
    return value, slope


def _mixing(count: int) -> Callable[..., None]:
    """Loop over many polynomials; with the number of powers known beforehand, not 0, it is three times as fast."""

    @_loop
    def mixing(at: Singles, slope_at: Singles, powers: Singles, out: Singles, slope: Singles) -> None:
        for i in range(out.size):
            x, y = powers[0, i], _ZERO
            for c in range(1, count or at.size):
                value = powers[c, i]
                x += at[c] * value
                y += slope_at[c] * value
            out[i], slope[i] = x, y

    return mixing


# Powers of a learned restoration over all its range, over parts of it (``Grid.narrowed``), and of a fixed one.
_mix_ten, _mix_five, _mix_four, _mix_one, _mix_any = (_mixing(count) for count in (10, 5, 4, 1, 0))


@_loop
def mix(at: Singles, slope_at: Singles, log_exposure: Singles, out: Singles, slope: Singles) -> None:
    """Write log E at the restoration, and its slope in it, from the coefficients (power, any)."""
    powers, flat, flat_slope = log_exposure.reshape(at.size, out.size), out.ravel(), slope.ravel()
    if at.size == 10:
        _mix_ten(at, slope_at, powers, flat, flat_slope)
    elif at.size == 5:
        _mix_five(at, slope_at, powers, flat, flat_slope)
    elif at.size == 4:
        _mix_four(at, slope_at, powers, flat, flat_slope)
    elif at.size == 1:
        _mix_one(at, slope_at, powers, flat, flat_slope)
    else:
        _mix_any(at, slope_at, powers, flat, flat_slope)
