"""P(no activity of a kind) by ways that simulate nothing: the renewal equation, and a recursion over days.

A user's interest is ``interest`` at the cutoff and ``restored`` right after an activity there [per day], it decays at
``rate`` and a visit restores ``rho`` of it; ``pi`` is the share of the kind.
"""

from __future__ import annotations

import numpy as np

from bayesdecay import curves

__all__ = ["none_by_days", "none_by_quadrature", "none_by_renewal"]


def none_by_quadrature(interest, rate, restored, *, rho, pi, end, size=1_500) -> float:
    """Within ``end`` days, activities at any time, interest that fades exponentially."""
    return none_by_renewal(
        (interest, rate, np.inf),
        lambda time: (restored * np.exp(-rate * (1.0 - rho) * time), rate, np.inf),
        pi=pi,
        end=end,
        size=size,
    )


def none_by_renewal(now, after_one, *, pi, end, size=1_500) -> float:
    """Within ``end`` days, activities at any time: the renewal equation, backwards from the end on a fine grid.

    ``now`` is the interest, rate and shoulder at the cutoff, ``after_one`` gives them right after an activity at a time
    since.
    """
    times = np.linspace(0.0, end, size + 1)
    step = end / size

    def waits(state: tuple[float, float, float], start: int) -> tuple[np.ndarray, np.ndarray]:
        interest, rate, shoulder = state
        since = times[start:] - times[start]
        silent = np.exp(-interest * curves.decayed_time(rate, since, shoulder))
        return silent, curves.interest_after(interest, rate, since, shoulder) * silent

    after = np.ones(size + 1)
    for i in range(size - 1, -1, -1):
        silent, density = waits(after_one(times[i]), i)
        ahead = np.trapezoid(density[1:] * after[i + 1 :], dx=step) + 0.5 * step * density[1] * after[i + 1]
        # The value at the start of the interval stands on both sides of the equation.
        after[i] = (silent[-1] + (1.0 - pi) * ahead) / (1.0 - 0.5 * step * (1.0 - pi) * density[0])
    silent, density = waits(now, 0)
    return float(silent[-1] + (1.0 - pi) * np.trapezoid(density * after, dx=step))


def none_by_days(interest, rate, restored, *, rho, pi, days) -> float:
    """Within so many whole days, each active or not: what is left after each day that may be the last active one."""
    per_day = -np.expm1(-rate) / rate

    def from_day(level: float, start: int, after: list[float]) -> float:
        silent, found = 1.0, 0.0
        for day in range(start, days):
            stays = np.exp(-level * np.exp(-rate * (day - start)) * per_day)
            found += silent * (1.0 - stays) * (1.0 - pi) * after[day + 1]
            silent *= stays
        return found + silent

    after = [1.0] * (days + 1)
    for day in range(days - 1, 0, -1):
        after[day] = from_day(restored * np.exp(-rate * (1.0 - rho) * day), day, after)
    return from_day(interest, 0, after)
