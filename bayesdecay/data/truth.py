"""What simulated users are drawn from: a population's parameters in user terms, and a randomised coupon."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bayesdecay.curves import EXPONENTIAL
from bayesdecay.units import Duration, days

__all__ = ["NEVER_FADES", "Coupon", "Population"]

# Decay rate of a regular [per day]: a half-life of some two million years.
NEVER_FADES = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The truth that users are drawn from.

    Attributes
    ----------
    half_life : duration or mapping of group to duration
        Median half-life of interest [days]; with a shoulder, what it would be at the users' first rates.
    half_life_spread : float
        sigma_r, the standard deviation of log decay rates between users.
    interest : float or mapping of group to float
        Mean interest right after the acquisition of a user with the median half-life [activities per day].
    interest_shape : float
        alpha, the shape of the Gamma distribution of initial interest; small is uneven.
    coupling : float
        kappa: above zero, those whose interest fades fast begin with more of it.
    restoration : float
        rho in [0, 1], the part of lost interest that a visit restores.
    shoulder : duration, optional
        Age from which on interest falls by a power law; exponentially for ever unless given.
    regulars : float
        pi, the share of users whose interest does not fade.
    regulars_shift : float
        nu: their mean interest is e^nu times that of a user with the median half-life.
    covariates : mapping of name to (float, float)
        Effects of a standard normal covariate on log rate and on log interest.
    kinds : mapping of kind to float
        Mean shares of the kinds of events; they are scaled to sum to one.
    kind_concentration : float
        How alike users' shares are: the concentration of their Dirichlet distribution.
    """

    half_life: Duration | Mapping[str, Duration] = 30.0
    half_life_spread: float = 1.0
    interest: float | Mapping[str, float] = 0.2
    interest_shape: float = 1.0
    coupling: float = 0.0
    restoration: float = 0.0
    shoulder: Duration | None = None
    regulars: float = 0.0
    regulars_shift: float = 1.0
    covariates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    kinds: Mapping[str, float] = field(default_factory=dict)
    kind_concentration: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that no population has."""
        positive = {name: getattr(self, name) for name in ("interest_shape", "kind_concentration")}
        if self.shoulder is not None:
            _require_above_zero("shoulder", days(self.shoulder))
        positive |= {f"half_life {key}".strip(): days(value) for key, value in _by_group(self.half_life)}
        positive |= {f"interest {key}".strip(): value for key, value in _by_group(self.interest)}
        positive |= {f"the share of kind {kind!r}": share for kind, share in self.kinds.items()}
        for what, value in positive.items():
            _require_above_zero(what, value)
        for name, effects in self.covariates.items():
            if len(effects) != 2 or not all(map(math.isfinite, effects)):
                raise ValueError(f"covariate {name!r}: expected effects on log rate and log interest, got {effects!r}")
        if not 0 <= self.half_life_spread < math.inf:
            raise ValueError(f"half_life_spread must be finite and not negative, got {self.half_life_spread!r}")
        if not 0 <= self.restoration <= 1:
            raise ValueError(f"restoration is a part between 0 and 1, got {self.restoration!r}")
        if not 0 <= self.regulars < 1 or not math.isfinite(self.regulars_shift):
            raise ValueError(
                f"regulars is a share from 0 to below 1 and regulars_shift finite, got {self.regulars!r} and "
                f"{self.regulars_shift!r}"
            )
        _require_same_groups(self.half_life, self.interest)

    @property
    def shoulder_days(self) -> float:
        """Shoulder [days], infinite where interest fades exponentially."""
        return EXPONENTIAL if self.shoulder is None else days(self.shoulder)

    @property
    def groups(self) -> list[str]:
        """Names of the groups in the order given, empty without groups."""
        mapped = (value for value in (self.half_life, self.interest) if isinstance(value, Mapping))
        return list(next(mapped, ()))

    def truth(self) -> dict[str, float | dict[str, float]]:
        """Parameters under the model's names; those that differ by group or covariate are a dict."""
        values: dict[str, float | dict[str, float]] = {
            "mu_log_rate": _logs(self.half_life, lambda value: math.log(2) / days(value)),
            "sigma_log_rate": self.half_life_spread,
            "mu_log_interest": _logs(self.interest, float),
            "kappa": self.coupling,
            "alpha": self.interest_shape,
            "rho": self.restoration,
        }
        if self.regulars:
            values |= {"share_regular": self.regulars, "shift_regular": self.regulars_shift}
        if self.covariates:
            values["delta"] = {name: delta for name, (delta, _) in self.covariates.items()}
            values["gamma"] = {name: gamma for name, (_, gamma) in self.covariates.items()}
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """A randomised treatment: a coin decides which of the eligible users get it.

    Attributes
    ----------
    at : date or text
        The instant of the coupon, read as a cutoff is (a bare date is the end of that day); users acquired later are
        not eligible.
    effect : float
        What it adds to the log-odds of returning within the window, the same for every user.
    within : duration
        Length of the window in which it acts.
    share : float
        Probability that an eligible user gets it.
    lapsed_after : duration
        Only users silent for at least so long are eligible.
    """

    at: str | dt.date | pd.Timestamp
    effect: float
    within: Duration = "30d"
    share: float = 0.5
    lapsed_after: Duration = 0.0

    def __post_init__(self) -> None:
        """Refuse values that no coupon has."""
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie between 0 and 1, or nothing is randomised; got {self.share!r}")
        if not math.isfinite(self.effect):
            raise ValueError(f"effect must be a finite difference of log-odds, got {self.effect!r}")
        _require_above_zero("within", days(self.within))
        days(self.lapsed_after)


def _by_group(given: Any) -> list[tuple[str, Any]]:
    return [(repr(key), value) for key, value in given.items()] if isinstance(given, Mapping) else [("", given)]


def _require_above_zero(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what} must be finite and above zero, got {value!r}")


def _require_same_groups(*given: object) -> None:
    groups = [set(value) for value in given if isinstance(value, Mapping)]
    if any(names != groups[0] or not names for names in groups):
        raise ValueError(f"half_life and interest must name the same groups, got {groups}")


def _logs(given: Any, per_day: Callable[[Any], float]) -> float | dict[str, float]:
    if isinstance(given, Mapping):
        return {group: math.log(per_day(value)) for group, value in given.items()}
    return math.log(per_day(given))
