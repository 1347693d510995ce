r"""How many activities a log shows, week by week, beside how many its fit expected from what each user had done before.

In: a population's draws and the history that they were fitted to. Out: :class:`Pace`, seen and expected counts by
period, the periods counted back from the cutoff.

With the user's own posterior at time t, which knows its activities before t and nothing later, the expected number of
activities in a silent stretch from a to b is the integral of the expected intensity,

.. math::

    \int_a^b \mathbb E[\lambda(t) \mid \text{past}]\,dt
        = \log p(\text{silent until } a) - \log p(\text{silent until } b)

with p the user's marginal likelihood of :mod:`bayesdecay.model.grid`. Summed over the stretches of all users this is
the compensator of their counting process: seen less expected is a martingale, whose variance is the expected number
again, however unlike the users are. So what goes beyond that is what users share.

Of whole days one is active or not: of m days with the integral D the expected number of active ones is
:math:`m (1 - e^{-D/m})`, nearly, and active days count as in :mod:`bayesdecay.model.days`.

References
----------
Andersen, P. K., Borgan, O., Gill, R. D. and Keiding, N. (1993). *Statistical Models Based on Counting Processes*.
Springer. https://doi.org/10.1007/978-1-4612-4348-9 (compensators, section II.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numba
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import nnls

from bayesdecay.data.block import Block
from bayesdecay.data.calendar import Calendar
from bayesdecay.data.history import History
from bayesdecay.errors import DataError
from bayesdecay.model.grid import DAYS
from bayesdecay.model.population import Population
from bayesdecay.model.power import add_days, add_integral, aged
from bayesdecay.model.user_statistics import weighed
from bayesdecay.model.vector_math import exp, log

__all__ = ["MORE_THAN_A_YEAR", "Pace", "pace_of", "period_length"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_WEEK = 7.0
# Below this many weeks a log is cut into days, above that many into four weeks: enough periods to tell a lasting change
# from one that passes, and no more. Four years of weeks tell when in the year a season begins.
_FEW_WEEKS, _MANY_WEEKS = 8, 210
# Weeks from which on a log shows some weeks of the year twice, and a season can be told from what passes.
MORE_THAN_A_YEAR = 56
# Periods whose activities are halved to see what users' posteriors make of a busy one, as parts of the log; and the
# numbers of periods in which the response, a sum of such parts, fades to 1/e.
_PROBED, _FADES = (0.35, 0.55, 0.75), np.array([1.0, 3.0, 10.0, 30.0, 100.0])
# Where there are fewer, no response is looked for.
_FEW_PERIODS = 10
# Users looked at. A shock is the same for all of them, and chance blurs a week of 20,000 users' activities by some 3 %.
_USERS = 20_000
# Stretches of users and draws that are worked through, about a microsecond each.
_STRETCHES = 1_500_000
_MOST_DRAWS = 8
# Logarithms are cut off here: a prior's far tail has users who come once in e^700 days.
_MOST_LOG = 700.0
# An activity at the very end of a period is of that period, whatever rounding does to it [days].
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pace:
    """Activities by period, the last one ending at the cutoff; the first may have begun before the log did.

    ``length`` of a period [days]; ``seen`` and ``expected`` (period,) [count]. ``response`` (lag,), of a log of more
    than a year: what is expected rises by this part of what a period, one, two, ... periods before, was busier for all:
    users' posteriors take the shop's busy weeks for their own. ``day`` of the year that the cutoff is. ``known_level``:
    factor of a day of the calendar that is as busy as users' posteriors at the cutoff expect.
    """

    length: float
    seen: Floats
    expected: Floats
    response: Floats | None = None
    day: float = 0.0
    known_level: float = 1.0


def period_length(longest: float) -> float:
    """Length [days] of the periods that a log of users of up to ``longest`` [days] is cut into."""
    weeks = longest / _WEEK
    return 1.0 if weeks < _FEW_WEEKS else _WEEK if weeks <= _MANY_WEEKS else 4 * _WEEK


def pace_of(population: Population, history: History, calendar: Calendar | None = None) -> Pace:
    """Count what was seen and what the fit expected, period by period, of a sample of the users if they are many.

    What a ``calendar`` tells of the past is expected too; its mean over the log is the fit's own.
    """
    some = _sampled(history)
    longest = max(float(block.T.max(initial=0.0)) for block in some.blocks())
    length = period_length(longest)
    periods = max(math.ceil(longest / length - _ROUNDING), 1)
    few = _few(population, some, length)
    seen = np.sum([_seen(block, length, periods) for block in some.blocks()], axis=0)
    expected = _expected_of(few, some, length, np.ones(periods))
    response = None
    if calendar is not None or periods * length / _WEEK >= MORE_THAN_A_YEAR:
        response = _response(few, some, length, expected)
    pace = Pace(length=length, seen=seen, expected=expected, response=response, day=float(history.at.day_of_year))
    return pace if calendar is None or response is None else _knowing(pace, response, calendar, history.at)


def _knowing(pace: Pace, response: Floats, calendar: Calendar, at: pd.Timestamp) -> Pace:
    """Expect what a calendar tells of the past, and what users' posteriors have taken up of it."""
    periods, length = pace.seen.size, round(pace.length)
    first = at.normalize() - pd.Timedelta(days=periods * length - 1)
    factor = calendar.daily(first, periods * length).reshape(periods, length).mean(axis=1)
    mean = float(pace.expected @ factor / pace.expected.sum()) if pace.expected.any() else 1.0
    if not mean > 0.0:
        raise DataError("calendar: the whole log has factor 0, but there are activities in it; correct the factors")
    # A response is to twice or half as many; to none at all it is as to a quarter.
    change = np.log(np.maximum(factor / mean, 0.25))
    lag = np.subtract.outer(np.arange(periods + 1), np.arange(periods))
    taken = np.where(lag > 0, response[np.maximum(lag, 1) - 1], 0.0) @ change
    expected = pace.expected * factor / mean * np.exp(-taken[:-1])
    return replace(pace, expected=expected, known_level=mean * math.exp(taken[-1]))


def _expected_of(population: Population, history: History, length: float, weight: Floats) -> Floats:
    """Expected activities (period,), where an activity counts by the weight (period,) of its period in what follows."""
    expected, periods = np.zeros(weight.size), weight.size
    for block in history.blocks():
        design, log_weight, log_beta = population.designs(block)
        beta = np.exp(np.minimum(log_beta, _MOST_LOG))
        log_weight += population.alpha[:, None] * log_beta
        grid = population.grid
        _, counted, taken = weighed(block, grid.clock)
        counted = counted * weight[_period(block, length, periods)]
        own = (block.times, block.offsets, block.T, design, counted, taken)
        law = (population.alpha, population.rho, grid.all_rates, grid.forever, grid.clock == DAYS, grid.shoulder)
        expected += _expected(*own, log_weight, beta, *law, length, periods)
    return expected / population.size


def _response(population: Population, history: History, length: float, expected: Floats) -> Floats:
    """Response (lag,) of what is expected to a busier period before, from some of them at half their activities.

    In the users' posteriors, that is; when they were there last stays as it was, and what it restored is no error.
    """
    periods, lags, found = expected.size, [], []
    if periods < _FEW_PERIODS:
        return np.zeros(periods)
    for place in (periods * np.array(_PROBED)).astype(np.int64):
        weight = np.ones(periods)
        weight[place] = 0.5
        half = _expected_of(population, history, length, weight)[place + 1 :]
        some = np.flatnonzero(expected[place + 1 :] > 0.0)
        lags.append(1 + some)
        found.append(np.log(half[some] / expected[place + 1 :][some]) / math.log(0.5))
    lag = np.concatenate(lags)
    basis = np.exp(-lag[:, None] / _FADES)
    share, _ = nnls(basis, np.concatenate(found))
    return np.asarray(np.exp(-np.arange(1, periods + 1)[:, None] / _FADES) @ share)


def _sampled(history: History) -> History:
    if len(history) <= _USERS:
        return history
    # A fixed seed: the pace is a figure of the log and the fit.
    rows = np.sort(np.random.default_rng(0).choice(len(history), _USERS, replace=False))
    return history.over(history.table.take(pa.array(rows)))


def _few(population: Population, history: History, length: float) -> Population:
    """As many draws as can be worked through, evenly spread."""
    stretches = sum(float((block.T / length).sum()) + 2.0 * block.times.size for block in history.blocks())
    count = int(np.clip(_STRETCHES / max(stretches, 1.0), 1, min(_MOST_DRAWS, population.size)))
    return population.take(np.linspace(0, population.size - 1, count).round().astype(int))


def _period(block: Block, length: float, periods: int) -> Integers:
    """Period of each activity."""
    before_end = np.repeat(block.T, block.n) - block.times
    return periods - 1 - np.floor(before_end / length + _ROUNDING).astype(np.int64)


def _seen(block: Block, length: float, periods: int) -> Floats:
    return np.bincount(_period(block, length, periods), minlength=periods).astype(float)


_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


@_loop
def _expected(  # noqa: PLR0913 - statistics, population and periods of one pass
    times: Floats,
    offsets: Integers,
    T: Floats,
    design: Integers,
    counted: Floats,
    taken: Floats,
    log_weight: Floats,
    beta: Floats,
    alpha: Floats,
    rho: Floats,
    rates: Floats,
    forever: Floats,
    whole_days: bool,
    shoulder: float,
    length: float,
    periods: int,
) -> Floats:
    """Expected activities (period,), summed over users and draws.

    ``log_weight`` has alpha log beta in it; ``log_weight`` and ``beta`` (design, sample, rate).
    """
    out = np.zeros(periods)
    faded, exposure, gone = np.empty(rates.size), np.empty(rates.size), np.empty(rates.size)
    whole, is_power = np.exp(-rates * length), not math.isinf(shoulder)
    for u in range(T.size):
        for s in range(alpha.size):
            own_weight, own_beta = log_weight[design[u], s], beta[design[u], s]
            faded[:], exposure[:] = 1.0, 0.0
            now, last, age, count, j = 0.0, 0.0, 0.0, 0.0, offsets[u]
            silent = _log_silent(own_weight, own_beta, rates, exposure, age, alpha[s], gone)
            for back in range(math.ceil(T[u] / length - _ROUNDING) - 1, -1, -1):
                border = T[u] - back * length
                total = 0.0
                while now < border or (j < offsets[u + 1] and times[j] <= border + _ROUNDING):
                    acts = j < offsets[u + 1] and times[j] <= border + _ROUNDING
                    end = times[j] if acts else border
                    stretch = end - now
                    if is_power:
                        _pass_slower(rates, shoulder, now - rho[s] * last, stretch, whole_days, faded, exposure)
                    else:
                        _pass(rates, forever, stretch, whole, length, faded, exposure)
                    later = _log_silent(own_weight, own_beta, rates, exposure, age, alpha[s] + count, gone)
                    total += _active(silent - later, stretch, whole_days)
                    silent, now = later, end
                    if acts:
                        age += counted[j] * aged(now - rho[s] * last, shoulder)
                        count += counted[j]
                        restored = aged((1.0 - rho[s]) * now, shoulder)
                        for k in range(rates.size):
                            exposure[k] -= taken[j] * faded[k]
                            faded[k] = exp(-rates[k] * restored)
                        last, j = now, j + 1
                        silent = _log_silent(own_weight, own_beta, rates, exposure, age, alpha[s] + count, gone)
                out[periods - 1 - back] += total
    return out


@_loop
def _pass_slower(
    rates: Floats, shoulder: float, age: float, stretch: float, whole_days: bool, faded: Floats, exposure: Floats
) -> None:
    """As :func:`_pass`, by a power law, from an effective age."""
    if whole_days:
        add_days(rates, age, stretch, shoulder, exposure)
    else:
        add_integral(rates, age, stretch, shoulder, exposure)
    end = aged(age + stretch, shoulder)
    for k in range(rates.size):
        faded[k] = exp(-rates[k] * end)


@_loop
def _active(integral: float, stretch: float, whole_days: bool) -> float:
    """Expected activities, or active days, in a stretch [days] with this integral of the intensity."""
    return -stretch * math.expm1(-integral / stretch) if whole_days and stretch > 0.0 else integral


@_loop
def _pass(
    rates: Floats, forever: Floats, stretch: float, whole: Floats, length: float, faded: Floats, exposure: Floats
) -> None:
    """Let a silent stretch [days] pass; most are a whole period."""
    known = abs(stretch - length) < _ROUNDING
    for k in range(rates.size):
        left = whole[k] if known else exp(-rates[k] * stretch)
        x = rates[k] * stretch
        # Below 1e-5 the difference 1 - e^-x loses digits; two terms of the series are exact to 1e-11.
        exposure[k] += faded[k] * (x * (1.0 - 0.5 * x) if x < 1e-5 else 1.0 - left) * forever[k]
        faded[k] *= left


@_loop
def _log_silent(
    log_weight: Floats, beta: Floats, rates: Floats, exposure: Floats, age: float, shape: float, term: Floats
) -> float:
    """Logarithm of the user's marginal likelihood, but for what an activity multiplies it by."""
    top = -np.inf
    for k in range(rates.size):
        term[k] = log_weight[k] - rates[k] * age - shape * log(beta[k] + exposure[k])
        top = max(top, term[k])
    total = 0.0
    for k in range(rates.size):
        total += exp(term[k] - top)
    return top + log(total)
