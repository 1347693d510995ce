"""Experiments: what is read is what was there, what is wrong is refused, and an unfair draw is seen."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import kstest

from bayesdecay.data.balance import effective_size
from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.data.propensity import estimated
from bayesdecay.errors import DataError

COLUMNS = {"arm": "sent", "control": "none", "outcomes": ["bought", "spend"], "user": "id"}


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": [f"u{i}" for i in range(90)],
            "sent": ["none", "mail", "call"] * 30,
            "bought": rng.random(90) < 0.3,
            "spend": np.where(rng.random(90) < 0.1, rng.random(90), 0.0),
            "age": rng.normal(40, 10, 90),
            "channel": rng.choice(["web", "shop", "phone"], 90),
            "p_mail": 1 / 3,
        }
    )


def test_reads_what_is_there(frame):
    made = read_experiment(frame, **COLUMNS, features=["age", "channel"])
    assert made.arms == ("none", "call", "mail")
    assert made.control == "none"
    assert [made.arms[place] for place in made.given] == frame["sent"].tolist()
    np.testing.assert_array_equal(made.outcome("bought"), frame["bought"].astype(float))
    assert made.table.columns.tolist() == ["user", "arm", "bought", "spend", "age", "channel"]
    np.testing.assert_allclose(made.propensity, 1 / 3)
    assert made.origin == "observed shares"
    assert made.causal
    assert made.caveat == ""
    means = frame.groupby("sent")["spend"].mean()
    np.testing.assert_allclose(made.summary()["spend"], means[list(made.arms)])
    assert "observed shares" in made._repr_html_()


def test_every_kind_of_table_is_the_same(frame, tmp_path):
    frame.to_parquet(tmp_path / "trial.parquet")
    frame.to_csv(tmp_path / "trial.csv", index=False)
    with duckdb.connect() as connection:
        relation = connection.from_df(frame)
        given = [frame, pa.table(frame), tmp_path / "trial.parquet", str(tmp_path / "trial.csv"), relation]
        tables = [read_experiment(table, **COLUMNS, features=["age", "channel"]).table for table in given]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_dtype=False)


def test_users_are_numbered_where_they_have_no_id(frame):
    made = read_experiment(frame, arm="sent", control="none", outcomes=["spend"])
    assert made.table["user"].tolist() == list(range(90))


def test_arms_may_be_numbers(frame):
    made = read_experiment(frame.assign(sent=(frame["sent"] != "none").astype(int)), **(COLUMNS | {"control": 0}))
    assert made.arms == (0, 1)


def test_design_is_taken_as_told(frame):
    frame["p_none"], frame["p_call"] = 0.5, 1 / 6
    made = read_experiment(frame, **COLUMNS, propensity={"mail": "p_mail", "call": "p_call", "none": "p_none"})
    np.testing.assert_allclose(made.propensity, np.tile([1 / 2, 1 / 6, 1 / 3], (90, 1)))
    shares = read_experiment(frame, **COLUMNS, propensity={"mail": 0.25, "call": 0.25, "none": 0.5})
    np.testing.assert_allclose(shares.propensity[5], [0.5, 0.25, 0.25])
    assert shares.origin == "design"
    kept = shares.select(np.arange(90) < 30)
    assert len(kept) == 30
    np.testing.assert_allclose(kept.propensity[5], [0.5, 0.25, 0.25])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sent": None}, r"column 'sent' is missing in 1 rows \(3\); drop them, or fill them in"),
        ({"id": None}, r"column 'id' is missing in 1 rows \(3\)"),
        ({"id": "u7"}, r"column 'id' repeats a user in 1 rows \(7\); give each user one row"),
        ({"spend": None}, r"outcome 'spend' is missing or infinite in 1 rows \(3\); give every user an outcome"),
        ({"spend": np.inf}, r"outcome 'spend' is missing or infinite in 1 rows \(3\)"),
    ],
)
def test_bad_rows_are_refused(frame, change, message):
    ((column, value),) = change.items()
    frame[column] = frame[column].astype(object) if value is None else frame[column]
    frame.loc[3, column] = value
    with pytest.raises(DataError, match=message):
        read_experiment(frame, **COLUMNS)


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"control": "nine"}, ValueError, r"unknown control in column 'sent', 'nine'; did you mean 'none'"),
        ({"outcomes": ["bougth"]}, ValueError, r"unknown column 'bougth'; did you mean 'bought'"),
        ({"arm": "sen"}, ValueError, r"unknown column for arm= 'sen'; did you mean 'sent'"),
        ({"outcomes": "spend"}, TypeError, r"outcomes= and features= are lists"),
        ({"outcomes": ["channel"]}, DataError, r"outcome 'channel' is str; expected numbers"),
        ({"features": ["spend"]}, ValueError, r"column 'spend' is named for two things"),
        ({"propensity": {"mail": 0.5, "none": 0.5}}, ValueError, r"propensity has no entry for the arm 'call'"),
        (
            {"propensity": {"mail": 0.5, "none": 0.2, "call": 0.1, "fax": 0.2}},
            ValueError,
            r"unknown arm in propensity=, or an arm without rows, 'fax'",
        ),
        (
            {"propensity": {"mail": 0.5, "none": 0.5, "call": 0.0}},
            DataError,
            r"propensity of the arm 'call' is 0 in 90 rows \(the first is row 0\); expected a probability above 0",
        ),
        (
            {"propensity": {"mail": "p_mail", "none": 0.5, "call": 0.5}},
            DataError,
            r"the propensities add up to 1.33333 in 90 rows \(the first is row 0\); expected 1",
        ),
        ({"propensity": 0.5}, TypeError, r"propensity is 0.5; give a mapping"),
        ({"randomised": False}, ValueError, r"propensities can only be estimated from features; name in features="),
    ],
)
def test_wrong_words_are_refused(frame, changed, kind, message):
    with pytest.raises(kind, match=message):
        read_experiment(frame, **(COLUMNS | changed))


def test_other_refusals(frame):
    with pytest.raises(TypeError, match=r"an experiment comes as a path, .* not int"):
        read_experiment(3, **COLUMNS)
    with pytest.raises(DataError, match="the table has no rows"):
        read_experiment(frame.iloc[:0], **COLUMNS)
    with pytest.raises(DataError, match="all users were given 'none'; expected at least one other arm"):
        read_experiment(frame[frame["sent"] == "none"], **COLUMNS)
    made = read_experiment(frame, **COLUMNS)
    with pytest.raises(ValueError, match="no features were kept; name in features= what was known"):
        made.balance()
    with pytest.raises(ValueError, match="the arm 'call' is left without users"):
        made.select((frame["sent"] != "call").to_numpy())
    with pytest.raises(DataError, match=r"feature 'id' has 90 different texts; expected at most 50"):
        read_experiment(frame, **(COLUMNS | {"user": None}), features=["id"]).balance()


def fair(rng: np.random.Generator, n: int = 300) -> pd.DataFrame:
    """A fair draw among users with features of every kind."""
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "sent": rng.choice(["none", "mail", "call"], n),
            "x": np.where(rng.random(n) < 0.1, np.nan, x),
            "twice": 2 * x,
            "kind": rng.choice(["a", "b", "c"], n),
            "y": x,
        }
    )


def test_fair_draws_give_uniform_p_values():
    rng = np.random.default_rng(2)
    columns = {"arm": "sent", "control": "none", "outcomes": ["y"], "features": ["x", "twice", "kind"]}
    judged = [read_experiment(fair(rng), **columns).balance() for _ in range(200)]
    # x, whether it is missing, twice, and two of the three levels, each over two arms.
    assert {one.df for one in judged} == {10}
    assert kstest([one.p_value for one in judged], "uniform").pvalue > 0.001
    stratified = []
    for _ in range(150):
        table = fair(rng)
        table["p"] = np.where(table["kind"] == "a", 0.8, 0.3)
        table["q"] = 1 - table["p"]
        table["sent"] = np.where(rng.random(len(table)) < table["p"], "mail", "none")
        stratified.append(read_experiment(table, **columns, propensity={"mail": "p", "none": "q"}).balance().p_value)
    assert kstest(stratified, "uniform").pvalue > 0.001


def test_unfair_draw_is_seen_and_weights_mend_it():
    rng = np.random.default_rng(3)
    x = rng.normal(size=4_000)
    p = 1 / (1 + np.exp(-x))
    table = pd.DataFrame({"x": x, "y": x, "sent": np.where(rng.random(4_000) < p, "mail", "none")})
    columns = {"arm": "sent", "control": "none", "outcomes": ["y"], "features": ["x"]}
    said, seen = (read_experiment(table, **columns, randomised=fair) for fair in (True, False))
    assert said.balance().p_value < 1e-6
    assert "hardly leaves such a difference" in str(said.balance())
    row = seen.balance().table.iloc[0]
    mail, none = x[table["sent"] == "mail"], x[table["sent"] == "none"]
    assert row["smd"] == pytest.approx((mail.mean() - none.mean()) / np.sqrt((mail.var() + none.var()) / 2))
    assert row["mean"] == pytest.approx(mail.mean())
    assert row["variance_ratio"] == pytest.approx(mail.var() / none.var())
    assert abs(row["smd_weighted"]) < 0.1 < row["smd"]
    assert "a difference that no feature shows may be there as well" in str(seen.balance())
    assert seen.origin == "estimated"
    np.testing.assert_allclose(seen.propensity[:, 1], p, atol=0.06)


def test_overlap_tells_users_without_a_like():
    rng = np.random.default_rng(4)
    x = rng.normal(size=3_000)
    columns = {"arm": "sent", "control": "none", "outcomes": ["y"], "features": ["x"]}
    tables = []
    for slope in (0.0, 4.0):
        mailed = rng.random(3_000) < 1 / (1 + np.exp(-slope * x))
        table = pd.DataFrame({"x": x, "y": x, "sent": np.where(mailed, "mail", "none")})
        tables.append(read_experiment(table, **columns, randomised=False).overlap())
    fair, apart = tables
    assert (fair["outside"] == 0).all()
    assert (fair["effective_users"] > 0.99 * fair["users"]).all()
    assert (apart["outside"] > 0.3).all()
    assert (apart["effective_users"] < 0.6 * apart["users"]).all()
    assert (apart["q100"] > 0.99).all()


def test_propensities_are_at_the_mode():
    rng = np.random.default_rng(5)
    x, given = rng.normal(size=(200, 2)), rng.integers(0, 3, 200)
    p = estimated(x, given, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    # Where the intercepts are free, the mean propensity of an arm is its share.
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(given) / 200, atol=1e-4)
    # And on the features the residuals are the slopes, by the derivative of a standard normal prior.
    slopes = x.T @ (np.eye(3)[given] - p)
    contrast = np.log(p) - np.log(p).mean(axis=1, keepdims=True)
    fitted = np.linalg.lstsq(np.column_stack([np.ones(200), x]), contrast, rcond=None)[0][1:]
    np.testing.assert_allclose(slopes, fitted, atol=0.02)


def test_propensities_stay_off_zero_where_a_feature_tells_all():
    x = np.repeat([-1.0, 1.0], 50)[:, None]
    p = estimated(x, np.repeat([0, 1], 50), 2)
    assert 0.9 < p[0, 0] < 1


def test_effective_size_has_its_limits():
    assert effective_size(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_size(np.array([1e6, 1, 1, 1])) == pytest.approx(1, abs=1e-4)
    assert effective_size(np.zeros(3)) == 0
