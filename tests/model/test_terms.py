"""A formula with what it learned: features in order, brackets, what is done where something is missing, round trips."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from bayesdecay.errors import DataError
from bayesdecay.model.terms import Terms
from tests.model.made_up import LOG_INTEREST, TABLE, terms_of

N_ROWS = 60
GAPS = ("age", "spend")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Rows in which age is missing in every fifth and spend, which goes with visits, in every third."""
    rng = np.random.default_rng(4)
    visits = rng.normal(size=N_ROWS)
    made = pd.DataFrame(
        {
            "visits": visits,
            "age": rng.gamma(2.0, 10.0, N_ROWS),
            "spend": 2 * visits + rng.normal(size=N_ROWS),
            "segment": rng.choice(list("abc"), N_ROWS),
            "channel": rng.choice(["ads", "friends"], N_ROWS),
        }
    )
    made.loc[::5, "age"] = np.nan
    made.loc[::3, "spend"] = np.nan
    return made


@pytest.fixture(scope="module")
def log_interest() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(N_ROWS, 8))


FORMULA = "returned ~ interest + visits + age + (1 + spend + age | segment) + (1 | channel)"


def standardised(table: pd.DataFrame) -> pd.DataFrame:
    numbers = table[["visits", "age", "spend"]]
    return (numbers - numbers.mean()) / numbers.std(ddof=0)


# --- features and groups ---


def test_features_with_a_slope_come_first(table, log_interest):
    made = terms_of(FORMULA, table, log_interest, missing="indicator")
    assert made.slopes == ("visits", "age", "missing(age)", "missing(spend)")
    assert made.labels == ("visits", "age", "missing(age)", "missing(spend)", "spend")
    np.testing.assert_array_equal(made.columns_of(0), [4, 1])
    assert made.columns_of(1).size == 0
    assert made.terms_of == {name: name for name in made.slopes}
    assert made.scales["spend"] == pytest.approx(table["spend"].std(ddof=0))
    assert made.centers["age"] == pytest.approx(table["age"].mean())
    assert (made.scales["missing(age)"], made.centers["missing(age)"]) == (1.0, 0.0)


def test_groups(table, log_interest):
    made = terms_of(FORMULA, table, log_interest)
    assert [(one.group, one.groups) for one in made.pooled] == [
        ("segment", ("a", "b", "c")),
        ("channel", ("ads", "friends")),
    ]
    later = table.iloc[:4].assign(segment=["a", "c", "unheard of", "b"], channel=["friends", "tv", "ads", "ads"])
    np.testing.assert_array_equal(made.design(later, log_interest[:4]).groups, [[0, 1], [2, 2], [3, 0], [1, 0]])


def test_user_may_be_a_group():
    made = terms_of("returned ~ recency + (1 | user)", TABLE.assign(user=[7, 7, 10, 9, 10]))
    assert made.pooled[0].groups == ("10", "7", "9")
    design = made.design(TABLE.assign(user=[10, 7, 9, 8, 7]), LOG_INTEREST)
    np.testing.assert_array_equal(design.groups[:, 0], [0, 1, 2, 3, 1])


def test_missing_or_unknown_group_is_refused():
    with pytest.raises(DataError, match="group 'segment' is missing in 1 rows"):
        terms_of("returned ~ (1 | segment)", TABLE.assign(segment=[None, *"abcd"]))
    with pytest.raises(ValueError, match="unknown group 'segmnt'; did you mean 'segment'"):
        terms_of("returned ~ (1 | channel) + (1 | segmnt)")


def test_interest_is_standardised_over_all_values():
    design = terms_of("returned ~ interest").design(TABLE, LOG_INTEREST)
    assert design.x.shape == (5, 0)
    assert design.groups.shape == (5, 0)
    assert design.level.shape == (5, 3)
    assert design.level.mean() == pytest.approx(0)
    assert design.level.std() == pytest.approx(1)


def test_equal_rows_are_merged(table, log_interest):
    made = terms_of(FORMULA, table, log_interest)
    twice, came = np.tile(np.arange(N_ROWS), 3), np.arange(3 * N_ROWS) % 7 < 3
    design = made.design(table.iloc[twice], log_interest[twice])
    merged, returned, weight = design.merged(came)
    assert weight.sum() == 3 * N_ROWS
    assert returned.size < 3 * N_ROWS  # of three equal rows at least two have the same outcome
    for name in ("x", "level", "groups"):
        whole, part = getattr(design, name), getattr(merged, name)
        np.testing.assert_allclose(weight @ part, whole.sum(axis=0), atol=1e-12)
        np.testing.assert_allclose((weight * returned) @ part, whole[came].sum(axis=0), atol=1e-12)
    # A row goes on pointing to its own pattern.
    np.testing.assert_array_equal(merged.root, design.root)
    np.testing.assert_array_equal(np.bincount(merged.pattern, weight), np.bincount(design.pattern))


# --- what is missing ---


def test_missing_is_filled_with_the_mean(table, log_interest):
    design = terms_of(FORMULA, table, log_interest, missing="mean").design(table, log_interest)
    np.testing.assert_allclose(design.x, standardised(table).fillna(0.0))
    assert not design.pattern.any()


def test_missing_is_filled_with_the_median(table, log_interest):
    made = terms_of(FORMULA, table, log_interest, missing="median")
    # Standardised as what is known is, not as what was filled in.
    known = table[["visits", "age", "spend"]]
    wanted = (table.fillna(known.median())[known.columns] - known.mean()) / known.std(ddof=0)
    np.testing.assert_allclose(made.design(table, log_interest).x, wanted)


def test_missing_is_marked(table, log_interest):
    made = terms_of(FORMULA, table, log_interest, missing="indicator")
    x = pd.DataFrame(made.design(table, log_interest).x, columns=made.labels)
    filled = standardised(table).fillna(0.0)
    for name in ("visits", "age", "spend"):
        np.testing.assert_allclose(x[name], filled[name])
    for name in GAPS:
        np.testing.assert_array_equal(x[f"missing({name})"], table[name].isna())


def test_missing_is_refused(table, log_interest):
    message = r"missing values \(age in 12, spend in 20 of 60 rows\); fill them, .* with missing='model'"
    with pytest.raises(DataError, match=message):
        terms_of(FORMULA, table, log_interest, missing="refuse")
    whole = table.fillna(0.0)
    made = terms_of(FORMULA, whole, log_interest, missing="refuse")
    np.testing.assert_allclose(made.design(whole, log_interest).x, standardised(whole))
    with pytest.raises(DataError, match=r"missing values \(age in 12, spend in 20 of 60 rows\)"):
        made.design(table, log_interest)


def test_missing_is_expected_from_what_is_known(table, log_interest):
    made = terms_of(FORMULA, table, log_interest, missing="model")
    design = made.design(table, log_interest)
    known = standardised(table).notna().to_numpy()
    np.testing.assert_allclose(design.x[known], standardised(table).to_numpy()[known])
    # Spend is twice visits, and noise with a standard deviation of 1.
    rows = table["spend"].isna() & table["age"].notna()
    spend = design.x[rows, 2] * made.scales["spend"] + made.centers["spend"]
    np.testing.assert_allclose(spend, 2 * table.loc[rows, "visits"], atol=0.9)
    assert np.corrcoef(spend, table.loc[rows, "visits"])[0, 1] > 0.95
    (pattern,) = np.unique(design.pattern[rows])
    unsure = np.sqrt(np.diag(design.root[pattern] @ design.root[pattern].T)) * [made.scales[n] for n in made.labels]
    np.testing.assert_allclose(unsure, [0.0, 0.0, 1.0], atol=0.25)
    # Four patterns: nothing, either, both; the first is that of nothing.
    assert len(design.root) == 4
    np.testing.assert_array_equal(design.pattern == 0, known.all(axis=1))
    assert not design.root[0].any()


def test_interest_tells_of_what_is_missing():
    rng = np.random.default_rng(6)
    level = rng.normal(size=400)
    table = pd.DataFrame({"visits": np.where(np.arange(400) < 200, level, np.nan)})
    design = terms_of("returned ~ visits", table, level[:, None]).design(table, level[:, None])
    np.testing.assert_allclose(design.x[200:, 0], (level[200:] - level[:200].mean()) / level[:200].std(), atol=1e-3)


@pytest.mark.parametrize("missing", ["model", "mean", "median", "indicator", "refuse"])
def test_where_nothing_is_missing_all_is_one(table, log_interest, missing):
    whole = table.fillna(1.0)
    made = terms_of(FORMULA, whole, log_interest, missing=missing)
    design = made.design(whole, log_interest)
    assert made.labels == ("visits", "age", "spend")
    np.testing.assert_allclose(design.x, standardised(whole))
    assert not design.pattern.any()
    assert made.missing_rows(whole) == {}


@pytest.mark.parametrize(("missing", "middle"), [("mean", np.mean), ("median", np.median)])
def test_later_rows_may_lack_what_was_always_known(table, log_interest, missing, middle):
    whole = table.fillna(1.0)
    made = terms_of(FORMULA, whole, log_interest, missing=missing)
    design = made.design(whole.iloc[:3].assign(visits=[None, 1.0, None]), log_interest[:3])
    np.testing.assert_allclose(design.x[[0, 2], 0], middle(standardised(whole)["visits"]), atol=1e-12)


def test_later_rows_that_lack_what_was_always_known_are_modelled(table, log_interest):
    whole = table.fillna(1.0)
    made = terms_of(FORMULA, whole, log_interest, missing="model")
    design = made.design(whole.iloc[:3].assign(visits=[None, 1.0, None]), log_interest[:3])
    assert np.isfinite(design.x).all()
    np.testing.assert_array_equal(design.pattern > 0, [True, False, True])
    assert design.x[0, 0] != design.x[2, 0]  # the other features tell it
    assert 0 < design.root[1][0, 0] < 1  # and leave less than they found


def test_later_rows_that_lack_what_was_always_known_have_no_indicator(table, log_interest):
    made = terms_of(FORMULA, table, log_interest, missing="indicator")
    later = table.iloc[:2].assign(visits=[None, 1.0])
    with pytest.raises(DataError, match=r"missing\(visits\) is true here and never was .* fit with missing='model'"):
        made.design(later, log_interest[:2])


def test_missing_text_is_all_of_its_columns():
    gaps = TABLE.assign(channel=["ads", None, "ads", "search", "friends"])
    made = terms_of("returned ~ channel + recency", gaps)
    design = made.design(gaps, LOG_INTEREST)
    np.testing.assert_array_equal(design.pattern, [0, 1, 0, 0, 0])
    assert (np.diag(design.root[1] @ design.root[1].T) > 0).tolist() == [True, True, False]
    assert made.missing_rows(gaps) == {"channel": 1}


def test_missing_rows_of_an_embedding():
    table = TABLE.assign(emb_0=[1.0, None, 2.0, 4.0, 3.0], emb_1=[None, 1.0, 2.0, 1.0, 5.0], recency=[None, 1, 2, 3, 4])
    made = terms_of("returned ~ recency", table, embedding="emb_*")
    assert made.missing_rows(table) == {"recency": 1, "embedding": 2}
    assert made.slopes == ("recency", "embedding_1", "embedding_2")
    assert made.terms_of == {"recency": "recency", "embedding_1": "embedding", "embedding_2": "embedding"}
    design = made.design(table, LOG_INTEREST)
    assert np.isfinite(design.x).all()
    np.testing.assert_array_equal(design.pattern > 0, [True, True, False, False, False])


@pytest.mark.parametrize("missing", ["model", "mean", "median", "indicator"])
def test_round_trip_gives_the_same_matrices(table, log_interest, missing):
    table = table.assign(emb_0=table["visits"] ** 2, emb_1=np.sin(table["visits"]))
    made = terms_of(FORMULA + " + log1p(age) + channel", table, log_interest, missing=missing, embedding="emb_*")
    again = Terms.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again.formula == made.formula
    assert (again.slopes, again.labels, again.missing) == (made.slopes, made.labels, missing)
    assert [one.groups for one in again.pooled] == [one.groups for one in made.pooled]
    later = table.iloc[[3, 0, 5]]
    one, other = (terms.design(later, log_interest[:3]) for terms in (made, again))
    for name in ("x", "pattern", "root", "groups", "level"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
