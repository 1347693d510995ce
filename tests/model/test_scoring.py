"""Scores against quadrature, brute-force simulation, the reference model, and the truth of simulated users."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
from scipy import stats

from bayesdecay import curves, names
from bayesdecay.data.combining import combine
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, HistoryFile, summarize
from bayesdecay.data.truth import Population as Truth
from bayesdecay.errors import DataError
from bayesdecay.model import block_draws
from bayesdecay.model import scores as scores_of
from bayesdecay.model.design import Standard
from bayesdecay.model.scores import write_scores
from bayesdecay.model.scoring import ScoreOptions, forecast_counts, interest_draws, score, score_parts, user_draws
from tests.model.worlds import SHOP, history_of, population_at, simulated, user_posterior

HORIZONS = {"7d": 7.0, "30d": 30.0, "90d": 90.0}
DRAWS = 400


@pytest.fixture(scope="module")
def crowd():
    """3,000 users seen for 180 days, with the 90 days after it."""
    return simulated(3_000, observed="270d", random_seed=11)


@pytest.fixture(scope="module")
def crowd_history(crowd) -> History:
    return history_of(crowd, at="2024-06-28")


@pytest.fixture(scope="module")
def crowd_scores(crowd_history) -> pd.DataFrame:
    options = ScoreOptions(horizons=HORIZONS, silent={"30d": 30.0}, floor=0.01, random_seed=1)
    return score(population_at(SHOP, draws=DRAWS), crowd_history, options).to_pandas()


@pytest.fixture(scope="module")
def crowd_truth(crowd, crowd_history) -> pd.DataFrame:
    """What was true of each user at the cutoff."""
    users = crowd.users.set_index("user").loc[crowd_history.table["user"].to_pylist()]
    last = (crowd_history.table["last"].to_pandas() - crowd_history.table["first"].to_pandas()) / pd.Timedelta(days=1)
    age = curves.effective_age(crowd_history.table["T"].to_numpy(), last.to_numpy(), SHOP.restoration)
    interest = curves.interest_after(users["initial_interest"], users["rate"], age)
    return pd.DataFrame({"interest": interest, "rate": users["rate"]})


def own_times(history: History, row: int) -> tuple[list[float], float]:
    times = np.array(history.table["times"][row].as_py()) / 86_400_000_000
    return times.tolist(), history.table["T"][row].as_py()


@pytest.mark.parametrize("row", [0, 5, 40, 77, 123])
def test_one_user_by_brute_force(few, row):
    times, T = own_times(few, row)
    exact = user_posterior(times, T, SHOP)
    interest = exact["initial"] * np.exp(-exact["rate"] * (T - SHOP.restoration * (times[-1] if times else 0.0)))
    one = few.select([few.table["user"][row].as_py()])
    found = score(
        population_at(SHOP, draws=4_000, n_rates=240), one, ScoreOptions(horizons=HORIZONS, random_seed=2)
    ).to_pandas()
    # The probabilities are averages in closed form: no Monte Carlo in them.
    for label, length in HORIZONS.items():
        expected = exact["weight"] @ curves.p_return(interest, exact["rate"], length)
        assert found[f"p_return_{label}"][0] == pytest.approx(expected, abs=2e-4)
    assert found["p_never"][0] == pytest.approx(exact["weight"] @ np.exp(-interest / exact["rate"]), abs=2e-4)
    mean = exact["weight"] @ interest
    sd = np.sqrt(exact["weight"] @ (interest - mean) ** 2)
    assert found["interest"][0] == pytest.approx(mean, abs=4 * sd / np.sqrt(4_000))
    half_life = np.log(2) / exact["rate"]
    shares = (
        (interest, "interest_lower", 0.05),
        (interest, "interest_upper", 0.95),
        (half_life, "half_life_lower", 0.05),
        (half_life, "half_life", 0.5),
        (half_life, "half_life_upper", 0.95),
    )
    for value, name, share in shares:
        below = exact["weight"] @ (value <= found[name][0])
        assert below == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4_000) + 0.005)


def test_never_is_the_limit_of_long_horizons(few):
    population = population_at(SHOP, draws=50)
    found = score(population, few, ScoreOptions(horizons={"ever": 1e9}, random_seed=1)).to_pandas()
    np.testing.assert_allclose(1.0 - found["p_return_ever"], found["p_never"], atol=1e-5)


def test_expected_activities_without_restoration_have_a_closed_form():
    shop = Truth(half_life=30, half_life_spread=0.7, interest=0.3, interest_shape=1.5, restoration=0.0)
    history = history_of(simulated(400, shop=shop, random_seed=2))
    population = population_at(shop, draws=1_000)
    found = score(population, history, ScoreOptions(horizons=HORIZONS, random_seed=3)).to_pandas()
    draws = user_draws(population, history, ScoreOptions(horizons=HORIZONS, random_seed=4))
    for label, length in HORIZONS.items():
        # E[N(h)] = I (1 - exp(-r h)) / r, averaged over other draws of the same posterior.
        expected = (draws["interest"] * curves.decayed_time(draws["rate"], length)).to_numpy()
        noise = np.sqrt((2 * expected.var(axis=0) + expected.mean(axis=0)) / population.size)
        z = (found[f"activities_{label}"] - expected.mean(axis=0)) / noise
        assert np.abs(z).max() < 6
        assert abs(z.mean()) < 4 / np.sqrt(len(z))
        assert 0.5 < z.std() < 1.2


@pytest.mark.parametrize("rho", [0.6, 1.0])
def test_activities_agree_with_a_brute_force_walk(few, rho):
    shop = Truth(half_life=20, half_life_spread=0.8, interest=0.25, interest_shape=1.2, coupling=0.4, restoration=rho)
    population, users = population_at(shop, draws=3_000), few.select(few.table["user"].to_pylist()[:40])
    found = score(population, users, ScoreOptions(horizons=HORIZONS, random_seed=5)).to_pandas()
    draws = user_draws(population, users, ScoreOptions(random_seed=6))
    interest, rate = draws["interest"].to_numpy(), draws["rate"].to_numpy()
    T = users.table["T"].to_numpy()
    last = np.array([own_times(users, row)[0][-1] if users.table["n"][row].as_py() else 0.0 for row in range(40)])
    initial = interest * np.exp(rate * curves.effective_age(T, last, rho))
    counts = {label: np.zeros(interest.shape) for label in HORIZONS}
    rng, now = np.random.default_rng(7), np.zeros(interest.shape)
    while np.any(now < 90):
        now = now + curves.return_time(np.maximum(interest, 1e-300), rate, rng.exponential(size=interest.shape))
        for label, length in HORIZONS.items():
            counts[label] += now <= length
        now = np.minimum(now, 1e6)
        interest = curves.interest_after(initial, rate, (1 - rho) * (T + now))  # right after an activity
    for label, count in counts.items():
        z = (found[f"activities_{label}"] - count.mean(axis=0)) / np.maximum(
            np.sqrt(2 * count.var(axis=0) / len(count)), 1e-4
        )
        assert np.abs(z).max() < 5
        assert abs(z.mean()) < 4 / np.sqrt(z.size)


def test_scores_agree_with_the_reference_models_users(few, few_marginal, few_reference):
    """Two roads to each user's interest: quadrature given the population, and NUTS over everything."""
    import arviz as az

    size = 2_000
    found = few_marginal.score(few, options=ScoreOptions(random_seed=1), draws=size, allow_unconverged=True).to_pandas()
    posterior = few_reference.idata["posterior"].to_dataset()
    times = [own_times(few, row) for row in range(len(few))]
    T = xr.DataArray([T for _, T in times], dims="user")
    last = xr.DataArray([own[-1] if own else 0.0 for own, _ in times], dims="user")
    interest = posterior["initial_interest"] * np.exp(-posterior["rate"] * (T - posterior["rho"] * last))
    error = np.hypot(az.mcse(interest).to_numpy(), interest.std(("chain", "draw")).to_numpy() / np.sqrt(size))
    z = (found["interest"] - interest.mean(("chain", "draw")).to_numpy()) / error
    assert np.abs(z).max() < 5
    assert abs(z.mean()) < 1  # errors are shared through the population, so the z are not independent
    # A tenth of the reference's draws lies outside the interval, half on each side.
    for name, values in (("interest", interest), ("half_life", np.log(2) / posterior["rate"])):
        below = (values < found[f"{name}_lower"].to_numpy()).mean(("chain", "draw"))
        above = (values > found[f"{name}_upper"].to_numpy()).mean(("chain", "draw"))
        assert float(below.mean()) == pytest.approx(0.05, abs=0.006)
        assert float(above.mean()) == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize("quantity", ["interest", "half_life", "p_return_7d", "p_return_90d", "p_never"])
def test_intervals_cover_the_truth(crowd_scores, crowd_truth, quantity):
    interest, rate = crowd_truth["interest"].to_numpy(), crowd_truth["rate"].to_numpy()
    truth = {
        "interest": interest,
        "half_life": np.log(2) / rate,
        "p_return_7d": curves.p_return(interest, rate, 7.0),
        "p_return_90d": curves.p_return(interest, rate, 90.0),
        "p_never": np.exp(-interest / rate),
    }[quantity]
    lower, upper = (crowd_scores[name].to_numpy() for name in names.bounds(quantity))
    covered = np.mean((lower <= truth) & (truth <= upper))
    # Binomial, and 400 draws place the ends of a 90 % interval a little inside: 0.9 * 399 / 401.
    assert covered == pytest.approx(0.9 * 399 / 401, abs=4 * np.sqrt(0.09 / truth.size))


def test_future_returns_and_activities_are_as_predicted(crowd, crowd_history, crowd_scores):
    after = crowd.events[crowd.events["time"] > crowd_history.at]
    seen = after.groupby("user").size().reindex(crowd_scores["user"]).fillna(0).to_numpy()
    p = crowd_scores["p_return_90d"].to_numpy()
    assert abs(np.sum((seen > 0) - p)) < 4 * np.sqrt(np.sum(p * (1 - p)))
    for part in np.array_split(np.argsort(p), 5):  # and among the likely as among the unlikely
        assert abs(np.sum((seen[part] > 0) - p[part])) < 4 * np.sqrt(np.sum(p[part] * (1 - p[part]))) + 1e-6
    off = seen - crowd_scores["activities_90d"]
    assert abs(off.sum()) < 4 * np.sqrt(np.sum(off**2))
    # A predictive interval of a count covers at least its probability.
    covered = np.mean((crowd_scores["activities_90d_lower"] <= seen) & (seen <= crowd_scores["activities_90d_upper"]))
    assert 0.89 < covered < 0.99


def test_silent_time_floor_and_order_of_columns(crowd_scores, crowd_history):
    per_horizon = [f"{name}_{label}" for label in HORIZONS for name in ("p_return", "activities")]
    pointed = ["interest", "half_life", "p_never", "interest_after_30d"]
    expected = ["user", *(c for name in pointed for c in (name, *names.bounds(name))), "p_below_floor"]
    expected += [c for name in per_horizon for c in (name, *names.bounds(name))]
    assert list(crowd_scores.columns) == expected
    assert crowd_scores["user"].tolist() == crowd_history.table["user"].to_pylist()
    assert (crowd_scores["interest_after_30d"] < crowd_scores["interest"]).all()
    below = crowd_scores["p_below_floor"]
    assert (below[crowd_scores["interest_lower"] > 0.01] <= 0.05).all()
    assert (below[crowd_scores["interest_upper"] < 0.01] >= 0.95).all()
    assert (crowd_scores["p_return_7d"] < crowd_scores["p_return_30d"]).all()


def test_a_users_score_does_not_depend_on_the_others(fit, history, monkeypatch):
    options = ScoreOptions(random_seed=1)
    whole = fit.score(history, options=options, draws=100).table
    rows = list(range(60, 3, -4))
    some = history.select(history.table["user"].take(rows))
    monkeypatch.setattr("bayesdecay.model.block_draws._ROWS", 7)
    assert fit.score(some, options=options, draws=100).table.equals(whole.take(rows))


def test_same_seed_same_scores(fit, history):
    once, again, other = (fit.score(history, options=ScoreOptions(random_seed=seed), draws=50) for seed in (1, 1, 2))
    assert once.table.equals(again.table)
    assert not once.table.equals(other.table)


def test_new_users_and_new_events_need_no_fit(fit, drawn):
    cut = pd.Timestamp("2024-03-01")
    early, late = (drawn.events[part] for part in (drawn.events["time"] < cut, drawn.events["time"] >= cut))
    parts = (
        summarize(read_events(early), at=cut - pd.Timedelta(microseconds=1), activity="event"),
        summarize(read_events(late), at=drawn.end, activity="event"),
    )
    whole, joined = history_of(drawn), combine(*parts)
    assert len(joined) > len(parts[0])  # there are new users, and
    assert joined.table["n"].to_numpy().sum() > parts[0].table["n"].to_numpy().sum()  # new events of the old
    scores = [fit.score(h, options=ScoreOptions(random_seed=1), draws=100).table for h in (whole, joined)]
    assert scores[0].equals(scores[1])


@pytest.mark.parametrize("ids", [pa.string(), pa.int64(), pa.int32(), pa.binary()])
def test_users_keep_their_ids(few, ids):
    own = few.table["user"].cast(pa.string())
    table = few.over(few.table.set_column(0, "user", own.cast(ids)))
    scores = score(population_at(SHOP, draws=10), table, ScoreOptions(random_seed=1)).table
    assert scores["user"].type == ids
    assert scores["user"].to_pylist() == table.table["user"].to_pylist()
    assert user_draws(population_at(SHOP, draws=3), table, ScoreOptions()).sizes["user"] == len(few)


def test_forecast_is_a_distribution_with_the_scores_mean(crowd_history, crowd_scores):
    population = population_at(SHOP, draws=DRAWS)
    forecast = forecast_counts(population, crowd_history, 90.0, random_seed=9)
    assert forecast.pmf.shape[0] == len(crowd_history)
    assert np.all(forecast.pmf >= -1e-12)
    np.testing.assert_allclose(forecast.pmf.sum(axis=1), 1.0, atol=1e-9)
    counts = np.arange(forecast.pmf.shape[1])
    variance = forecast.pmf @ counts**2 - forecast.mean**2
    z = (forecast.mean - crowd_scores["activities_90d"]) / np.sqrt(2 * variance / DRAWS + 1e-12)
    assert np.abs(z).max() < 6
    # Together; the mean of z would be drawn down by the skewness of rare counts.
    difference = forecast.mean.sum() - crowd_scores["activities_90d"].sum()
    assert abs(difference) < 4 * np.sqrt(2 * variance.sum() / DRAWS)
    # P(none) is 1 - P(return), whose average over draws the scores have in closed form.
    none = forecast.pmf[:, 0] - (1 - crowd_scores["p_return_90d"])
    assert np.abs(none).max() < 5 * 0.5 / np.sqrt(DRAWS)
    assert forecast.total.shape == (DRAWS,)
    assert forecast.total.mean() == pytest.approx(forecast.mean.sum(), rel=0.01)
    # Given the population users are independent: the total's variance is the sum of theirs.
    ratio = forecast.total.var(ddof=1) / variance.sum()
    low, high = stats.chi2.ppf([5e-5, 1 - 5e-5], DRAWS - 1) / (DRAWS - 1)
    assert low < ratio < high


def test_users_share_the_uncertainty_of_the_population(fit, history):
    """With a fitted population the total varies more than independent users would."""
    forecast = forecast_counts(fit.population(400), history, 90.0, random_seed=1)
    variance = forecast.pmf @ np.arange(forecast.pmf.shape[1]) ** 2 - forecast.mean**2
    assert forecast.total.var() > 1.2 * variance.sum()


def test_user_draws_are_labelled_and_agree_with_the_scores(few):
    population = population_at(SHOP, draws=2_000)
    draws = user_draws(population, few, ScoreOptions(horizons=HORIZONS, random_seed=1))
    table = score(population, few, ScoreOptions(horizons=HORIZONS, random_seed=1)).to_pandas()
    assert draws["p_return"].dims == ("sample", "user", "horizon")
    assert draws["user"].to_numpy().tolist() == table["user"].tolist()
    assert draws["interest"].attrs["units"] == "1/d"
    np.testing.assert_allclose(draws["interest"].mean("sample"), table["interest"])  # the same seed, the same draws
    for label in HORIZONS:
        chance = draws["p_return"].sel(horizon=label)
        error = chance.std("sample") / np.sqrt(2_000)
        # The floor is for users who are all but gone, whose chance lies in a few draws.
        assert np.all(np.abs(chance.mean("sample") - table[f"p_return_{label}"].to_numpy()) < 4 * error + 1e-3)
    np.testing.assert_allclose(interest_draws(population, few, random_seed=1).shape, (len(few), 2_000))


def test_population_without_spread_scores_finite_numbers(few):
    # The scale of the interests on the grid's far ends is then exp(thousands).
    shop = Truth(half_life=20, half_life_spread=0.01, interest=0.25, coupling=3.0, restoration=0.6)
    grid_too_coarse = score(population_at(shop, draws=5, n_rates=400), few, ScoreOptions(random_seed=1)).to_pandas()
    assert np.isfinite(grid_too_coarse.drop(columns="user").to_numpy()).all()
    assert grid_too_coarse["half_life"].between(18, 22).all()


def test_no_horizon_at_all(few):
    table = score(population_at(SHOP, draws=5), few, ScoreOptions(horizons={}, random_seed=1)).table
    assert [name for name in table.column_names if "_lower" not in name and "_upper" not in name] == [
        "user",
        "interest",
        "half_life",
        "p_never",
    ]


def test_tables_go_to_files(few, tmp_path):
    scores = score(population_at(SHOP, draws=10), few, ScoreOptions(ci_prob=0.8, random_seed=1))
    scores.to_parquet(tmp_path / "scores.parquet")
    scores.to_csv(tmp_path / "scores.csv")
    back = pq.read_table(tmp_path / "scores.parquet")
    assert back.equals(scores.table)
    assert back.schema.metadata[b"ci_prob"] == b"0.8"
    assert pd.Timestamp(back.schema.metadata[b"at"].decode()) == few.at
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "scores.csv"), scores.to_pandas(), check_dtype=False)
    assert scores.to_pandas().attrs["ci_prob"] == 0.8
    assert f"Scores of {len(few)} users, 80% intervals" in scores._repr_html_()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "scores.parquet"]


def test_forecast_takes_a_duration(few):
    population = population_at(SHOP, draws=5)
    told, counted = (forecast_counts(population, few, length, random_seed=1) for length in ("2w", 14))
    np.testing.assert_array_equal(told.pmf, counted.pmf)
    with pytest.raises(ValueError, match=r"horizons: expected .* above zero"):
        forecast_counts(population, few, 0.0)


def test_nobody_to_score_is_an_empty_result_with_its_columns(few):
    population, options = population_at(SHOP, draws=5), ScoreOptions(silent=["7d"], floor=0.1, random_seed=1)
    nobody = few.select([])
    empty = score(population, nobody, options)
    assert len(empty) == 0
    assert empty.table.schema.equals(score(population, few, options).table.schema, check_metadata=True)
    draws = user_draws(population, nobody, options)
    assert draws.sizes == {"sample": 5, "user": 0, "horizon": 2}
    assert interest_draws(population, nobody).shape == (0, 5)
    forecast = forecast_counts(population, nobody, "30d")
    assert (forecast.pmf.shape, forecast.mean.shape) == ((0, 1), (0,))
    np.testing.assert_array_equal(forecast.total, np.zeros(5))


def test_another_unit_of_activity_is_refused(drawn):
    days = summarize(read_events(drawn.events), at=drawn.end, activity="day")
    refused = "its unit of activity is the day, but the model was fitted to the unit event; .* activity='event'"
    for use in (score, user_draws):
        with pytest.raises(DataError, match=refused):
            use(population_at(SHOP, draws=5), days, ScoreOptions())
    with pytest.raises(DataError, match=refused):
        forecast_counts(population_at(SHOP, draws=5), days, "30d")


@pytest.mark.parametrize("apart", ["covariate", "group"])
def test_memory_is_bounded_where_users_differ_in_their_design(few, apart):
    """All at once, 2,000 designs x 400 draws x 60 rates are 384 MB an array."""
    copies = pa.concat_tables([few.table] * (2_000 // len(few) + 1)).slice(0, 2_000)
    copies = copies.set_column(0, "user", pa.array(range(2_000)))
    differs, known = np.random.default_rng(1).standard_normal(2_000), population_at(SHOP, draws=400)
    about = {"at": few.at, "activity": few.activity, "session_gap": few.session_gap}
    if apart == "covariate":
        many = History(table=copies.append_column("x", pa.array(differs)), covariates=("x",), **about)
        standard = Standard(names=("x",), center=np.zeros(1), scale=np.ones(1))
        population = replace(known, slope=np.full((2, 400, 1), 0.1), standard=standard)
    else:
        many = History(table=copies.append_column("group", pa.array(map(str, range(2_000)))), group="g", **about)
        location = np.repeat(known.location, 2_001, axis=2)
        population = replace(known, groups=tuple(map(str, range(2_000))), location=location)
    score(population, many.select([0]), ScoreOptions(random_seed=1))  # compiles
    tracemalloc.start()
    scores = score(population, many, ScoreOptions(random_seed=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scores.table["user"].to_pylist() == list(range(2_000))
    assert peak < 250e6


def test_many_blocks_are_one_table(few):
    """More users than a block holds: the order and the ids stay."""
    copies = pa.concat_tables([few.table] * 25)
    ids = pa.array(range(copies.num_rows))
    many = few.over(copies.set_column(0, "user", ids))
    table = score(population_at(SHOP, draws=5), many, ScoreOptions(random_seed=1)).table
    assert table["user"].to_pylist() == ids.to_pylist()
    p = table["p_return_30d"].to_numpy().reshape(25, len(few))
    np.testing.assert_allclose(p, np.broadcast_to(p[0], p.shape), rtol=1e-12)


def test_a_file_is_scored_into_a_file_as_in_memory(few, tmp_path, monkeypatch):
    copies = pa.concat_tables([few.table] * 25)
    many = few.over(copies.set_column(0, "user", pa.array(range(copies.num_rows))))
    monkeypatch.setattr(scores_of, "_ROW_GROUP", 3_000)
    monkeypatch.setattr(block_draws, "_ROWS", 1_000)
    population, options = population_at(SHOP, draws=5), ScoreOptions(random_seed=1)
    expected = score(population, many, options)
    file = HistoryFile.open(many.to_parquet(tmp_path / "history.parquet"))
    for name in ("scores.parquet", "scores.csv"):
        write_scores(score_parts(population, file, options), tmp_path / name)
    written = pq.ParquetFile(tmp_path / "scores.parquet")
    assert written.read().equals(expected.table)
    assert written.schema_arrow.metadata[b"ci_prob"] == b"0.9"
    assert written.num_row_groups == -(-len(many) // 3_000)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "scores.csv"), expected.to_pandas(), check_dtype=False)


def test_a_few_users_start_no_threads(few, monkeypatch):
    """Starting one takes longer than scoring a user."""
    monkeypatch.setattr(block_draws, "ThreadPoolExecutor", None)
    assert len(score(population_at(SHOP, draws=5), few, ScoreOptions(random_seed=1))) == len(few)
