"""Durations in words and numbers."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from bayesdecay import units


@pytest.mark.parametrize(
    "given", ["2w", " 14 d", "336h", 14, 14.0, np.int64(14), np.float32(14), dt.timedelta(weeks=2)]
)
def test_days(given):
    assert units.days(given) == 14.0


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("14", ValueError, "cannot be read; write a number and s, min, h, d or w"),
        (-1, ValueError, "must be finite and not negative"),
        (np.nan, ValueError, "must be finite"),
        (True, TypeError, "not True"),
        (None, TypeError, "not None"),
    ],
)
def test_what_is_no_duration_is_refused(given, kind, message):
    with pytest.raises(kind, match=message):
        units.days(given)


def test_durations_keep_their_order_and_labels():
    assert list(units.durations(["90d", "12h", "30d"]).items()) == [("90d", 90.0), ("12h", 0.5), ("30d", 30.0)]
    assert units.durations({"month": "30d", "week": 7}) == {"month": 30.0, "week": 7.0}
    assert units.durations(dt.timedelta(hours=36)) == {"36h": 1.5}
    assert units.durations(["0d"], zero=True) == {"0d": 0.0}


@pytest.mark.parametrize("given", [[], {}, ["1d", "24h"], ["0d"], {"now": 0}])
def test_durations_must_be_some_different_and_above_zero(given):
    with pytest.raises(ValueError, match="expected one or several different durations above zero"):
        units.durations(given)
