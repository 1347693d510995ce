"""A user's features in words: "silent for 120 days", "3 activities after the first one", "channel: ads".

In: the name of a column of snapshots, and a value. Out: text, in the units that people think in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bayesdecay import names
from bayesdecay.show.words import number, plural, window, with_interval
from bayesdecay.units import days

__all__ = ["PER_DAYS", "feature_named", "feature_said", "feature_unit", "interest_said"]

# Interest is told as activities per so many days: per day it is a small fraction for nearly everybody.
PER_DAYS = 30.0
_ACTIVE = "active_"
_NAMED = {
    "recency": "days since the last activity",
    "frequency": "activities after the first one",
    "tenure": "days since the first activity",
    names.INTEREST: f"interest, in activities per {PER_DAYS:g} days",
}


def feature_named(column: str) -> str:
    """Name a feature in words, where it is one of ours."""
    if _is_window(column):
        return f"activities in the last {window(days(column.removeprefix(_ACTIVE)))}"
    return _NAMED.get(column, column)


def feature_unit(column: str, size: float) -> str:
    """Name the unit of so much of a feature, where it is one of ours."""
    if column in ("recency", "tenure"):
        return "day" if size == 1 else "days"
    if column == "frequency" or _is_window(column):
        return "activity" if size == 1 else "activities"
    return ""


def feature_said(column: str, value: Any) -> str:
    """Say what a user's value of a feature means."""
    if pd.isna(value):
        return f"{column} is not known"
    if column == "recency":
        return f"silent for {window(value)}" if value else "active at the cutoff"
    if column == "tenure":
        return f"first seen {window(value)} ago" if value else "first seen at the cutoff"
    if column == "frequency":
        return f"{_activities(value)} after the first one"
    if _is_window(column):
        return f"{_activities(value)} in the last {window(days(column.removeprefix(_ACTIVE)))}"
    if isinstance(value, bool | np.bool_):
        return f"{column}: {'yes' if value else 'no'}"
    told = value if isinstance(value, str) else number(float(value)) if np.isreal(value) else str(value)
    return f"{column}: {told}"


def interest_said(mean: float, lower: float, upper: float) -> str:
    """Say what a user's interest [activities per day] means."""
    per_month = (PER_DAYS * value for value in (mean, lower, upper))
    return f"an interest of {with_interval(*per_month)} activities per {PER_DAYS:g} days"


def _activities(value: float) -> str:
    return plural(round(value), "activity", "activities") if value else "no activity"


def _is_window(column: str) -> bool:
    if not column.startswith(_ACTIVE):
        return False
    try:
        return days(column.removeprefix(_ACTIVE)) > 0
    except ValueError:
        return False
