"""Lapsed users of a made shop with all kinds of features, and posteriors of any numbers; nothing is sampled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bayesdecay.data.events import Events
from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.model.returning import ReactivationFit
from tests.model.made_up import returning_of, terms_of
from tests.show import made

PLAIN = "returned ~ interest + log1p(recency) + {log1p(recency)**2} + frequency + log1p(tenure)"
RICH = (
    "returned ~ interest + log1p(recency) + {log1p(recency)**2} + frequency * spend + channel + member + active_30d + "
    "(1 + visits | segment)"
)


def lapsed(log: Events, *, at: str = made.CUTOFF, **options) -> Snapshots:
    """Users who were lapsed at the cutoff, with features that no log would hold."""
    options = {"lapsed_after": "14d"} | options
    told = snapshots(log, cutoffs=at, horizon="30d", activity="event", **options)
    rng, n = np.random.default_rng(5), len(told)
    own = {
        "spend": np.where(rng.random(n) < 0.3, np.nan, rng.gamma(2.0, 5.0, n)),
        "visits": rng.poisson(3.0, n),
        "channel": rng.choice(["ads", "friends", "search"], n),
        "member": rng.random(n) < 0.5,
        "segment": rng.choice(list("abc"), n),
    }
    return replace(told, table=told.table.assign(**own), columns=tuple(own))


def fitted(told: Snapshots, formula: str, *, draws: int = 40, **options) -> ReactivationFit:
    """A fit of a formula that claims to have converged."""
    level = np.random.default_rng(6).normal(-4.0, 1.5, (len(told), 3))
    return returning_of(terms_of(formula, told.table, level, **options), told, draws=draws)


def with_table(told: Snapshots, **columns) -> Snapshots:
    """The same users with other values."""
    return replace(told, table=told.table.assign(**columns))
