r"""Users as a fit expects them: histories drawn from the posterior, as long as those of given users.

In: the posterior of a population and a history. Out: for each draw of the population as many users, of the same groups
and covariates, acquired when these were and seen as long. What is told of the given users can then be told of them too,
which makes a posterior predictive check: how far off would it be by chance, and by what is not known of the population?

References
----------
Gelman, A., Meng, X.-L. and Stern, H. (1996). Posterior predictive assessment of model fitness via realized
discrepancies. *Statistica Sinica* 6, 733-760. https://www.jstor.org/stable/24306036
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bayesdecay import curves
from bayesdecay.data.block import Block
from bayesdecay.data.history import History
from bayesdecay.data.rewind import at_acquisition
from bayesdecay.model.population import Population
from bayesdecay.model.scores import ScoreOptions
from bayesdecay.model.scoring import user_draws
from bayesdecay.names import INTEREST

__all__ = ["replicated"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Users of several draws walk together: a few times 100,000 numbers.
_WALKERS = 100_000
# Interest below this is none: a user with it acts once in longer than the universe is old.
_NO_INTEREST = 1e-100


def replicated(population: Population, history: History, *, random_seed: int | None = None) -> Iterator[Block]:
    """Yield, for each draw of the population, as many users seen as long as those of the history.

    Where days are counted, activities within a day are one, and count for the end of it.
    """
    rng = np.random.default_rng(random_seed)
    options = ScoreOptions(horizons={}, random_seed=int(rng.integers(2**63)))
    drawn = user_draws(population, at_acquisition(history), options)
    block = next(history.blocks(max(len(history), 1)))
    together = max(_WALKERS // max(len(history), 1), 1)
    for start in range(0, population.size, together):
        draws = slice(start, min(start + together, population.size))
        interest, rate = (drawn[name].to_numpy()[draws] for name in (INTEREST, "rate"))
        rho = np.broadcast_to(population.rho[draws, None], rate.shape)
        T = np.broadcast_to(block.T, rate.shape)
        walkers = (interest.ravel(), rate.ravel(), rho.ravel(), T.ravel())
        law = {"shoulder": population.shoulder(0.0), "whole_days": history.activity == "day"}
        walker, time = _walked(*walkers, rng, **law)
        ends = np.searchsorted(walker, len(history) * np.arange(len(rate) + 1))
        for s, (first, last) in enumerate(pairwise(ends)):
            yield _block(block, walker[first:last] - s * len(history), time[first:last].astype(float))


def _walked(
    interest: Floats,
    rate: Floats,
    rho: Floats,
    T: Floats,
    rng: np.random.Generator,
    *,
    shoulder: float,
    whole_days: bool,
) -> tuple[Integers, Floats]:
    """Let everybody act for as long as they are seen: whose activity and when [days since acquisition], in order."""
    now, active = np.zeros(T.size), np.flatnonzero(T > 0)
    users, times = [np.empty(0, np.int64)], [np.empty(0)]
    while active.size:
        age = curves.effective_age(now[active], now[active], rho[active])
        left = np.maximum(curves.interest_after(interest[active], rate[active], age, shoulder), _NO_INTEREST)
        state = (left, curves.rate_after(rate[active], age, shoulder))
        exposure = rng.exponential(size=active.size)
        later = now[active] + curves.return_time(*state, exposure, curves.shoulder_after(age, shoulder))
        # Of a day that is active nothing more is seen; the user goes on with the next.
        later = np.ceil(later) if whole_days else later
        active, later = active[later <= T[active]], later[later <= T[active]]
        now[active] = later
        users.append(active)
        times.append(later)
    user, time = np.concatenate(users), np.concatenate(times)
    order = np.lexsort((time, user))
    return user[order], time[order]


def _block(block: Block, user: Integers, time: Floats) -> Block:
    """Put activities in the place of those of a block's users."""
    n = np.bincount(user, minlength=len(block))
    offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
    return replace(
        block,
        n=n,
        last=np.where(n > 0, np.append(time, 0.0)[offsets[1:] - 1], 0.0),
        sum_times=np.bincount(user, weights=time, minlength=len(block)),
        times=time,
        offsets=offsets,
    )
