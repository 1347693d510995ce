"""Logs that are hard: what an honest answer to each of them is.

Fits are by the Laplace approximation with the restoration given, unless that is what a test is about: seconds each.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import integrate, stats

import bayesdecay as bd
from bayesdecay.data.history import History
from bayesdecay.data.truth import Population as Truth
from tests.doors.conftest import bayesdecay
from tests.show import made

START = pd.Timestamp("2024-01-01")
MODEL = bd.DecayModel(restoration=0.5)
SMALL = Truth(half_life=40, half_life_spread=0.7, interest=0.06, interest_shape=1.0, restoration=0.5)
SEEN = "2024-07-30"  # of logs over 270 days whose users come in the first 60


def rows(*users: tuple[object, list[float]]) -> pd.DataFrame:
    """A log of users and the days, since the start, of their events."""
    return pd.DataFrame(
        [(user, START + pd.Timedelta(days=day)) for user, days in users for day in days], columns=["user", "time"]
    )


def history_of(events: pd.DataFrame, at: object, *, activity: str = "day") -> History:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the cutoff .* is .* days after the log's last event")
        return bd.summarize(bd.read_events(events, now="2030-01-01"), at=at, activity=activity)


def fitted(history: History, model: bd.DecayModel = MODEL) -> bd.DecayFit:
    return model.fit(history, method="laplace", sampling=bd.Sampling(progress=False), random_seed=1)


def scored(fit: bd.DecayFit, history: History, *, horizon: str = "30d") -> pd.DataFrame:
    options = bd.ScoreOptions(horizons={"soon": horizon}, random_seed=1)
    return fit.score(history, options=options).to_pandas().set_index("user")


def converged_or_refused(history: History, model: bd.DecayModel) -> bd.DecayFit:
    """A fit makes a clean table, or none."""
    fit = fitted(history, model)
    if fit.verdict.converged:
        assert np.isfinite(scored(fit, history).to_numpy(dtype=float)).all()
    else:
        with pytest.raises(bd.NotConvergedError, match="the fit did not converge: "):
            fit.summary()
        with pytest.raises(bd.NotConvergedError, match="pass allow_unconverged=True"):
            fit.score(history)
    return fit


# --- one-time buyers ---

TICKETS = Truth(half_life=25, half_life_spread=1.0, interest=0.005, interest_shape=0.6, restoration=0.5)


@pytest.fixture(scope="module")
def tickets() -> bd.DecayFit:
    """Of 300 users, 87 % were seen once."""
    drawn = bd.simulate(300, population=TICKETS, acquired_within="200d", observed="240d", random_seed=2)
    history = history_of(drawn.events, drawn.end, activity="event")
    assert 0.83 < (history.table["n"].to_numpy() == 0).mean() < 0.91
    return fitted(history)


def test_a_user_seen_once_is_not_certain_to_be_alive(tickets):
    """The classics hold that who never came back cannot have left; here silence speaks from the first day on."""
    once = history_of(rows(*((user, [30.0 * user]) for user in range(8))), START + pd.Timedelta(days=211))
    once = replace(once, activity="event")
    scores = scored(tickets, once).iloc[::-1]  # the longest silence last
    for column, rises in (("p_return_soon", False), ("p_never", True)):
        steps = np.diff(scores[column].to_numpy())
        assert ((steps > 0) if rises else (steps < 0)).all()
    column = once.table.column_names.index("T")
    today = scored(tickets, once.over(once.table.set_column(column, "T", pa.array(np.zeros(len(once))))))
    assert today["p_never"].between(0.3, 0.98).all()
    assert (scores["p_never"] > today["p_never"].max()).all()
    # What is said of one user is wide: from next to nothing to some times the mean.
    assert (scores["p_return_soon_lower"] < 0.05 * scores["p_return_soon"]).all()
    assert (scores["p_return_soon_upper"] > 2 * scores["p_return_soon"]).all()


def test_chances_of_one_time_buyers_are_right(tickets):
    """Of 6,000 others by the same law: as many come back as is said, whether silent for long or not."""
    drawn = bd.simulate(6_000, population=TICKETS, acquired_within="200d", observed="300d", random_seed=3)
    at = START + pd.Timedelta(days=240)
    history = history_of(drawn.events, at, activity="event")
    once = history.over(history.table.filter(history.table["n"].to_numpy() == 0))
    later = bd.later_activity(bd.read_events(drawn.events, now="2030-01-01"), once, "59d", periods=1)
    scores, came = scored(tickets, once, horizon="59d"), later.counts[:, -1] > 0
    order = np.argsort(once.table["T"].to_numpy())
    for part in np.array_split(order, 3):
        p = scores["p_return_soon"].to_numpy()[part]
        chance = np.sqrt((p * (1 - p)).sum()) / part.size
        # The fit knows the population from 40 returns: a share off by a third is within its own error.
        assert came[part].mean() == pytest.approx(p.mean(), abs=3 * chance + 2 * p.mean() / np.sqrt(40))


# --- huge users and machines ---


@pytest.fixture(scope="module")
def small_shop() -> pd.DataFrame:
    return bd.simulate(250, population=SMALL, acquired_within="60d", observed="270d", random_seed=4).events


@pytest.fixture(scope="module")
def small_scores(small_shop) -> pd.DataFrame:
    history = history_of(small_shop, SEEN)
    return scored(fitted(history), history)


def others_moved(before: pd.DataFrame, after: pd.DataFrame) -> tuple[float, float]:
    """Mean move of the others' chances [points of 1], and the largest in widths of the user's own interval."""
    moved = (after.loc[before.index, "p_return_soon"] - before["p_return_soon"]).abs()
    width = before["p_return_soon_upper"] - before["p_return_soon_lower"]
    return float(moved.mean()), float((moved / width).max())


def test_a_reseller_among_small_customers(small_shop, small_scores):
    """One with 190 of 1,000 active days: converges, is told to go on, and moves the others little."""
    days = np.random.default_rng(1).choice(265, 240, replace=False)
    history = history_of(pd.concat([small_shop, rows((9_999, sorted(days)))]), SEEN)
    fit = fitted(history)
    assert fit.verdict.converged, fit.verdict
    scores = scored(fit, history)
    reseller = scores.loc[9_999]
    share = history.select([9_999]).table["n"][0].as_py() / history.select([9_999]).table["T"][0].as_py()
    # A day is active or not, so that interest is more than the share of active days.
    assert -np.expm1(-reseller["interest"]) == pytest.approx(share, rel=0.1)
    assert reseller["p_return_soon_lower"] > 0.99
    # Shrunk towards the others, who fade: 23 days of the next 30, not 27, but 27 are no surprise.
    assert reseller["activities_soon_lower"] < 30 * share < reseller["activities_soon_upper"]
    mean, worst = others_moved(small_scores, scores.drop(index=9_999))
    assert mean < 0.03
    assert worst < 0.6  # of the width of their own intervals; 0.53 seen


@pytest.fixture(scope="module")
def machine() -> pd.DataFrame:
    """10,000 events a day over three days."""
    return pd.DataFrame({"user": 8_888, "time": START + pd.to_timedelta(np.arange(30_000) * 8.64, unit="s")})


def test_a_machine_is_named(small_shop, machine):
    quality = bd.read_events(pd.concat([small_shop, machine]), now="2030-01-01").quality
    assert quality.counts["crowded_day"] == 30_000
    assert quality.crowds[8_888][0] == 10_000
    assert "users with such days, and their busiest" in str(quality)
    assert "8888 (10,000 on 2024-01-01)" in str(quality)
    assert "by activity='day' such a day counts once" in str(quality)
    assert not bd.read_events(small_shop, now="2030-01-01").quality.crowds


def test_days_hold_a_machine_down(small_shop, small_scores, machine):
    history = history_of(pd.concat([small_shop, machine]), SEEN)
    assert history.select([8_888]).table["n"].to_pylist() == [2]
    mean, worst = others_moved(small_scores, scored(fitted(history), history).drop(index=8_888))
    assert mean < 0.01
    assert worst < 0.25


def test_a_machine_that_counts_by_instants_is_warned_of(small_shop, machine):
    few = pd.concat([small_shop, machine.iloc[::10]])
    history = history_of(few, SEEN, activity="event")
    with pytest.warns(
        UserWarning, match=r"user 8888 has 2,999 of the .* activities, and decides what is learned .*activity='day'"
    ):
        fit = fitted(history)
    assert any(remark.startswith("one user has 2,999 of the ") for remark in fit.remarks)  # no id in a saved fit


# --- very short histories, few users, users all alike, nobody returning ---


def test_everybody_acquired_on_the_last_day():
    """Nothing was seen after the acquisition: the prior, with a word that it is."""
    history = history_of(rows(*((user, [0.0]) for user in range(50))), START)
    with pytest.warns(UserWarning, match="no user of 50 was active again up to 2024-01-01, so nothing is learned"):
        fit = fitted(history)
    assert fit.verdict.converged, fit.verdict
    assert {"the typical half-life", "a typical new user's interest"} <= {
        remark.removeprefix("the data tell little of ").split(":")[0] for remark in fit.remarks
    }
    prior = MODEL.priors_table().set_index("parameter")
    found = fit.summary().loc["mu_log_rate"]
    assert found["mean"] == pytest.approx(prior.loc["mu_log_rate", "median"], abs=0.2)
    scores = scored(fit, history)
    assert (scores["p_return_soon_lower"] < 0.05).all()
    assert (scores["p_return_soon_upper"] > 0.95).all()


@pytest.mark.parametrize("days", [1, 3])
def test_histories_of_a_day_or_three(days):
    """That 20 of 50 came back the day after tells of their interest, and next to nothing of how it fades."""
    users = [(user, [0.0, 1.0] if user < 20 else [0.0]) for user in range(50)]
    history = history_of(rows(*users), START + pd.Timedelta(days=days))
    # The data leave open whether users differ at all, and of users all alike the grid of rates must be fine.
    fit = converged_or_refused(history, replace(MODEL, rates=200))
    if not fit.verdict.converged:
        return
    half_life = next(remark for remark in fit.remarks if "typical half-life" in remark)
    assert "where the prior alone says 30 [2, 4.5e+02]" in half_life
    scores = scored(fit, history)
    assert (scores["half_life_upper"] > 40 * scores["half_life_lower"]).all()
    assert (scores["p_return_soon_upper"] > 0.9).all()


def test_a_fit_that_learned_says_nothing(small_shop):
    fit = fitted(history_of(small_shop, SEEN))
    assert fit.remarks == ()


def test_nobody_returns(tmp_path):
    days = np.random.default_rng(0).integers(0, 90, 150)
    history = history_of(rows(*((user, [float(day)]) for user, day in enumerate(days))), "2024-06-30")
    told = "no user of 150 was active again up to 2024-06-30, so nothing is learned about how interest fades"
    with pytest.warns(UserWarning, match=told):
        fit = converged_or_refused(history, MODEL)
    assert told in fit.remarks[0]
    assert "Take a later cutoff, or count kinds of events that come more often" in fit.remarks[0]
    assert told in fit._repr_html_()
    history.to_parquet(tmp_path / "history.parquet")
    words = ("--method", "laplace", "--restoration", 0.5, "--random-seed", 1, "--out", tmp_path / "decay.nc")
    done = bayesdecay("fit", tmp_path / "history.parquet", *words)
    assert done.code == 2
    assert "not enough to learn from up to 2024-06-30: none of 150 users was active again" in done.err
    assert not (tmp_path / "decay.nc").exists()


def test_users_all_alike():
    users = [(user, [0.0, 7.0, 14.0, 21.0, 28.0]) for user in range(200)]
    with pytest.warns(
        UserWarning, match="all 200 users have the same history, so nothing is learned about how users differ"
    ):
        converged_or_refused(history_of(rows(*users), "2024-06-30"), replace(MODEL, rates=40))


@pytest.mark.parametrize("users", [[[0.0, 5.0, 9.0]], [[0.0, 5.0], [0.0]], [[0.0]]])
def test_one_user_and_two(users):
    history = history_of(rows(*enumerate(users)), "2024-03-01")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no user of 1 was active again")
        fit = converged_or_refused(history, MODEL)
    assert "typical half-life" in " ".join(fit.remarks)


def test_everybody_acquired_on_the_same_day():
    """A launch, or a migration that gave everybody the same first date: T is the same for all."""
    drawn = bd.simulate(200, population=SMALL, acquired_within=0, observed="120d", random_seed=5)
    history = history_of(drawn.events, drawn.end)
    assert len(set(history.table["T"].to_pylist())) == 1
    fit = fitted(history)
    assert fit.verdict.converged, fit.verdict
    found = fit.summary().loc["mu_log_rate"]
    assert found["5 %"] - 0.3 < drawn.truth["mu_log_rate"] < found["95 %"] + 0.3


# --- clocks and copies ---


def test_a_copied_log_is_the_log(small_shop):
    twice = pd.concat([small_shop, small_shop.sample(frac=1.0, random_state=1)])
    for activity in ("day", "session", "event"):
        one, other = (history_of(events, SEEN, activity=activity) for events in (small_shop, twice))
        assert one.table.equals(other.table)
    assert bd.read_events(twice, now="2030-01-01").quality.counts["duplicates"] == len(small_shop)


def test_summer_time():
    """Days begin at midnight there, also where one has 23 or 25 hours; an hour that comes twice counts once."""
    times = {
        "spring": [
            "2024-03-30T23:30+01:00",
            "2024-03-31T00:30+01:00",
            "2024-03-31T23:30+02:00",
            "2024-04-01T00:30+02:00",
        ],
        "autumn": [
            "2024-10-26T23:30+02:00",
            "2024-10-27T02:30+02:00",
            "2024-10-27T02:30+01:00",
            "2024-10-28T00:30+01:00",
        ],
    }
    frame = pd.DataFrame([(user, time) for user, own in times.items() for time in own], columns=["user", "time"])
    log = bd.read_events(frame, timezone="Europe/Berlin")
    days = bd.summarize(log, at="2024-11-10").to_pandas().set_index("user")
    assert days["n"].to_dict() == {"spring": 2, "autumn": 2}
    assert (days["T"] == days["T"].round()).all()
    assert days.loc["spring", "T"] == 225
    assert bd.summarize(log, at="2024-11-10", activity="event").to_pandas().set_index("user")["n"].to_dict() == {
        "spring": 3,
        "autumn": 2,
    }


# --- users acquired before the log begins ---

OLD_SHOP = Truth(half_life=30, half_life_spread=0.8, interest=0.1, interest_shape=1.0, restoration=0.9)
OPENED, LOGGED, RUN_IN = 400.0, 400.0, 60.0  # days before the log begins, days of the log, days left out


@pytest.fixture(scope="module")
def old_shop() -> bd.Simulation:
    return bd.simulate(
        2_000, population=OLD_SHOP, acquired_within=OPENED + LOGGED, observed=OPENED + LOGGED, random_seed=12
    )


@pytest.fixture(scope="module")
def cut(old_shop) -> History:
    """The users as a log shows them that begins in the middle."""
    begin = START + pd.Timedelta(days=OPENED)
    return history_of(old_shop.events[old_shop.events["time"] >= begin], old_shop.end, activity="event")


@pytest.fixture(scope="module")
def after_run_in(cut) -> bd.DecayFit:
    begin = START + pd.Timedelta(days=OPENED + RUN_IN)
    return fitted(cut.acquired_from(begin), bd.DecayModel(restoration=0.9))


def test_old_customers_bias_the_half_life_and_a_run_in_mends_it(old_shop, cut, after_run_in):
    everybody = fitted(cut, bd.DecayModel(restoration=0.9))
    truth = old_shop.truth["mu_log_rate"]
    off = {}
    for name, fit in (("all", everybody), ("after the run-in", after_run_in)):
        assert fit.verdict.converged, fit.verdict
        draws = fit.idata["posterior"]["mu_log_rate"]
        off[name] = (float(draws.mean()) - truth, float(draws.std()))
    # Who is still there after a year fades slowly: the half-life looks longer than it is.
    assert off["all"][0] < -3 * off["all"][1]
    assert abs(off["after the run-in"][0]) < 2.5 * off["after the run-in"][1]
    assert abs(off["after the run-in"][0]) < abs(off["all"][0]) / 2


def test_the_run_in_table_says_how_many_old_customers_are_left(old_shop, cut, after_run_in):
    table = bd.run_in_table(after_run_in, cut, ["30d", "60d", "120d"], shop_age=OPENED, random_seed=1)
    acquired = old_shop.users.set_index("user")["first"].loc[cut.table["user"].to_pylist()].to_numpy()
    first = cut.table["first"].to_numpy()
    old = acquired < np.datetime64(START + pd.Timedelta(days=OPENED))
    for row in table.itertuples():
        left = first >= np.datetime64(row.acquired_from)
        assert row.users == left.sum()
        # Rare things counted: three standard errors of each.
        noise = 3 * np.sqrt(old[left].mean() / left.sum())
        assert row.share_old == pytest.approx(old[left].mean(), abs=noise + 0.01)
    assert (np.diff(table["share_old"]) < 0).all()
    with pytest.raises(bd.DataError, match="a run-in of 500 days leaves nothing of a log of 400 days"):
        bd.run_in_table(after_run_in, cut, "500d", shop_age="1d")


def test_the_share_of_old_customers_is_the_formulas(cut):
    """Without restoration there is a closed form: quadrature over the rate and the age, beside the simulation."""
    fit = made.fit(cut, rho=0.0)
    mean = {name: float(values.mean()) for name, values in fit.idata["posterior"].data_vars.items()}
    z = np.linspace(-8, 8, 801)
    weight = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    rate = np.exp(mean["mu_log_rate"] + mean["sigma_log_rate"] * z)
    beta = mean["alpha"] / np.exp(mean["mu_log_interest"] + mean["kappa"] * z)

    def silent(age: float, length: float) -> np.ndarray:
        exposure = np.exp(-rate * age) * -np.expm1(-rate * length) / rate
        return (beta / (beta + exposure)) ** mean["alpha"]

    seen = (cut.at - cut.table["first"].to_pandas().min()) / pd.Timedelta(days=1)
    old = integrate.quad(lambda age: weight @ (silent(age, RUN_IN) - silent(age, seen)), 0, OPENED)[0]
    expected = old / (old + seen - RUN_IN)
    table = bd.run_in_table(fit, cut, RUN_IN, shop_age=OPENED, random_seed=2)
    assert table["share_old"][0] == pytest.approx(expected, abs=4 * np.sqrt(expected / 10_000))


def test_acquired_from_keeps_the_day_itself_and_refuses_what_is_no_date(cut):
    days = history_of(rows(("a", [0.0, 3.0]), ("b", [2.0]), ("c", [5.0, 6.0])), START + pd.Timedelta(days=9))
    assert days.acquired_from("2024-01-03").table["user"].to_pylist() == ["b", "c"]
    assert len(days.acquired_from("2023-01-01")) == 3
    with pytest.raises(
        bd.DataError, match=r"no user was first seen on or after 2024-02-01; the last was on 2024-01-06"
    ):
        days.acquired_from("2024-02-01")
    with pytest.raises(ValueError, match="cutoff 'soon' cannot be read as a date"):
        days.acquired_from("soon")
