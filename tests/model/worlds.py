"""Simulated shops with known truth, and the population that stands for this truth where no fit is needed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa

from bayesdecay.data.block import Block
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.simulate import Simulation, simulate
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.design import Standard
from bayesdecay.model.grid import Grid
from bayesdecay.model.population import Population

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


def population_at(shop: Truth, *, draws: int, longest: float = 180.0, n_rates: int = 60) -> Population:
    """A posterior without uncertainty: every draw is the truth."""
    truth = shop.truth()
    grid = Grid.covering(longest, 1 / 1_440, restoration=shop.restoration, n_rates=n_rates)
    location = np.array([truth["mu_log_rate"], truth["mu_log_interest"]])
    return Population(
        grid=grid,
        alpha=np.full(draws, shop.interest_shape),
        sigma=np.full(draws, shop.half_life_spread),
        kappa=np.full(draws, shop.coupling),
        rho=np.full(draws, shop.restoration),
        location=np.tile(location[:, None, None], (1, draws, 1)),
        slope=np.empty((2, draws, 0)),
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
