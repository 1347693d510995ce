"""The compiled loops over users' pasts: exposures E and ages A on the grid, by the exponential law or a power law.

Plain arrays in, plain arrays out; the formulas they carry stand in :mod:`bayesdecay.model.user_statistics`, and the
tests hold the law against these loops. Shapes: ``row`` users (or distinct histories), ``node`` restorations, ``rate``
decay rates.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.power import add_days, add_integral, aged
from bayesdecay.model.vector_math import exp

__all__ = ["ages", "exposures", "power_exposures"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Sums over the grid may be re-ordered, so that they run in vector registers.
_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


@_loop
def ages(times: Floats, offsets: Integers, counted: Floats, restorations: Floats, shoulder: float) -> Floats:
    """Each user's A (row, node) [days]: the aged time at each activity, as often as it is ``counted``, summed up."""
    out = np.zeros((offsets.size - 1, restorations.size))
    for u in range(out.shape[0]):
        last = 0.0
        for j in range(offsets[u], offsets[u + 1]):
            for c in range(restorations.size):
                out[u, c] += counted[j] * aged(times[j] - restorations[c] * last, shoulder)
            last = times[j]
    return out


@_loop
def exposures(
    times: Floats,
    offsets: Integers,
    T: Floats,
    rates: Floats,
    restorations: Floats,
    forever: Floats,
    taken: Floats,
) -> Floats:
    """Each user's E(r; rho) [days] on the grid: (row, node, rate). Sums over activities, the open gap included.

    ``forever`` (rate,) [days] is what is exposed in a gap that never ends; ``taken`` (activity,) [days] is what each
    activity takes from the exposure at its end: 1 - b of a whole day, nothing of an instant.
    """
    n_rows, n_nodes, n_rates = T.size, restorations.size, rates.size
    out = np.zeros((n_rows, n_nodes, n_rates))
    gap_integral = np.empty(n_rates)
    for u in range(n_rows):
        start = 0.0
        for j in range(offsets[u], offsets[u + 1] + 1):
            end = times[j] if j < offsets[u + 1] else T[u]
            gone = taken[j] if j < offsets[u + 1] else 0.0
            for k in range(n_rates):
                x = rates[k] * (end - start)
                left = exp(-x)
                # Below 1e-5 the difference 1 - e^-x loses digits; two terms of the series are exact to 1e-11.
                gap_integral[k] = (x * (1.0 - 0.5 * x) if x < 1e-5 else 1.0 - left) * forever[k] - gone * left
            for c in range(n_nodes):
                age = (1.0 - restorations[c]) * start
                for k in range(n_rates):
                    out[u, c, k] += gap_integral[k] * exp(-rates[k] * age)
            start = end
    return out


@_loop
def power_exposures(
    times: Floats,
    offsets: Integers,
    T: Floats,
    rates: Floats,
    restorations: Floats,
    shoulder: float,
    taken: Floats,
    whole_days: bool,
) -> Floats:
    """As :func:`exposures`, by the power law with a ``shoulder`` [days]."""
    out = np.zeros((T.size, restorations.size, rates.size))
    for u in range(T.size):
        for c in range(restorations.size):
            start, exposure = 0.0, out[u, c]
            for j in range(offsets[u], offsets[u + 1] + 1):
                end = times[j] if j < offsets[u + 1] else T[u]
                age = (1.0 - restorations[c]) * start
                if whole_days:
                    add_days(rates, age, end - start, shoulder, exposure)
                else:
                    add_integral(rates, age, end - start, shoulder, exposure)
                if j < offsets[u + 1] and taken[j] > 0.0:
                    faded = aged(age + end - start, shoulder)
                    for k in range(rates.size):
                        exposure[k] -= taken[j] * exp(-rates[k] * faded)
                start = end
    return out
