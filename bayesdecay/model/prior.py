"""Priors as data: a distribution by name, its parameters, and the reason in the user's words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from scipy import stats

from bayesdecay.errors import unknown_name

__all__ = [
    "DECAY_PRIORS",
    "EFFECT_PRIORS",
    "REACTIVATION_PRIORS",
    "REGULAR_PRIORS",
    "SHOULDER_PRIORS",
    "Prior",
    "priors_table",
    "with_changes",
]

# Parameters each distribution takes, in PyMC's words, and the same distribution in scipy for tables and draws.
_DISTRIBUTIONS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "Normal": (("mu", "sigma"), lambda mu, sigma: stats.norm(mu, sigma)),
    "HalfNormal": (("sigma",), lambda sigma: stats.halfnorm(scale=sigma)),
    "LogNormal": (("mu", "sigma"), lambda mu, sigma: stats.lognorm(sigma, scale=math.exp(mu))),
    "Uniform": (("lower", "upper"), lambda lower, upper: stats.uniform(lower, upper - lower)),
    "Beta": (("alpha", "beta"), lambda alpha, beta: stats.beta(alpha, beta)),
    "Exponential": (("lam",), lambda lam: stats.expon(scale=1 / lam)),
}


# Parameters of the same distribution of a multiple of the variable; a Beta of a multiple is none.
_SCALED: dict[str, Callable[..., dict[str, float]]] = {
    "Normal": lambda factor, mu, sigma: {"mu": factor * mu, "sigma": factor * sigma},
    "HalfNormal": lambda factor, sigma: {"sigma": factor * sigma},
    "LogNormal": lambda factor, mu, sigma: {"mu": math.log(factor) + mu, "sigma": sigma},
    "Uniform": lambda factor, lower, upper: {"lower": factor * lower, "upper": factor * upper},
    "Exponential": lambda factor, lam: {"lam": lam / factor},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Prior distribution of one parameter.

    Parameters
    ----------
    distribution : str
        One of Normal, HalfNormal, LogNormal, Uniform, Beta, Exponential.
    parameters : mapping
        The distribution's parameters by PyMC's names.
    reason : str
        Why this prior, in the user's terms.

    Raises
    ------
    ValueError
        If the distribution or one of its parameters is unknown, missing, not finite or impossible.
    """

    distribution: str
    parameters: Mapping[str, float]
    reason: str = "set by the user"

    def __post_init__(self) -> None:
        if self.distribution not in _DISTRIBUTIONS:
            raise unknown_name("distribution", self.distribution, _DISTRIBUTIONS)
        wanted = _DISTRIBUTIONS[self.distribution][0]
        if set(self.parameters) != set(wanted):
            raise ValueError(
                f"{self.distribution} takes {', '.join(wanted)}, got {', '.join(self.parameters) or 'none'}"
            )
        if not all(math.isfinite(value) for value in self.parameters.values()):
            raise ValueError(f"{self.distribution}: parameters must be finite, got {dict(self.parameters)}")
        if not math.isfinite(self.frozen().median()):
            raise ValueError(f"{self.distribution} does not exist with the parameters {dict(self.parameters)}")

    def frozen(self) -> stats.rv_continuous:
        """Return the same distribution in scipy, for quantiles and draws."""
        return _DISTRIBUTIONS[self.distribution][1](**self.parameters)

    def scaled(self, factor: float) -> Prior:
        """Return the prior of ``factor`` times the parameter, the factor above zero.

        Raises
        ------
        ValueError
            If the distribution is one that a multiple does not have.
        """
        if self.distribution not in _SCALED:
            raise ValueError(
                f"{self} is the prior of a number in [0, 1], which has no scale; take one of {', '.join(_SCALED)}"
            )
        return replace(self, parameters=_SCALED[self.distribution](factor, **self.parameters))

    def __str__(self) -> str:
        return f"{self.distribution}({', '.join(f'{value:g}' for value in self.parameters.values())})"


DECAY_PRIORS: Mapping[str, Prior] = {
    "mu_log_rate": Prior(
        distribution="Normal",
        parameters={"mu": math.log(math.log(2) / 30), "sigma": 1.65},
        reason="the typical user's half-life: median 30 days, 90 % between 2 days and 15 months",
    ),
    "sigma_log_rate": Prior(
        distribution="HalfNormal",
        parameters={"sigma": 1.5},
        reason="users' half-lives differ by a factor of about e at first guess; up to a factor of 20 is no surprise",
    ),
    "mu_log_interest": Prior(
        distribution="Normal",
        parameters={"mu": math.log(1 / 14), "sigma": 1.5},
        reason="a typical new user's activity: one in two weeks, 90 % between one a day and one in five months",
    ),
    "kappa": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 1.0},
        reason="users who fade faster may start more or less interested; no side is favoured",
    ),
    "alpha": Prior(
        distribution="LogNormal",
        parameters={"mu": 0.0, "sigma": 1.0},
        reason="initial interests of users with equal half-lives: from one user in five all but idle to nearly alike",
    ),
    "rho": Prior(
        distribution="Uniform",
        parameters={"lower": 0.0, "upper": 1.0},
        reason="a visit restores anything from nothing to all of the lost interest",
    ),
    "tau_log_rate": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(0.25), "sigma": 0.7},
        reason="groups' typical half-lives differ by a quarter or so, 90 % between 8 % and a factor of two",
    ),
    "tau_log_interest": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(0.25), "sigma": 0.7},
        reason="groups' typical first interests differ by a quarter or so, 90 % between 8 % and a factor of two",
    ),
    "delta": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 0.5},
        reason="one standard deviation of a covariate changes the half-life by less than a factor of two or so",
    ),
    "gamma": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 0.5},
        reason="one standard deviation of a covariate changes the first interest by less than a factor of two or so",
    ),
    "sigma_walk": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(0.025), "sigma": 0.7},
        reason="the pace of all, which no user's past foretells, drifts by some 18 % a year, 90 % between 6 and 57 %",
    ),
    "sigma_week": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(0.1), "sigma": 0.7},
        reason="a single week is some 10 % busier or quieter for all than those around it, 90 % between 3 and 32 %",
    ),
    "sigma_season": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(0.08), "sigma": 1.0},
        reason="for some weeks on end all are 8 % busier or quieter than usual, 90 % between 1.5 and 41 %",
    ),
    "share_recurring": Prior(
        distribution="Beta",
        parameters={"alpha": 2.0, "beta": 2.0},
        reason="whether this comes again a year later cannot be told of one year: half of it, 90 % from 14 to 86 %",
    ),
    "sigma_holiday": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(0.05), "sigma": 1.0},
        reason="a single week of the year is 5 % busier or quieter every year, 90 % between 1 and 26 %",
    ),
}


# Where some users are regulars, those who fade may all fade alike; a half-normal prior would let the spread of their
# half-lives go to nothing, where no grid of rates is fine enough (seen on 847 shoppers with 21 active days each).
REGULAR_PRIORS: Mapping[str, Prior] = {
    "sigma_log_rate": Prior(
        distribution="LogNormal",
        parameters={"mu": 0.0, "sigma": 0.5},
        reason="half-lives of those who fade differ by a factor of about e, 90 % between factors of 1.6 and 10",
    ),
    "share_regular": Prior(
        distribution="Beta",
        parameters={"alpha": 1.0, "beta": 4.0},
        reason="users whose interest does not fade: median 16 %, 90 % between 1 % and 53 %, more if the data say so",
    ),
    "shift_regular": Prior(
        distribution="Normal",
        parameters={"mu": 1.0, "sigma": 0.5},
        reason="a regular comes 2.7 times as often as a typical user at first, 90 % between 1.2 and 6 times",
    ),
}


SHOULDER_PRIORS: Mapping[str, Prior] = {
    "shoulder": Prior(
        distribution="LogNormal",
        parameters={"mu": math.log(30.0), "sigma": 1.0},
        reason="interest falls exponentially for a month, 90 % between 6 days and 5 months, and more slowly later",
    ),
}


REACTIVATION_PRIORS: Mapping[str, Prior] = {
    "intercept": Prior(
        distribution="Normal",
        parameters={"mu": -1.5, "sigma": 1.5},
        reason="share of average lapsed users who return: median 18 %, 90 % between 2 % and 72 %",
    ),
    "slope": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 1.0},
        reason="one standard deviation of a feature multiplies the odds by less than five, up or down",
    ),
    "slope_interest": Prior(
        distribution="Normal",
        parameters={"mu": 1.0, "sigma": 1.0},
        reason="of log interest itself: e times the interest, e times the odds, if the law of decay is all there is "
        "and returns are rare; by how much is open, the other way round is a surprise",
    ),
    "tau_intercept": Prior(
        distribution="HalfNormal",
        parameters={"sigma": 0.5},
        reason="odds differ between groups by less than a factor of three unless the data say more",
    ),
    "tau_slope": Prior(
        distribution="HalfNormal",
        parameters={"sigma": 0.3},
        reason="a feature works alike in all groups unless the data say otherwise",
    ),
}


EFFECT_PRIORS: Mapping[str, Prior] = {
    **REACTIVATION_PRIORS,
    "intercept": Prior(
        distribution="Normal",
        parameters={"mu": -2.0, "sigma": 2.0},
        reason="share of average users with the outcome if left alone: median 12 %, 90 % between 0.5 % and 78 %",
    ),
    "effect": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 0.5},
        reason="a contact multiplies an average user's odds by less than 2.3, up or down; no side is favoured",
    ),
    "effect_by_response": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 0.25},
        reason="the effect on the log-odds may be weaker or stronger for those who would come anyway, by less than "
        "half of what sets them apart",
    ),
    "tau_effect": Prior(
        distribution="HalfNormal",
        parameters={"sigma": 0.25},
        reason="one standard deviation of a feature changes the effect by little unless the data say more",
    ),
    "amount_intercept": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 1.0},
        reason="an average user who buys spends the mean amount, give or take a factor of five",
    ),
    "amount_slope": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 0.3},
        reason="one standard deviation of a feature changes the amount by less than a factor of 1.6",
    ),
    "amount_effect": Prior(
        distribution="Normal",
        parameters={"mu": 0.0, "sigma": 0.3},
        reason="a contact changes what a buyer spends by less than a factor of 1.6, up or down",
    ),
    "tau_amount_effect": Prior(
        distribution="HalfNormal",
        parameters={"sigma": 0.1},
        reason="what a contact does to a buyer's amount is much the same for all unless the data say otherwise",
    ),
    "amount_shape": Prior(
        distribution="LogNormal",
        parameters={"mu": 0.0, "sigma": 0.7},
        reason="amounts vary by their own mean or so, from half to twice of it",
    ),
}


def with_changes(defaults: Mapping[str, Prior], changes: Mapping[str, Prior]) -> dict[str, Prior]:
    """Return the default priors with some replaced.

    Raises
    ------
    ValueError
        If a name is not among the defaults, or the prior allows values that the parameter cannot take.
    TypeError
        If a replacement is not a :class:`Prior`.
    """
    for name, prior in changes.items():
        if name not in defaults:
            raise unknown_name("prior", name, defaults)
        if not isinstance(prior, Prior):
            raise TypeError(f"prior {name!r}: expected a Prior, got {prior!r}")
        (low, high), (least, most) = prior.frozen().support(), defaults[name].frozen().support()
        if low < least or high > most:
            raise ValueError(f"prior {name!r}: {prior} allows values outside [{least:g}, {most:g}], where it must stay")
    return {**defaults, **changes}


def priors_table(priors: Mapping[str, Prior]) -> pd.DataFrame:
    """Tidy table of priors: parameter, prior, its median and 90 % range, and the reason."""
    rows = []
    for name, prior in priors.items():
        low, median, high = prior.frozen().ppf([0.05, 0.5, 0.95])
        rows.append((name, str(prior), median, low, high, prior.reason))
    return pd.DataFrame(rows, columns=["parameter", "prior", "median", "5 %", "95 %", "reason"])
