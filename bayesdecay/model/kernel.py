"""The compiled loop over users that draws their interest, and what they do after the cutoff.

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

from bayesdecay.model.ahead import count_until, shocked_time, state_at, time_ahead
from bayesdecay.model.power import aged, middle_of_day
from bayesdecay.model.streams import begin
from bayesdecay.model.vector_math import exp, exp32, log1p32, softplus32

__all__ = ["draw_users", "exponentiate"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

# Rates at the ends of the grid whose share of a user's posterior is smaller are left out of its probabilities, which
# then err by 1e-8 at most.
_LEAST_SHARE = 1e-10
# Below this, three terms of the series of 1 - e^-x are exact to 5e-8.
_RARE = np.float32(0.02)
_ZERO, _ONE, _HALF, _SIXTH = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(1.0 / 6.0)

# As long as a time [days] in single precision may be; by a power law with an exponent of 1 or less it has no bound.
_ENDLESS = np.float32(1e30)

# In place of a fall of zero, by which nothing can be divided.
_FLAT = np.float32(1e-6)

# Sums over the grid may be re-ordered, so that they run in vector registers.
_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


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
    shoulder: float,
    ends: Floats,
    shock: Floats,
    keys: NDArray[np.uint64],
    state: NDArray[np.uint64],
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats, Floats]:
    """Draw each user's interest and decay rate once a population draw, and average what has a closed form.

    ``log_weight``, ``log_beta`` (design, rate, sample); ``interpolation`` (node, sample); ``ageing`` (row, sample)
    [days] is A at each draw's restoration. ``next_day`` (rate,) is the interest when a day ends as a part of that
    day's, 1 where activities are not ``whole_days``, or where there is a ``shoulder`` [days]. The ``ends`` (horizon,)
    rise, and ``shock`` (sample, horizon) is the factor on everybody's intensity from the end before to each. A user
    has a stream of random numbers of its own, see :mod:`bayesdecay.model.streams`: ``keys`` (row, 3), ``state`` of
    ``rng``.

    Returns ``interest`` and ``rate`` (row, sample) [per day] at the cutoff, shocks left out, the
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
    ahead = np.empty((2 + n_horizons, n_samples), np.float32)
    level, drawn = np.empty(n_samples, np.float32), np.empty(n_samples, np.int32)
    rates32 = rates.astype(np.float32)
    forever = np.repeat((next_day / rates).astype(np.float32), n_samples).reshape(n_rates, n_samples)
    decayed = shocked_time(rates, ends, shock)
    decayed32 = (decayed * next_day.reshape(-1, 1)).astype(np.float32)
    first, within = np.empty(n_samples), np.empty(n_horizons)
    is_power, half = not math.isinf(shoulder), 0.5 if whole_days and not math.isinf(shoulder) else 0.0
    for u in range(n_rows):
        own_weight, own_beta, count = log_weight[design[u]], log_beta[design[u]], np.float32(n[u])
        begin(state, keys[u], rng)
        _uniform(rng, spare[:, u])
        for s in range(n_samples):
            shape[s] = alpha[s] + n[u]
            age[s] = ageing[u, s]
            effective_age[s] = aged(T[u] - rho[s] * last[u] + half, shoulder)
            ahead[0, s] = shoulder + T[u] - rho[s] * last[u] + half
        if is_power:
            _power_ahead(rates, shoulder, half > 0.0, ends, shock, ahead, decayed32, forever)
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
            first[s] = -excess[k, s] - own_beta[k, s]
        _exponentials(first)
        for s in range(n_samples):
            k = drawn[s]
            first[s] *= next_day[k] * rng.standard_gamma(alpha[s] + n[u])
            own = state_at(first[s], rates[k], T[u] - rho[s] * last[u], shoulder, whole_days)
            interest[u, s], rate[u, s] = own[0], own[1]
            if is_power:
                time_ahead(own[1], own[2], ends, shock[s], within)
            else:
                within[:] = decayed[:, k, s]
            for h in range(n_horizons):
                chance[u, s, h] = -math.expm1(-own[0] * within[h])
            if n_horizons > 0 and own[0] > 0.0:
                restored = (1.0 - rho[s], T[u], first[s], rates[k], shoulder)
                future, told = (ends, shock[s]), activities[u, s]
                count_until(own, own[0] * within[-1], restored, future, told, whole_days, rng)
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
def _exponentials(values: Floats) -> None:
    for s in range(values.size):
        values[s] = exp(values[s])


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
    """P(no activity), the initial interest integrated out: (1 + C/B)^-(alpha + n); 0 over an endless time."""
    total = 0.0
    for k in range(share.shape[0]):
        own = _ZERO
        for s in range(share.shape[1]):
            silent = exp32(-shape[s] * log1p32(left[k, s] * decayed[k, s]))
            own += share[k, s] * (silent if decayed[k, s] < _ENDLESS else _ZERO)
        total += float(own)
    return total


@_loop
def _power_ahead(
    rates: Floats,
    shoulder: float,
    whole_days: bool,
    ends: Floats,
    shock: Floats,
    ahead: Singles,
    decayed: Singles,
    forever: Singles,
) -> None:
    """Write what :func:`bayesdecay.model.ahead.time_ahead` has (horizon, rate, sample), and over all time, of one user.

    ``ahead[0]`` (sample,) is the shoulder at the cutoff [days]; the others are room for logarithms.
    """
    local = ahead[0]
    for s in range(local.size):
        start = 0.0
        for h in range(ends.size):
            ahead[2 + h, s] = math.log1p((ends[h] - start) / (local[s] + start))
            start = ends[h]
    for k in range(rates.size):
        power, fall = np.float32(rates[k] * shoulder), np.float32(rates[k] * shoulder - 1.0)
        if abs(fall) < _FLAT:
            fall = _FLAT
        left, total = forever[k], ahead[1]
        _begin(power, local, whole_days, left, total)
        for h in range(ends.size):
            _segment(fall, ahead[2 + h], shock[:, h], left, total)
            decayed[h, k, :] = total
        endless = fall <= _ZERO
        for s in range(local.size):
            whole = _ENDLESS if endless else local[s] / fall
            forever[k, s] = whole * middle_of_day(power / local[s]) if whole_days and not endless else whole


@_loop
def _begin(power: np.float32, local: Singles, whole_days: bool, left: Singles, total: Singles) -> None:
    """Write the time [days] that a day's interest stands for at the cutoff, and nothing yet passed."""
    for s in range(local.size):
        left[s] = local[s] * (np.float32(middle_of_day(power / local[s])) if whole_days else _ONE)
        total[s] = _ZERO


@_loop
def _segment(fall: np.float32, step: Singles, shock: Floats, left: Singles, total: Singles) -> None:
    """Let a stretch pass: add what is left in it, times the shock, to the total."""
    for s in range(step.size):
        x = fall * step[s]
        rest = exp32(-x)
        # Where the difference 1 - e^-x would lose its digits, four terms of its series.
        near = step[s] * (_ONE - x * (_HALF - x * (_SIXTH - x * _SIXTH * np.float32(0.25))))
        total[s] += np.float32(shock[s]) * left[s] * (near if abs(x) < _RARE else (_ONE - rest) / fall)
        left[s] *= rest
