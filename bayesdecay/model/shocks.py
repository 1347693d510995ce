r"""What all users share after the cutoff: draws of factors on everybody's intensity, week by week.

In: draws of how restless the shop is (:mod:`bayesdecay.model.pace_fit`). Out: a path of weekly factors for each draw,

.. math::

    c_w = \exp\Big(m_0 2^{-w/4} + \sigma_{walk} \sum_{v \le w} \epsilon_v + \sigma_{week}\,\eta_w
        - \tfrac12 (\sigma_{walk}^2 w + \sigma_{week}^2)\Big)

and its mean over any stretch of time. The level :math:`m_0` at the cutoff is known in part; half of it has gone after
four weeks. What comes anew stays, so that the walk is the wider the further one looks ahead: after a year by
:math:`7 \sigma_{walk}`. All users of a draw go the same path, in whatever batch they are scored. Of a log of more than
a year the path has a season too (:mod:`bayesdecay.model.season`), and what is in doubt of the level stays.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesdecay.data.calendar import Calendar
from bayesdecay.model.season import season_factors

__all__ = ["CALENDAR_LEVEL", "SEED", "SHOCKS", "paths", "segments", "with_calendar"]

Floats = NDArray[np.float64]

# The group of a fit's tree that the draws are kept in, and its attributes: what the paths are drawn by, and the factor
# of a day of the fit's own calendar that is as busy as the users' posteriors expect.
SHOCKS, SEED, CALENDAR_LEVEL = "shocks", "seed", "calendar_level"
_WEEK = 7.0
# Beyond five years the walk stands still; a forecast so far ahead rests on other assumptions.
_MOST_WEEKS = 260
# Weeks in which half of the known level goes. Of forecasts from 24 cutoffs of three logs, the level foretold a part of
# the next four weeks' error and nothing of that of twelve: what is lasting the users' own pasts have told already.
_FADING = 4.0
_YEAR, _MOST_DAYS = 365, 1_820


def paths(sample: xr.Dataset, seed: int) -> Floats:
    """Factors (sample, week) on everybody's intensity in the weeks after the cutoff of the fit, one path a draw.

    What is not known yet has mean one, given the standard deviations. Where a season was learned, its factors are in
    the paths, and the level's doubt stays while its mean fades.
    """
    walk, week, level = (sample[name].to_numpy()[:, None] for name in ("sigma_walk", "sigma_week", "log_level"))
    steps, own = np.random.default_rng(seed).standard_normal((2, walk.size, _MOST_WEEKS))
    weeks = np.arange(1, _MOST_WEEKS + 1)
    variance = np.square(walk) * weeks + np.square(week)
    known = level * 0.5 ** (weeks / _FADING)
    path: Floats = np.exp(known + walk * np.cumsum(steps, axis=1) + week * own - variance / 2.0)
    if "log_season" not in sample:
        return path
    doubt = np.exp(sample["log_level_doubt"].to_numpy()[:, None])
    return np.asarray(path * doubt * season_factors(sample["log_season"].to_numpy(), _MOST_WEEKS))


def segments(path: Floats, start: float, ends: Floats, *, width: float = _WEEK) -> Floats:
    """Mean factor (sample, segment) between successive ``ends`` [days after ``start``], the first from ``start`` on.

    ``start`` lies so many days after the begin of a path whose factors hold for ``width`` days each.
    """
    size = path.shape[1]
    # The integral of the path at the border of each week; beyond the last week the factor stays as it is.
    integral = np.concatenate([np.zeros((path.shape[0], 1)), np.cumsum(path, axis=1)], axis=1)
    place = (start + np.concatenate([[0.0], ends])) / width
    below = np.minimum(place.astype(np.int64), size - 1)
    reached = integral[:, below] + (place - below) * path[:, below]
    return np.asarray(np.diff(reached, axis=1) / np.diff(place))


def with_calendar(path: Floats, start: float, calendar: Calendar, day: pd.Timestamp, length: float) -> Floats:
    """Factors (sample, day) for a ``length`` [days] from a ``day`` on, the calendar's in them.

    The day lies ``start`` [days] after the path's begin. After five years the calendar's last year counts by its mean.
    """
    size = min(math.ceil(length) + 1, _MOST_DAYS)
    known = calendar.daily(day, size)
    week = np.clip((start + np.arange(size)) / _WEEK, 0, path.shape[1] - 1).astype(np.int64)
    found = known * path[:, week]
    return np.concatenate([found, known[-_YEAR:].mean() * path[:, week[-1:]]], axis=1)
