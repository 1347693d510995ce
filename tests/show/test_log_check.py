"""A log checked from several origins: no origin sees what it is judged on, tables agree, the page says the verdict."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.errors import DataError, NotConvergedError
from bayesdecay.show import log_check
from bayesdecay.show.check_page import render_check, write_check_page
from bayesdecay.show.checks import MODEL
from bayesdecay.show.log_check import CheckOptions, check_log
from bayesdecay.show.rivals import BG, LOGISTIC
from tests.show import made
from tests.show.stand_ins import ToldDecay

OPTIONS = CheckOptions(activity="event", draws=100, random_seed=1)
DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="module")
def log():
    return made.shop(500)[0]


@pytest.fixture(scope="module")
def check(log):
    return check_log(log, horizon="40d", model=ToldDecay(), options=OPTIONS)


def test_origins_see_nothing_of_what_they_are_judged_on(log, check):
    assert [(b.at - a.at) / DAY for a, b in zip(check.checks, check.checks[1:], strict=False)] == [46, 46, 46]
    model = ToldDecay()
    last = check.checks[0]
    cut = log.query(f"SELECT * FROM {{log}} WHERE time <= TIMESTAMP '{last.at + 40 * DAY}'").df()
    again = check_log(
        read_events(cut),
        horizon="40d",
        origins=[last.at],
        model=model,
        options=replace(OPTIONS, until=last.at + 40 * DAY),
    )
    assert [history.at for history in model.seen] == [last.at]
    pd.testing.assert_frame_equal(again.checks[0].table, last.table)


def test_tables_hold_all_rows_of_all_origins(log, check):
    users = [len(summarize(log, at=one.at, activity="event")) for one in check.checks]
    assert [one.users for one in check.checks] == users == check.totals["users"].tolist()
    for table in (check.calibration, check.by_past, check.by_activity, check.by_length):
        assert table["users"].sum() == sum(users)
    each = [one.table.loc[MODEL] for one in check.checks]
    for score in ("crps", "brier", "coverage", "p_active"):
        assert check.table.loc[MODEL, score] == pytest.approx(np.average([row[score] for row in each], weights=users))
    assert check.table.loc[MODEL, "seen"] == check.totals["seen"].sum()
    assert set(check.table.index) == {MODEL, "everyone alike", "own rate", "last gap", BG, LOGISTIC}
    np.testing.assert_allclose(check.totals["ratio"], check.totals["predicted"] / check.totals["seen"])
    assert check.past.at == check.checks[-1].at


def test_the_truth_is_found_good(check):
    """The shop is the model's own: what is bad could only be chance."""
    assert "Forecasts of single users can be trusted" in str(check)
    assert check.table.loc[MODEL, "crps"] == check.table["crps"].min()
    inside = check.totals["inside"].sum()
    assert inside >= len(check.checks) - 1
    assert all("Missing" not in note for note in check.notes)
    if check.trusted:
        assert check.advice == ()


def test_a_forecast_that_is_too_low_is_told_with_what_to_do(log):
    class Low(ToldDecay):
        def fit(self, history, **how):
            fit = made.fit(history, mu_log_interest=np.log(0.02), mu_log_rate=np.log(0.05))
            fit.idata.attrs["tune"] = 200
            return fit

    found = check_log(log, horizon="40d", origins=2, model=Low(), options=OPTIONS)
    assert re.search(r"the total was \d+.% low in each of 2 periods", found.headline)
    assert not found.trusted
    assert "Do not read the sum of the forecasts as a forecast of the total" in " ".join(found.advice)
    assert "What to do:" in str(found)
    assert "What to do" in render_check(found)


def test_page_json_and_tables_say_the_same(check, tmp_path):
    page = render_check(check, settings={"command": "bayesdecay check <log>"})
    assert check.headline in page.replace("&#39;", "'")
    assert "bayesdecay check &lt;log&gt;" in page
    assert page.count("<svg") == 6
    assert not re.search(r'(src|href)="http', page)
    for section in ("totals", "users", "forecasters", "past", "method"):
        assert f'id="{section}"' in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    told = json.loads(json.dumps(check.described(), allow_nan=False))
    assert told["headline"] == check.headline
    assert [one["text"] for one in told["findings"]] == list(check.verdict)
    assert [row["forecaster"] for row in told["tables"]["scores"]] == list(check.table.index)
    assert told["tables"]["scores"][-1]["crps"] is None  # the regression says nothing of numbers
    assert len(told["tables"]["scores-by-origin"]) == len(check.checks) * len(check.table)
    assert write_check_page(tmp_path / "check.html", check).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_an_origin_whose_fit_did_not_converge_is_left_out_or_marked(log):
    class Sometimes(ToldDecay):
        def fit(self, history, **how):
            late = str(history.at) > "2024-08-01"
            fit = made.fit(history, verdict=made.BAD if late else made.GOOD)
            fit.idata.attrs["tune"] = 200
            return fit

    found = check_log(log, horizon="40d", origins=2, model=Sometimes(), options=OPTIONS)
    assert len(found.checks) == 1
    assert len(found.verdicts) == 2
    assert "1 of 2 fits did NOT converge" in found.headline
    assert "NOT CONVERGED" in render_check(found)
    both = check_log(log, horizon="40d", origins=2, model=Sometimes(), options=replace(OPTIONS, allow_unconverged=True))
    assert len(both.checks) == 2
    assert not both.trusted
    with pytest.raises(NotConvergedError, match="no fit converged"):
        check_log(log, horizon="40d", origins=1, model=Sometimes(), options=OPTIONS)


def test_users_acquired_between_origins_keep_their_numbers(log):
    early, late = (summarize(log, at=at, activity="event") for at in ("2024-02-15", "2024-05-31"))
    assert len(early) < len(late) == 500
    shuffled = late.over(late.table.take(np.random.default_rng(1).permutation(500)))
    first, last = log_check._users([early, shuffled])
    assert last.tolist() == list(range(500))
    assert [shuffled.table["user"][row].as_py() for row in first] == early.table["user"].to_pylist()
    found = check_log(log, horizon="30d", origins=["2024-02-15", "2024-05-31"], model=ToldDecay(), options=OPTIONS)
    assert found.by_past["users"].sum() == len(early) + len(late)


def test_what_is_lacking_is_said_or_refused(log):
    few = read_events(log.query("SELECT * FROM {log} WHERE user <= 60").df())
    told = []
    found = check_log(few, horizon="40d", origins=2, model=ToldDecay(), options=replace(OPTIONS, tell=told.append))
    assert any("60 users: a share of one half is known to" in note for note in found.notes)
    assert any("forecasts of 40 days from" in line for line in told)
    alone = read_events(log.query("SELECT * FROM {log} WHERE user <= 5").df())
    with pytest.raises(DataError, match=r"not enough to learn from up to .*: 5 users up to the cutoff"):
        check_log(alone, horizon="40d", model=ToldDecay(), options=OPTIONS)


def test_what_cannot_be_learned_is_missing_and_said(log):
    found = check_log(log, horizon="120d", origins=["2024-03-20"], model=ToldDecay(), options=OPTIONS)
    assert LOGISTIC not in found.table.index
    assert any("Missing at 20 March 2024: the logistic regression" in note for note in found.notes)
    overlap = check_log(log, horizon="60d", origins=["2024-06-01", "2024-06-20"], model=ToldDecay(), options=OPTIONS)
    assert any("overlap" in note for note in overlap.notes)


def test_refusals(log):
    with pytest.raises(ValueError, match="'6h' is shorter than a day, but whole days count"):
        check_log(log, horizon="6h")
    with pytest.raises(ValueError, match="draws must be at least 100, got 50"):
        CheckOptions(draws=50)
