"""Simulated shops with known truth, and the population that stands for this truth where no fit is needed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import expit

from bayesdecay.data.block import Block
from bayesdecay.data.events import Events, read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.simulate import Simulation, simulate
from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.design import Standard
from bayesdecay.model.grid import Grid
from bayesdecay.model.population import Population
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import interest_draws

SHOP = Truth(half_life=20, half_life_spread=0.8, interest=0.25, interest_shape=1.2, coupling=0.4, restoration=0.6)
# Enough for users of up to a hundred activities; with the default number the fit would find it short and start again.
RATES = 100
PARAMETERS = ("mu_log_rate", "sigma_log_rate", "mu_log_interest", "kappa", "alpha", "rho")


def simulated(n_users: int, *, shop: Truth = SHOP, observed="180d", random_seed: int) -> Simulation:
    return simulate(n_users, population=shop, observed=observed, random_seed=random_seed)


def history_of(drawn: Simulation, *, at=None, **options) -> History:
    """History of a simulated log; instants as they are, since the simulation knows no days."""
    columns = [name for name in drawn.events.columns if name not in ("user", "time")]
    log = read_events(drawn.events, columns=columns)
    return summarize(log, at=drawn.end if at is None else at, activity="event", **options)


PAST, NOW = ("2024-03-31", "2024-04-30"), "2024-05-31"
RETURNING_SAMPLING = Sampling(draws=700, tune=400, chains=2)


def looked_at(log: Events, cutoffs, **options) -> Snapshots:
    return snapshots(log, cutoffs=cutoffs, horizon="30d", lapsed_after="14d", activity="event", **options)


def log_interest(fit: DecayFit, told: Snapshots, *, draws: int, random_seed: int) -> np.ndarray:
    parts = [interest_draws(fit.population(draws), own, random_seed=random_seed) for own in told.histories.values()]
    return np.log(np.maximum(np.concatenate(parts), 1e-12))


# Of outcomes that follow the reactivation model's own law.
COEFFICIENTS = {"intercept": -0.7, "visits": 0.8, "spend": 0.9, "interest": 0.35}
SEGMENTS = dict(zip("abcdefgh", (-1.2, -0.8, -0.4, 0.0, 0.0, 0.4, 0.8, 1.2), strict=True))
REGIONS = dict(
    zip(("coast", "east", "hills", "north", "south", "west"), (0.9, -0.2, 0.4, -0.7, 0.1, -0.5), strict=True)
)


def with_outcomes(told: Snapshots, fit: DecayFit) -> Snapshots:
    """The same users with features and outcomes by the model's law; spend goes with visits and is often not known.

    Spend is missing where visits are many. The interest behind an outcome is a draw of the user's own posterior.
    """
    rng, n = np.random.default_rng(11), len(told)
    visits = rng.poisson(3, n)
    spend = 0.5 * visits + rng.normal(size=n)
    segment, region = rng.choice(list(SEGMENTS), n), rng.choice(list(REGIONS), n)
    logit = (
        COEFFICIENTS["intercept"]
        + COEFFICIENTS["visits"] * (visits - 3)
        + COEFFICIENTS["spend"] * spend
        + COEFFICIENTS["interest"] * log_interest(fit, told, draws=1, random_seed=99)[:, 0]
        + np.array([SEGMENTS[name] for name in segment])
        + np.array([REGIONS[name] for name in region])
    )
    spend[rng.random(n) < expit(visits - 4)] = np.nan
    own = {"visits": visits, "spend": spend, "segment": segment, "region": region}
    returned = pd.array(rng.random(n) < expit(logit), dtype="boolean")
    return replace(told, table=told.table.assign(**own, returned=returned), columns=tuple(own))


def described(told: Snapshots) -> Snapshots:
    """The same users with the features of the made-up shop, some of them missing."""
    rng, n = np.random.default_rng(12), len(told)
    own = {"visits": rng.poisson(3, n), "spend": np.where(np.arange(n) % 3 == 0, np.nan, 1.5)}
    return replace(told, table=told.table.assign(**own, segment="b", region="west"))


def population_at(shop: Truth, *, draws: int, longest: float = 180.0, n_rates: int = 60) -> Population:
    """A posterior without uncertainty: every draw is the truth."""
    truth = shop.truth()
    law = {"restoration": shop.restoration, "shoulder": shop.shoulder_days}
    grid = Grid.covering(longest, 1 / 1_440, n_rates=n_rates, **law)
    location = np.array([truth["mu_log_rate"], truth["mu_log_interest"]])
    return Population(
        grid=grid,
        alpha=np.full(draws, shop.interest_shape),
        sigma=np.full(draws, shop.half_life_spread),
        kappa=np.full(draws, shop.coupling),
        rho=np.full(draws, shop.restoration),
        location=np.tile(location[:, None, None], (1, draws, 1)),
        slope=np.empty((2, draws, 0)),
        regulars=np.zeros((2, draws)),
        groups=(),
        standard=Standard(names=(), center=np.empty(0), scale=np.empty(0)),
        activity="event",
    )


def block_of(times: list[list[float]], T: list[float]) -> Block:
    """Block of users with these activity times [days since acquisition]."""
    n = np.array([len(own) for own in times])
    return Block(
        user=pa.array(range(len(times))),
        n=n,
        T=np.array(T, dtype=float),
        last=np.array([own[-1] if own else 0.0 for own in times]),
        sum_times=np.array([float(sum(own)) for own in times]),
        times=np.array([t for own in times for t in own], dtype=float),
        offsets=np.concatenate([[0], np.cumsum(n)]).astype(np.int64),
        group=None,
        covariates={},
    )


def log_likelihood(times: list[float], T: float, *, rate, initial, rho: float):
    """Log L(r, I0) of one user, gap by gap: the law itself, with none of the package's shortcuts."""
    knots = [0.0, *times, T]
    total = 0.0
    for j, (start, end) in enumerate(pairwise(knots)):
        if j < len(times):
            total = total + np.log(initial) - rate * (end - rho * start)
        total = total - initial * (np.exp(-rate * (1 - rho) * start) - np.exp(-rate * (end - rho * start))) / rate
    return total


def user_posterior(times: list[float], T: float, shop: Truth, *, size: int = 900) -> pd.DataFrame:
    """Joint posterior of one user's decay rate and first interest on a fine rectangle, by brute force."""
    truth = shop.truth()
    z = np.linspace(-7, 7, size)[:, None]
    log_initial = np.linspace(np.log(1e-9), np.log(60.0), size)[None, :]
    rate, initial = np.exp(truth["mu_log_rate"] + truth["sigma_log_rate"] * z), np.exp(log_initial)
    beta = truth["alpha"] / np.exp(truth["mu_log_interest"] + truth["kappa"] * z)
    log_prior = -0.5 * z**2 + truth["alpha"] * np.log(beta) + truth["alpha"] * log_initial - beta * initial
    density = log_prior + log_likelihood(times, T, rate=rate, initial=initial, rho=shop.restoration)
    weight = np.exp(density - density.max())
    grid = np.broadcast_arrays(rate, initial, weight / weight.sum())
    return pd.DataFrame(dict(zip(("rate", "initial", "weight"), (part.ravel() for part in grid), strict=True)))
