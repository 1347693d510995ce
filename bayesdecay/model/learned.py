"""What must be known before a decay fit is used: where the data told nothing, and the prior speaks.

In: a history, and the posterior of its fit. Out: remarks in plain sentences. A posterior is always there; these say
where it is the prior again, or rests on one user.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesdecay.data.history import History
from bayesdecay.model.prior import Prior
from bayesdecay.names import USER, N

__all__ = ["of_data", "of_posterior"]

# A posterior with more than half of the prior's variance has learned less than it was told.
_HARDLY = 0.7
# One user with so much of all activities decides what is learned of everybody; of few users one always has much.
_RULES, _ENOUGH_USERS, _ENOUGH_ACTIVITIES = 0.3, 20, 100

Floats = NDArray[np.float64]

_SAID: Mapping[str, tuple[str, Callable[[Floats], Floats], str]] = {
    "mu_log_rate": ("the typical half-life", lambda value: math.log(2) / np.exp(value), " days"),
    "mu_log_interest": ("a typical new user's interest", np.exp, " activities a day"),
    "rho": ("the part of lost interest that a visit restores", np.asarray, ""),
}


def of_data(history: History, *, different: int, named: bool) -> tuple[str, ...]:
    """Say what the data cannot tell, or whom they rest on.

    Parameters
    ----------
    different
        How many different rows there are.
    named
        Tell the id of a user who decides all; a saved fit holds no row of a user, and no id.
    """
    told: list[str] = []
    n = history.table[N].to_numpy()
    if not n.any():
        told.append(
            f"no user of {len(history):,} was active again up to {history.at:%Y-%m-%d}, so nothing is learned about "
            "how interest fades: half-lives, restoration and all that follows from them are the priors'. Take a later "
            "cutoff, or count kinds of events that come more often"
        )
    elif different == 1 and len(history) > 1:
        told.append(
            f"all {len(history):,} users have the same history, so nothing is learned about how users differ, and the "
            "fit may not converge. Check the log: real users are not alike"
        )
    most = int(n.argmax())
    if len(n) >= _ENOUGH_USERS and n.sum() >= _ENOUGH_ACTIVITIES and n[most] > _RULES * n.sum():
        who = f"user {history.table[USER][most].as_py()!r}" if named else "one user"
        told.append(
            f"{who} has {n[most]:,} of the {n.sum():,} activities, and decides what is learned of everybody. Leave a "
            "machine out, or count days (activity='day'), which holds at most one a day"
        )
    return tuple(told)


def of_posterior(posterior: xr.Dataset, priors: Mapping[str, Prior], *, ci_prob: float = 0.9) -> tuple[str, ...]:
    """Name the population's quantities of which the data told little, beside what the prior knew of them."""
    told: list[str] = []
    tails = [(1 - ci_prob) / 2, 0.5, (1 + ci_prob) / 2]
    for name, (what, shown, unit) in _SAID.items():
        draws, prior = posterior[name], priors[name].frozen()
        if draws.attrs.get("fixed", 0) or float(draws.std()) <= _HARDLY * float(prior.std()):
            continue
        found, known = (np.sort(shown(np.asarray(q))) for q in (np.quantile(draws, tails), prior.ppf(tails)))
        told.append(
            f"the data tell little of {what}: {_written(found)}{unit}, where the prior alone says {_written(known)}. "
            "More users, or a longer time after their acquisition, would tell more"
        )
    return tuple(told)


def _written(quantiles: Floats) -> str:
    low, middle, high = quantiles
    return f"{middle:.2g} [{low:.2g}, {high:.2g}]"
