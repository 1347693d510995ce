"""CDNOW as the literature of the classics has it, in weeks."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from bayesdecay.data.datasets import load_cdnow


def calibration_weeks(*, sample):
    """x, t_x and T in weeks of the CDNOW log until 1997-09-30."""
    if importlib.util.find_spec("lifetimes") is None:
        pytest.skip("extra 'demo' (the lifetimes wheel) is not installed")
    log = load_cdnow(sample=sample).drop_duplicates(["user", "time"])
    days = log[log["time"] <= "1997-09-30"].groupby("user")["time"].agg(["min", "max", "size"])
    week = np.timedelta64(7, "D")
    cutoff = np.datetime64("1997-09-30")
    return (
        days["size"].to_numpy() - 1.0,
        ((days["max"] - days["min"]) / week).to_numpy(),
        ((cutoff - days["min"]) / week).to_numpy(),
    )
