"""Kinds of activities against scipy, quadrature, a recursion over days, and the truth of simulated users."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from bayesdecay import curves
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.kinds import KindCounts, count_kinds
from bayesdecay.data.simulate import simulate
from bayesdecay.data.truth import Population as Truth
from bayesdecay.errors import DataError, NotConvergedError
from bayesdecay.model import streams
from bayesdecay.model.ahead import state_at, time_ahead
from bayesdecay.model.fits import load
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.kind_fit import KindFit
from bayesdecay.model.kind_kernel import draw_kinds
from bayesdecay.model.kind_model import KindModel, KindTails
from bayesdecay.model.kind_scoring import KindPopulation, kind_draws, score_kind_blocks
from bayesdecay.model.prior import Prior
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scores import ScoreOptions, write_scores
from tests.model.made_up import evaluated
from tests.model.thinned import none_by_days, none_by_quadrature, none_by_renewal
from tests.model.worlds import history_of, population_at, simulated, user_posterior

KINDS = ("purchase", "cart", "view")
SHARES, CONCENTRATION = np.array([0.1, 0.25, 0.65]), 4.0
RESTORING = Truth(half_life=20, half_life_spread=0.8, interest=0.25, interest_shape=1.2, coupling=0.4, restoration=0.6)
FADING = Truth(half_life=20, half_life_spread=0.8, interest=0.25, interest_shape=1.2, coupling=0.4, restoration=0.0)


def drawn_counts(n: np.ndarray, concentration: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts (user, kind) of so many activities of users with these concentrations (user, kind)."""
    shares = np.array([rng.dirichlet(own) for own in concentration])
    return np.array([rng.multinomial(k, own) for k, own in zip(n, shares, strict=True)], dtype=np.int64)


def shares_of(draws: int, *, concentration: np.ndarray = CONCENTRATION * SHARES) -> KindPopulation:
    """A posterior without uncertainty: every draw is the truth."""
    return KindPopulation(
        concentration=np.tile(concentration, (draws, 1, 1)),
        kinds=KINDS[: len(concentration)],
        groups=(),
        activity="event",
        acquisition=False,
    )


@pytest.fixture(scope="module")
def counts(history: History) -> KindCounts:
    """Kinds of the activities of the shop of 600 users."""
    n = history.table["n"].to_numpy()
    alike = np.tile(CONCENTRATION * SHARES, (len(n), 1))
    return KindCounts(history=history, kinds=KINDS, counts=drawn_counts(n, alike, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def kinds_fit(counts: KindCounts, made_once: Callable) -> KindFit:
    return KindFit(
        idata=made_once("kinds", lambda: KindModel().fit(counts, sampling=Sampling(chains=2), random_seed=1).idata)
    )


# The likelihood.


def expected_loglik(counts: np.ndarray, concentration: np.ndarray) -> float:
    """By scipy, of the kinds in the order they came: without the number of orders."""
    n = counts.sum(axis=1)
    orders = stats.multinomial.logpmf(counts, n, np.full_like(counts, 1.0, dtype=float) / counts.shape[1])
    orders += n * np.log(counts.shape[1])
    return float(np.sum(stats.dirichlet_multinomial.logpmf(counts, concentration, n) - orders))


@pytest.mark.parametrize("grouped", [False, True])
def test_likelihood_is_that_of_scipy(grouped):
    rng = np.random.default_rng(2)
    counts = drawn_counts(rng.poisson(6, 300), np.tile([0.5, 1.0, 3.0], (300, 1)), rng)
    group = rng.integers(0, 2, 300) if grouped else np.zeros(300, np.int64)
    names = ("ads", "friends") if grouped else ()
    model = KindModel().build(KindTails.of(counts, group), KINDS, names)
    _, found = evaluated(model, ["loglik"], random_seed=3)
    share = found["group_share"] if grouped else found["share"][None]
    assert share.sum(axis=1) == pytest.approx(1.0)
    assert found["loglik"] == pytest.approx(expected_loglik(counts, found["concentration"] * share[group]), rel=1e-10)


def test_tails_are_few_however_many_users():
    rng = np.random.default_rng(4)
    counts = rng.multinomial(5, SHARES, size=100_000).astype(np.int64)
    tails = KindTails.of(counts, np.zeros(100_000, np.int64))
    assert tails.users.size <= 15
    assert (tails.users.sum(), tails.total.tolist()) == (500_000, [100_000] * 5)
    np.testing.assert_array_equal(tails.users[tails.order == 0], (counts > 0).sum(axis=0))


# The fit.


def test_the_truth_is_recovered(kinds_fit):
    assert kinds_fit.verdict.converged, kinds_fit.verdict
    table = kinds_fit.summary()
    assert table.index.to_list() == ["concentration", *(f"share[{kind}]" for kind in KINDS)]
    for name, value in [("concentration", CONCENTRATION), *zip(table.index[1:], SHARES, strict=True)]:
        row = table.loc[name]
        assert row["mean"] == pytest.approx(value, abs=3.5 * row["sd"]), name
        assert row["sd"] < 0.15 * value


def test_groups_are_told_apart_and_an_unseen_one_lies_among_them():
    rng = np.random.default_rng(5)
    drawn = simulate(600, population=Truth(half_life={"a": 20, "b": 20, "c": 20}, interest=0.3), random_seed=6)
    history = history_of(drawn, group="group")
    group = history.table["group"].to_numpy().astype(str)
    truth = {"'a'": [0.1, 0.2, 0.7], "'b'": [0.2, 0.2, 0.6], "'c'": [0.1, 0.4, 0.5]}
    truth = {name: truth.get(name, truth[f"'{name.strip(chr(39))}'"]) for name in np.unique(group)}
    own = 8.0 * np.array([truth[name] for name in group])
    counts = KindCounts(history=history, kinds=KINDS, counts=drawn_counts(history.table["n"].to_numpy(), own, rng))
    fit = KindModel().fit(counts, sampling=Sampling(draws=300, tune=200, chains=2), random_seed=1)
    share = fit.idata["posterior"]["group_share"]
    mean, sd = share.mean(("chain", "draw")), share.std(("chain", "draw"))
    for name, value in truth.items():
        np.testing.assert_array_less(np.abs(mean.sel(group=name) - value), 4.0 * sd.sel(group=name))
    population = KindPopulation.of(fit.idata["posterior"].to_dataset(), activity="event", acquisition=False, draws=400)
    assert population.concentration.shape == (400, 4, 3)
    unseen = population.concentration[:, -1] / population.concentration[:, -1].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(unseen.mean(axis=0), np.mean(list(truth.values()), axis=0), atol=0.1)
    assert unseen.std(axis=0).min() > float(sd.max())
    assert population.place(np.array(["d", population.groups[1]]), 2).tolist() == [3, 1]
    with pytest.raises(DataError, match="the fit of kinds has groups but the history has none"):
        population.place(None, 2)


def test_save_and_load_give_the_same_fit(kinds_fit, tmp_path):
    again = load(kinds_fit.save(tmp_path / "kinds.nc"))
    assert isinstance(again, KindFit)
    assert again.verdict == kinds_fit.verdict
    assert again.idata["posterior"].to_dataset().identical(kinds_fit.idata["posterior"].to_dataset())
    assert again.description["kinds"] == list(KINDS)
    assert "Fit of kinds: converged" in again._repr_html_()


def test_priors_are_told_and_changed():
    table = KindModel().priors_table().set_index("parameter")
    # Of two kinds: the difference of two logarithms.
    assert np.exp(1.645 * np.sqrt(2) * 2.0) == pytest.approx(100, rel=0.06)
    assert table.loc["concentration", ["5 %", "median", "95 %"]].to_list() == pytest.approx([0.42, 5.0, 59.0], rel=0.02)
    narrow = Prior(distribution="LogNormal", parameters={"mu": 0.0, "sigma": 0.1})
    assert KindModel(priors={"concentration": narrow}).priors_in_force()["concentration"] is narrow
    with pytest.raises(ValueError, match="unknown prior 'share'; did you mean 'tau_share'"):
        KindModel(priors={"share": narrow})


def test_nobody_with_an_activity_is_refused(history):
    idle = history.over(history.table.filter(pa.array(history.table["n"].to_numpy() == 0)))
    counts = KindCounts(history=idle, kinds=KINDS, counts=np.zeros((len(idle), 3), np.int64))
    with pytest.raises(DataError, match=r"no user has an activity that counts, acquisitions aside; count these too"):
        KindModel().fit(counts)


# The thinning.


def futures(state, T, *, rho, pi, ends, whole_days=False, shock=None):
    """Chances (end,) of a kind, ``pi`` of one user's activities, their standard errors, and E[N] (end,).

    ``state`` is the user's interest, rate and the law's shoulder; it was last seen at its acquisition, ``T`` days ago.
    """
    size = 40_000
    rng, stream = streams.open_generator()
    ends, (interest, rate, shoulder) = np.array(ends, dtype=float), state
    shock = np.ones(ends.size) if shock is None else np.array(shock)
    within = np.empty(ends.size)
    time_ahead(rate, shoulder + T + (0.5 if whole_days else 0.0), ends, shock, within)
    _, p, expected, number = draw_kinds(
        np.tile(1e12 * np.array([pi, 1.0 - pi]), (1, size, 1)),
        np.zeros((1, 2), np.int64),
        (
            np.full((1, size), interest),
            np.full((1, size), rate),
            np.tile(-np.expm1(-interest * within), (1, size, 1)),
            np.array([T]),
            np.zeros(1),
            np.full(size, rho),
        ),
        np.full((1, size, ends.size), 3.0),
        (ends, np.tile(shock, (size, 1)), shoulder, whole_days, 2),
        streams.user_keys(pa.array([1]), streams.seed_words(1)),
        stream,
        rng,
    )
    assert (number.sum(axis=2) == 3.0).all()
    return p[0, :, 0].mean(axis=0), p[0, :, 0].std(axis=0) / np.sqrt(size), expected[0].mean(axis=0)


def fading(interest, rate, restored, *, rho, **asked):
    """The same of a user whose interest fades exponentially and is so much right after an activity at the cutoff."""
    T = np.log(restored / interest) / (rate * rho) if rho else 0.0
    return futures((interest, rate, np.inf), T, rho=rho, **asked)


@pytest.mark.parametrize(
    ("interest", "restored", "rho", "pi"),
    [(0.02, 0.3, 0.6, 0.2), (0.02, 0.3, 0.9, 0.7), (0.4, 0.5, 0.6, 0.05), (0.1, 0.1, 0.0, 0.3)],
)
def test_thinned_futures_are_those_of_the_renewal_equation(interest, restored, rho, pi):
    p, error, _ = fading(interest, 0.04, restored, rho=rho, pi=pi, ends=[7.0, 30.0])
    for h, end in enumerate((7.0, 30.0)):
        none = none_by_quadrature(interest, 0.04, restored, rho=rho, pi=pi, end=end)
        assert p[h] == pytest.approx(1.0 - none, abs=4.0 * error[h] + 1e-5)
    assert error.max() < 0.003


@pytest.mark.parametrize(("interest", "rho", "pi"), [(0.05, 0.7, 0.2), (0.8, 0.9, 0.1)])
def test_thinned_days_are_those_of_a_recursion_over_days(interest, rho, pi):
    p, error, _ = fading(interest, 0.05, 1.2, rho=rho, pi=pi, ends=[7.0, 30.0], whole_days=True)
    for h, days in enumerate((7, 30)):
        none = none_by_days(interest, 0.05, 1.2, rho=rho, pi=pi, days=days)
        assert p[h] == pytest.approx(1.0 - none, abs=4.0 * error[h])


@pytest.mark.parametrize(("interest", "rho", "pi"), [(0.05, 0.6, 0.2), (0.3, 0.9, 0.5)])
def test_thinned_futures_by_a_power_law_are_those_of_the_renewal_equation(interest, rho, pi):
    shoulder, T, first_rate = 15.0, 40.0, 0.12
    rate = curves.rate_after(first_rate, T, shoulder)
    first = interest / curves.interest_after(1.0, first_rate, T, shoulder)
    p, error, _ = futures((interest, rate, shoulder), T, rho=rho, pi=pi, ends=[7.0, 30.0])

    def after_one(time: float) -> tuple[float, float, float]:
        age = (1.0 - rho) * (T + time)
        left = curves.interest_after(first, first_rate, age, shoulder)
        return left, curves.rate_after(first_rate, age, shoulder), curves.shoulder_after(age, shoulder)

    for h, end in enumerate((7.0, 30.0)):
        none = none_by_renewal((interest, rate, shoulder + T), after_one, pi=pi, end=end)
        assert p[h] == pytest.approx(1.0 - none, abs=4.0 * error[h] + 1e-5)


@pytest.mark.parametrize("whole_days", [False, True])
@pytest.mark.parametrize("shoulder", [np.inf, 20.0])
def test_the_first_interest_is_found_again(whole_days, shoulder):
    """With nothing restored an activity changes nothing, so all futures are of the law from the cutoff on."""
    state = state_at(0.8, 0.1, 30.0, shoulder, whole_days)
    p, error, expected = futures(
        (state[0], state[1], shoulder), 30.0, rho=0.0, pi=0.4, ends=[40.0], whole_days=whole_days
    )
    if whole_days:
        days = [state_at(0.8, 0.1, 30.0 + day, shoulder, True) for day in range(40)]
        within, one = np.array([np.empty(1)] * 40), np.ones(1)
        for day, own in enumerate(days):
            time_ahead(own[1], own[2], one, one, within[day])
        active = -np.expm1(-np.array([own[0] for own in days]) * within[:, 0])
        assert p[0] == pytest.approx(1.0 - np.prod(1.0 - 0.4 * active), abs=4.0 * error[0])
        assert expected[0] == pytest.approx(active.sum(), rel=0.02)
    else:
        mass = state[0] * curves.decayed_time(state[1], 40.0, state[2])
        assert p[0] == pytest.approx(-np.expm1(-0.4 * mass), abs=4.0 * error[0])
        assert expected[0] == pytest.approx(mass, rel=0.02)


def test_without_restoration_the_kind_is_a_thinned_poisson_process():
    shock = [1.5, 0.5]
    p, error, expected = fading(0.3, 0.02, 0.3, rho=0.0, pi=0.25, ends=[10.0, 40.0], shock=shock)
    mass = 0.3 * np.cumsum([1.5 * -np.expm1(-0.2), 0.5 * (np.exp(-0.2) - np.exp(-0.8))]) / 0.02
    np.testing.assert_allclose(p, -np.expm1(-0.25 * mass), atol=4.0 * error.max())
    np.testing.assert_allclose(expected, mass, rtol=0.01)


def test_all_activities_of_one_kind_are_any_activity():
    p, _, _ = fading(0.05, 0.03, 0.4, rho=0.5, pi=1.0, ends=[7.0, 30.0])
    np.testing.assert_allclose(p, -np.expm1(-0.05 * -np.expm1(-0.03 * np.array([7.0, 30.0])) / 0.03), rtol=1e-9)


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


# The scores.


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


def test_shares_next_to_all_or_nothing_are_drawn_too():
    """Gamma variables of a tiny shape are 0 in floating point; then one kind has all, as often as it should."""
    rng, state = streams.open_generator()
    user = np.zeros((1, 20_000))
    share, *_ = draw_kinds(
        np.tile([2e-6, 8e-6], (1, 20_000, 1)),
        np.zeros((1, 2), np.int64),
        (user, user, np.zeros((1, 20_000, 1)), user[:, 0], user[:, 0], user[0]),
        np.zeros((1, 20_000, 1)),
        (np.array([30.0]), np.ones((20_000, 1)), np.inf, False, 1),
        streams.user_keys(pa.array([1]), streams.seed_words(1)),
        state,
        rng,
    )
    np.testing.assert_allclose(share.sum(axis=2), 1.0)
    assert share[0, :, 0].mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / 20_000))


def test_the_fit_scores_in_a_table_in_parts_and_in_draws(kinds_fit, fit, counts, tmp_path):
    options = ScoreOptions(horizons="30d", random_seed=1)
    scores = kinds_fit.score(counts, fit, options=options)
    head = ["user", *(f"share_purchase{end}" for end in ("", "_lower", "_upper"))]
    assert scores.table.column_names[:5] == [*head, "p_purchase_30d"]
    assert len(scores.table.column_names) == 1 + 3 * 9
    write_scores(kinds_fit.score_parts(counts, fit, options=options), tmp_path / "kinds.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "kinds.parquet"), scores.to_pandas(), check_like=True)
    draws = kinds_fit.draws(counts, fit, options=options)
    assert dict(draws.sizes) == {"sample": 200, "user": len(counts), "kind": 3, "horizon": 1}
    np.testing.assert_allclose(draws["share"].sum("kind"), 1.0)
    own = scores.to_pandas()
    np.testing.assert_allclose(draws["share"].sel(kind="view").mean("sample"), own["share_view"])
    (upper,) = interval_ends(draws["p"].sel(kind="cart", horizon="30d").transpose("user", "sample").to_numpy(), (0.95,))
    np.testing.assert_allclose(upper, own["p_cart_30d_upper"])


def test_what_cannot_be_scored_is_refused(kinds_fit, fit, counts):
    with pytest.raises(ValueError, match="is said within horizons; give at least one"):
        kinds_fit.score(counts, fit, options=ScoreOptions(horizons=()))
    turned = KindCounts(history=counts.history, kinds=KINDS[::-1], counts=counts.counts[:, ::-1])
    with pytest.raises(DataError, match=r"made with kinds=\('purchase', 'cart', 'view'\), these counts have"):
        kinds_fit.score(turned, fit)
    few = KindModel().fit(
        counts.select(counts.history.table["user"].to_pylist()[:20]),
        sampling=Sampling(draws=20, tune=5, chains=2),
        random_seed=1,
    )
    assert not few.verdict.converged
    for refused in (few.summary, lambda: few.score(counts, fit)):
        with pytest.raises(NotConvergedError, match="the fit did not converge"):
            refused()
    assert not few.summary(allow_unconverged=True)["converged"].any()


def test_draws_of_few_users_agree_with_their_scores(crowd, crowd_scores):
    options = ScoreOptions(horizons=["7d", "30d"], random_seed=1)
    asked = crowd[0].select([5, 6])
    draws = kind_draws(shares_of(200), population_at(RESTORING, draws=200), asked, options)
    together = crowd_scores.set_index("user").loc[[5, 6]]
    np.testing.assert_allclose(
        draws["activities"].sel(kind="view", horizon="30d").max("sample") >= together["activities_view_30d_upper"], True
    )
    np.testing.assert_allclose(draws["share"].sel(kind="cart").mean("sample"), together["share_cart"], rtol=1e-6)
