"""The CDNOW log as the literature describes it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pandas as pd
import pytest

from bayesdecay.data import datasets
from bayesdecay.errors import MissingExtraError

needs_demo = pytest.mark.skipif(
    importlib.util.find_spec("lifetimes") is None, reason="extra 'demo' (the lifetimes wheel) is not installed"
)


@needs_demo
def test_whole_log_is_the_published_one():
    log = datasets.load_cdnow()
    assert log.shape == (69_659, 4)
    assert list(log.columns) == ["user", "time", "n_items", "amount"]
    assert [str(kind) for kind in log.dtypes] == ["int64", "datetime64[us]", "int64", "float64"]
    assert log["user"].nunique() == 23_570
    assert (log["user"].min(), log["user"].max()) == (1, 23_570)
    assert log["time"].min() == pd.Timestamp("1997-01-01")
    assert log["time"].max() == pd.Timestamp("1998-06-30")
    assert log.groupby("user")["time"].min().max() == pd.Timestamp("1997-03-25")
    assert log.iloc[0].tolist() == [1, pd.Timestamp("1997-01-01"), 1, 11.77]


@needs_demo
def test_sample_has_the_published_counts():
    log = datasets.load_cdnow(sample=True)
    assert log.shape == (6_919, 4)
    assert sorted(log["user"].unique()) == list(range(1, 2_358))
    days = log.drop_duplicates(["user", "time"])
    first = days.groupby("user")["time"].transform("min")
    repeats = days[days["time"] > first]
    calibration = repeats[repeats["time"] <= "1997-09-30"]
    # 39 weeks to calibrate on, and the 39 weeks of activity that every forecast of the sample is judged by.
    assert len(calibration) == 2_457
    assert len(repeats) - len(calibration) == 1_882


@needs_demo
def test_sample_is_a_tenth_of_the_whole():
    whole, sample = datasets.load_cdnow(), datasets.load_cdnow(sample=True)
    totals = whole.groupby("user")["amount"].sum().round(2)
    assert sample.groupby("user")["amount"].sum().round(2).isin(totals).all()


@needs_demo
def test_the_carrier_is_never_imported():
    code = "import sys; from bayesdecay import load_cdnow; load_cdnow(sample=True); print('lifetimes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'bayesdecay\[demo\]'"):
        datasets.load_cdnow()
