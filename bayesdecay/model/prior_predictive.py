r"""What the priors say before any data, in users' terms: half-lives, first interests, returns, numbers of activities.

In: a :class:`~bayesdecay.model.decay.DecayModel`. Out: a table of simulated new users, one row each with a population
of its own, and a summary of it in words. With :math:`r` and :math:`I_0` drawn as the model says,

.. math::

    \text{half-life} = \frac{\ln 2}{r}, \qquad
    P(\text{return within } h) = 1 - e^{-I_0 (1 - e^{-rh})/r}, \qquad P(\text{never}) = e^{-I_0/r},

or as :mod:`bayesdecay.curves` has it by a power law.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesdecay import curves, names
from bayesdecay.data.activities import check_activity
from bayesdecay.data.truth import NEVER_FADES
from bayesdecay.model import ahead
from bayesdecay.model import grid as grids
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.grid import DAYS, INSTANTS
from bayesdecay.model.population import REGULARS
from bayesdecay.units import Duration, days, duration_label

__all__ = ["INTEREST_PER_WEEK", "RESTORATION", "prior_predictive", "prior_summary"]

INTEREST_PER_WEEK = "interest_per_week"
RESTORATION = "restoration"

Floats = NDArray[np.float64]
_POPULATION = ("mu_log_rate", "sigma_log_rate", "mu_log_interest", "alpha", "kappa", "rho")


def prior_predictive(
    model: DecayModel,
    *,
    n: int = 2_000,
    random_seed: int | None = None,
    horizon: Duration = "30d",
    observed: Duration = "90d",
    activity: str = "day",
) -> pd.DataFrame:
    """Draw new users from the priors alone, each from a population of its own.

    Parameters
    ----------
    model : DecayModel
        Its priors, and its restoration and coupling where they are fixed.
    n : int
        Number of users.
    random_seed : int, optional
        The same seed gives the same users.
    horizon : duration
        Window after the acquisition of the probability of a return.
    observed : duration
        Time after the acquisition over which activities are counted.
    activity : {"day", "session", "event"}
        What counts once; at most one a day is counted of days, unless the model has the clock of instants.

    Returns
    -------
    pandas.DataFrame
        A row a user: ``half_life`` [days], ``interest_per_week`` right after the acquisition, or after its day
        [activities per week], ``p_return_30d``, ``p_never``, ``activities_90d`` [count, the acquisition not among
        them], ``restoration``.

    Raises
    ------
    ValueError
        If ``n`` is below 1, a duration is zero, or the unit of activity is unknown.

    Notes
    -----
    The user belongs to a typical group and has average covariates.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 user, got {n}")
    if not (days(horizon) > 0 and days(observed) > 0):
        raise ValueError(f"horizon and observed must be above zero, got {horizon!r} and {observed!r}")
    rng = np.random.default_rng(random_seed)
    rate, interest, rho = _users(model, n, rng)
    shoulder = _shoulders(model, n, rng)
    clock = model.clock or (DAYS if check_activity(activity) == "day" else INSTANTS)
    law: Any = shoulder
    if model.shoulder == curves.EXPONENTIAL:
        law = curves.EXPONENTIAL
        interest = np.maximum(interest * np.exp(grids.log_next_day(rate, clock)), np.finfo(float).tiny)
    counts = ahead.count_activities(interest, rate, rho, shoulder, days(observed), clock == DAYS, rng)
    if model.shoulder != curves.EXPONENTIAL:
        interest, rate, law = ahead.states(interest, rate, shoulder, clock == DAYS)
    return pd.DataFrame(
        {
            names.HALF_LIFE: curves.half_life(rate, law),
            INTEREST_PER_WEEK: 7.0 * interest,
            names.per_horizon(names.P_RETURN, duration_label(horizon)): curves.p_return(
                interest, rate, days(horizon), law
            ),
            names.P_NEVER: np.exp(-interest * curves.lasting(rate, law)),
            names.per_horizon(names.ACTIVITIES, duration_label(observed)): counts.astype(np.int64),
            RESTORATION: rho,
        }
    )


def prior_summary(users: pd.DataFrame) -> pd.DataFrame:
    """Summarise what :func:`prior_predictive` drew: 5 %, median and 95 % of each column, and the same in words.

    Returns
    -------
    pandas.DataFrame
        A row a column of ``users``, with columns ``5 %``, ``median``, ``95 %`` and ``in words``.
    """
    table = users.quantile([0.05, 0.5, 0.95]).T
    table.columns = pd.Index(["5 %", "median", "95 %"])
    table["in words"] = [_words(str(name), *row) for name, row in zip(table.index, table.to_numpy(), strict=True)]
    table.index.name = "quantity"
    return table


def _users(model: DecayModel, n: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Decay rates and first interests [per day] of users, and the restorations of their populations (user,)."""
    priors = model.priors_in_force()
    drawn: dict[str, Any] = {name: priors[name].frozen().rvs(size=n, random_state=rng) for name in _POPULATION}
    for name, fixed in (("kappa", model.coupling), ("rho", model.restoration)):
        if fixed is not None:
            drawn[name] = np.full(n, float(fixed))
    z = rng.standard_normal(n)
    rate = np.exp(drawn["mu_log_rate"] + drawn["sigma_log_rate"] * z)
    log_mean = drawn["mu_log_interest"] + drawn["kappa"] * z
    if model.regulars:
        share, shift = (priors[name].frozen().rvs(size=n, random_state=rng) for name in REGULARS)
        regular = rng.random(n) < share
        rate = np.where(regular, NEVER_FADES, rate)
        log_mean = np.where(regular, drawn["mu_log_interest"] + shift, log_mean)
    mean = np.exp(log_mean)
    # A Gamma draw of a shape near zero may underflow; the least positive interest stands for none at all.
    share = rng.standard_gamma(drawn["alpha"]) / drawn["alpha"]
    return rate, np.maximum(mean * share, np.finfo(float).tiny), drawn["rho"]


def _shoulders(model: DecayModel, n: int, rng: np.random.Generator) -> Floats:
    """Shoulders [days] of the users' populations (user,)."""
    prior = model.priors_in_force().get("shoulder")
    if prior is None:
        return np.full(n, grids.shoulder_days(model.shoulder))
    return np.asarray(prior.frozen().rvs(size=n, random_state=rng), dtype=float)


def _words(name: str, low: float, median: float, high: float) -> str:
    """Say a row of the summary in words."""
    sentence, write = _sentence(name)
    return f"{sentence} {write(median)}, 90 % between {write(low)} and {write(high)}"


def _sentence(name: str) -> tuple[str, Callable[[float], str]]:
    """How a column's sentence begins, and how its numbers are written."""
    what, _, window = name.rpartition("_")
    if what == names.P_RETURN:
        return f"a new user returns within {_length(days(window))} with a chance of", _percent
    if what == names.ACTIVITIES:
        return f"activities of a new user in the first {_length(days(window))}:", "{:.0f}".format
    return _SENTENCES[name]


def _percent(part: float) -> str:
    if part < 0.005:
        return "less than 1 %"
    return "more than 99 %" if part > 0.995 else f"{100 * part:.0f} %"


def _length(time: float) -> str:
    """Write a length of time [days] in the unit that people would use."""
    for unit, size, least in (
        ("years", 365.25, 2.0),
        ("months", 30.44, 3.0),
        ("days", 1.0, 1.5),
        ("hours", 1 / 24, 1.0),
    ):
        if time >= least * size:
            return f"{time / size:,.0f} {unit}"
    return f"{time * 1_440:.2g} minutes"


_SENTENCES: dict[str, tuple[str, Callable[[float], str]]] = {
    names.HALF_LIFE: ("a user's interest halves in", _length),
    INTEREST_PER_WEEK: ("activities a week right after the acquisition:", "{:.2g}".format),
    names.P_NEVER: ("a new user never returns with a chance of", _percent),
    RESTORATION: ("the part of lost interest that a visit restores:", _percent),
}
