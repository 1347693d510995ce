"""What counts as drift: which measures decide, by how much they must be off, and what is chance; and how it is told.

In: the rows that :mod:`bayesdecay.show.shift` made. Out: the same with a judgement each, and their words.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from bayesdecay.show.words import listed, number, percent, percent_interval, with_interval

__all__ = ["judged", "said"]

_LEVEL = 0.05  # of a false alarm over all measures together
# Off by how much matters: a tenth of what is expected moves a budget by a tenth; a slope of 0.8 or 1.2 makes of a
# chance of 10 % one of 15 or 7 %; a tenth of the users is of another kind; a quarter of a standard deviation is little.
_RELATIVE, _SLOPE, _SHARE, _DEVIATION = 0.1, 0.2, 0.1, 0.25
_RELATIVE_TO = ("share active since", "activities since", "share that came back", "activities per user")
_ORDER = ("first return, as a share of the time seen", "last activity, as a share of the time seen")


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Say of each measure whether it is off beyond chance, and by what matters."""
    matters = [_matters(row) for row in table.itertuples()]
    decides = np.array([one is not None for one in matters], dtype=bool)
    p = table["p"].to_numpy(dtype=float)
    beyond = np.zeros(len(table), dtype=bool)
    order = np.flatnonzero(decides)[np.argsort(p[decides])]
    for rank, row in enumerate(order):  # Holm: the smallest first, until one is not beyond chance
        if not p[row] <= _LEVEL / (len(order) - rank):
            break
        beyond[row] = True
    return table.assign(beyond_chance=beyond, matters=pd.array(matters, dtype="boolean"))


def _matters(row: Any) -> bool | None:
    """Whether a measure is off by more than matters; None where it does not decide."""
    off = row.seen - row.expected
    if row.measure in _RELATIVE_TO:
        return bool(abs(off) > _RELATIVE * max(abs(row.expected), 1e-12))
    if row.measure in _ORDER:
        return bool(abs(off) > _RELATIVE)
    if row.measure == "calibration slope":
        return bool(abs(off) > _SLOPE)
    if row.measure.startswith("share of groups that"):
        return bool(off > _SHARE)
    if row.measure.startswith("mean of "):
        return bool(abs(off) > _DEVIATION)
    return None


def said(rows: pd.DataFrame) -> str:
    """Tell measures in words: share active since 38 %, 52 % [50 %, 55 %] expected."""
    return listed(_words(row) for row in rows.itertuples())


def _words(row: Any) -> str:
    written = percent if row.measure.startswith("share") else number
    if math.isnan(row.expected_lower):
        expected = written(row.expected)
    elif written is percent:
        expected = percent_interval(row.expected, row.expected_lower, row.expected_upper)
    else:
        expected = with_interval(row.expected, row.expected_lower, row.expected_upper)
    return f"{row.measure} {written(row.seen)} ({expected} expected)"
