r"""What is at stake: profit of each user under each offer, streamed from the prospects.

In: :class:`~bayesdecay.decide.prospects.Prospects` and a :class:`Campaign`, aligned. Out: weighted means over the
samples for all users and offers, and totals over users for each sample, each in one pass over the draws. With
:math:`p^0, p^a` the probabilities of returning without contact and under offer a,

.. math:: \pi_{uas} = v_{us} (p^a_{us} - p^0_{us}) - c_{ua} - k_a p^a_{us}

is the expected profit in sample s: v the value of a return, c the cost at contact, k the cost if the user returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.prospects import HeldProspects, Prospects

__all__ = ["NOBODY_GETS_IT", "Stakes", "each", "stakes_of"]

# Numbers of one batch (samples times users times offers): the few arrays alive at once then fit the cache.
_BATCH = 400_000
# In a pick, the place of the offer of a user who gets none.
NOBODY_GETS_IT = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stakes:
    """Prospects and money, aligned.

    Attributes
    ----------
    prospects : Prospects
        The draws.
    cost : float64[user, offer]
        Cost at contact [money].
    on_return : float64[offer]
        Cost if a contacted user returns [money].
    value : float64[1 or sample, user]
        Worth of a return [money].
    closed : bool[user]
        Users who may not be contacted.
    budget : float or None
        Most that may be spent at contact [money].
    capacity : float64[offer]
        Most contacts of each offer; infinite for no limit.
    """

    prospects: Prospects
    cost: np.ndarray
    on_return: np.ndarray
    value: np.ndarray
    closed: np.ndarray
    budget: float | None
    capacity: np.ndarray

    @property
    def users(self) -> int:
        """Number of candidates."""
        return int(self.cost.shape[0])

    @property
    def samples(self) -> int:
        """Number of draws."""
        return self.prospects.samples

    def profit(self, rows: slice | np.ndarray, offers: list[int]) -> np.ndarray:
        """Expected profit in each sample, [offer, sample, row] [money]."""
        without, under = self.prospects.draws(rows, offers)
        dtype = under.dtype
        gained = (under - without) * self.value[:, rows].astype(dtype)
        if self.on_return[offers].any():
            gained -= under * self.on_return[offers, None, None].astype(dtype)
        gained -= self.cost[rows][:, offers].T[:, None, :].astype(dtype)
        return gained

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        """Profit of each user under each offer, averaged over the samples by ``weights``; float64[user, offer]."""
        return self.weighted_by(weights[None])[0]

    def weighted_by(self, weights: np.ndarray) -> np.ndarray:
        """Means by several weights, [mean, sample], in one pass over the draws; float64[mean, user, offer]."""
        offers = list(range(self.cost.shape[1]))
        found = np.empty((weights.shape[0], *self.cost.shape))

        def one(rows: slice) -> None:
            without, under = self.prospects.draws(rows, offers)
            shares = weights.astype(under.dtype)
            if self.value.shape[0] > 1:
                gained = shares @ ((under - without) * self.value[:, rows].astype(under.dtype))
            else:
                gained = (shares @ under - shares @ without).astype(np.float64) * self.value[0, rows]
            if self.on_return.any():
                gained = gained - self.on_return[:, None, None] * (shares @ under)
            found[:, rows] = gained.transpose(1, 2, 0)

        each(one, self.batches())
        return found - self.cost

    def uplift(self, weights: np.ndarray) -> np.ndarray:
        """Change of P(return) of each user under each offer, averaged over the samples; float64[user, offer]."""
        returns = replace(
            self, cost=np.zeros_like(self.cost), on_return=np.zeros_like(self.on_return), value=np.ones((1, self.users))
        )
        return returns.weighted(weights)

    def totals(self, pick: np.ndarray) -> np.ndarray:
        """Profit of a whole plan in each sample, float64[sample] [money]; ``pick`` is the offer of each user."""
        parts = []
        for offer in range(self.cost.shape[1]):
            rows = np.flatnonzero(pick == offer)
            parts += each(lambda part, a=offer: self._sum(part, a), self.split(rows))  # type: ignore[misc]
        return np.sum(parts, axis=0) if parts else np.zeros(self.samples)

    def _sum(self, rows: np.ndarray, offer: int) -> np.ndarray:
        return self.profit(rows, [offer])[0].sum(axis=1, dtype=np.float64)

    def batches(self) -> list[slice]:
        """All rows, a batch at a time."""
        step = max(_BATCH // (self.samples * self.cost.shape[1]), 1)
        return [slice(start, min(start + step, self.users)) for start in range(0, self.users, step)]

    def split(self, rows: np.ndarray) -> list[np.ndarray]:
        """Some rows, a batch at a time."""
        step = max(_BATCH // self.samples, 1)
        return [rows[start : start + step] for start in range(0, rows.size, step)]

    def sampled(self, rows: np.ndarray) -> Stakes:
        """The same problem for some users, its draws in memory, budget and capacities in proportion."""
        share = rows.size / self.users
        without, under = self.prospects.draws(rows, list(range(self.cost.shape[1])))
        users, offers = self.prospects.users[rows], self.prospects.offers
        return replace(
            self,
            prospects=HeldProspects(without=without, under=under, users=users, offers=offers),
            cost=self.cost[rows],
            value=self.value[:, rows],
            closed=self.closed[rows],
            budget=None if self.budget is None else self.budget * share,
            capacity=np.floor(self.capacity * share),
        )


def stakes_of(prospects: Prospects, campaign: Campaign, closed: np.ndarray) -> Stakes:
    """Align a campaign with its candidates.

    Raises
    ------
    ValueError
        If a user has no cost or no value.
    """
    users: pd.Index = prospects.users
    kinds = campaign.kinds.values()
    value = campaign.values(users, prospects.samples)
    return Stakes(
        prospects=prospects,
        cost=campaign.costs(users),
        on_return=np.array([float(offer.cost_if_returns) for offer in kinds]),
        value=value,
        closed=closed | (value.max(axis=0) == 0),
        budget=campaign.budget,
        capacity=np.array([np.inf if offer.capacity is None else offer.capacity for offer in kinds], dtype=float),
    )


def each[Item, Found](job: Callable[[Item], Found], items: list[Item]) -> list[Found]:
    """Do a job for each item, in threads: numpy and compiled loops let go of the interpreter. The order is kept."""
    if len(items) < 2:
        return [job(item) for item in items]
    with ThreadPoolExecutor(_cores()) as pool:
        return list(pool.map(job, items))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
