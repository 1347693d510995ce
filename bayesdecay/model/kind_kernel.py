r"""The compiled loop over users that draws the kinds of their activities after the cutoff.

In: a user's own draws of interest and decay rate, and its counts of kinds. Out: draws of its shares of the kinds, the
chance of each kind within each horizon, and numbers of activities of each kind.

With :math:`\pi` the share of a kind and N the number of activities within a horizon, the chance of at least one of that
kind is, draw by draw,

.. math:: P = \sum_j (C_j - C_{j-1}) \, E\big[1 - (1 - \pi)^N \mid \text{the first is between ends } j - 1, j\big],

the sum going over the ends of horizons up to its own, and :math:`C_j` being the chance of an activity within the j-th.
Each mean goes over some futures of the same draw, their first activities spread evenly: one future alone would bring
its luck into the interval of a chance.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.ahead import count_until, time_ahead
from bayesdecay.model.power import aged, middle_of_day
from bayesdecay.model.streams import begin

__all__ = ["draw_kinds"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


@_loop
def draw_kinds(
    concentration: Floats,
    counts: Integers,
    users: tuple[Floats, Floats, Floats, Floats, Floats, Floats],
    activities: Floats,
    future: tuple[Floats, Floats, float, bool, int],
    keys: NDArray[np.uint64],
    state: NDArray[np.uint64],
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Draw the kinds of each user's activities, once a draw of its interest.

    ``concentration`` (row, sample, kind) is that of the Dirichlet distribution of the user's shares before its
    ``counts`` (row, kind). ``users`` are ``interest`` and ``rate`` at the cutoff (row, sample) [per day], the
    ``chance`` of an activity within each horizon (row, sample, horizon), ``T`` and ``last`` (row,) [days since the
    acquisition], and rho (sample,). ``activities`` (row, sample, horizon) happen, none where the user does not return.
    ``future`` is the rising ``ends`` (horizon,), the ``shock`` (sample, horizon) between them, the law's shoulder
    [days], whether whole days are counted, and how many futures each mean goes over.

    Returns ``share`` (row, sample, kind), the chance ``p`` (row, sample, kind, horizon), the expected number of
    activities of any kind ``expected`` (row, sample, horizon), and ``number`` (row, sample, kind, horizon) drawn.
    """
    interest, rate, chance, T, last, rho = users
    ends, shock, shoulder, whole_days, n_futures = future
    n_rows, n_samples, n_kinds = concentration.shape
    share, p = np.empty((n_rows, n_samples, n_kinds)), np.zeros((n_rows, n_samples, n_kinds, ends.size))
    expected, number = np.zeros((n_rows, n_samples, ends.size)), np.zeros((n_rows, n_samples, n_kinds, ends.size))
    for u in range(n_rows):
        begin(state, keys[u], rng)
        for s in range(n_samples):
            _draw_shares(concentration[u, s], counts[u], share[u, s], rng)
            _draw_numbers(activities[u, s], share[u, s], number[u, s], rng)
            if interest[u, s] > 0.0 and chance[u, s, -1] > 0.0:
                told = (interest[u, s], rate[u, s], T[u] - rho[s] * last[u], shoulder)
                own, first, first_rate = _state(told, whole_days)
                restored = (1.0 - rho[s], T[u], first, first_rate, shoulder)
                ahead = (ends, shock[s], whole_days, n_futures)
                _add_futures((own, restored, chance[u, s]), ahead, share[u, s], p[u, s], expected[u, s], rng)
    return share, p, expected, number


@_loop
def _state(
    told: tuple[float, float, float, float], whole_days: bool
) -> tuple[tuple[float, float, float], float, float]:
    """State at the cutoff, and the first interest and rate behind it: the inverse of :func:`ahead.state_at`."""
    interest, rate, age, shoulder = told
    if math.isinf(shoulder):
        return (interest, rate, shoulder), math.exp(math.log(interest) + rate * age), rate
    age += 0.5 if whole_days else 0.0
    first_rate = rate * (1.0 + age / shoulder)
    middle = interest / middle_of_day(rate) if whole_days else interest
    first = math.exp(math.log(middle) + first_rate * aged(age, shoulder))
    return (interest, rate, shoulder + age), first, first_rate


@_loop
def _add_futures(
    own: tuple[tuple[float, float, float], tuple[float, float, float, float, float], Floats],
    ahead: tuple[Floats, Floats, bool, int],
    share: Floats,
    p: Floats,
    expected: Floats,
    rng: np.random.Generator,
) -> None:
    """Simulate futures that begin before each end, and add what they say to the means."""
    now, restored, chance = own
    ends, shock, whole_days, n_futures = ahead
    log_rest, told = np.log1p(-np.minimum(share, 1.0)), np.empty(ends.size)
    time_ahead(now[1], now[2], ends, shock, told)
    integral, before = now[0] * told[-1], 0.0
    for end in range(ends.size):
        weight = (chance[end] - before) / n_futures
        for j in range(n_futures):
            told[:] = 0.0
            place = (before + (j + rng.random()) * weight) / chance[-1]
            count_until(place, now, integral, restored, (ends, shock), told, whole_days, rng)
            for h in range(end, ends.size):
                expected[h] += weight * told[h]
                for k in range(share.size):
                    p[k, h] -= weight * math.expm1(told[h] * log_rest[k])
        before = chance[end]


@_loop
def _draw_shares(concentration: Floats, counts: Integers, out: Floats, rng: np.random.Generator) -> None:
    """Draw from a Dirichlet distribution by gamma variables."""
    total = 0.0
    for k in range(out.size):
        out[k] = rng.standard_gamma(concentration[k] + counts[k])
        total += out[k]
    if total > 0.0:
        for k in range(out.size):
            out[k] /= total
        return
    # All are too small for a number: then nearly all of the user's activities are of one kind.
    out[:] = 0.0
    level, k = rng.random() * np.sum(concentration), 0
    while k < out.size - 1 and level > concentration[k]:
        level -= concentration[k]
        k += 1
    out[k] = 1.0


@_loop
def _draw_numbers(activities: Floats, share: Floats, out: Floats, rng: np.random.Generator) -> None:
    """Draw the kind of each activity, so that what lies within one horizon lies within the longer ones too."""
    before = 0
    for h in range(activities.size):
        if h > 0:
            for k in range(share.size):
                out[k, h] = out[k, h - 1]
        for _ in range(before, int(activities[h])):
            level, k = rng.random(), 0
            while k < share.size - 1 and level >= share[k]:
                level -= share[k]
                k += 1
            out[k, h] += 1.0
        before = int(activities[h])
