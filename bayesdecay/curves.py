r"""The law of decay, in plain formulas: intensity, its integral, and the time of the next activity.

With the effective age :math:`V(t) = t - \rho L(t)`, ``L`` the last activity before ``t``, a user's intensity is
:math:`\lambda(t) = I_0 e^{-r g(V(t))}` [activities per day]. Aged time g is time itself where interest fades
exponentially. With a shoulder :math:`\tau` it is a power law of the age,

.. math:: g(V) = \tau \log(1 + V/\tau), \qquad e^{-r g(V)} = (1 + V/\tau)^{-r\tau},

which falls exponentially at the rate r while :math:`V \ll \tau`, and ever more slowly later.

In a silent stretch that starts at age V the interest is :math:`I = I_0 e^{-r g(V)}` and goes on to fade by the same
law, from the rate :math:`r/(1 + V/\tau)` and with the shoulder :math:`\tau + V`. Every function here takes these three,
the shoulder being infinite for the exponential law, works on numpy arrays, and most on PyTensor variables with
``xp=pytensor.tensor`` and a shoulder that is a plain number.

References
----------
Kijima, M. (1989). Some results for repairable systems with general repair. *J. Appl. Probab.* 26(1), 89-102.
https://doi.org/10.2307/3214319 (type I, :math:`q = 1 - \rho`). Utsu, T., Ogata, Y. and Matsu'ura, R. S. (1995). The
centenary of the Omori formula for a decay law of aftershock activity. *J. Phys. Earth* 43(1), 1-33.
https://doi.org/10.4294/jpe1952.43.1 (the power law, :math:`K (c + t)^{-p}` with :math:`c = \tau`, :math:`p = r\tau`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = [
    "EXPONENTIAL",
    "aged",
    "decayed_time",
    "effective_age",
    "half_life",
    "interest_after",
    "lasting",
    "p_return",
    "rate_after",
    "return_time",
    "shoulder_after",
]

# The shoulder of a law that has none.
EXPONENTIAL = math.inf
# In place of zero, by which nothing can be divided.
_NEXT_TO_NONE = 1e-300


def effective_age(t: Any, last: Any, rho: Any) -> Any:
    """Effective age V(t) [days] at time ``t`` since acquisition, the last activity being at ``last``."""
    return t - rho * last


def aged(time: Any, shoulder: Any = EXPONENTIAL, *, xp: Any = np) -> Any:
    """Aged time g [days] over a ``time`` [days] from where the shoulder is ``shoulder`` [days]."""
    return time if _none(shoulder) else shoulder * xp.log1p(time / shoulder)


def interest_after(interest: Any, rate: Any, silent: Any, shoulder: Any = EXPONENTIAL, *, xp: Any = np) -> Any:
    """Interest [activities per day] after a further silent time [days] at decay rate ``rate`` [per day]."""
    return interest * xp.exp(-rate * aged(silent, shoulder, xp=xp))


def rate_after(rate: Any, silent: Any, shoulder: Any = EXPONENTIAL) -> Any:
    """Decay rate [per day] after a further silent time [days]."""
    return rate / (1.0 + silent / shoulder)


def shoulder_after(silent: Any, shoulder: Any = EXPONENTIAL) -> Any:
    """Shoulder [days] after a further silent time [days]; infinite where there is none."""
    return EXPONENTIAL if _none(shoulder) else shoulder + silent


def half_life(rate: Any, shoulder: Any = EXPONENTIAL) -> Any:
    r"""Time [days] in which interest halves: :math:`\ln 2/r`, or :math:`\tau(2^{1/(r\tau)} - 1)`."""
    log_two = math.log(2.0)
    with np.errstate(over="ignore"):
        return log_two / rate if _none(shoulder) else shoulder * np.expm1(log_two / (rate * shoulder))


def decayed_time(rate: Any, length: Any, shoulder: Any = EXPONENTIAL, *, xp: Any = np) -> Any:
    r"""Integral [days] of what is left of an interest of one over a silent stretch of ``length`` h [days].

    :math:`\int_0^h e^{-r g(s)} ds = (1 - e^{-r' g(h)})/r'` with :math:`r' = r - 1/\tau`; over all time :math:`1/r'`, or
    without bound where :math:`r\tau \le 1`.
    """
    slope = _slope(rate, shoulder, xp=xp)
    return -xp.expm1(-slope * aged(length, shoulder, xp=xp)) / slope


def lasting(rate: Any, shoulder: Any = EXPONENTIAL) -> Any:
    r"""Integral [days] over all time: :math:`1/r`, or :math:`\tau/(r\tau - 1)`, infinite where that has no bound."""
    if _none(shoulder):
        return 1.0 / rate
    with np.errstate(divide="ignore"):
        return np.where(rate * shoulder > 1.0, 1.0 / np.abs(rate - 1.0 / shoulder), np.inf)


def p_return(interest: Any, rate: Any, horizon: Any, shoulder: Any = EXPONENTIAL, *, xp: Any = np) -> Any:
    """P(any activity within ``horizon`` [days]), the interest now and the decay rate being known."""
    return -xp.expm1(-interest * decayed_time(rate, horizon, shoulder, xp=xp))


def return_time(interest: Any, rate: Any, exposure: Any, shoulder: Any = EXPONENTIAL) -> Any:
    r"""Silent time [days] after which the integrated intensity reaches ``exposure``; infinite if it never does.

    With ``exposure`` drawn from Exponential(1) this is a draw of the time to the next activity.
    """
    slope = _slope(rate, shoulder)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gone = exposure * slope / interest
        # Not log(1 - gone): of a busy user who hardly fades gone is below 1e-16, and the time would be 0.
        time = np.where(gone < 1.0, -np.log1p(-gone) / slope, np.inf)
        return time if _none(shoulder) else shoulder * np.expm1(time / shoulder)


def _none(shoulder: Any) -> bool:
    """Whether the law is exponential."""
    return np.ndim(shoulder) == 0 and math.isinf(shoulder)


def _slope(rate: Any, shoulder: Any, *, xp: Any = np) -> Any:
    """Rate [per day] at which what is to come falls with aged time, never zero."""
    if _none(shoulder):
        return rate
    slope = rate - 1.0 / shoulder
    return xp.where(xp.abs(slope) < _NEXT_TO_NONE, _NEXT_TO_NONE, slope)
