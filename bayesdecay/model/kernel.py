r"""The compiled loops over users: their exposures on the grid, and draws of their interest and activities.

Plain arrays in, plain arrays out; the formulas they carry stand in :mod:`bayesdecay.model.grid`, which the tests
hold against these loops. Shapes: ``row`` users (or distinct histories), ``node`` restorations, ``rate`` decay rates,
``design`` distinct combinations of group and covariates.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.vector_math import exp, log

__all__ = ["count_activities", "draw_users", "exposures"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Rates whose share of a user's posterior is smaller are left out of its probabilities, which then err by 1e-8 at most.
_LEAST_SHARE = 1e-10

# Sums over the grid may be re-ordered, so that they run in vector registers.
_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


@_loop
def exposures(times: Floats, offsets: Integers, T: Floats, rates: Floats, restorations: Floats) -> Floats:
    """Each user's E(r; rho) [days] on the grid: (row, node, rate). Sums over activities, the open gap included."""
    n_rows, n_nodes, n_rates = T.size, restorations.size, rates.size
    out = np.zeros((n_rows, n_nodes, n_rates))
    gap_integral = np.empty(n_rates)
    for u in range(n_rows):
        start = 0.0
        for j in range(offsets[u], offsets[u + 1] + 1):
            end = times[j] if j < offsets[u + 1] else T[u]
            for k in range(n_rates):
                x = rates[k] * (end - start)
                # Below 1e-5 the difference 1 - e^-x loses digits; two terms of the series are exact to 1e-11.
                gap_integral[k] = (x * (1.0 - 0.5 * x) if x < 1e-5 else 1.0 - exp(-x)) / rates[k]
            for c in range(n_nodes):
                age = (1.0 - restorations[c]) * start
                for k in range(n_rates):
                    out[u, c, k] += gap_integral[k] * exp(-rates[k] * age)
            start = end
    return out


# The steps of a user and draw. Each is one plain loop over the rates: fused into a single body, the compiler gives up
# on vector registers and the pass takes twice as long.


@_loop
def _mix(node_weight: Floats, log_exposure: Floats, out: Floats) -> None:
    """Interpolate log E at the restoration, out of its values at the nodes."""
    for k in range(out.size):
        out[k] = node_weight[0] * log_exposure[0, k]
    for c in range(1, node_weight.size):
        for k in range(out.size):
            out[k] += node_weight[c] * log_exposure[c, k]


@_loop
def _denominators(beta: Floats, log_e: Floats, log_b: Floats, share: Floats) -> None:
    """Write log(beta + E) and E / (beta + E)."""
    for k in range(log_e.size):
        share[k] = exp(float(log_e[k]))
    for k in range(log_e.size):
        log_b[k] = log(beta[k] + share[k])
    for k in range(log_e.size):
        share[k] /= beta[k] + share[k]


@_loop
def _exponentiate(term: Floats) -> tuple[float, float]:
    """Replace the terms by exp(term - top); give top and the sum."""
    top = term[0]
    for k in range(term.size):
        top = max(top, term[k])
    for k in range(term.size):
        term[k] = exp(term[k] - top)
    norm = 0.0
    for k in range(term.size):
        norm += term[k]
    return top, norm


@_loop
def draw_users(  # noqa: PLR0913 - the population's draws, the users' statistics, the horizons and the generator
    log_weight: Floats,
    log_beta: Floats,
    alpha: Floats,
    rho: Floats,
    interpolation: Floats,
    log_exposure: Floats,
    ageing: Floats,
    n: Floats,
    T: Floats,
    design: Integers,
    rates: Floats,
    horizons: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Draw each user's interest and decay rate once a population draw, and average what has a closed form.

    ``log_weight``, ``log_beta`` (design, sample, rate); ``interpolation`` (sample, node). ``ageing[:, 1]`` is the sum
    of the activity times less the last, so that ``ageing[:, 0] - ageing[:, 1]`` is the last activity.

    Returns ``interest`` (row, sample) [per day] at the cutoff, ``rate`` (row, sample) [per day], the chance
    ``p_return`` (row, horizon) averaged over interest, rate and population, ``p_never`` (row,), and the number of
    activities within each horizon, ``activities`` (row, sample, horizon), given that the longest horizon sees one.
    """
    n_rows, n_samples, n_rates, n_horizons = n.size, alpha.size, rates.size, horizons.size
    interest, rate = np.empty((n_rows, n_samples)), np.empty((n_rows, n_samples))
    p_return, p_never = np.zeros((n_rows, n_horizons)), np.zeros(n_rows)
    activities = np.zeros((n_rows, n_samples, n_horizons))
    log_e, log_b, term, left = np.empty(n_rates), np.empty(n_rates), np.empty(n_rates), np.empty(n_rates)
    beta, forever, out = np.exp(log_beta), 1.0 / rates, np.empty(n_rates)
    decayed = (1.0 - np.exp(-rates * horizons.reshape(-1, 1))) / rates
    for u in range(n_rows):
        d = design[u]
        last = ageing[u, 0] - ageing[u, 1]
        for s in range(n_samples):
            shape = alpha[s] + n[u]
            effective_age = T[u] - rho[s] * last
            age = ageing[u, 0] - rho[s] * ageing[u, 1]
            _mix(interpolation[s], log_exposure[u], log_e)
            _denominators(beta[d, s], log_e, log_b, left)
            for k in range(n_rates):
                term[k] = log_weight[d, s, k] + alpha[s] * log_beta[d, s, k] - rates[k] * age - shape * log_b[k]
            _, norm = _exponentiate(term)
            low, high = _that_count(term, _LEAST_SHARE * norm)
            counted, counted_left = term[low:high], left[low:high]
            _left(rates[low:high], effective_age, log_b[low:high], counted_left)
            share = 1.0 / (norm * n_samples)
            for h in range(n_horizons):
                p_return[u, h] += share * (norm - _p_silent(counted, counted_left, decayed[h, low:high], shape, out))
            p_never[u] += share * _p_silent(counted, counted_left, forever[low:high], shape, out)
            k = _pick(term, norm * rng.random())
            initial = rng.standard_gamma(shape) / math.exp(log_b[k])
            interest[u, s] = initial * math.exp(-rates[k] * effective_age)
            rate[u, s] = rates[k]
            if n_horizons > 0 and interest[u, s] > 0.0:
                restored = (1.0 - rho[s], T[u], initial)
                _count_activities(interest[u, s], rates[k], restored, horizons, activities[u, s], rng)
    return interest, rate, p_return, p_never, activities


@_loop
def _left(rates: Floats, age: float, log_b: Floats, out: Floats) -> None:
    """Write what the effective age has left of the interest, over beta + E."""
    for k in range(rates.size):
        out[k] = exp(-rates[k] * age - log_b[k])


@_loop
def _that_count(term: Floats, least: float) -> tuple[int, int]:
    """First of the terms above the least, and the one after the last."""
    low, high = 0, term.size
    while term[low] < least:
        low += 1
    while term[high - 1] < least:
        high -= 1
    return low, high


@_loop
def _p_silent(term: Floats, left: Floats, decayed: Floats, shape: float, out: Floats) -> float:
    """Sum of the terms times P(no activity), the initial interest integrated out: (1 + C/B)^-(alpha + n)."""
    for k in range(term.size):
        out[k] = -shape * log(1.0 + left[k] * decayed[k])
    for k in range(term.size):
        out[k] = exp(out[k])
    total = 0.0
    for k in range(term.size):
        total += term[k] * out[k]
    return total


@_loop
def _pick(term: Floats, level: float) -> int:
    """First node at which the running sum of the terms reaches the level."""
    total = 0.0
    for k in range(term.size):
        total += term[k]
        if total >= level:
            return k
    return term.size - 1


@_loop
def _count_activities(
    interest: float,
    rate: float,
    restored: tuple[float, float, float],
    horizons: Floats,
    counts: Floats,
    rng: np.random.Generator,
) -> None:
    """Simulate a user's activities after the cutoff, the first of them forced into the longest horizon.

    ``restored`` is (1 - rho, T, I0): right after an activity at time t since acquisition the interest is
    I0 exp(-r (1 - rho) t).
    """
    slowness, start, initial = restored
    end = horizons.max()
    time = 0.0
    integral = interest * -math.expm1(-rate * end) / rate
    exposure = -math.log1p(-rng.random() * -math.expm1(-integral))
    while True:
        # Not 1 - gone: with a busy user who hardly fades the difference would be 1, and time would stand still.
        gone = exposure * rate / interest
        if gone >= 1.0:
            return
        time -= math.log1p(-gone) / rate
        if time > end:
            return
        for h in range(horizons.size):
            if time <= horizons[h]:
                counts[h] += 1.0
        interest = initial * math.exp(-rate * slowness * (start + time))
        exposure = rng.standard_exponential()


@_loop
def count_activities(interest: Floats, rate: Floats, rho: Floats, length: float, rng: np.random.Generator) -> Floats:
    """Simulate new users' numbers of activities within ``length`` [days] of their acquisition (row,)."""
    counts = np.zeros((interest.size, 1))
    horizons = np.array([length])
    for u in range(interest.size):
        expected = interest[u] * -math.expm1(-rate[u] * length) / rate[u]
        if rng.random() < -math.expm1(-expected):
            restored = (1.0 - rho[u], 0.0, interest[u])
            _count_activities(interest[u], rate[u], restored, horizons, counts[u], rng)
    return counts[:, 0]
