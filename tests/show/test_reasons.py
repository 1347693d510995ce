"""What the report says P(reactivation) rests on: in words, tables and figures; nothing where it was not found out."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from bayesdecay.model.returning import score_reactivation
from bayesdecay.model.scoring import ScoreOptions, Scores
from bayesdecay.model.uncertainty import DrawOptions, interval_widening, variance_shares
from bayesdecay.show.reasons import Reasons
from bayesdecay.show.report import ReportContent, render_report
from bayesdecay.show.sections.reasons import doubt
from tests.show import made
from tests.show.returned import RICH, fitted, lapsed
from tests.show.test_report import Page

OPTIONS = DrawOptions(draws=60, random_seed=3)


@pytest.fixture(scope="module")
def shop_of_300():
    return made.shop(300)


@pytest.fixture(scope="module")
def decay(shop_of_300):
    return made.fit(shop_of_300[1])


@pytest.fixture(scope="module")
def told(shop_of_300):
    return lapsed(shop_of_300[0])


@pytest.fixture(scope="module")
def rich(told):
    return fitted(told, RICH)


@pytest.fixture(scope="module")
def reasons(rich, told, decay):
    return Reasons.of(rich, told, decay, told.table["user"].iloc[:2].tolist(), options=OPTIONS)


@pytest.fixture(scope="module")
def content(shop_of_300, decay, told, rich):
    log, history = shop_of_300
    scores = decay.score(history, options=ScoreOptions(horizons=["30d"], random_seed=1), draws=60)
    part = score_reactivation(rich.draws(told, decay, draws=60, random_seed=3)).to_pandas().set_index("user")
    table = scores.table
    for name in part.columns:
        own = part[name].reindex(table["user"].to_pylist())
        table = table.append_column(name, [[None if np.isnan(value) else value for value in own]])
    return ReportContent(
        title="Reasons",
        log=log,
        history=history,
        decay=decay,
        scores=Scores(table=table, ci_prob=0.9),
        reactivation={"30d": rich},
        lapsed=told,
        lapsed_after="14d",
        draws=60,
        random_seed=3,
    )


def test_shares_are_those_of_all_users_together(reasons, rich, told, decay):
    table = variance_shares(rich, told, decay, options=OPTIONS)
    assert sum(reasons.shares.values()) == pytest.approx(1.0)
    for source, share in reasons.shares.items():
        own = table[f"share_{source.replace(' ', '_')}"]
        assert share == pytest.approx((own * table["variance"]).sum() / table["variance"].sum(), abs=0.01)
    wider = interval_widening(rich, told, decay, options=OPTIONS).set_index("quantile")["times_wider"]
    np.testing.assert_allclose(reasons.times_wider, wider.loc[[0.5, 0.25, 0.75]])


def test_curves_are_of_what_matters_most(reasons):
    usual = reasons.effects[reasons.effects["step"] != "one unit"]
    size = usual["change"].abs().groupby(usual["feature"]).max()
    assert set(reasons.curves) == set(size.nlargest(2).index)


def test_without_users_nobody_is_explained(rich, told, decay):
    found = Reasons.of(rich, told, decay, [], options=OPTIONS)
    assert found.explanation is None
    assert found.curves == {}


def test_doubt_in_words(reasons):
    shares = {"chance": 0.93, "interest": 0.05, "missing features": 0.0, "coefficients": 0.02}
    wider = reasons.widening.assign(times_wider=[1.5, 2.0, 2.5, 3.0, 3.5])
    said = doubt(replace(reasons, shares=shares, widening=wider)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("Of the doubt about whether a single lapsed user returns, 93.0 % is chance")
    assert "the user's interest, which is not known exactly, 5.0 % and the coefficients of the model 2.0 %" in said
    assert "features that are not known" not in said
    assert "are 2.5 times as wide as those that take it as known (for the middle half of the users 2.0 to 3.0" in said
    same = replace(reasons, widening=reasons.widening.assign(times_wider=1.0))
    assert "times as wide" not in doubt(same).text


def test_report_says_what_the_probabilities_rest_on(content, told, rich):
    page = render_report(content)
    parsed = Page.of(page)
    words = parsed.words
    assert "Of the doubt about whether a single lapsed user returns" in words
    assert "Features that were not known in some of the snapshots that the model learned from" in words
    assert "averaged over what it may be, given the rest" in words
    assert "By how many percentage points the lapsed users' P(return within 30 days) changes on average" in words
    assert "friends instead of ads" in words
    assert "Why these users, within 30 days" in words
    assert "It is not the effect of making somebody visit." in words
    assert re.findall(r"\d\.\d{7,}", re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)) == []
    assert "nan" not in words.split()
    assert len(parsed.ids) == len(set(parsed.ids))
    likeliest = rich.draws(told, content.decay, draws=60, random_seed=3).mean("sample")
    for user in likeliest["user"].to_numpy()[np.argsort(-likeliest.to_numpy())[:2]]:
        assert f"User {user} P(return within 30 days) is" in words
    assert page == render_report(content)


def test_p_of_the_explanation_is_that_of_the_table(content):
    """Where nothing of a user is missing, to the last digit."""
    complete = replace(content, reactivation={"30d": fitted(content.lapsed, "returned ~ interest + log1p(recency)")})
    p = complete.reactivation["30d"].draws(content.lapsed, content.decay, draws=60, random_seed=3)
    found = re.findall(r"User (\d+) P\(return within 30 days\) is (\d+) % ", Page.of(render_report(complete)).words)
    assert len(found) == 2
    for user, told in found:
        assert told == f"{100 * float(p.sel(user=int(user)).mean()):.0f}"


def test_without_the_lapsed_users_nothing_is_said(content):
    words = Page.of(render_report(replace(content, lapsed=None))).words
    assert "Of the doubt" not in words
    assert "Why these users" not in words
    assert "What goes with a return of lapsed users within 30 days" in words
