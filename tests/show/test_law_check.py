"""Laws compared on a log: the figures against their definitions, and a verdict that follows them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayesdecay as bd
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.population import loglik_by_row
from bayesdecay.show.law_check import EXPONENTIAL_LAW, LawCheck, laws_of
from bayesdecay.show.log_verdicts import of_laws

SHOP = Truth(half_life=4, half_life_spread=0.7, interest=0.9, interest_shape=1.2, restoration=0.8, shoulder=4)
FAST = {
    "exponential": bd.DecayModel(shoulder=math.inf, restoration=0.8),
    "power": bd.DecayModel(shoulder=4, restoration=0.8),
}


@pytest.fixture(scope="module")
def log():
    shop = bd.simulate(700, population=SHOP, acquired_within="40d", observed="180d", random_seed=3)
    return bd.read_events(shop.events)


@pytest.fixture(scope="module")
def found(log):
    options = bd.CheckOptions(activity="event", random_seed=1, draws=400)
    return bd.check_laws(log, horizon="60d", origins=1, laws=FAST, options=options)


def test_the_law_of_the_shop_does_better(found):
    table = found.table
    assert list(table.index) == ["exponential", "power", "BG/NBD"]
    assert table.loc["exponential", ["gain", "gain_se", "loo_gain", "loo_gain_se"]].tolist() == [0.0] * 4
    assert table.loc["power", "gain"] > 2 * table.loc["power", "gain_se"]
    assert table.loc["power", "loo_gain"] > 2 * table.loc["power", "loo_gain_se"]
    assert table.loc["power", "loo_weight"] > 0.9
    assert abs(math.log(table.loc["power", "ratio"])) < abs(math.log(table.loc["exponential", "ratio"]))
    assert "Better forecasts of 60 days than the exponential law: “power”" in found.verdict
    assert "the best is “power”" in str(found)


def test_weights_are_shares_of_those_who_say_something(found):
    assert found.table["weight"].sum() == pytest.approx(1.0)
    assert found.table["loo_weight"].sum() == pytest.approx(1.0)
    assert np.isnan(found.table.loc["BG/NBD", "loo_gain"])


def test_leaving_users_out_is_close_to_fitting_without_them(log, found):
    history = bd.summarize(log, at=found.origins[0], activity="event")
    users = history.table["user"].to_pylist()
    without = history.select(users[: len(users) // 2])
    others = history.select(users[len(users) // 2 :])
    block = next(others.blocks(len(others)))
    gain = 0.0
    for sign, law in ((-1.0, "exponential"), (1.0, "power")):
        fit = FAST[law].fit(without, method="laplace", random_seed=1)
        each = loglik_by_row(fit.population(100, allow_unconverged=True), block)
        gain += sign * float(np.log(np.exp(each).mean(axis=0)).sum())
    # Half of the users, by a fit of the other half.
    assert 2 * gain == pytest.approx(found.table.loc["power", "loo_gain"], rel=0.6)
    assert gain > 0


def test_a_law_that_is_not_clearly_better_is_not_praised():
    columns = {"gain": [0.0, 3.0], "gain_se": [0.0, 2.0], "khat": [0.1, 0.2]}
    table = pd.DataFrame(columns, index=pd.Index([EXPONENTIAL_LAW, "power law, 30d"], name="law"))
    told = LawCheck(horizon=90.0, origins=(pd.Timestamp("2024-01-01"),), table=table)
    assert told.verdict == "No law gives clearly better forecasts of 90 days than the exponential one."


def test_laws_differ_from_the_model_in_their_law_alone():
    model = bd.DecayModel(restoration=0.5, shoulder="14d")
    laws = laws_of(model)
    assert list(laws) == [
        "exponential",
        "power law, 14d",
        "exponential, some never fade",
        "power law, 14d, some never fade",
    ]
    assert all(replace(law, shoulder="14d", regulars=None) == model for law in laws.values())


def test_a_law_that_does_not_converge_is_refused(log):
    options = bd.CheckOptions(activity="event", random_seed=1)
    few = {"coarse": bd.DecayModel(shoulder=4, restoration=0.8, rates=8)}
    with pytest.raises(bd.NotConvergedError, match=r"law .coarse. at .*leave it out of laws="):
        bd.check_laws(log, horizon="60d", origins=1, laws=few, options=options)


def verdict_on(best: str, **told: str):
    table = pd.DataFrame(
        {"gain": [0.0, 9.0], "gain_se": [0.0, 2.0]}, index=pd.Index([EXPONENTIAL_LAW, best], name="law")
    )
    return of_laws(LawCheck(horizon=90.0, origins=(pd.Timestamp("2024-01-01"),), table=table, told=told))


def test_the_best_law_is_advised_unless_the_model_has_it_already():
    assert verdict_on("power", power="--shoulder 30d").advice == (
        "Take the law that did best, --shoulder 30d, and check again."
    )
    assert not verdict_on("power", exponential="--shoulder none").advice  # the model's own
    assert not verdict_on("BG/NBD", exponential="--shoulder none").advice  # no law of the model


def test_each_law_is_told_as_the_command_line_takes_it(found):
    assert found.told == {
        "exponential": "--shoulder none (DecayModel(shoulder=math.inf))",
        "power": "--shoulder 4d (DecayModel(shoulder='4d'))",
    }
