r"""The law of decay, in plain formulas: intensity, its integral, and the time of the next activity.

With the effective age :math:`V(t) = t - \rho L(t)`, ``L`` the last activity before ``t``, a user's intensity is
:math:`\lambda(t) = I_0 e^{-r V(t)}` [activities per day]. In a silent stretch that starts at age ``V`` the
interest is :math:`I = I_0 e^{-rV}` and goes on to fade as :math:`I e^{-rs}`. Every function here takes that
``I``, works on numpy arrays, and on PyTensor variables with ``xp=pytensor.tensor``.

References
----------
Kijima, M. (1989). Some results for repairable systems with general repair. *J. Appl. Probab.* 26(1), 89-102.
https://doi.org/10.2307/3214319 (type I, :math:`q = 1 - \rho`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["decayed_time", "effective_age", "interest_after", "p_return", "return_time"]


def effective_age(t: Any, last: Any, rho: Any) -> Any:
    """Effective age V(t) [days] at time ``t`` since acquisition, the last activity being at ``last``."""
    return t - rho * last


def interest_after(interest: Any, rate: Any, silent: Any, *, xp: Any = np) -> Any:
    """Interest [activities per day] after a further silent time [days] at decay rate ``rate`` [per day]."""
    return interest * xp.exp(-rate * silent)


def decayed_time(rate: Any, length: Any, *, xp: Any = np) -> Any:
    r"""Integral :math:`\int_0^h e^{-rs} ds = (1 - e^{-rh})/r` [days] over a silent stretch of ``length`` h."""
    return -xp.expm1(-rate * length) / rate


def p_return(interest: Any, rate: Any, horizon: Any, *, xp: Any = np) -> Any:
    """P(any activity within ``horizon`` [days]), the interest now and the decay rate being known."""
    return -xp.expm1(-interest * decayed_time(rate, horizon, xp=xp))


def return_time(interest: Any, rate: Any, exposure: Any) -> Any:
    r"""Silent time [days] after which the integrated intensity reaches ``exposure``; infinite if it never does.

    With ``exposure`` drawn from Exponential(1) this is a draw of the time to the next activity.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        gone = exposure * rate / interest
        # Not log(1 - gone): of a busy user who hardly fades gone is below 1e-16, and the time would be 0.
        return np.where(gone < 1.0, -np.log1p(-gone) / rate, np.inf)
