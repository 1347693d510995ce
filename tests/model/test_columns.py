"""From terms to a matrix: values, levels, what is missing, and that later data gets the fit's own matrix."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from bayesdecay.errors import DataError
from bayesdecay.model.columns import Columns, group_of, missing_rows
from tests.model.made_up import TABLE

GONE = TABLE["recency"] == 2.0


def with_gap(column: str) -> pd.DataFrame:
    """The table with the second row of a column missing."""
    return TABLE.assign(**{column: TABLE[column].astype("object").where(~GONE, None)})


def test_values():
    made = Columns.learn("log1p(recency) + {recency > 2} + `price paid`:member", TABLE)
    wanted = np.column_stack(
        [np.log1p(TABLE["recency"]), TABLE["recency"] > 2, TABLE["price paid"] * TABLE["member"]]
    ).astype(float)
    assert made.labels == ("log1p(recency)", "recency > 2", "price paid:member")
    np.testing.assert_allclose(made.center, wanted.mean(axis=0))
    np.testing.assert_allclose(made.scale, wanted.std(axis=0))
    np.testing.assert_allclose(made.standardised(TABLE), (wanted - wanted.mean(axis=0)) / wanted.std(axis=0))


def test_each_column_knows_its_term():
    made = Columns.learn("channel + log1p(recency) + recency:channel", TABLE)
    assert dict(zip(made.labels, made.term_of, strict=True)) == {
        "channel[T.friends]": "channel",
        "channel[T.search]": "channel",
        "log1p(recency)": "log1p(recency)",
        "recency:channel[ads]": "recency:channel",
        "recency:channel[friends]": "recency:channel",
        "recency:channel[search]": "recency:channel",
    }


# --- categories ---


@pytest.mark.parametrize("name", ["channel", "`my channel`"])
def test_text_columns_keep_their_levels(name):
    made = Columns.learn(f"{name} + recency:{name}", TABLE)
    whole = made.standardised(TABLE)
    # Rows alone, without the other levels and even the first one, get the matrix that they have in the whole.
    for i in range(len(TABLE)):
        np.testing.assert_array_equal(made.standardised(TABLE.iloc[[i]]), whole[[i]])
    assert made.standardised(TABLE.iloc[:0]).shape == (0, len(made.labels))


def test_categories_are_like_text():
    changed = TABLE.assign(channel=pd.Categorical(TABLE["channel"], categories=["search", "ads", "friends", "unused"]))
    as_text, as_category = Columns.learn("channel", TABLE), Columns.learn("channel", changed)
    assert as_text.levels == as_category.levels == {"channel": ("ads", "friends", "search")}
    np.testing.assert_array_equal(as_text.standardised(changed), as_category.standardised(TABLE))


def test_numbers_may_be_categories():
    sizes = TABLE.assign(size=pd.Categorical([36, 38, None, 40, 38]))
    made = Columns.learn("size", sizes)
    assert made.levels == {"size": ("36", "38", "40")}
    values = made.standardised(sizes)
    assert np.isnan(values[2]).all()
    np.testing.assert_array_equal(made.standardised(TABLE.assign(size="38"))[0], values[1])


def test_unseen_level_is_refused():
    made = Columns.learn("channel", TABLE)
    with pytest.raises(DataError, match=r"column 'channel' has values the fit has not seen \(tv\)"):
        made.standardised(TABLE.assign(channel=["ads", "tv", "ads", None, "ads"]))


# --- what is missing ---


@pytest.mark.parametrize(
    ("term", "column"),
    [
        ("recency", "recency"),
        ("log1p(recency)", "recency"),
        ("{recency > 2}", "recency"),
        ("{recency + `price paid`}", "price paid"),
        ("member", "member"),
        ("recency:member", "member"),
        ("recency:member", "recency"),
        ("channel", "channel"),
        ("channel:recency", "channel"),
        ("channel:recency", "recency"),
    ],
)
def test_a_cell_is_missing_where_any_part_of_its_term_is(term, column):
    gaps, known = with_gap(column), TABLE[~GONE]
    made = Columns.learn(f"{term} + {{`price paid` * 2}}" if column != "price paid" else term, gaps)
    values, own = made.standardised(gaps), np.array(made.term_of) != "`price paid` * 2"
    assert np.isnan(values[GONE][:, own]).all()
    assert np.isfinite(values[~GONE]).all()
    assert np.isfinite(values[:, ~own]).all()
    # What is known has the centre and scale, and the values, that it has where nothing is missing.
    alone = Columns.learn(term, known)
    assert alone.labels == tuple(np.array(made.labels)[own])
    np.testing.assert_allclose(alone.center, made.center[own])
    np.testing.assert_allclose(alone.scale, made.scale[own])
    np.testing.assert_allclose(values[~GONE][:, own], alone.standardised(known))


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 2.0, None, 7.0, 11.0],
        pd.array([0, 2, None, 7, 11], dtype="Int64"),
        pd.array([0, 2, None, 7, 11], dtype="Float64"),
        pd.array([0, 2, None, 7, 11], dtype="double[pyarrow]"),
        pd.Series([0, 2, None, 7, 11], dtype="object"),
        pd.Series([Decimal(0), Decimal(2), None, Decimal(7), Decimal(11)], dtype="object"),
    ],
    ids=["float", "Int64", "Float64", "arrow", "object", "decimal"],
)
def test_numbers_of_any_kind_are_the_same_numbers(values):
    made = Columns.learn("recency + {recency > 2}", TABLE.assign(recency=values))
    np.testing.assert_allclose(made.center, [5.0, 0.5])
    np.testing.assert_array_equal(made.standardised(TABLE.assign(recency=values))[2], [np.nan, np.nan])


@pytest.mark.parametrize("values", [[True, None, False, True, True], pd.array([1, None, 0, 1, 1], dtype="boolean")])
def test_truth_that_is_missing_somewhere_is_still_a_number(values):
    made = Columns.learn("member", TABLE.assign(member=values))
    assert made.labels == ("member",)
    assert made.center[0] == pytest.approx(0.75)
    np.testing.assert_allclose(made.standardised(TABLE), (TABLE[["member"]] - 0.75) / np.sqrt(3 / 16))


@pytest.mark.parametrize("column", ["recency", "member", "channel"])
def test_all_may_be_missing_in_later_data(column):
    made = Columns.learn("recency + member + channel", TABLE)
    later = TABLE.iloc[[1, 4]]
    values = made.standardised(later.assign(**{column: [None, None]}))
    own = np.array(made.term_of) == column
    assert np.isnan(values[:, own]).all()
    np.testing.assert_array_equal(values[:, ~own], made.standardised(later)[:, ~own])


def test_missing_rows_are_counted_by_column():
    gaps = TABLE.assign(recency=[None, 1, 2, None, 3], channel=[None, *"abcd"], segment=[None] * 5)
    assert missing_rows("log1p(recency) + recency:member + channel", gaps) == {"channel": 1, "recency": 2}
    assert missing_rows("member", gaps) == {}


# --- refused ---


@pytest.mark.parametrize("values", [[None] * 5, pd.Series([None] * 5, dtype="object"), pd.Categorical([None] * 5)])
def test_a_column_that_is_never_known_is_refused(values):
    with pytest.raises(DataError, match="recency is missing in every row; leave it out of the formula"):
        Columns.learn("member + recency", TABLE.assign(recency=values))


@pytest.mark.parametrize(
    ("term", "recency"), [("log(recency)", TABLE["recency"]), ("recency", [np.inf, 1, 2, 3, 4]), ("sqrt(recency)", -1)]
)
def test_infinite_values_are_refused(term, recency):
    with pytest.raises(
        DataError, match=r"recency\)? is infinite or no number in some rows where its columns are known"
    ):
        Columns.learn(term, TABLE.assign(recency=recency))


def test_later_infinite_values_are_refused():
    made = Columns.learn("log(recency)", TABLE.assign(recency=[1.0, 2, 3, 4, 5]))
    with pytest.raises(DataError, match=r"log\(recency\) is infinite or no number in some rows"):
        made.standardised(TABLE)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (False, "member, member:recency"),
        (0.1, "member"),
        ("yes", "member"),
        (["yes", None, "yes", "yes", None], "member"),
    ],
)
def test_constant_column_is_refused(values, told):
    terms = "recency + member + member:recency" if told != "member" else "recency + member"
    with pytest.raises(DataError, match=f"snapshots: {told} is the same in every row"):
        Columns.learn(terms, TABLE.assign(member=values))


@pytest.mark.parametrize(
    "values",
    [
        pd.date_range("2024-01-01", periods=5),
        pd.date_range("2024-01-01", periods=5, tz="Europe/Berlin"),
        pd.to_timedelta([1, 2, 3, 4, 5], unit="D"),
    ],
)
def test_time_column_is_refused(values):
    with pytest.raises(DataError, match="recency is a time; make it a number"):
        Columns.learn("recency", TABLE.assign(recency=values))


def test_text_where_the_fit_had_numbers_is_refused():
    made = Columns.learn("recency", TABLE)
    with pytest.raises(DataError, match="column 'recency' holds no numbers here; in the data of the fit it did"):
        made.standardised(TABLE.assign(recency=list("abcde")))


@pytest.mark.parametrize("term", ["recncy", "log1p(recncy)", "member:recncy"])
def test_unknown_name_points_to_the_nearest(term):
    with pytest.raises(ValueError, match=r"unknown feature 'recncy'; did you mean 'recency'\?"):
        Columns.learn(term, TABLE)


@pytest.mark.parametrize("name", ["recency", "channel"])
def test_feature_that_later_data_lacks(name):
    made = Columns.learn("recency + channel", TABLE)
    with pytest.raises(ValueError, match=f"unknown feature '{name}'"):
        made.standardised(TABLE.drop(columns=name))


def test_function_of_text_is_refused():
    with pytest.raises(ValueError, match=r"the terms 'log1p\(channel\)' cannot be computed"):
        Columns.learn("log1p(channel)", TABLE)


# --- groups, and the way through a file ---


def test_group_of():
    assert group_of("segment", TABLE).tolist() == ["b", "a", "b", "c", "a"]
    assert group_of("member", TABLE).tolist() == ["True", "False", "True", "True", "False"]
    with pytest.raises(DataError, match="group 'segment' is missing in 2 rows"):
        group_of("segment", TABLE.assign(segment=[None, *"abc", None]))
    with pytest.raises(ValueError, match="unknown group 'segmnt'; did you mean 'segment'"):
        group_of("segmnt", TABLE)


def test_round_trip_gives_the_same_matrix():
    made = Columns.learn("log1p(recency) + `my channel` + {recency**2} + recency:channel", with_gap("channel"))
    again = Columns.from_dict(json.loads(json.dumps(made.to_dict())))
    assert (again.labels, again.term_of, again.levels) == (made.labels, made.term_of, made.levels)
    later = with_gap("recency").iloc[[3, 0, 1]]
    np.testing.assert_array_equal(again.standardised(later), made.standardised(later))
