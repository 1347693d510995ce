"""Formulas: what may be said, and that nothing else is evaluated."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bayesdecay.model.expression import columns_of, read_terms, written
from bayesdecay.model.formula import Bracket, Formula
from bayesdecay.model.terms import Terms
from tests.model.made_up import LOG_INTEREST, TABLE, terms_of


def formula(fixed: str, *brackets: tuple[str, str], interest: bool = False) -> Formula:
    return Formula(
        fixed=fixed, brackets=tuple(Bracket(terms=terms, group=group) for terms, group in brackets), interest=interest
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("returned ~ interest", formula("", interest=True)),
        ("returned ~ 1", formula("")),
        ("returned~recency+interest", formula("recency", interest=True)),
        ("returned ~ (1 | segment)", formula("", ("", "segment"))),
        (
            "returned ~ interest + recency + (1 + log1p(recency) + member | segment) + channel",
            formula("recency + channel", ("log1p(recency) + member", "segment"), interest=True),
        ),
        ("returned ~ (recency | `my group`)", formula("", ("recency", "my group"))),
        (
            "returned ~ (1 | user) + recency + (1 + recency | segment) + (member|channel)",
            formula("recency", ("", "user"), ("recency", "segment"), ("member", "channel")),
        ),
        ("returned ~ recency*member", formula("recency + member + recency:member")),
        ("returned ~ `price paid` + {recency + 1}", formula("`price paid` + {recency + 1}")),
    ],
)
def test_parsed(text, expected):
    assert Formula.parse(text) == expected


def test_features_are_a_formula():
    listed = Formula.of_features(["recency", "interest", "price paid"], group="segment")
    assert listed == Formula.parse("returned ~ interest + recency + `price paid` + (1 | segment)")
    assert Formula.of_features(["recency"]) == Formula.parse("returned ~ recency")


def test_round_trip():
    made = Formula.parse("returned ~ interest + recency + (1 + member | segment) + (1 | user)")
    assert Formula.from_dict(json.loads(json.dumps(dataclasses.asdict(made)))) == made


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
        ("returned ~ (1 | a) + (1 + recency | a)", r"'a' has several brackets; write one, such as .*\| a\)"),
        ("returned ~ (1 | `a/b`)", "'a/b' has a '/' in its name"),
        ("returned ~ (1 | slope)", "the model itself has something called 'slope'; rename the group's column"),
        ("returned ~ (1 | interest)", "the model itself has something called 'interest'"),
        ("returned ~ (1 | draw)", "the model itself has something called 'draw'"),
        ("returned ~ (1 | segment", "the term in brackets cannot be read"),
        ("returned ~ recency | segment", "the term in brackets cannot be read"),
        ("returned ~ 0 + recency", "the intercept belongs to the model"),
        ("returned ~ (0 + recency | segment)", "the intercept belongs to the model"),
        ("returned ~ price paid", "cannot be read: Missing operator between `price` and `paid`"),
        ("returned ~ recency +", "cannot be read"),
        ("returned ~ returned + recency", "'returned' names a row or is its outcome, and cannot be a feature"),
        ("returned ~ log1p(returned)", "'returned' names a row or is its outcome"),
        ("returned ~ user", "'user' names a row or is its outcome, and cannot be a feature"),
        ("returned ~ (1 + user | segment)", "'user' names a row or is its outcome, and cannot be a feature"),
        ("returned ~ (1 | at)", "'at' names a row or is its outcome, and cannot be a group"),
        ("returned ~ (1 | returned)", "'returned' names a row or is its outcome, and cannot be a group"),
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


@pytest.mark.parametrize("code", EVIL)
def test_loading_a_fit_runs_no_code(code, tmp_path):
    place = tmp_path / "touched"

    def plain() -> dict:
        return terms_of("returned ~ recency + (1 + member | segment)").to_dict()

    bad, fixed, pooled, formula, bracket = code.format(place=place), plain(), plain(), plain(), plain()
    fixed["fixed"]["terms"] = pooled["pooled"][0]["columns"]["terms"] = bad
    formula["formula"]["fixed"] = bracket["formula"]["brackets"][0]["terms"] = bad
    for changed in (fixed, pooled):
        with pytest.raises(ValueError, match="formula"):
            Terms.from_dict(changed).design(TABLE, LOG_INTEREST)
    for changed in (formula, bracket):
        with pytest.raises(ValueError, match="formula"):
            Terms.from_dict(changed)
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
