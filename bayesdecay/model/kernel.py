r"""The compiled loops over users: their exposures on the grid, and draws of their interest and activities.

What is done once a user, draw and rate is done in single precision, which leaves about 1e-6 of a probability.
Plain arrays in, plain arrays out; the formulas they carry stand in :mod:`bayesdecay.model.grid`, which the tests
hold against these loops. Shapes: ``row`` users (or distinct histories), ``node`` restorations, ``rate`` decay rates,
``design`` distinct combinations of group and covariates.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.streams import begin
from bayesdecay.model.vector_math import exp, exp32, log1p32, softplus32

__all__ = ["count_activities", "count_future", "draw_users", "exponentiate", "exposures", "shocked_time"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

# Rates at the ends of the grid whose share of a user's posterior is smaller are left out of its probabilities, which
# then err by 1e-8 at most.
_LEAST_SHARE = 1e-10
# Below this, three terms of the series of 1 - e^-x are exact to 5e-8.
_RARE = np.float32(0.02)
_ZERO, _ONE, _HALF, _SIXTH = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(1.0 / 6.0)

# Sums over the grid may be re-ordered, so that they run in vector registers.
_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


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
def draw_users(  # noqa: C901, PLR0913, PLR0915 - population, statistics, horizons and random streams of one pass
    log_weight: Singles,
    log_beta: Singles,
    alpha: Floats,
    rho: Floats,
    interpolation: Singles,
    log_exposure: Singles,
    ageing: Floats,
    n: Floats,
    T: Floats,
    last: Floats,
    design: Integers,
    rates: Floats,
    next_day: Floats,
    whole_days: bool,
    ends: Floats,
    shock: Floats,
    keys: NDArray[np.uint64],
    state: NDArray[np.uint64],
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats, Floats]:
    """Draw each user's interest and decay rate once a population draw, and average what has a closed form.

    ``log_weight``, ``log_beta`` (design, rate, sample); ``interpolation`` (node, sample). ``next_day`` (rate,) is the
    interest when a day ends as a part of that day's, 1 where activities are not ``whole_days``. The ``ends`` (horizon,)
    rise, and ``shock`` (sample, horizon) is the factor on everybody's intensity from the end before to each. A user
    has a stream of random numbers of its own, see :mod:`bayesdecay.model.streams`: ``keys`` (row, 3), ``state`` of
    ``rng``.

    Returns ``interest`` (row, sample) [per day] at the cutoff, shocks left out, ``rate`` (row, sample) [per day], the
    chance ``p_return`` (row, horizon) averaged over interest, rate and population, ``p_never`` (row,), shocks left out,
    the chance of each draw, ``chance`` (row, sample, horizon), and the number of activities within each horizon,
    ``activities`` (row, sample, horizon), given that the longest horizon sees one; and two more random numbers a draw,
    uniform on [0, 1), ``spare`` (2, row, sample).
    """
    n_rows, n_samples, n_rates, n_horizons = n.size, alpha.size, rates.size, ends.size
    interest, rate = np.empty((n_rows, n_samples)), np.empty((n_rows, n_samples))
    p_return, p_never = np.zeros((n_rows, n_horizons)), np.zeros(n_rows)
    chance, activities = np.empty((n_rows, n_samples, n_horizons)), np.zeros((n_rows, n_samples, n_horizons))
    spare = np.empty((2, n_rows, n_samples))
    tables = np.empty((3, n_rates, n_samples), np.float32)
    excess, term, left = tables[0], tables[1], tables[2]
    columns = np.empty((5, n_samples), np.float32)
    shape, effective_age, age, top, norm = columns[0], columns[1], columns[2], columns[3], columns[4]
    level, drawn = np.empty(n_samples, np.float32), np.empty(n_samples, np.int32)
    rates32 = rates.astype(np.float32)
    forever = np.repeat((next_day / rates).astype(np.float32), n_samples).reshape(n_rates, n_samples)
    decayed = shocked_time(rates, ends, shock)
    decayed32 = (decayed * next_day.reshape(-1, 1)).astype(np.float32)
    first, faded = np.empty(n_samples), np.empty(n_samples)
    for u in range(n_rows):
        own_weight, own_beta, count = log_weight[design[u]], log_beta[design[u]], np.float32(n[u])
        begin(state, keys[u], rng)
        _uniform(rng, spare[:, u])
        for s in range(n_samples):
            shape[s] = alpha[s] + n[u]
            effective_age[s] = T[u] - rho[s] * last[u]
            age[s] = ageing[u, 0] - rho[s] * ageing[u, 1]
        _mix(interpolation, log_exposure[u], excess)
        _log_ratios(own_beta.ravel(), excess.ravel())
        _terms(own_weight, own_beta, rates32, count, age, shape, excess, term)
        exponentiate(term, top, norm)
        for s in range(n_samples):
            level[s] = norm[s] * rng.random()
        _pick(term, level, drawn)
        _share(term, norm)
        low, high = _that_count(term)
        counted, counted_left = term[low:high], left[low:high]
        _left(rates32[low:high], effective_age, own_beta[low:high], excess[low:high], counted_left)
        for h in range(n_horizons):
            p_return[u, h] = _p_return(counted, counted_left, decayed32[h, low:high], shape)
        p_never[u] = _p_silent(counted, counted_left, forever[low:high], shape)
        for s in range(n_samples):
            k = drawn[s]
            first[s], faded[s] = -excess[k, s] - own_beta[k, s], -rates[k] * (T[u] - rho[s] * last[u])
        _exponentials(first, faded)
        for s in range(n_samples):
            k = drawn[s]
            first[s] *= next_day[k] * rng.standard_gamma(alpha[s] + n[u])
            interest[u, s] = first[s] * faded[s]
            rate[u, s] = rates[k]
            for h in range(n_horizons):
                chance[u, s, h] = -math.expm1(-interest[u, s] * decayed[h, k, s])
            if n_horizons > 0 and interest[u, s] > 0.0:
                integral = interest[u, s] * decayed[n_horizons - 1, k, s]
                restored = (1.0 - rho[s], T[u], first[s])
                future, told = (ends, shock[s]), activities[u, s]
                count_future(
                    (rng.random(), integral), interest[u, s], rates[k], restored, future, told, whole_days, rng
                )
    return interest, rate, p_return, p_never, chance, activities, spare


# The steps of a user, all draws of the population side by side. Each loop writes one or two arrays: with more, the
# compiler cannot rule out that they overlap and gives up on vector registers.


@_loop
def _uniform(rng: np.random.Generator, out: Floats) -> None:
    for j in range(out.shape[0]):
        for s in range(out.shape[1]):
            out[j, s] = rng.random()


@_loop
def _mix(interpolation: Singles, log_exposure: Singles, out: Singles) -> None:
    """Interpolate log E (rate, sample) at each draw's restoration, out of its values (node, rate)."""
    for k in range(out.shape[0]):
        for s in range(out.shape[1]):
            out[k, s] = interpolation[0, s] * log_exposure[0, k]
        for c in range(1, log_exposure.shape[0]):
            for s in range(out.shape[1]):
                out[k, s] += interpolation[c, s] * log_exposure[c, k]


@_loop
def _log_ratios(log_beta: Singles, log_e: Singles) -> None:
    """Replace log E by log(1 + E/beta)."""
    for i in range(log_e.size):
        log_e[i] = softplus32(log_e[i] - log_beta[i])


@_loop
def _terms(
    log_weight: Singles,
    log_beta: Singles,
    rates: Singles,
    count: np.float32,
    age: Singles,
    shape: Singles,
    excess: Singles,
    out: Singles,
) -> None:
    for k in range(out.shape[0]):
        for s in range(out.shape[1]):
            out[k, s] = log_weight[k, s] - count * log_beta[k, s] - rates[k] * age[s] - shape[s] * excess[k, s]


@_loop
def exponentiate(term: Singles, top: Singles, norm: Singles) -> None:
    """Replace the terms (rate, lane) by exp(term - top), ``top`` being a lane's greatest and ``norm`` its sum."""
    for s in range(top.size):
        top[s], norm[s] = term[0, s], _ZERO
    for k in range(term.shape[0]):
        for s in range(top.size):
            top[s] = max(top[s], term[k, s])
    for k in range(term.shape[0]):
        for s in range(top.size):
            term[k, s] = exp32(term[k, s] - top[s])
        for s in range(top.size):
            norm[s] += term[k, s]


@_loop
def _pick(term: Singles, level: Singles, out: NDArray[np.int32]) -> None:
    """Find the first rate at which the running sum of a draw's terms reaches its level; takes the levels down."""
    out[:] = 0
    for k in range(term.shape[0] - 1):
        for s in range(level.size):
            level[s] -= term[k, s]
        for s in range(level.size):
            out[s] += level[s] > _ZERO


@_loop
def _exponentials(one: Floats, other: Floats) -> None:
    for s in range(one.size):
        one[s] = exp(one[s])
    for s in range(other.size):
        other[s] = exp(other[s])


@_loop
def _share(term: Singles, norm: Singles) -> None:
    """Divide the terms by their sum over all rates and draws."""
    for k in range(term.shape[0]):
        for s in range(norm.size):
            term[k, s] /= norm[s] * np.float32(norm.size)


@_loop
def _that_count(share: Singles) -> tuple[int, int]:
    """First of the rates whose share counts, and the one after the last."""
    low, high = 0, share.shape[0]
    while _row_sum(share, low) < _LEAST_SHARE:
        low += 1
    while _row_sum(share, high - 1) < _LEAST_SHARE:
        high -= 1
    return low, high


@_loop
def _row_sum(values: Singles, k: int) -> np.float32:
    total = _ZERO
    for s in range(values.shape[1]):
        total += values[k, s]
    return total


@_loop
def _left(rates: Singles, age: Singles, log_beta: Singles, excess: Singles, out: Singles) -> None:
    """Write what the effective age has left of the interest, over beta + E."""
    for k in range(out.shape[0]):
        for s in range(out.shape[1]):
            out[k, s] = exp32(-rates[k] * age[s] - log_beta[k, s] - excess[k, s])


@_loop
def _p_return(share: Singles, left: Singles, decayed: Singles, shape: Singles) -> float:
    """P(an activity), the initial interest integrated out: 1 - (1 + C/B)^-(alpha + n)."""
    total = 0.0
    for k in range(share.shape[0]):
        own = _ZERO
        for s in range(share.shape[1]):
            exponent = shape[s] * log1p32(left[k, s] * decayed[k, s])
            # Where next to nothing is expected, the difference 1 - e^-x would lose its digits.
            rare = exponent * (_ONE - exponent * (_HALF - exponent * _SIXTH))
            own += share[k, s] * (rare if exponent < _RARE else _ONE - exp32(-exponent))
        total += float(own)
    return total


@_loop
def _p_silent(share: Singles, left: Singles, decayed: Singles, shape: Singles) -> float:
    """P(no activity), the initial interest integrated out: (1 + C/B)^-(alpha + n)."""
    total = 0.0
    for k in range(share.shape[0]):
        own = _ZERO
        for s in range(share.shape[1]):
            own += share[k, s] * exp32(-shape[s] * log1p32(left[k, s] * decayed[k, s]))
        total += float(own)
    return total


@_loop
def shocked_time(rates: Floats, ends: Floats, shock: Floats) -> Floats:
    """Integral of what is left of the interest times the shock, from the cutoff to each end (horizon, rate, sample)."""
    out = np.empty((ends.size, rates.size, shock.shape[0]))
    for k in range(rates.size):
        start, left = 0.0, 1.0
        for h in range(ends.size):
            gone = left * -math.expm1(-rates[k] * (ends[h] - start))
            for s in range(shock.shape[0]):
                out[h, k, s] = (out[h - 1, k, s] if h > 0 else 0.0) + shock[s, h] * gone / rates[k]
            start, left = ends[h], left - gone
    return out


@_loop
def count_future(
    first: tuple[float, float],
    interest: float,
    rate: float,
    restored: tuple[float, float, float],
    future: tuple[Floats, Floats],
    counts: Floats,
    whole_days: bool,
    rng: np.random.Generator,
) -> None:
    """Simulate a user's activities after the cutoff, the first of them forced into the longest horizon.

    Of ``whole_days`` at most one a day: after it the user is not seen again before the day's end.

    ``first`` is (place, integral): the place in [0, 1) of the first activity among all that it may be, in their order,
    and the integral of the intensity over the longest horizon, if nothing happens. ``restored`` is (1 - rho, T,
    I0): right after an activity at time t since acquisition the interest is I0 exp(-r (1 - rho) t). ``future`` holds
    the rising ends of the horizons and the shocks between them.
    """
    slowness, start, initial = restored
    ends, shock = future
    time = 0.0
    place, integral = first
    exposure = -math.log1p(-place * -math.expm1(-integral))
    while True:
        time = _time_of(exposure, interest, rate, time, ends, shock)
        if time > ends[-1]:
            return
        for h in range(ends.size):
            if time <= ends[h]:
                counts[h] += 1.0
        if whole_days:
            time = math.ceil(time)
        interest = initial * math.exp(-rate * slowness * (start + time))
        exposure = rng.standard_exponential()


@_loop
def _time_of(exposure: float, interest: float, rate: float, now: float, ends: Floats, shock: Floats) -> float:
    """Time after the cutoff at which the intensity, integrated from ``now`` on, reaches ``exposure``; or infinity.

    ``interest`` is the one at ``now``; between two ends the intensity is the interest times the shock.
    """
    for h in range(ends.size):
        if now < ends[h]:
            level = interest * shock[h]
            # Not 1 - gone: with a busy user who hardly fades the difference would be 1, and time would stand still.
            gone = exposure * rate / level if level > 0.0 else 1.0
            time = now - math.log1p(-gone) / rate if gone < 1.0 else math.inf
            if time <= ends[h]:
                return time
            faded = -math.expm1(-rate * (ends[h] - now))
            exposure, interest, now = max(exposure - level * faded / rate, 0.0), interest - interest * faded, ends[h]
    return math.inf


@_loop
def count_activities(
    interest: Floats, rate: Floats, rho: Floats, length: float, whole_days: bool, rng: np.random.Generator
) -> Floats:
    """Simulate new users' numbers of activities, or active days, within ``length`` [days] (row,)."""
    counts = np.zeros((interest.size, 1))
    future = (np.array([length]), np.ones(1))
    for u in range(interest.size):
        expected = interest[u] * -math.expm1(-rate[u] * length) / rate[u]
        if rng.random() < -math.expm1(-expected):
            restored = (1.0 - rho[u], 0.0, interest[u])
            count_future((rng.random(), expected), interest[u], rate[u], restored, future, counts[u], whole_days, rng)
    return counts[:, 0]
