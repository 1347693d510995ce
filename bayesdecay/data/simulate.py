r"""Event logs with known truth: from population parameters to a log, and what was true of each user.

The law is the model's own, with the effective age :math:`V(t) = t - \rho L(t)`:

.. math::
    z \sim N(0, 1), \quad \log r = \mu_r[g] + x\delta + \sigma_r z, \quad
    I_0 \mid z \sim \mathrm{Gamma}(\alpha, \text{mean } e^{\mu_I[g] + x\gamma + \kappa z}), \quad
    \lambda(t) = c(t)\, I_0 e^{-r g(V(t))}

where g is the age itself, or that of a power law (:mod:`bayesdecay.curves`), and :math:`c(t)` is 1 but for a user with
a coupon, within its window, and for a shop whose pace is not even. No user is looped over: all users advance to their
next activity at once, in as many rounds as the busiest user has activities.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesdecay import curves, names
from bayesdecay.data.truth import NEVER_FADES, Coupon, Population
from bayesdecay.errors import unknown_name
from bayesdecay.units import MICROSECONDS_PER_DAY, Duration, cutoff_instant, days

__all__ = ["Simulation", "simulate"]

_RESOLUTIONS = ("continuous", "day")
# Interest below this is none: a user with it acts once in longer than the universe is old.
_NO_INTEREST = 1e-100


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A simulated log and the truth behind it.

    Attributes
    ----------
    events : pandas.DataFrame
        One row an event by user and time: ``user``, ``time``, and ``kind``, ``group`` and the covariates if any.
    users : pandas.DataFrame
        One row a user: ``user``, ``first``, ``group`` and covariates if any, ``rate`` [per day] and ``half_life``
        [days] of a new user, ``initial_interest`` and ``interest`` (at the end, given the visits) [activities per day],
        ``share_<kind>``; with a coupon ``eligible``, ``treated``, ``p_return_without`` and ``p_return_with`` within its
        window.
    truth : dict
        The population's parameters under the model's names, and ``tau``, the coupon's effect on the log-odds.
    end : pandas.Timestamp
        The last instant that the log sees.
    """

    events: pd.DataFrame
    users: pd.DataFrame
    truth: dict[str, float | dict[str, float]]
    end: pd.Timestamp


def simulate(  # noqa: PLR0913 - what a shop is, and how it is watched
    n_users: int,
    *,
    population: Population | None = None,
    coupon: Coupon | None = None,
    pace: Sequence[float] = (),
    start: str | dt.date | pd.Timestamp = "2024-01-01",
    acquired_within: Duration = "90d",
    observed: Duration = "270d",
    resolution: str = "continuous",
    random_seed: int | np.random.Generator | None = None,
) -> Simulation:
    """Draw an event log from the model's own law, with the truth of every user.

    Parameters
    ----------
    n_users : int
        Number of users, with ids 1, 2, ...
    population : Population, optional
        What users are drawn from; by default a shop whose users' interest halves in a month.
    coupon : Coupon, optional
        A randomised treatment.
    pace : sequence of float
        Factors on everybody's interest, a week each from the start; one after the last. Not together with a coupon.
    start : date or text
        The instant at which the log begins.
    acquired_within : duration
        Users are acquired uniformly over this time from the start; 0 for all at the start.
    observed : duration
        Length of the log from the start.
    resolution : {"continuous", "day"}
        With ``"day"`` times are cut to their calendar day and equal rows are kept once.
    random_seed : int or numpy.random.Generator, optional
        The same seed gives the same log.

    Returns
    -------
    Simulation

    Raises
    ------
    TypeError
        If the number of users is not a whole number.
    ValueError
        If the log would be empty, end before the last acquisition, or not see the coupon's whole window; or a factor of
        the pace is not above zero, or comes with a coupon.

    Examples
    --------
    >>> shop = Population(half_life={"ads": "10d", "friends": "60d"}, restoration=0.8)
    >>> drawn = simulate(1_000, population=shop, observed="180d", random_seed=1)
    >>> sorted(drawn.events.columns)
    ['group', 'time', 'user']
    """
    population = population or Population()
    begin, span, width = pd.Timestamp(start), days(observed), days(acquired_within)
    _check_plan(n_users, span, width, resolution)
    _check_pace(pace, coupon)
    rng = np.random.default_rng(random_seed)
    users = _draw_users(n_users, population, rng)
    walk = _Walk(users, population, acquired=width * rng.random(n_users), rng=rng)
    if coupon is not None:
        _hand_out(coupon, walk, users, begin, span)
    for week, factor in enumerate(pace):
        walk.advance(min(7.0 * (week + 1), span), factor)
    walk.advance(span)
    users.insert(1, names.FIRST, _instants(begin, walk.acquired))
    users[names.INTEREST] = walk.interest(span)
    events = _tabulate(walk, users, population, begin)
    if resolution == "day":
        events[names.TIME] = events[names.TIME].dt.normalize()
        users[names.FIRST] = users[names.FIRST].dt.normalize()
        events = events.drop_duplicates(ignore_index=True)
    truth = population.truth() | ({} if coupon is None else {"tau": coupon.effect})
    end = begin + pd.Timedelta(days=span) - pd.Timedelta(microseconds=1)
    return Simulation(events=events, users=users, truth=truth, end=end)


def _check_plan(n_users: int, span: float, width: float, resolution: str) -> None:
    if not isinstance(n_users, int | np.integer) or isinstance(n_users, bool):
        raise TypeError(f"n_users is a whole number, not {n_users!r}")
    if n_users < 1:
        raise ValueError(f"n_users must be at least 1, got {n_users}")
    if resolution not in _RESOLUTIONS:
        raise unknown_name("resolution", resolution, _RESOLUTIONS)
    if not span > 0 or width > span:
        raise ValueError(
            f"the log is observed for {span:g} days and users are acquired within {width:g}; let it be observed longer"
        )


def _check_pace(pace: Sequence[float], coupon: Coupon | None) -> None:
    if not all(math.isfinite(factor) and factor > 0.0 for factor in pace):
        raise ValueError(f"the factors of a pace must be finite and above zero, got {list(pace)}")
    if len(pace) and coupon is not None:
        raise ValueError("what a coupon does is known only at an even pace; leave out pace= or coupon=")


def _draw_users(n_users: int, population: Population, rng: np.random.Generator) -> pd.DataFrame:
    """Draw each user's own parameters."""
    users = pd.DataFrame({names.USER: np.arange(1, n_users + 1)})
    if population.groups:
        users[names.GROUP] = rng.choice(np.array(population.groups, dtype=object), size=n_users)
    truth = population.truth()
    log_rate, log_mean = (_per_user(truth[name], users) for name in ("mu_log_rate", "mu_log_interest"))
    for name, (delta, gamma) in population.covariates.items():
        x = users[name] = rng.standard_normal(n_users)
        log_rate, log_mean = log_rate + delta * x, log_mean + gamma * x
    z = rng.standard_normal(n_users)
    alpha = population.interest_shape
    users["rate"] = np.exp(log_rate + population.half_life_spread * z)
    own_mean = log_mean + population.coupling * z
    if population.regulars:
        regular = rng.random(n_users) < population.regulars
        users.loc[regular, "rate"] = NEVER_FADES
        own_mean = np.where(regular, log_mean + population.regulars_shift, own_mean)
    users[names.HALF_LIFE] = curves.half_life(users["rate"], population.shoulder_days)
    users["initial_interest"] = rng.gamma(alpha, np.exp(own_mean) / alpha)
    if population.kinds:
        mean = np.array(list(population.kinds.values())) / sum(population.kinds.values())
        shares = rng.dirichlet(population.kind_concentration * mean, size=n_users)
        users[[f"share_{kind}" for kind in population.kinds]] = shares
    return users


def _per_user(value: Any, users: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Each user's value of a parameter that may differ by group."""
    if isinstance(value, dict):
        return users[names.GROUP].map(value).to_numpy(dtype=float)
    return np.full(len(users), value)


class _Walk:
    """All users on their way through time [days since the start of the log]; the one thing here that changes."""

    def __init__(
        self, users: pd.DataFrame, population: Population, *, acquired: np.ndarray[Any, Any], rng: np.random.Generator
    ) -> None:
        self.rate = users["rate"].to_numpy()
        self.initial = users["initial_interest"].to_numpy()
        self.rho, self.shoulder = population.restoration, population.shoulder_days
        self.rng, self.acquired = rng, acquired
        self.now, self.last = acquired.copy(), acquired.copy()
        self.seen_user, self.seen_time = [np.arange(len(users))], [acquired]

    def interest(self, at: float | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Interest [activities per day] at ``at`` if nothing happened since the last activity."""
        return np.maximum(curves.interest_after(self.initial, self.rate, self.age(at), self.shoulder), _NO_INTEREST)

    def age(self, at: float | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Effective age [days] at ``at`` if nothing happened since the last activity."""
        return np.asarray(
            curves.effective_age(np.maximum(at - self.acquired, 0.0), self.last - self.acquired, self.rho)
        )

    def law(self, at: float | np.ndarray[Any, Any]) -> tuple[Any, Any]:
        """Decay rate [per day] and shoulder [days] of what comes after ``at``."""
        age = self.age(at)
        return curves.rate_after(self.rate, age, self.shoulder), curves.shoulder_after(age, self.shoulder)

    def advance(self, until: float, boost: float | np.ndarray[Any, Any] = 1.0) -> None:
        """Let everybody act until then, at ``boost`` times their interest."""
        boost = np.broadcast_to(boost, self.now.shape)
        active = np.flatnonzero(self.now < until)
        while active.size:
            interest = (boost * self.interest(self.now))[active]
            rate, shoulder = self.law(self.now)
            local = shoulder if np.ndim(shoulder) == 0 else shoulder[active]
            wait = curves.return_time(interest, rate[active], self.rng.exponential(size=active.size), local)
            time = self.now[active] + wait
            active, time = active[time <= until], time[time <= until]
            self.now[active] = self.last[active] = time
            self.seen_user.append(active)
            self.seen_time.append(time)
        # The waiting time has no memory beyond the interest, so a new stretch starts afresh from its border.
        self.now = np.maximum(self.now, until)


def _hand_out(coupon: Coupon, walk: _Walk, users: pd.DataFrame, begin: pd.Timestamp, span: float) -> None:
    """Advance to the end of the coupon's window and note who got it and what it did."""
    at, within = (cutoff_instant(coupon.at) - begin) / pd.Timedelta(days=1), days(coupon.within)
    if not 0 < at <= at + within <= span:
        raise ValueError(
            f"the coupon acts from day {at:g} to {at + within:g} of a log of {span:g} days; "
            "move it or let the log be observed longer"
        )
    walk.advance(at)
    eligible = (walk.acquired <= at) & (at - walk.last >= days(coupon.lapsed_after))
    treated = eligible & (walk.rng.random(len(users)) < coupon.share)
    rate, shoulder = walk.law(at)
    integral = walk.interest(at) * curves.decayed_time(rate, within, shoulder)
    # Returning has odds e^m - 1 when m activities are expected, so odds times e^effect need m' = log(1 + odds').
    expected = np.logaddexp(0.0, coupon.effect + integral + np.log(-np.expm1(-integral)))
    walk.advance(at + within, np.where(treated, expected / integral, 1.0))
    unknown = np.where(walk.acquired <= at, 1.0, np.nan)
    users["eligible"], users["treated"] = eligible, treated
    users["p_return_without"] = unknown * -np.expm1(-integral)
    users["p_return_with"] = unknown * -np.expm1(-expected)


def _tabulate(walk: _Walk, users: pd.DataFrame, population: Population, begin: pd.Timestamp) -> pd.DataFrame:
    """One row an event, sorted by user and time, with what is known of the user."""
    who, when = np.concatenate(walk.seen_user), np.concatenate(walk.seen_time)
    order = np.lexsort((when, who))
    who, when = who[order], when[order]
    events = pd.DataFrame({names.USER: users[names.USER].to_numpy()[who]})
    events[names.TIME] = _instants(begin, when)
    if population.kinds:
        shares = users[[f"share_{kind}" for kind in population.kinds]].to_numpy()
        drawn = (walk.rng.random((len(who), 1)) > np.cumsum(shares, axis=1)[who, :-1]).sum(axis=1)
        events[names.KIND] = np.array(list(population.kinds), dtype=object)[drawn]
    for name in [*([names.GROUP] if population.groups else []), *population.covariates]:
        events[name] = users[name].to_numpy()[who]
    return events


def _instants(begin: pd.Timestamp, elapsed: np.ndarray[Any, Any]) -> pd.DatetimeIndex:
    """Instants [to the microsecond] so many days after the begin."""
    micros = np.floor(elapsed * MICROSECONDS_PER_DAY).astype("timedelta64[us]")
    return pd.DatetimeIndex(np.datetime64(begin, "us") + micros)
