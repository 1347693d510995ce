r"""The marginal model's mathematics: a grid of decay rates, and what the population has at each of them.

A user's initial interest is integrated out in closed form and the decay rate by quadrature on fixed rates
:math:`r_1 < \dots < r_K`, equally spaced in the logarithm. With the user's number of activities n, ages A and
exposures E, which :mod:`bayesdecay.model.user_statistics` has,

.. math::

    p(u) = \sum_k w_k \frac{\Gamma(\alpha+n)}{\Gamma(\alpha)} \beta_k^\alpha e^{-r_k A}
            (\beta_k + E_k)^{-(\alpha+n)}, \qquad \beta_k = \alpha / m_k .

A and E depend on the restoration :math:`\rho` smoothly, so A and log E are kept on a few Chebyshev nodes of it.

Users may be of two kinds. A regular's interest does not fade; it is one more rate of the sum, so slow that no log can
tell it from none, with a weight and a mean of its own:

.. math::

    w_k = (1 - \pi)\,w(\log r_k), \quad w_{K+1} = \pi, \qquad \log m_{K+1} = \mu_I + \nu .
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesdecay.curves import EXPONENTIAL
from bayesdecay.data.history import History
from bayesdecay.errors import unknown_name
from bayesdecay.units import Duration, days

__all__ = [
    "CLOCKS",
    "DAYS",
    "FASTEST",
    "INSTANTS",
    "Grid",
    "chebyshev_nodes",
    "clock_of",
    "log_beta",
    "log_next_day",
    "log_weights",
    "shoulder_days",
    "with_regulars",
]

Floats = NDArray[np.float64]

# Measured on CDNOW (23,570 users): at a spacing of 0.4 in log r half of it moves the total log-likelihood by 2e-3, at
# 0.5 by 3e-2; the trapezoid rule is that good while the users' own posteriors are wider than it.
_SPACING = 0.4
# Half-lives from 1,700 times the longest history, where a user cannot be told from one that never fades, ...
_SLOWEST = 4e-4
# ... to a quarter of the log's time resolution, where a user is gone before the next activity could be seen.
FASTEST = 2.9
# Measured on CDNOW: 8 nodes leave 6e-3 in the total log-likelihood over all of [0, 1], 10 leave 1e-4.
_RESTORATION_NODES = 10
# Nodes over a part of them no wider than this: log E is interpolated to about 1e-6, as ten do over all of [0, 1].
_NARROW_NODES = {0.1: 4, 0.3: 5}
INSTANTS, DAYS = CLOCKS = ("instants", "days")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Decay rates [per day] and restorations at which users' statistics are computed.

    Parameters
    ----------
    rates : array (rate,)
        Rising decay rates, equally spaced in the logarithm.
    restorations : array (node,)
        One value where the restoration is fixed, else Chebyshev nodes (of the second kind) of an interval.
    regular : float
        Rate that stands for the interest of regulars, which does not fade; 0 where there are none.
    clock : {"instants", "days"}
        Whether activities happen at any time, or a day is active or not.
    shoulder : float
        Shoulder [days] of a power law; infinite where interest fades exponentially.
    """

    rates: Floats
    restorations: Floats
    regular: float = 0.0
    clock: str = INSTANTS
    shoulder: float = EXPONENTIAL

    def __post_init__(self) -> None:
        steps = np.diff(np.log(self.rates))
        if self.rates.size < 3 or steps.min() <= 0 or np.ptp(steps) > 1e-6 * steps.mean():
            raise ValueError("grid: expected at least three rising rates, equally spaced in the logarithm")

    @classmethod
    def covering(
        cls,
        longest: float,
        resolution: float,
        *,
        restoration: float | None = None,
        n_rates: int | None = None,
        regulars: bool = False,
        clock: str = INSTANTS,
        shoulder: float = EXPONENTIAL,
    ) -> Grid:
        """Grid for histories up to ``longest`` [days] of a log that tells times ``resolution`` [days] apart."""
        slowest = _SLOWEST / max(longest, resolution)
        low, high = math.log(slowest), math.log(FASTEST / resolution)
        count = n_rates or _in_registers((high - low) / _SPACING + 1)
        nodes = np.array([restoration]) if restoration is not None else chebyshev_nodes(0.0, 1.0, _RESTORATION_NODES)
        rates = np.exp(np.linspace(low, high, count))
        regular = slowest if regulars else 0.0
        return cls(rates=rates, restorations=nodes, regular=regular, clock=clock, shoulder=shoulder)

    @property
    def is_power(self) -> bool:
        """Whether interest falls by a power law."""
        return not math.isinf(self.shoulder)

    @property
    def all_rates(self) -> Floats:
        """Rates of all terms of the sum: those of the grid, and the regulars' after them, if there are any."""
        return np.append(self.rates, self.regular) if self.regular else self.rates

    @property
    def next_day(self) -> Floats:
        """Part of a day's interest that is left when the day ends (rate,); 1 where activities are instants.

        And 1 by a power law, where that part depends on the age.
        """
        clock = INSTANTS if self.is_power else self.clock
        return np.asarray(np.exp(log_next_day(self.all_rates, clock)))

    @property
    def forever(self) -> Floats:
        """What an interest of one a day comes to ever after (rate,) [days]; of whole days from the next one on."""
        return self.next_day / self.all_rates

    @property
    def spacing(self) -> float:
        """Distance of two neighbouring rates in the logarithm."""
        return float(np.log(self.rates[1] / self.rates[0]))

    def with_law(self, other: Grid) -> Grid:
        """Return the same rates and restorations, with another grid's clock, shoulder and regulars."""
        return replace(self, clock=other.clock, shoulder=other.shoulder, regular=other.regular)

    def finer(self, factor: float = 2.0) -> Grid:
        """Return a grid over the same range whose spacing is ``factor`` times smaller, or a little more."""
        low, high = np.log(self.rates[[0, -1]])
        count = _in_registers(factor * (self.rates.size - 1) + 1)
        return replace(self, rates=np.exp(np.linspace(low, high, count)))

    def narrowed(self, low: float, high: float) -> Grid:
        """Return the grid with fewer nodes, on a part of the restorations; itself if that is much of them."""
        low, high = max(low, self.restorations[0]), min(high, self.restorations[-1])
        count = next((nodes for width, nodes in _NARROW_NODES.items() if high - low <= width), None)
        if count is None or self.restorations.size < _RESTORATION_NODES:
            return self
        return replace(self, restorations=chebyshev_nodes(low, high, count))

    def interpolation(self, rho: float | Floats) -> Floats:
        """Weights that make a value at restoration ``rho`` of values at the nodes: (node,), or (node, sample)."""
        if self.restorations.size == 1:
            return np.ones((1, *np.shape(rho)))
        low, high = self.restorations[0], self.restorations[-1]
        place = (2.0 * np.asarray(rho) - low - high) / (high - low)
        return self.lagrange @ np.power.outer(place, np.arange(self.restorations.size)).T

    @property
    def lagrange(self) -> Floats:
        """Coefficients (node, power) of the nodes' Lagrange polynomials, their interval being [-1, 1]."""
        if self.restorations.size == 1:
            return np.ones((1, 1))
        nodes = chebyshev_nodes(-1.0, 1.0, self.restorations.size)
        return np.linalg.inv(np.vander(nodes, increasing=True)).T


def _in_registers(count: float) -> int:
    """Round a number of rates up to whole vector registers: 38 rates take a third longer than 40."""
    return 8 * math.ceil(count / 8)


def chebyshev_nodes(low: float, high: float, count: int) -> Floats:
    """Chebyshev nodes of the second kind on [low, high], both ends among them."""
    return low + (high - low) * (1.0 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2.0


def log_next_day(rates: Any, clock: str, *, xp: Any = np) -> Any:
    """Logarithm of the part r/(e^r - 1) of a day's interest that is left when the day ends; 0 between instants."""
    if clock == INSTANTS:
        return xp.zeros_like(rates)
    return xp.log(rates) - rates - xp.log(-xp.expm1(-rates))


def clock_of(history: History, asked: str | None) -> str:
    """Clock of a history's activities: its unit's own unless another was asked for.

    Raises
    ------
    ValueError
        If the clock is unknown, or of days where activities are not days.
    """
    if asked is None:
        return DAYS if history.activity == "day" else INSTANTS
    if asked not in CLOCKS:
        raise unknown_name("clock", asked, CLOCKS)
    if asked == DAYS and history.activity != "day":
        raise ValueError(
            f"clock='days' is for active days, the history's unit of activity is the {history.activity}; "
            "summarize the log with activity='day', or leave clock out"
        )
    return asked


def shoulder_days(shoulder: Duration | None) -> float:
    """Shoulder [days] that a user gave: a duration above zero, or infinity, or None for the exponential law.

    Raises
    ------
    ValueError
        If it is not above zero.
    """
    found = EXPONENTIAL if shoulder is None or shoulder == EXPONENTIAL else days(shoulder)
    if not found > 0.0:
        raise ValueError(
            f"shoulder must be above zero, got {shoulder!r}; math.inf, or 'none' on the command line, is the "
            "exponential law"
        )
    return found


def log_weights(log_rates: Any, mu: Any, sigma: Any, *, xp: Any = np) -> Any:
    """Logarithm of the population's share at each rate: Normal(mu, sigma) in log r, cut off at the ends of the grid.

    Trapezoid rule, normalised over the last axis: the two end rates stand for half a cell. With whole cells the total
    log-likelihood of CDNOW would still move by 0.03 when the grid is doubled.
    """
    half_cells = np.zeros(log_rates.shape[-1])
    half_cells[[0, -1]] = np.log(0.5)
    log_density = -0.5 * ((log_rates - mu) / sigma) ** 2 + half_cells
    top = xp.max(log_density, axis=-1, keepdims=True)
    return log_density - top - xp.log(xp.sum(xp.exp(log_density - top), axis=-1, keepdims=True))


def log_beta(log_rates: Any, location: Any, parameters: dict[str, Any], *, xp: Any = np) -> Any:
    r"""Logarithm of :math:`\beta_k = \alpha/m_k`, with log m = mu_I + kappa z and z = (log r - mu_r)/sigma_r.

    ``location`` is the pair (mu_r, mu_I), ``parameters`` holds ``alpha``, ``kappa`` and ``sigma_r``.
    """
    mu_r, mu_i = location
    z = (log_rates - mu_r) / parameters["sigma_r"]
    return xp.log(parameters["alpha"]) - mu_i - parameters["kappa"] * z


def with_regulars(
    log_weight: Any, log_beta_k: Any, alpha: Any, regulars: tuple[Any, Any, Any], *, xp: Any = np
) -> tuple[Any, Any]:
    """Put the regulars' term after those of the grid, (..., rate): logarithms of the weights and of beta.

    ``alpha`` and the three of ``regulars`` have a last axis of length one or none: their share, mu_I, and how much the
    logarithm of their mean interest lies above it.
    """
    share, mu_i, shift = regulars
    last = xp.log(share) + xp.zeros_like(log_weight[..., :1])
    own_beta = xp.log(alpha) - mu_i - shift + xp.zeros_like(log_beta_k[..., :1])
    weights = xp.concatenate([log_weight + xp.log1p(-share), last], axis=-1)
    return weights, xp.concatenate([log_beta_k, own_beta], axis=-1)
