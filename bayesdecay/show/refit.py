r"""What fitting again would change: tried by the approximation, on as many users as take seconds.

In: a fit and newer data. Out: :class:`Refit`: how much better the new fit describes the data [nats a user], with the
standard error of the difference user by user (in batches), and how far the users' chances of a return would move.

The new fit has seen the data that it describes: with k parameters it gains about k nats in all for nothing, k/2 of
which are lost again by averaging over its posterior. A gain counts above that and beyond two standard errors.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from bayesdecay.data.calendar import Calendar
from bayesdecay.data.history import History
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.population import Population, total_loglik
from bayesdecay.model.prior import Prior
from bayesdecay.model.scoring import ScoreOptions, score
from bayesdecay.show.words import count, number, percent

__all__ = ["Refit", "refitted"]

_MOST_USERS, _BATCHES, _DRAWS = 10_000, 20, 20
_HORIZON = "30d"
_ERRORS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """A fit to the newer data beside the old one.

    Attributes
    ----------
    users
        Users that it was tried on.
    seconds
        Time that took.
    fault
        Why nothing can be told of it; empty where it can.
    gain, gain_se
        Log-likelihood per user, new less old, and its standard error [nats].
    for_nothing
        Gain per user that a fit with as many parameters has on its own data [nats].
    before, after, moved
        Mean P(return within 30 days) by the old and by the new fit, and the mean distance of users' own.
    """

    users: int
    seconds: float
    fault: str = ""
    gain: float = 0.0
    gain_se: float = 0.0
    for_nothing: float = 0.0
    before: float = 0.0
    after: float = 0.0
    moved: float = 0.0

    @property
    def told(self) -> bool:
        """Whether the new fit can be believed."""
        return not self.fault

    @property
    def gains(self) -> bool:
        """Whether it describes the data better, beyond what it gains for nothing and beyond chance."""
        return self.told and self.gain > self.for_nothing + _ERRORS * self.gain_se

    def to_dict(self) -> dict[str, Any]:
        """Return everything in what JSON knows."""
        return asdict(self) | {"gains": self.gains}

    def __str__(self) -> str:
        took = f"(tried on {count(self.users)} users, {self.seconds:.0f} s)"
        if self.fault:
            return f"A quick new fit cannot tell what it would change {took}: {self.fault}."
        better = f"{number(self.gain)} ± {number(_ERRORS * self.gain_se)} nats a user"
        what = f"describes all users better by {better}" if self.gains else f"describes them no better ({better})"
        return (
            f"A new fit {what}, and would move the users' chances of a return within 30 days by "
            f"{100 * self.moved:.1f} points on average, from {percent(self.before)} to {percent(self.after)} {took}."
        )


def refitted(fit: DecayFit, history: History, *, rng: np.random.Generator) -> Refit:
    """Fit again, with the model's own settings, and compare."""
    start = time.perf_counter()
    rows = np.arange(len(history))
    if len(history) > _MOST_USERS:
        rows = np.sort(rng.choice(len(history), _MOST_USERS, replace=False))
    users = history.over(history.table.take(pa.array(rows)))
    seed = int(rng.integers(2**31))
    new = _model(fit).fit(users, method="laplace", random_seed=seed)
    if not new.verdict.converged:
        return Refit(users=len(users), seconds=time.perf_counter() - start, fault=str(new.verdict))
    old_draws, new_draws = fit.population(_DRAWS), new.population(_DRAWS)
    gain, error = _gain(old_draws, new_draws, users, rng)
    options = ScoreOptions(horizons=[_HORIZON], random_seed=seed)
    p = [score(one, users, options).table[f"p_return_{_HORIZON}"].to_numpy() for one in (old_draws, new_draws)]
    free = sum(1 for values in new.idata["posterior"].data_vars.values() if not values.attrs.get("fixed", 0))
    return Refit(
        users=len(users),
        seconds=time.perf_counter() - start,
        gain=gain,
        gain_se=error,
        for_nothing=free / len(users),
        before=float(p[0].mean()),
        after=float(p[1].mean()),
        moved=float(np.abs(p[1] - p[0]).mean()),
    )


def _model(fit: DecayFit) -> DecayModel:
    """The model as it was described when it was fitted; what was left to the log then is left to it again."""
    told = json.loads(fit.idata.attrs["model"])
    found = DecayModel(
        regulars=bool(told.get("regulars")),
        calendar=Calendar(**told["calendar"]) if told.get("calendar") else None,
        **{name: told.get(name) for name in ("restoration", "coupling", "rates", "clock")},
    )
    defaults = found.priors_in_force()
    priors = {name: Prior(**prior) for name, prior in told.get("priors", {}).items()}
    own = {name: prior for name, prior in priors.items() if prior != defaults.get(name)}
    left = "log_bayes_factor_of_regulars" in told
    shoulder = None if "shoulder" in priors else told.get("shoulder", math.inf)
    return replace(found, priors=own, regulars=None if left else found.regulars, shoulder=shoulder)


def _gain(old: Population, new: Population, users: History, rng: np.random.Generator) -> tuple[float, float]:
    """Mean log-likelihood of a user by the new fit less that by the old one, over their draws, with its error."""
    block, grid = next(users.blocks(len(users))), DecayModel().grid(users).finer()
    batches = np.array_split(rng.permutation(len(users)), min(_BATCHES, len(users)))
    gains, sizes = [], np.array([len(batch) for batch in batches])
    for batch in batches:
        own, weight = block.take(batch), np.ones(len(batch))
        by_old, by_new = (total_loglik(one, own, weight, grid.with_law(one.grid)).mean() for one in (old, new))
        gains.append((by_new - by_old) / len(batch))
    spread = np.std(gains, ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
    return float(np.average(gains, weights=sizes)), float(spread)
