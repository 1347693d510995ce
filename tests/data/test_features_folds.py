from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdecay.data.events import read_events
from bayesdecay.data.folds import folds
from bayesdecay.data.snapshots import Snapshots, snapshots
from tests.data import logs

CUTOFFS = ["1969-12-29", "1969-12-31", "1970-01-02"]


def taken_of(frame: pd.DataFrame, **told: object) -> Snapshots:
    options = {"cutoffs": CUTOFFS, "horizon": "1d", "lapsed_after": None, "observed_until": "1970-02-01"}
    return snapshots(read_events(frame), **(options | told))


@settings(max_examples=25, deadline=None)
@given(drawn=logs.rows, k=st.integers(2, 6), random_seed=st.integers(0, 9))
def test_a_users_rows_share_a_fold_and_folds_are_even(drawn, k, random_seed):
    everyone = [(user, 0) for user in range(6)]
    taken = taken_of(logs.frame(everyone[:5] + drawn).query("user < 5 or time > '1969-12-30'"))
    if k > taken.table["user"].nunique():
        return
    fold = folds(taken, k, random_seed=random_seed)
    assert fold.dtype == np.int64
    by_user = pd.Series(fold).groupby(taken.table["user"])
    assert (by_user.nunique() == 1).all()
    users, rows = np.bincount(by_user.first(), minlength=k), np.bincount(fold, minlength=k)
    assert len(users) == k
    assert np.ptp(users) <= 1
    assert np.ptp(rows) <= len(CUTOFFS)


def test_folds_are_those_of_the_users_and_the_seed():
    frame = pd.DataFrame({"user": [f"u{i}" for i in range(40)], "time": pd.Timestamp("1969-12-28")})
    taken = taken_of(frame)
    fold = folds(taken, random_seed=4)
    np.testing.assert_array_equal(fold, folds(taken, random_seed=4))
    assert (fold != folds(taken, random_seed=5)).any()
    order = np.random.default_rng(0).permutation(len(taken))
    shuffled = replace(taken, table=taken.table.iloc[order].reset_index(drop=True))
    np.testing.assert_array_equal(folds(shuffled, random_seed=4), fold[order])
    assert set(fold) == set(range(5))


def test_folds_that_cannot_be():
    taken = taken_of(pd.DataFrame({"user": [1, 2, 3], "time": pd.Timestamp("1969-12-28")}))
    for k in (0, 1, 4):
        with pytest.raises(
            ValueError, match=f"{k} folds of 3 users cannot be: expected at least 2 folds and a user in"
        ):
            folds(taken, k)


def test_rows_that_are_kept_keep_their_histories():
    frame = pd.DataFrame({"user": [1, 2, 3, 4, 3], "time": pd.to_datetime(["1969-12-28"] * 4 + ["1969-12-30"])})
    taken = taken_of(frame)
    fold = folds(taken, 2, random_seed=1)
    rest, held_out = taken.select(fold != 0), taken.select(fold == 0)
    assert len(rest) + len(held_out) == len(taken) == 12
    assert not set(rest.table["user"]) & set(held_out.table["user"])
    for at, history in rest.histories.items():
        rows = rest.table[rest.table["at"] == at]
        assert history.table["user"].to_pylist() == rows["user"].tolist()
    pd.testing.assert_frame_equal(rest.table, taken.table[fold != 0].reset_index(drop=True))
    with pytest.raises(ValueError, match=r"expected bool\[12\], one a row, got int64\[12\]"):
        taken.select(fold)
    with pytest.raises(ValueError, match=r"expected bool\[12\], one a row, got bool\[11\]"):
        taken.select(fold[1:] != 0)
