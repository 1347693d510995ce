"""Formulas: what may be said, that nothing else is evaluated, and that later data gets the fit's own matrix."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bayesdecay.errors import DataError
from bayesdecay.model.expression import columns_of, read_terms, written
from bayesdecay.model.formula import Columns, Formula, Terms

TABLE = pd.DataFrame(
    {
        "recency": [0.0, 2.0, 3.0, 7.0, 11.0],
        "price paid": [1.0, 4.0, 2.0, 9.0, 3.0],
        "member": [True, False, True, True, False],
        "channel": ["ads", "friends", "ads", "search", "friends"],
        "my channel": ["ads", "friends", "ads", "search", "friends"],
        "segment": ["b", "a", "b", "c", "a"],
    }
)
LOG_INTEREST = np.random.default_rng(1).normal(size=(5, 3))


def terms_of(formula: str) -> Terms:
    return Terms.learn(Formula.parse(formula), TABLE, LOG_INTEREST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("returned ~ interest", Formula(fixed="", pooled="", group=None, interest=True)),
        ("returned ~ 1", Formula(fixed="", pooled="", group=None, interest=False)),
        ("returned~recency+interest", Formula(fixed="recency", pooled="", group=None, interest=True)),
        ("returned ~ (1 | segment)", Formula(fixed="", pooled="", group="segment", interest=False)),
        (
            "returned ~ interest + recency + (1 + log1p(recency) + member | segment) + channel",
            Formula(fixed="recency + channel", pooled="log1p(recency) + member", group="segment", interest=True),
        ),
        ("returned ~ (recency | `my group`)", Formula(fixed="", pooled="recency", group="my group", interest=False)),
        (
            "returned ~ recency*member",
            Formula(fixed="recency + member + recency:member", pooled="", group=None, interest=False),
        ),
        (
            "returned ~ `price paid` + {recency + 1}",
            Formula(fixed="`price paid` + {recency + 1}", pooled="", group=None, interest=False),
        ),
    ],
)
def test_parsed(text, expected):
    assert Formula.parse(text) == expected


def test_features_are_a_formula():
    listed = Formula.of_features(["recency", "interest", "price paid"], group="segment")
    assert listed == Formula.parse("returned ~ interest + recency + `price paid` + (1 | segment)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recency", "a formula starts with 'returned ~'"),
        ("came ~ recency", "a formula starts with 'returned ~', got 'came ~ recency'"),
        ("returned ~ recency ~ member", "second '~'"),
        ("returned ~ interest:recency", "interest is latent and can only be a term of its own"),
        ("returned ~ interest*recency", "interest is latent and can only be a term of its own"),
        ("returned ~ log(interest)", "interest is latent and can only be a term of its own"),
        ("returned ~ (1 + interest | segment)", "interest is latent and cannot differ by group"),
        ("returned ~ (1 | a) + (1 | b)", "one term in brackets such as .* is possible, got 2"),
        ("returned ~ (1 | segment", "the term in brackets cannot be read"),
        ("returned ~ recency | segment", "the term in brackets cannot be read"),
        ("returned ~ 0 + recency", "the intercept belongs to the model"),
        ("returned ~ (0 + recency | segment)", "the intercept belongs to the model"),
        ("returned ~ price paid", "cannot be read: Missing operator between `price` and `paid`"),
        ("returned ~ recency +", "cannot be read"),
        ("returned ~ returned + recency", "'returned' names a row or is its outcome"),
        ("returned ~ log1p(returned)", "'returned' names a row or is its outcome"),
        ("returned ~ user", "'user' names a row"),
        ("returned ~ (1 | at)", "'at' names a row"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Formula.parse(text)


def test_features_are_checked_as_a_formula_is():
    with pytest.raises(ValueError, match="'returned' names a row or is its outcome"):
        Formula.of_features(["recency", "returned"])
    with pytest.raises(ValueError, match="backtick"):
        Formula.of_features(["recency` + `price paid"])


# --- what a formula may evaluate ---

EVIL = [
    "__import__('os').system('touch {place}')",
    "I(__import__('os').system('touch {place}') + recency)",
    "{{__import__('os').system('touch {place}') + recency}}",
    "np.savetxt('{place}', recency)",
    "{{open('{place}', 'w').write('x') + recency}}",
    "I(np.loadtxt.__globals__[recency])",
    "{{recency.to_csv()}}",
    "{{[x for x in recency]}}",
    "{{(lambda: recency)()}}",
    "{{(recency := recency)}}",
    "{{recency if recency else recency}}",
    "{{recency['a']}}",
    "log1p(recency, recency)",
    "log1p(x=recency)",
    "log1p(*recency)",
    "`log1p`(recency)",
    "eval(recency)",
    "{{9**9**9**recency}}",
    "{{9**9**9*recency}}",
    "I(`a` + __import__(recency) + `b`)",
    "I(`a'` + __import__('os').system('touch {place}') + `'b`)",
]


@pytest.mark.parametrize("code", EVIL)
def test_formula_runs_no_code(code, tmp_path):
    place = tmp_path / "touched"
    with pytest.raises(ValueError, match="formula"):
        Terms.learn(Formula.parse(f"returned ~ {code.format(place=place)}"), TABLE, LOG_INTEREST)
    assert not place.exists()


@pytest.mark.parametrize("part", ["fixed", "pooled"])
@pytest.mark.parametrize("code", EVIL)
def test_loading_a_fit_runs_no_code(code, part, tmp_path):
    place = tmp_path / "touched"
    plain = terms_of("returned ~ recency + (1 + member | segment)").to_dict()
    plain[part]["terms"] = code.format(place=place)
    with pytest.raises(ValueError, match="formula"):
        Terms.from_dict(plain).design(TABLE, LOG_INTEREST)
    plain = terms_of("returned ~ recency + (1 + member | segment)").to_dict()
    plain["formula"][part] = code.format(place=place)
    with pytest.raises(ValueError, match="formula"):
        Terms.from_dict(plain)
    assert not place.exists()


@pytest.mark.parametrize(
    "term", ["poly(recency, 2)", "center(recency)", "C(channel)", "lag(recency)", "np.log(recency)"]
)
def test_other_functions_are_refused_with_a_remedy(term):
    with pytest.raises(ValueError, match=r"log1p, log, sqrt, exp .* make anything else a column beforehand"):
        Formula.parse(f"returned ~ {term}")


PIECES = [*"+-*/:~|(){}`'\".,@%=<>[]\\ 019", "**", "recency", "price paid", "interest", "log1p(", "os", "__import__"]


@example("(]")
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_text_is_read_or_refused(text):
    try:
        formula = Formula.parse("returned ~ " + text)
    except ValueError:
        return
    terms = read_terms(formula.fixed)
    assert written(term for term in terms if str(term) != "1") == formula.fixed  # what is kept is read back the same
    assert "interest" not in columns_of(terms)


# --- from a table to a matrix ---


def test_values():
    made = Columns.learn("log1p(recency) + {recency > 2} + `price paid`:member", TABLE)
    wanted = np.column_stack(
        [np.log1p(TABLE["recency"]), TABLE["recency"] > 2, TABLE["price paid"] * TABLE["member"]]
    ).astype(float)
    assert made.labels == ("log1p(recency)", "recency > 2", "price paid:member")
    np.testing.assert_allclose(made.center, wanted.mean(axis=0))
    np.testing.assert_allclose(made.scale, wanted.std(axis=0))
    np.testing.assert_allclose(made.standardised(TABLE), (wanted - wanted.mean(axis=0)) / wanted.std(axis=0))


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


def test_unseen_level_is_refused():
    made = Columns.learn("channel", TABLE)
    with pytest.raises(DataError, match=r"column 'channel' has values the fit has not seen \(tv\)"):
        made.standardised(TABLE.assign(channel=["ads", "tv", "ads", "ads", "ads"]))


@pytest.mark.parametrize(
    "values",
    [[0.0, 2.0, None, 7.0, 11.0], pd.array([1, 2, None, 4, 5], dtype="Int64"), ["a", "b", None, "a", "b"]],
    ids=["float", "Int64", "text"],
)
def test_missing_values_are_refused(values):
    gaps = TABLE.assign(recency=values)
    with pytest.raises(DataError, match="recency is missing"):
        Columns.learn("recency", gaps)
    with pytest.raises(DataError, match="recency is missing"):
        Columns.learn("recency", gaps.dropna()).standardised(gaps)


def test_infinite_values_are_refused():
    with pytest.raises(DataError, match=r"log\(recency\) is missing or infinite in some rows"):
        Columns.learn("log(recency)", TABLE)


def test_constant_column_is_refused():
    with pytest.raises(DataError, match="member, member:recency is the same in every row"):
        Columns.learn("recency + member + member:recency", TABLE.assign(member=False))


def test_time_column_is_refused():
    when = pd.date_range("2024-01-01", periods=5)
    with pytest.raises(DataError, match="recency is a time; make it a number"):
        Columns.learn("recency", TABLE.assign(recency=when))


@pytest.mark.parametrize("term", ["recncy", "log1p(recncy)", "member:recncy"])
def test_unknown_name_points_to_the_nearest(term):
    with pytest.raises(ValueError, match=r"unknown feature 'recncy'; did you mean 'recency'\?"):
        terms_of(f"returned ~ {term}")


def test_feature_that_later_data_lacks():
    made = terms_of("returned ~ recency + channel")
    for name in ("recency", "channel"):
        with pytest.raises(ValueError, match=f"unknown feature '{name}'"):
            made.design(TABLE.drop(columns=name), LOG_INTEREST)


def test_function_of_text_is_refused():
    with pytest.raises(ValueError, match=r"the terms 'log1p\(channel\)' cannot be computed"):
        terms_of("returned ~ log1p(channel)")


# --- groups, interest, and the way through a file ---


def test_groups():
    made = terms_of("returned ~ recency + (1 + recency | segment)")
    assert made.groups == ("a", "b", "c")
    design = made.design(TABLE.assign(segment=["a", "b", "c", "unheard of", "a"]), LOG_INTEREST)
    np.testing.assert_array_equal(design.group, [0, 1, 2, 3, 0])
    np.testing.assert_array_equal(design.z, design.x)


def test_missing_or_unknown_group_is_refused():
    with pytest.raises(DataError, match="group 'segment' is missing in 1 rows"):
        Terms.learn(Formula.parse("returned ~ (1 | segment)"), TABLE.assign(segment=[None, *"abcd"]), LOG_INTEREST)
    with pytest.raises(ValueError, match="unknown group 'segmnt'; did you mean 'segment'"):
        terms_of("returned ~ (1 | segmnt)")


def test_interest_is_standardised_over_all_values():
    design = terms_of("returned ~ interest").design(TABLE, LOG_INTEREST)
    assert design.x.shape == design.z.shape == (5, 0)
    assert design.level.shape == (5, 3)
    assert design.level.mean() == pytest.approx(0)
    assert design.level.std() == pytest.approx(1)


def test_round_trip_gives_the_same_matrices(tmp_path: Path):
    made = terms_of("returned ~ interest + log1p(recency) + `my channel` + {recency**2} + (1 + member | segment)")
    (tmp_path / "terms.json").write_text(json.dumps(made.to_dict()), encoding="utf-8")
    again = Terms.from_dict(json.loads((tmp_path / "terms.json").read_text(encoding="utf-8")))
    assert again.formula == made.formula
    assert again.groups == made.groups
    later = TABLE.iloc[[3, 0]]
    for name in ("x", "z", "group", "level"):
        one, other = (getattr(terms.design(later, LOG_INTEREST[:2]), name) for terms in (made, again))
        np.testing.assert_array_equal(one, other)
