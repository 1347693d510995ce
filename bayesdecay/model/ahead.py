"""The compiled loops over what comes after the cutoff: a user's interest there, its integral, and activities.

Plain numbers and arrays in and out. What is known of a user at a time is its state: the interest [per day], the decay
rate [per day] and the shoulder [days] there, which tell all that comes if nothing happens (:mod:`bayesdecay.curves`).
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.power import aged, decayed_time, middle_of_day, wait

__all__ = ["count_activities", "count_until", "shocked_time", "state_at", "states", "time_ahead"]

Floats = NDArray[np.float64]

_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


@_loop
def state_at(first: float, rate: float, age: float, shoulder: float, whole_days: bool) -> tuple[float, float, float]:
    """State of a user with the first interest and rate at an effective ``age`` [days], as the day ends there.

    Of ``whole_days`` by the exponential law ``first`` is the interest when the first day ends; by a power law it is
    that of the day, and what comes is read off the middles of days.
    """
    if math.isinf(shoulder):
        return first * math.exp(-rate * age), rate, shoulder
    age += 0.5 if whole_days else 0.0
    local = rate / (1.0 + age / shoulder)
    interest = first * math.exp(-rate * aged(age, shoulder))
    return interest * (middle_of_day(local) if whole_days else 1.0), local, shoulder + age


def states(first: Floats, rate: Floats, shoulder: Floats, whole_days: bool) -> tuple[Floats, Floats, Floats]:
    """Interests, rates and shoulders (row,) of new users, as :func:`state_at` has them at their acquisition."""
    users = zip(first, rate, shoulder, strict=True)
    interest, local, later = np.array([state_at(i, r, 0.0, s, whole_days) for i, r, s in users]).T
    return interest, local, later


@_loop
def time_ahead(rate: float, shoulder: float, ends: Floats, shock: Floats, out: Floats) -> None:
    """Write the integral [days] of what is left of the interest times the shock, up to each end (horizon,)."""
    start, left, total = 0.0, 1.0, 0.0
    for h in range(ends.size):
        stretch = ends[h] - start
        total += shock[h] * left * decayed_time(rate, stretch, shoulder)
        left *= math.exp(-rate * aged(stretch, shoulder))
        rate /= 1.0 + stretch / shoulder
        shoulder += stretch
        out[h], start = total, ends[h]


@_loop
def shocked_time(rates: Floats, ends: Floats, shock: Floats) -> Floats:
    """What :func:`time_ahead` writes (horizon, rate, sample), without a shoulder; ``shock`` (sample, horizon)."""
    out = np.empty((ends.size, rates.size, shock.shape[0]))
    for k in range(rates.size):
        for s in range(shock.shape[0]):
            time_ahead(rates[k], math.inf, ends, shock[s], out[:, k, s])
    return out


@_loop
def count_until(
    state: tuple[float, float, float],
    integral: float,
    restored: tuple[float, float, float, float, float],
    future: tuple[Floats, Floats],
    counts: Floats,
    whole_days: bool,
    rng: np.random.Generator,
) -> None:
    """Simulate a user's activities after the cutoff, the first of them forced into the longest horizon.

    Of ``whole_days`` at most one a day: after it the user is not seen again before the day's end.

    ``integral`` is that of the intensity over the longest horizon, if nothing happens. ``restored`` is (1 - rho, T,
    first interest, rate, shoulder): right after an activity at time t since acquisition the age is (1 - rho) t.
    ``future`` holds the rising ends of the horizons and the shocks between them.
    """
    slowness, start, first, rate, shoulder = restored
    ends, shock = future
    time = 0.0
    exposure = -math.log1p(-rng.random() * -math.expm1(-integral))
    while True:
        time = _time_of(exposure, state, time, ends, shock)
        if time > ends[-1]:
            return
        for h in range(ends.size):
            if time <= ends[h]:
                counts[h] += 1.0
        if whole_days:
            time = math.ceil(time)
        state = state_at(first, rate, slowness * (start + time), shoulder, whole_days)
        exposure = rng.standard_exponential()


@_loop
def _time_of(exposure: float, state: tuple[float, float, float], now: float, ends: Floats, shock: Floats) -> float:
    """Time after the cutoff at which the intensity, integrated from ``now`` on, reaches ``exposure``; or infinity.

    ``state`` is the one at ``now``; between two ends the intensity is the interest times the shock.
    """
    interest, rate, shoulder = state
    for h in range(ends.size):
        if now < ends[h]:
            level = interest * shock[h]
            time = now + wait(exposure, level, rate, shoulder)
            if time <= ends[h]:
                return time
            stretch = ends[h] - now
            exposure = max(exposure - level * decayed_time(rate, stretch, shoulder), 0.0)
            interest *= math.exp(-rate * aged(stretch, shoulder))
            rate /= 1.0 + stretch / shoulder
            shoulder += stretch
            now = ends[h]
    return math.inf


@_loop
def count_activities(
    first: Floats,
    rate: Floats,
    rho: Floats,
    shoulder: Floats,
    length: float,
    whole_days: bool,
    rng: np.random.Generator,
) -> Floats:
    """Simulate new users' numbers of activities, or active days, within ``length`` [days] (row,).

    ``first`` as in :func:`state_at`.
    """
    counts = np.zeros((first.size, 1))
    future, within = (np.array([length]), np.ones(1)), np.empty(1)
    for u in range(first.size):
        state = state_at(first[u], rate[u], 0.0, shoulder[u], whole_days)
        time_ahead(state[1], state[2], *future, within)
        expected = state[0] * within[0]
        if rng.random() < -math.expm1(-expected):
            restored = (1.0 - rho[u], 0.0, first[u], rate[u], shoulder[u])
            count_until(state, expected, restored, future, counts[u], whole_days, rng)
    return counts[:, 0]
