"""Scores of kinds against quadrature and the truth of simulated users."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.kinds import KindCounts, count_kinds
from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.kind_scoring import KindPopulation, kind_draws, score_kind_blocks
from bayesdecay.model.scores import ScoreOptions
from tests.model.kind_worlds import CONCENTRATION, FADING, KINDS, RESTORING, SHARES, drawn_counts, shares_of
from tests.model.worlds import history_of, population_at, simulated, user_posterior


def test_scores_are_the_double_integral_over_interest_and_share():
    """Without restoration: P = E over pi and the user's own (r, I0) of 1 - exp(-pi Lambda)."""
    history = history_of(simulated(40, shop=FADING, random_seed=8))
    own = drawn_counts(history.table["n"].to_numpy(), np.tile([0.8, 3.2], (len(history), 1)), np.random.default_rng(9))
    counts = KindCounts(history=history, kinds=KINDS[:2], counts=own)
    shares = shares_of(4_000, concentration=np.array([0.8, 3.2]))
    asked = counts.select(history.table["user"].to_pylist()[:4])
    options = ScoreOptions(horizons=["10d", "30d"], random_seed=1)
    (batch,) = score_kind_blocks(shares, population_at(FADING, draws=4_000), asked, options)
    found = batch.to_pandas()
    middles = (np.arange(60) + 0.5) / 60
    for row in range(len(asked)):
        times = asked.history.table["times"][row].as_py()
        T = asked.history.table["T"][row].as_py()
        posterior = user_posterior([t / 86_400e6 for t in times], T, FADING, size=300)
        buys, rest = asked.counts[row] + np.array([0.8, 3.2])
        pi = stats.beta.ppf(middles, buys, rest)
        for label, length in (("10d", 10.0), ("30d", 30.0)):
            left = posterior["initial"] * np.exp(-posterior["rate"] * T)
            mass = (left * -np.expm1(-posterior["rate"] * length) / posterior["rate"]).to_numpy()
            weight = posterior["weight"].to_numpy()
            expected = np.mean([weight @ -np.expm1(-one * mass) for one in pi])
            assert found[f"p_purchase_{label}"][row] == pytest.approx(expected, rel=0.08, abs=2e-4)
            number = weight @ mass * buys / (buys + rest)
            assert found[f"activities_purchase_{label}"][row] == pytest.approx(number, rel=0.1, abs=2e-4)


@pytest.fixture(scope="module")
def crowd():
    """1,500 users with kinds, seen for 180 days and the 30 days after it: counts, and what became of them."""
    shop = Truth(
        half_life=RESTORING.half_life,
        half_life_spread=0.8,
        interest=0.25,
        interest_shape=1.2,
        coupling=0.4,
        restoration=0.6,
        kinds=dict(zip(KINDS, SHARES, strict=True)),
        kind_concentration=CONCENTRATION,
    )
    drawn = simulate(1_500, population=shop, observed="210d", random_seed=11)
    log = read_events(drawn.events, kind="kind")
    counts = count_kinds(log, summarize(log, at="2024-06-28", activity="event"), KINDS)
    later = drawn.events[drawn.events["time"] > counts.history.at]
    number = pd.crosstab(later["user"], later["kind"]).reindex(
        index=counts.history.table["user"].to_pylist(), columns=list(KINDS), fill_value=0
    )
    return counts, number, drawn.users.set_index("user").loc[number.index]


@pytest.fixture(scope="module")
def crowd_scores(crowd) -> pd.DataFrame:
    options = ScoreOptions(horizons=["7d", "30d"], random_seed=1)
    batches = score_kind_blocks(shares_of(200), population_at(RESTORING, draws=200), crowd[0], options)
    return pa.Table.from_batches(batches).to_pandas()


@pytest.mark.parametrize("kind", KINDS)
def test_forecasts_are_what_happens(crowd, crowd_scores, kind):
    _, number, users = crowd
    p, happened = crowd_scores[f"p_{kind}_30d"].to_numpy(), (number[kind] > 0).to_numpy()
    assert p.mean() == pytest.approx(happened.mean(), abs=4 * np.sqrt(np.mean(p * (1 - p)) / len(p)))
    for part in np.array_split(np.argsort(p), 4):
        error = np.sqrt(np.sum(p[part] * (1 - p[part]))) / part.size
        assert p[part].mean() == pytest.approx(happened[part].mean(), abs=4 * error + 1e-3)
    mean = crowd_scores[f"activities_{kind}_30d"]
    assert mean.sum() == pytest.approx(number[kind].sum(), rel=0.2)
    lower, upper = (crowd_scores[f"activities_{kind}_30d_{end}"].to_numpy() for end in ("lower", "upper"))
    assert np.mean((lower <= number[kind]) & (number[kind] <= upper)) > 0.9
    own = users[f"share_{kind}"].to_numpy()
    inside = (crowd_scores[f"share_{kind}_lower"] <= own) & (own <= crowd_scores[f"share_{kind}_upper"])
    assert inside.mean() == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / len(own)) + 0.01)  # of 200 draws


def test_a_kind_is_no_likelier_than_any_activity_and_no_less_within_longer(crowd_scores):
    for kind in KINDS:
        assert (crowd_scores[f"p_{kind}_7d"] <= crowd_scores[f"p_{kind}_30d"] + 1e-9).all()
        assert (crowd_scores[f"p_{kind}_30d"] <= crowd_scores[f"activities_{kind}_30d"] + 1e-9).all()
        assert (crowd_scores[f"activities_{kind}_7d_upper"] <= crowd_scores[f"activities_{kind}_30d_upper"]).all()
        for name in ("share", "p"):
            ends = crowd_scores.filter(regex=f"^{name}_{kind}.*_(lower|upper)$")
            assert ((ends >= 0) & (ends <= 1)).all(axis=None)


def test_scores_do_not_depend_on_the_other_users(crowd, crowd_scores):
    asked = [1_200, 7, 444]
    options = ScoreOptions(horizons=["7d", "30d"], random_seed=1)
    counts = crowd[0].select(asked)
    (alone,) = score_kind_blocks(shares_of(200), population_at(RESTORING, draws=200), counts, options)
    together = crowd_scores.set_index("user").loc[asked]
    pd.testing.assert_frame_equal(alone.to_pandas().set_index("user"), together, check_exact=False, rtol=1e-6)


def test_blocks_and_labels_go_their_own_way(crowd, monkeypatch):
    counts = crowd[0].select(range(1, 31))
    shares, population = shares_of(50), population_at(RESTORING, draws=50)
    options = ScoreOptions(horizons={"month": 30.0, "week": 7.0, "same": 30.0}, random_seed=3)
    whole = pa.Table.from_batches(score_kind_blocks(shares, population, counts, options)).to_pandas()
    monkeypatch.setattr("bayesdecay.model.block_draws._ROWS", 7)
    monkeypatch.setattr("bayesdecay.model.kind_scoring._NUMBERS", 900)
    parts = list(score_kind_blocks(shares, population, counts, options))
    assert [len(part) for part in parts] == [7, 7, 7, 7, 2]
    pd.testing.assert_frame_equal(pa.Table.from_batches(parts).to_pandas(), whole)
    np.testing.assert_array_equal(whole["p_cart_month"], whole["p_cart_same"])
    assert (whole["p_cart_week"] <= whole["p_cart_month"]).all()


def test_a_user_has_the_shares_of_its_group():
    history = history_of(
        simulate(200, population=Truth(half_life={"a": 20, "b": 20}, interest=0.3), random_seed=6), group="group"
    )
    group = history.table["group"].to_numpy().astype(str)
    idle = history.over(history.table.filter(pa.array(history.table["n"].to_numpy() == 0)))
    counts = KindCounts(history=idle, kinds=KINDS[:2], counts=np.zeros((len(idle), 2), np.int64))
    shares = KindPopulation(
        concentration=np.tile([[9.0, 1.0], [1.0, 9.0], [5.0, 5.0]], (400, 1, 1)),
        kinds=KINDS[:2],
        groups=tuple(np.unique(group)),
        activity="event",
        acquisition=False,
    )
    (batch,) = score_kind_blocks(shares, population_at(FADING, draws=400), counts, ScoreOptions(random_seed=1))
    expected = np.where(idle.table["group"].to_numpy().astype(str) == shares.groups[0], 0.9, 0.1)
    np.testing.assert_allclose(batch.to_pandas()["share_purchase"], expected, atol=0.02)
    assert set(expected) == {0.9, 0.1}


def test_draws_of_few_users_agree_with_their_scores(crowd, crowd_scores):
    options = ScoreOptions(horizons=["7d", "30d"], random_seed=1)
    asked = crowd[0].select([5, 6])
    draws = kind_draws(shares_of(200), population_at(RESTORING, draws=200), asked, options)
    together = crowd_scores.set_index("user").loc[[5, 6]]
    np.testing.assert_allclose(
        draws["activities"].sel(kind="view", horizon="30d").max("sample") >= together["activities_view_30d_upper"], True
    )
    np.testing.assert_allclose(draws["share"].sel(kind="cart").mean("sample"), together["share_cart"], rtol=1e-6)
