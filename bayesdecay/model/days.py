r"""Whole days: what an active day says of a user's interest, when a day can be active but once.

In: the times of a block's active days. Out: how many activities each stands for and how much exposure it takes away,
so that :mod:`bayesdecay.model.grid` keeps its form.

Day d since the acquisition, day 0, has the interest :math:`\Lambda_d = I_0 e^{-r (d - \rho L)}`, L being the last
active day before, and is active with probability :math:`1 - e^{-\Lambda_d}` (complementary log-log). The likelihood of
days 1 to T is

.. math::

    \log L = \sum_{d\ \text{active}} \log(1 - e^{-\Lambda_d}) - \sum_{d\ \text{silent}} \Lambda_d .

About an interest :math:`\hat x` a day, :math:`\log(1 - e^{-x}) \approx a \log x - b x + c` with

.. math::

    a = \frac{\hat x^2 e^{\hat x}}{(e^{\hat x} - 1)^2}, \qquad b = \frac{a}{\hat x} - \frac{1}{e^{\hat x} - 1},

the same slope and curvature in :math:`\log x` there. An active day of a rare user, :math:`\hat x \to 0`, is one
activity and half a day of exposure; one of a user who comes nearly every day says less, for it would have been active
anyway. :math:`\hat x` is read off the two weeks around the day. A user's sum of the a is rounded to a whole number,
of which the likelihood has tables, and the a are scaled to it.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["weighed_days"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Days before and after an active day that tell how busy the user is. On simulated users 5 to 15 do alike; whole weeks,
# because many users have weekdays.
_AROUND = 14.0
# Silent days taken to be among them besides, or a user who was there each day would have no finite interest. Measured
# beside the exact likelihood of users with 1 to 4 activities a day, half a day gave too much, two gave too little.
_SILENT = 1.0

_loop = numba.njit(cache=True, nogil=True, error_model="numpy")


@_loop
def weighed_days(times: Floats, offsets: Integers, T: Floats) -> tuple[Floats, Floats, Floats]:
    """Weigh active days: ``n`` (row,), ``counted`` and ``taken`` (activity,).

    The first as in :class:`~bayesdecay.model.user_statistics.Statistics`; ``counted`` is a, and ``taken`` is 1 - b, the
    part of a day's exposure that is not counted.
    """
    n, taken, counted = np.zeros(T.size), np.empty(times.size), np.empty(times.size)
    for u in range(T.size):
        start, stop = offsets[u], offsets[u + 1]
        if start == stop:
            continue
        total = _activities(times[start:stop], T[u], taken[start:stop])
        n[u] = max(1.0, math.floor(total + 0.5))
        scale = n[u] / total
        for j in range(start, stop):
            x = taken[j]
            count = counted[j] = scale * _count(x)
            taken[j] = 1.0 - (count / x - 1.0 / math.expm1(x))
    return n, counted, taken


@_loop
def _activities(times: Floats, T: float, busy: Floats) -> float:
    """Write how busy the user is around each of its active days, and sum up what they count."""
    first, last, total = 0, 0, 0.0
    for j in range(times.size):
        while times[first] < times[j] - _AROUND:
            first += 1
        while last < times.size and times[last] <= times[j] + _AROUND:
            last += 1
        days = min(times[j] + _AROUND, T) - max(times[j] - _AROUND, 1.0) + 1.0
        busy[j] = -math.log1p(-(last - first) / (days + _SILENT))
        total += _count(busy[j])
    return total


@_loop
def _count(x: float) -> float:
    """How many activities an active day stands for: x^2 e^x / (e^x - 1)^2."""
    half = 0.5 * x
    return (half / math.sinh(half)) ** 2
