"""Small choices under risk, made up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesdecay.decide.campaign import Campaign
from bayesdecay.decide.effects import Effect
from bayesdecay.decide.offers import Offer
from bayesdecay.decide.prospects import AssumedProspects
from bayesdecay.decide.stakes import Stakes, stakes_of

__all__ = ["problem"]


def problem(users: int, samples: int, *, seed: int, budget: float | None = None, calls: int | None = None) -> Stakes:
    """Users of different levels under a doubt that they share, and two offers, one of them dear and doubtful."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1.5, 1, users) + rng.normal(0, 0.4, samples)[:, None] + rng.normal(0, 0.3, (samples, users))
    offers = {
        "e-mail": Offer(cost=0.05, effect=Effect.normal(0.1, 0.1)),
        "call": Offer(cost=1.0, cost_if_returns=0.5, effect=Effect.normal(0.6, 0.5), capacity=calls),
    }
    tau = np.stack([offer.effect.draws(samples, rng) for offer in offers.values() if offer.effect])
    prospects = AssumedProspects(p=1 / (1 + np.exp(-logit)), tau=tau, users=pd.RangeIndex(users), offers=tuple(offers))
    return stakes_of(prospects, Campaign(offers=offers, value=20.0, budget=budget), np.zeros(users, dtype=bool))
