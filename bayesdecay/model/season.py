r"""What comes again a year later: how alike the pace of all is in two weeks, a season's part of it.

In: weeks of a log as places on a line, the cutoff at 0. Out: covariances between weeks, for a standard deviation of
one, and from draws of the year ahead the factors of all weeks to come.

.. math::

    s_w = \sigma_{season} (\sqrt{\rho}\, a_w + \sqrt{1 - \rho}\, b_w) + \sigma_{holiday}\, h_w,\quad
    \mathrm{Cov}(a_v, a_w) = \tfrac12 k_8(d) + \tfrac12 k_{2.5}(d),\quad
    \mathrm{Cov}(b_v, b_w) = k_4(|v - w|),\quad
    \mathrm{Cov}(h_v, h_w) = (1 - d)_+

with :math:`d` the distance of two weeks in the year, whichever years they are of, and
:math:`k_\ell(d) = \exp(-d^2/2\ell^2)`, on the circle of a year :math:`\exp(-2\sin^2(\pi d/Y)/(2\pi\ell/Y)^2)`. So
of what was out of the ordinary for some weeks on end the share :math:`\rho` comes again a year later, be it as long as
summer or the weeks before Christmas, and single weeks of the year, the holidays, may have a factor of their own. Both
are given up to three times and six times their standard deviation around Christmas and New Year.

References
----------
MacKay, D. J. C. (1998). Introduction to Gaussian processes (periodic covariances).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AHEAD", "Alike", "season_factors"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_YEAR = 365.2425 / 7.0
# Weeks of the year ahead that are drawn, the last one in part of the year after: later years repeat them.
AHEAD = 53
# Halves of a season by the weeks that they last: a half-year's ups and downs, and a run-up to Christmas.
_LONG, _SHORT = 8.0, 2.5
# Weeks that something lasts which does not come again.
_PASSING = 4.0
# The year's end is where seasons are most: by how much a season's and a holiday's standard deviation are larger, around
# which day of the year, and for how many days. Presents are bought in November and December, and then many shops close.
_END = ((2.0, 335.0, 25.0), (5.0, 362.0, 6.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Covariances between periods of a log and then the weeks ahead (place, place), standard deviations being one.

    ``walk`` and ``week``: of the level, which stays as it is after the cutoff, and of the periods' own; ``recurring``,
    ``passing`` and ``holiday``: a, b and h above. All of them as far as they lie above what is expected.
    """

    walk: Floats
    week: Floats
    recurring: Floats
    passing: Floats
    holiday: Floats

    @classmethod
    def of(cls, back: Integers, weeks: int, expected: Floats, response: Floats, *, day: float = 0.0) -> Alike:
        """Of periods that end so many periods before the cutoff (period,), each of so many weeks.

        ``response`` (lag,) of what is expected to earlier periods; the level's mean, weighted by ``expected``, is zero;
        the cutoff is so many days after the begin of a year.
        """
        # A period is the mean of its weeks, each at its middle.
        parts = -weeks * back[:, None] - np.arange(weeks) - 0.5
        place = np.concatenate([parts.ravel(), np.arange(AHEAD) + 0.5])
        starts = np.concatenate([np.arange(back.size) * weeks, back.size * weeks + np.arange(AHEAD)])
        size = np.where(np.arange(starts.size) < back.size, weeks, 1)
        beside = _beside_expected(back, response)

        def seen(of_places: Floats) -> Floats:
            return np.asarray(beside @ of_places @ beside.T)

        def means(of_weeks: Floats) -> Floats:
            for axis in (0, 1):
                of_weeks = np.add.reduceat(of_weeks, starts, axis=axis)
            return seen(of_weeks / np.outer(size, size))

        lag = np.subtract.outer(place, place)
        within = np.abs(lag - _YEAR * np.round(lag / _YEAR))
        most, closed = (
            1.0 + more * np.exp(-0.5 * (_days_from(place, day, top) / wide) ** 2) for more, top, wide in _END
        )
        own = np.where(np.arange(starts.size) < back.size, 1.0 / weeks, 0.0)
        return cls(
            walk=seen(weeks * _centred_walk(back, expected)),
            week=seen(np.diag(own)),
            recurring=means(np.outer(most, most) * _recurring(lag)),
            passing=means(np.exp(-0.5 * (lag / _PASSING) ** 2)),
            holiday=means(np.outer(closed, closed) * np.maximum(1.0 - within, 0.0)),
        )

    def season(self, point: Floats, first: int | None = None) -> Floats:
        """Covariance of s at a point, of all places or the first ones."""
        (*_, season, share, holiday), some = point, (slice(first), slice(first))
        of_season = share * self.recurring[some] + (1.0 - share) * self.passing[some]
        return np.asarray(season**2 * of_season + holiday**2 * self.holiday[some])

    def pace(self, point: Floats, first: int | None = None) -> Floats:
        """Covariance of what is shared but the season at a point, of all places or the first ones."""
        walk, week, *_ = point
        some = (slice(first), slice(first))
        return np.asarray(walk**2 * self.walk[some] + week**2 * self.week[some])


def season_factors(log_season: Floats, weeks: int) -> Floats:
    """Factors (sample, week) of so many weeks after the cutoff, from the logarithms (sample, week) of a year's.

    Beyond the last week, where paths stand still, it is the year's mean.
    """
    place = np.arange(weeks) + 0.5
    of_year = np.minimum((place % _YEAR).astype(np.int64), AHEAD - 1)
    year = np.exp(log_season)
    found = year[:, of_year]
    found[:, -1] = year[:, : AHEAD - 1].mean(axis=1)
    return np.asarray(found)


def _beside_expected(back: Integers, response: Floats) -> Floats:
    """From the pace of periods and weeks ahead to how far it lies above what is expected (place, place).

    What is expected of the weeks ahead is so at the cutoff, for all of them alike.
    """
    found = np.eye(back.size + AHEAD)
    lag = np.subtract.outer(back, back).T
    found[: back.size, : back.size] -= np.where(lag > 0, response[np.maximum(lag, 1) - 1], 0.0)
    found[back.size :, : back.size] -= response[back]
    return found


def _centred_walk(back: Integers, expected: Floats) -> Floats:
    """Covariance of a walk's levels (place, place), those ahead being the last one, less their mean in the past."""
    steps = np.concatenate([1.0 + back.max() - back, np.full(AHEAD, 1.0 + back.max() - back.min())])
    share = np.concatenate([expected / expected.sum(), np.zeros(AHEAD)])
    centring = np.eye(steps.size) - share
    return np.asarray(centring @ np.minimum.outer(steps, steps) @ centring.T)


def _days_from(place: Floats, day: float, top: float) -> Floats:
    """Days (place,) from a day of the year, whichever year."""
    away = day + 7.0 * place - top
    return np.asarray(away - 7.0 * _YEAR * np.round(away / (7.0 * _YEAR)))


def _recurring(lag: Floats) -> Floats:
    """Covariance of a between weeks so far apart."""
    squared = 2.0 * np.square(np.sin(np.pi * lag / _YEAR))
    halves = [np.exp(-squared / (2.0 * np.pi * lasting / _YEAR) ** 2) for lasting in (_LONG, _SHORT)]
    return np.asarray(0.5 * (halves[0] + halves[1]))
