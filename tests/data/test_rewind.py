"""A history as it stood earlier, without the log, beside the log summarized at that cutoff."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.rewind import as_of
from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Population
from bayesdecay.errors import DataError

GROUPED = Population(half_life={"ads": 20, "friends": 60}, interest=0.3, restoration=0.6, covariates={"age": (0.1, 0)})
COLUMNS = {"group": "group", "covariates": ["age"]}
MIDDLE = "2024-03-10"  # in the middle of the acquisitions


@pytest.fixture(scope="module")
def log():
    drawn = simulate(200, population=GROUPED, observed="200d", random_seed=2)
    return read_events(drawn.events, columns=["group", "age"])


@pytest.mark.parametrize("activity", ["day", "session", "event"])
@pytest.mark.parametrize("at", [MIDDLE, "2024-06-30"])
def test_it_is_what_the_log_gives_at_that_cutoff(log, activity, at):
    then, whole = summarize(log, at=at, activity=activity, **COLUMNS), summarize(log, activity=activity, **COLUMNS)
    found = as_of(whole, at)
    assert found.at == then.at
    assert (found.group, found.covariates, found.activity) == (then.group, then.covariates, activity)
    assert found.table.schema == then.table.schema
    # The last event of one who went on is not in a history.
    left, right = (one.table.drop_columns(["last_event"]).to_pandas() for one in (found, then))
    pd.testing.assert_frame_equal(left, right, rtol=1e-12)
    gone = (
        found.select(found.table["user"]).table["n"].to_numpy()
        == whole.select(found.table["user"]).table["n"].to_numpy()
    )
    assert gone.any()
    last = (one.table["last_event"].to_numpy()[gone] for one in (found, then))
    np.testing.assert_array_equal(*last)


def test_it_does_not_go_forward_or_before_everybody(log):
    history = summarize(log, at=MIDDLE)
    with pytest.raises(ValueError, match=r"it cannot be looked at as of 2024-03-11 .*, which is later"):
        as_of(history, "2024-03-11")
    with pytest.raises(
        DataError, match=r"no user of the history was acquired up to 2023-12-31 .*; take a later cutoff"
    ):
        as_of(history, "2023-12-31")
