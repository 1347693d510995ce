"""Drift: no alarm where nothing moved, an alarm where it did, figures by a second road, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

import bayesdecay as bd
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.rewind import as_of
from bayesdecay.data.simulate import simulate
from bayesdecay.errors import DataError, LeakageError
from bayesdecay.show.drift import Drift, drift
from bayesdecay.show.drift_rules import judged
from bayesdecay.show.refit import Refit, _model
from bayesdecay.show.shift import KNOWN, NEW, known_users, mix, recalibration
from tests.show import made

FITTED_AT = "2024-07-31"  # in the middle of the acquisitions, with 150 days to follow
NARROW = bd.Prior(distribution="LogNormal", parameters={"mu": 0.0, "sigma": 0.3})
NO_GAIN = Refit(
    users=900, seconds=4.0, gain=0.001, gain_se=0.003, for_nothing=0.006, before=0.2, after=0.21, moved=0.01
)


def seen_now(seed: int, *, users: int = 400, **changes: object) -> History:
    """A shop a year on, after what is told to be otherwise than the fits of these tests know."""
    law = replace(made.SHOP, **changes)
    drawn = simulate(users, population=law, acquired_within="300d", observed="360d", random_seed=seed)
    return summarize(read_events(drawn.events), activity="event")


def fit_of(history: History, at: str = FITTED_AT, **changes: object) -> bd.DecayFit:
    """A fit that knows the shop as it was."""
    fit = made.fit(history, **{"draws": 75, **changes})
    fit.idata.attrs["model"] = json.dumps(json.loads(fit.idata.attrs["model"]) | {"at": f"{at} 23:59:59.999999"})
    return fit


def looked_at(history: History, *, seed: int = 1, draws: int = 300, **options: object) -> Drift:
    return drift(fit_of(history), history, try_refit=False, draws=draws, random_seed=seed, **options)


@pytest.fixture(scope="module")
def steady() -> Drift:
    return looked_at(seen_now(1))


@pytest.fixture(scope="module")
def faded() -> Drift:
    """Interest fades twice as fast as the fit knows."""
    return looked_at(seen_now(2, half_life=20.0))


# --- alarms ---


def test_false_alarms_are_as_rare_as_they_are_said_to_be():
    whole = seen_now(1, users=4_800)
    shops = [whole.over(whole.table.slice(start, 120)) for start in range(0, 4_800, 120)]
    found = [looked_at(shop, seed=seed) for seed, shop in enumerate(shops)]
    alarms = sum(one.drifted for one in found)
    beyond = sum(bool(one.table["beyond_chance"].any()) for one in found)
    assert alarms <= beyond <= 5  # at 5 %, six of 40 come in one of seventy series
    z = pd.concat([one.table for one in found]).groupby(["users", "measure"])["z"]
    # The mean of 40 values is 0 within four of its standard errors, and their spread about 1.
    assert z.ngroups == 10
    assert (z.mean().abs() < 4 / np.sqrt(40)).all(), z.mean()
    assert z.std().between(0.65, 1.45).all(), z.std().to_dict()


def test_interest_that_fades_faster_is_found(faded):
    wrong = faded.table[faded.table["beyond_chance"] & faded.table["matters"].eq(True)]
    assert faded.drifted
    assert faded.advised
    assert set(wrong["users"]) == {KNOWN, NEW}
    assert {"share active since", "activities since", "last activity, as a share of the time seen"} <= set(
        wrong["measure"]
    )
    assert (wrong["seen"] < wrong["expected"]).all()


def test_other_new_users_are_found_though_the_known_ones_go_on_as_before():
    before = summarize(read_events(simulate(600, population=made.SHOP, random_seed=5).events), activity="event")
    drawn = simulate(
        300, population=replace(made.SHOP, interest=0.04), start="2024-06-01", observed="118d", random_seed=6
    )
    more = summarize(
        read_events(drawn.events.assign(user=drawn.events["user"] + 10_000)), activity="event", at=before.at
    )
    both = before.over(pa.concat_tables([before.table, more.table]))
    found = drift(fit_of(both, "2024-05-31"), both, try_refit=False, draws=300, random_seed=1)
    wrong = found.table[found.table["beyond_chance"] & found.table["matters"].eq(True)]
    assert set(wrong["users"]) == {NEW}
    assert [finding.good for finding in found.findings] == [True, False, False]
    assert "The 300 users acquired since are not as the fit expects: share that came back" in found.verdict[1]


# --- figures by a second road ---


def test_the_calibration_line_is_a_logistic_regression():
    rng = np.random.default_rng(1)
    p = rng.beta(1, 3, 4_000)
    y = rng.random((3, p.size)) < [p, 1 / (1 + np.exp(-0.4 - 0.6 * np.log(p / (1 - p)))), np.sqrt(p)]
    found = recalibration(p, y)
    for line, outcome in zip(found, y, strict=True):
        other = LogisticRegression(C=np.inf).fit(np.log(p / (1 - p))[:, None], outcome)
        np.testing.assert_allclose(line, [other.intercept_[0], other.coef_[0, 0]], atol=2e-3)
    np.testing.assert_allclose(found[1], [0.4, 0.6], atol=4 * 0.06)
    assert np.isfinite(recalibration(p, np.array([np.zeros(p.size, bool), np.ones(p.size, bool)]))).all()


def test_expected_figures_are_those_of_the_forecast(steady):
    history = seen_now(1)
    before = as_of(history, FITTED_AT)
    (length,) = {
        float(np.round(one, 6))
        for one in history.select(before.table["user"]).table["T"].to_numpy() - before.table["T"].to_numpy()
    }
    row = steady.table.set_index("measure").loc["share active since"]
    options = bd.ScoreOptions(horizons={"since": length}, random_seed=3)
    scores = fit_of(history).score(before, options=options).to_pandas()
    assert row["expected"] == pytest.approx(scores["p_return_since"].mean(), abs=0.01)
    p = scores["p_return_since"].to_numpy()
    # Chance alone, as the fit all but knows the population.
    assert row["expected_upper"] - row["expected_lower"] == pytest.approx(
        2 * 1.645 * np.sqrt((p * (1 - p)).sum()) / p.size, rel=0.35
    )
    now = history.select(before.table["user"]).table["n"].to_numpy()
    assert row["seen"] == pytest.approx((now > before.table["n"].to_numpy()).mean())
    assert steady.known + steady.new == len(history)


def test_holms_rule():
    table = pd.DataFrame(
        {
            "users": KNOWN,
            "measure": ["share active since", "activities since", "calibration slope", "log loss"],
            "expected": [0.5, 100.0, 1.0, 0.6],
            "seen": [0.42, 104.0, 0.7, 0.9],
            "p": [0.016, 0.02, 0.2, 1e-9],
        }
    )
    found = judged(table)
    assert found["beyond_chance"].tolist() == [
        True,
        True,
        False,
        False,
    ]  # 0.016 < 0.05/3, 0.02 < 0.05/2; one does not decide
    assert found["matters"].tolist() == [True, False, True, pd.NA]


def test_who_is_acquired_is_compared_by_group_and_covariate():
    law = replace(made.SHOP, half_life={"ads": 40, "friends": 40}, interest=0.15, covariates={"age": (0.0, 0.0)})
    events = simulate(400, population=law, random_seed=1).events
    history = summarize(
        read_events(events, columns=["group", "age"]), activity="event", group="group", covariates=["age"]
    )
    population = made.fit(history).population(5)
    standard = replace(population.standard, names=("age",), center=np.zeros(1), scale=np.ones(1))
    population = replace(population, groups=("ads",), standard=standard)
    group = history.table["group"].to_numpy(zero_copy_only=False)
    ads, everybody = history.over(history.table.filter(pa.array(group == "ads"))), history
    rows = {row["measure"]: row for row in mix(ads, everybody, population)}
    friends = (group == "friends").mean()
    assert rows["share of group 'friends'"]["seen"] == pytest.approx(friends)
    assert rows["share of groups that the fit has not seen"]["seen"] == pytest.approx(friends)
    counts = [[(group == "ads").sum(), 0], [(group == "ads").sum(), (group == "friends").sum()]]
    assert rows["share of group 'ads'"]["p"] == pytest.approx(stats.chi2_contingency(counts).pvalue)
    age = history.table["age"].to_numpy()
    assert rows["mean of age [standard deviations]"]["seen"] == pytest.approx(age.mean())
    assert judged(pd.DataFrame(list(rows.values())))["matters"].tolist() == [pd.NA, pd.NA, True, False]


# --- what is said ---


def test_the_verdict_in_words(steady, faded):
    assert not steady.drifted
    assert str(steady).startswith("Forecasts made on 31 July 2024 of ")
    assert "still hold: share active since" in steady.verdict[0]
    assert steady.verdict[2] == "No need to refit: nothing is off by what matters and beyond chance."
    assert "no longer hold: share active since" in faded.verdict[0]
    assert "expected)" in faded.verdict[0]
    assert faded.verdict[2] == "Refit."
    assert faded.verdict[0] in faded._repr_html_()


def test_a_new_fit_that_gains_nothing_is_not_advised(faded):
    found = replace(faded, refit=NO_GAIN)
    assert found.drifted
    assert not found.advised
    assert found.verdict[2].startswith(
        "Refitting would not mend it. A new fit describes them no better (0.001 ± 0.006 nats"
    )
    assert found.verdict[2].endswith("but what the model leaves out, such as seasons and offers.")
    assert replace(faded, refit=replace(NO_GAIN, gain=0.1)).advised
    failed = replace(faded, refit=Refit(users=10, seconds=1.0, fault="k-hat is 0.9"))
    assert failed.advised
    assert "A quick new fit cannot tell what it would change" in failed.verdict[2]


def test_a_new_fit_is_tried():
    history = seen_now(2, users=200, half_life=15.0)
    fit = fit_of(history)
    # With a restoration that was given: one node in place of ten.
    told = json.loads(fit.idata.attrs["model"]) | {"restoration": 0.6}
    fit.idata.attrs["model"] = json.dumps(told)
    found = drift(fit, history, draws=300, random_seed=1)
    assert found.refit.told, found.refit.fault
    assert found.refit.gains
    assert found.refit.after < found.refit.before
    assert "Refit. A new fit describes all users better by" in found.verdict[2]


@pytest.mark.parametrize(
    "model",
    [
        bd.DecayModel(clock="instants"),
        bd.DecayModel(clock="instants", regulars=True, shoulder=30.0, restoration=0.6),
        bd.DecayModel(clock="instants", regulars=False, shoulder=np.inf, priors={"alpha": NARROW}),
    ],
    ids=["left to the log", "regulars and a power law", "neither"],
)
def test_a_new_fit_is_of_the_same_model(model):
    few = seen_now(2, users=60)
    assert _model(model.fit(few, method="laplace", random_seed=1)) == model


def test_json_holds_all(faded, tmp_path):
    told = json.loads(replace(faded, refit=NO_GAIN).to_json(tmp_path / "drift.json").read_text(encoding="utf-8"))
    assert told["drifted"] is True
    assert told["refit_advised"] is False
    assert told["verdict"] == list(replace(faded, refit=NO_GAIN).verdict)
    assert [row["measure"] for row in told["measures"]] == faded.table["measure"].tolist()
    assert told["refit"]["gain"] == 0.001


def test_few_new_users_and_none_are_said_to_be():
    history = seen_now(1, users=60)
    few = drift(fit_of(history, "2024-10-10"), history, try_refit=False, draws=300, random_seed=1)
    assert 0 < few.new < 30
    assert few.verdict[1] == f"The {few.new} users acquired since are too few to be judged."
    none = drift(fit_of(history, "2024-11-30"), history, try_refit=False, draws=300, random_seed=1)
    assert none.verdict[1] == "Nobody was acquired since."


def test_what_cannot_be_compared_is_refused(steady):
    history = seen_now(1, users=60)
    fit = fit_of(history)
    with pytest.raises(
        DataError, match=r"the fit counts each event once, but the history each day; .*activity='event'"
    ):
        drift(fit, replace(history, activity="day"))
    with pytest.raises(
        LeakageError, match=r"the fit saw the log up to 2024-07-31 .*cannot be judged on what follows 2024"
    ):
        drift(fit, history, since="2024-06-30")
    with pytest.raises(DataError, match=r"and the fit saw all up to 2024-12-25 .*; summarize the log later"):
        drift(fit_of(history, "2024-12-25"), history)
    with pytest.raises(ValueError, match="the fit does not tell its cutoff; say with since= what it had seen"):
        drift(made.fit(history), history)
    with pytest.raises(ValueError, match="drift needs at least 300 posterior draws to tell chance, got 200"):
        drift(fit, history, draws=200)
    with pytest.raises(bd.NotConvergedError, match="the fit did not converge"):
        drift(replace(fit_of(history, verdict=made.BAD)), history)


def test_since_a_later_cutoff(steady):
    history = seen_now(1)
    found = drift(fit_of(history), history, since="2024-09-30", try_refit=False, draws=300, random_seed=1)
    assert found.fitted_at == pd.Timestamp("2024-09-30 23:59:59.999999")
    assert found.known > steady.known


def test_known_users_by_their_forecast_alone():
    """With no time of the day, no log: only forecasts and counts."""
    history = as_of(seen_now(4, users=300), FITTED_AT)
    population = made.fit(history).population(40)
    counts = np.zeros(len(history), dtype=np.int64)
    rows = known_users(
        population, history, counts, length=60.0, rng=np.random.default_rng(1), tails=np.array([0.05, 0.95])
    )
    found = {row["measure"]: row for row in rows}
    assert found["share active since"]["seen"] == 0
    assert found["activities since"]["z"] < -5
    assert np.isfinite(found["calibration slope"]["seen"])
