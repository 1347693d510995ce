"""A shop with known truth, and fits that state it, for the tests of this folder; nothing is sampled."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import xarray as xr

from bayesdecay.data.events import Events, read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.posterior import Verdict, labelled
from bayesdecay.model.prior import DECAY_PRIORS

SHOP = Truth(half_life=40.0, half_life_spread=0.7, interest=0.15, interest_shape=1.0, restoration=0.6)
CUTOFF = "2024-06-28"  # 180 days after the start; the log goes on for 90 more
GOOD = Verdict(
    worst_rhat=1.001,
    least_ess_bulk=900.0,
    least_ess_tail=800.0,
    divergences=0,
    least_bfmi=1.0,
    draws=200,
    chains=4,
)
BAD = replace(GOOD, worst_rhat=1.2, divergences=50)


def shop(n_users: int, *, seed: int = 1, rename: dict[int, object] | None = None) -> tuple[Events, History]:
    """Log of a simulated shop, and its users as they stood at the cutoff."""
    events = simulate(n_users, population=SHOP, random_seed=seed).events
    if rename is not None:
        events["user"] = [str(rename.get(user, user)) for user in events["user"]]
    log = read_events(events)
    return log, summarize(log, at=CUTOFF, activity="event")


def fit(history: History, *, verdict: Verdict = GOOD, draws: int = 50, **changes: float) -> DecayFit:
    """A fit whose draws all but agree on the truth, or on something else where told."""
    truth = {"mu_log_rate": np.log(np.log(2) / 40), "sigma_log_rate": 0.7, "mu_log_interest": np.log(0.15)}
    truth |= {"kappa": 0.0, "alpha": 1.0, "rho": 0.6} | changes
    rng = np.random.default_rng(0)
    posterior = xr.Dataset(
        {name: (("chain", "draw"), value + 1e-3 * rng.standard_normal((4, draws))) for name, value in truth.items()}
    )
    grid = DecayModel().grid(history)
    constants = xr.Dataset(coords={"rate": grid.rates, "restoration_node": grid.restorations})
    model = {
        "activity": history.activity,
        "users": len(history),
        "priors": {name: asdict(prior) for name, prior in DECAY_PRIORS.items()},
    }
    tree = xr.DataTree.from_dict({"posterior": posterior, "constant_data": constants})
    return DecayFit(idata=labelled(tree, kind=DecayFit.KIND, model=model, verdict=verdict))
