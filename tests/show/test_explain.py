"""Explanations: the parts sum to the prediction, draw by draw; words are the user's own; a visit is another state."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.snapshots import snapshots
from bayesdecay.model.uncertainty import DrawOptions
from bayesdecay.show import explain as module
from bayesdecay.show.explain import explain
from bayesdecay.show.visit import visited, with_visit
from tests.show import made
from tests.show.returned import PLAIN, RICH, fitted, lapsed, with_table

OPTIONS = DrawOptions(draws=60, random_seed=3)
ASKED = {"draws": 60, "random_seed": 3}


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
def plain(told):
    return fitted(told, PLAIN)


@pytest.fixture(scope="module")
def rich(told):
    return fitted(told, RICH)


def some_users(told, rows) -> list:
    return told.table["user"].iloc[list(rows)].tolist()


# --- sums and predictions ---


@pytest.mark.parametrize("name", ["plain", "rich"])
def test_parts_sum_to_the_logit_of_p_draw_by_draw(name, request, told, decay):
    fit = request.getfixturevalue(name)
    users = told.table["user"].tolist()
    found = explain(fit, told, decay, users, options=OPTIONS)
    p = fit.draws(told, decay, **ASKED)
    assert found.parts.dims == ("sample", "user", "part")
    assert found.parts["user"].to_numpy().tolist() == users
    np.testing.assert_allclose(expit(found.parts.sum("part")), p, rtol=1e-13)
    chances = found.chances.set_index("user")
    np.testing.assert_allclose(chances["p_reactivation"], p.mean("sample"), rtol=1e-12)
    np.testing.assert_allclose(
        chances["p_reactivation_lower"], p.quantile(0.05, "sample", method="weibull"), rtol=1e-12
    )


def test_parts_are_those_of_the_fit_with_terms_of_the_same_columns_as_one(rich, told, decay):
    found = explain(rich, told, decay, told.table["user"].tolist(), options=OPTIONS)
    own = rich.logit_parts(told, decay, **ASKED)
    labels = found.parts["part"].to_numpy().tolist()
    assert labels == [
        "baseline",
        "group segment",
        "log1p(recency) + log1p(recency) ** 2",
        "frequency",
        "spend",
        "frequency:spend",
        "channel",
        "member",
        "active_30d",
        "interest",
        "missing features",
    ]
    for label in labels:
        together = own.sel(part=label.split(" + ")).sum("part")
        np.testing.assert_allclose(found.parts.sel(part=label), together, rtol=1e-12, atol=1e-12)


def test_a_few_users_get_the_numbers_that_all_get(plain, told, decay):
    users = some_users(told, (40, 3, 17))
    found = explain(plain, told, decay, users, options=OPTIONS)
    p = plain.draws(told, decay, **ASKED).sel(user=users)
    np.testing.assert_allclose(expit(found.parts.sum("part")), p, rtol=1e-13)
    assert found.chances["user"].tolist() == users


def test_of_very_many_users_only_the_wanted_are_drawn(plain, told, decay, monkeypatch):
    users = some_users(told, (40, 3))
    monkeypatch.setattr(module, "_MOST_NUMBERS", 10)
    found = explain(plain, told, decay, users, options=OPTIONS)
    p = plain.draws(told.of_users(users), decay, **ASKED)
    np.testing.assert_allclose(expit(found.parts.sum("part")), p, rtol=1e-13)


def test_table_holds_mean_and_interval_the_largest_part_first(rich, told, decay):
    users = some_users(told, range(30))
    found = explain(rich, told, decay, users, options=replace(OPTIONS, ci_prob=0.8))
    for user in users:
        rows = found.of(user)
        assert rows["part"].iloc[0] == "baseline"
        assert (np.diff(rows["mean"].iloc[1:].abs()) <= 0).all()
        draws = found.parts.sel(user=user, part=rows["part"].to_numpy()).to_numpy()
        np.testing.assert_allclose(rows["mean"], draws.mean(axis=0))
        np.testing.assert_allclose(rows["lower"], np.quantile(draws, 0.1, axis=0, method="weibull"))
        np.testing.assert_allclose(rows["upper"], np.quantile(draws, 0.9, axis=0, method="weibull"))
        assert rows["mean"].sum() == pytest.approx(float(found.parts.sel(user=user).sum("part").mean()))
    assert list(found.table) == ["user", "part", "words", "mean", "lower", "upper"]


def test_baseline_is_the_average_user_of_the_fit(rich, told, decay):
    found = explain(rich, told, decay, some_users(told, (0,)), options=OPTIONS)
    intercept = rich.idata["posterior"]["intercept"].to_numpy().ravel()
    kept = intercept[np.linspace(0, intercept.size - 1, 60).round().astype(int)]
    np.testing.assert_allclose(found.parts.sel(part="baseline")[:, 0], kept)
    assert found.average[0] == pytest.approx(expit(kept).mean())


# --- words ---


def words_of(found, user) -> dict[str, str]:
    return found.of(user).set_index("part")["words"].to_dict()


def test_words_are_the_users_own(rich, told, decay):
    table = told.table
    row = int(np.flatnonzero(table["spend"].notna() & table["frequency"].gt(1) & ~table["member"])[0])
    user, own = table["user"].iloc[row], table.iloc[row]
    words = words_of(explain(rich, told, decay, [user], options=OPTIONS), user)
    assert words["baseline"] == "a user who is average in everything"
    assert words["frequency"] == f"{own['frequency']:.0f} activities after the first one"
    silence = words["log1p(recency) + log1p(recency) ** 2"]
    assert re.fullmatch(r"silent for [\d.]+ (days|months)", silence)
    if own["recency"] < 100:
        assert float(silence.split()[2]) == pytest.approx(own["recency"], abs=0.5)
    assert words["channel"] == f"channel: {own['channel']}"
    assert words["member"] == "member: no"
    assert words["group segment"] == f"segment: {own['segment']}"
    assert words["active_30d"].endswith("in the last 30 days")
    assert words["frequency:spend"] == f"{words['frequency']} and {words['spend']}, together"
    assert "missing features" not in words
    ends = re.fullmatch(r"an interest of ([\d.]+) \[([\d.]+), ([\d.]+)\] activities per 30 days", words["interest"])
    assert float(ends[2]) < float(ends[1]) < float(ends[3])


def test_what_is_not_known_is_said(rich, told, decay):
    user = some_users(told, np.flatnonzero(told.table["spend"].isna())[:1])[0]
    words = words_of(explain(rich, told, decay, [user], options=OPTIONS), user)
    assert words["spend"] == "spend is not known"
    assert words["missing features"] == "what is not known, beyond what was to be expected of it"


def test_marks_of_what_is_missing_are_said_where_it_is(told, decay):
    fit = fitted(told, "returned ~ spend + channel", missing="indicator")
    gone, known = some_users(told, [int(np.flatnonzero(told.table["spend"].isna() == way)[0]) for way in (True, False)])
    found = explain(fit, told, decay, [gone, known], options=OPTIONS)
    assert words_of(found, gone)["missing(spend)"] == "that spend is not known"
    assert "missing(spend)" not in words_of(found, known)


def test_groups_and_embeddings_in_words(told, decay):
    rng = np.random.default_rng(1)
    told = with_table(told, **{f"emb_{i}": rng.normal(size=len(told)) for i in range(3)})
    fit = fitted(told, "returned ~ interest + (1 | segment) + (1 | user)", embedding="emb_*")
    user = some_users(told, (0,))[0]
    words = words_of(explain(fit, with_table(told, segment="new"), decay, [user], options=OPTIONS), user)
    assert words["group segment"] == "segment: new, which the fit has not seen"
    assert words["group user"] == "what became of this user's earlier snapshots"
    assert words["embedding"] == "the embedding (3 columns)"


def test_sentences_say_what_speaks_for_and_against(plain, told, decay):
    user = some_users(told, (7,))[0]
    found = explain(plain, told, decay, [user], options=OPTIONS)
    rows = found.of(user).iloc[1:]
    p, *sides, visit = found.sentences(user)
    row = found.chances.iloc[0]
    assert p.startswith(f"P(return within 30 days) is {100 * row['p_reactivation']:.0f}\N{NO-BREAK SPACE}% [")
    assert "of a user who is average in everything it is" in p
    heads = {"For a return speaks": 0, "Against it speaks": 0, "Of no clear weight": 0}
    for lower, upper in zip(rows["lower"], rows["upper"], strict=True):
        heads[list(heads)[0 if lower > 0 else 1 if upper < 0 else 2]] += 1
    assert [side.split(":")[0] for side in sides] == [head for head, count in heads.items() if count]
    assert all(any(words in side for side in sides) for words in rows["words"])
    assert re.search(r", [+−][\d.]+ \[−?[\d.]+, −?[\d.]+\]", " ".join(sides))
    assert visit.startswith(f"With one visit today: {100 * row['with_visit']:.0f}\N{NO-BREAK SPACE}% [")
    assert " instead of " in visit
    assert str(found).startswith(f"User {user}. P(return within 30 days)")


def test_names_from_the_data_are_escaped(told, decay):
    evil = "<script>alert(1)</script>"
    bad = with_table(told, channel=np.where(told.table["channel"] == "ads", evil, told.table["channel"]))
    fit = fitted(bad, "returned ~ channel")
    user = bad.table["user"][bad.table["channel"] == evil].iloc[0]
    page = explain(fit, bad, decay, [user], options=OPTIONS)._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_who_cannot_be_explained(plain, told, decay, shop_of_300):
    first = told.table["user"].iloc[0]
    with pytest.raises(ValueError, match=r"1 of 2 users are not in the snapshots, which hold .* were silent for 14d"):
        explain(plain, told, decay, [first, 10_000_000])
    with pytest.raises(ValueError, match="no user is given"):
        explain(plain, told, decay, [])
    found = explain(plain, told, decay, [first, first], options=OPTIONS)
    assert len(found.chances) == 1
    with pytest.raises(ValueError, match=r"user 'x' was not explained; explained were \["):
        found.sentences("x")
    two = snapshots(shop_of_300[0], cutoffs=["2024-05-28", made.CUTOFF], horizon="30d", activity="event")
    with pytest.raises(ValueError, match="users are chosen at one cutoff, got 2 cutoffs"):
        explain(plain, two, decay, [1])


# --- one visit more ---


@pytest.mark.parametrize("activity", ["day", "session", "event"])
def test_a_visit_is_one_more_event_in_the_log(activity):
    times = [
        *("2024-01-02 09:00", "2024-01-20 10:00", "2024-02-01 08:00", "2024-01-05 12:00", "2024-01-05 12:10"),
        *("2024-01-03 00:00", "2024-01-09 11:00", "2024-02-15 18:00"),
    ]
    rows = pd.DataFrame({"user": list("aaabbcdd"), "time": pd.to_datetime(times), "channel": list("xxxyyzww")})
    rows["age"] = rows["user"].map({"a": 30.0, "b": 40.0, "c": 50.0, "d": 60.0})
    asked = {"at": "2024-02-15 18:05", "activity": activity, "group": "channel", "covariates": ["age"]}

    def summarized(rows: pd.DataFrame):
        return summarize(read_events(rows, columns=["channel", "age"]), **asked)

    more = pd.DataFrame({"user": list("abcd"), "time": pd.Timestamp("2024-02-15 18:05"), "channel": "new", "age": 1.0})
    wanted = summarized(pd.concat([rows, more], ignore_index=True))
    found = with_visit(summarized(rows))
    assert found.table.equals(wanted.table)
    assert found.at == wanted.at
    # The last one was there five minutes before: on the same day and in the same session.
    counted = dict(zip(found.table["user"].to_pylist(), found.table["n"].to_pylist(), strict=True))
    assert counted == {
        "a": 3,
        "b": {"day": 1, "session": 1, "event": 2}[activity],
        "c": 1,
        "d": 2 if activity == "event" else 1,
    }


def test_features_follow_the_visit_and_columns_do_not(shop_of_300):
    told = lapsed(shop_of_300[0], features=["recency", "frequency", "tenure", "active_7d", "events_7d"])
    then = visited(told)
    assert (then.table["recency"] == 0).all()
    np.testing.assert_array_equal(then.table["frequency"], told.table["frequency"] + 1)
    np.testing.assert_array_equal(then.table["active_7d"], told.table["active_7d"] + 1)
    for name in ("user", "at", "tenure", "events_7d", *told.columns):
        pd.testing.assert_series_equal(then.table[name], told.table[name])
    assert then.table["returned"].isna().all()
    assert then.lapsed_after == 0
    assert list(told.table) == list(then.table)


def test_p_with_a_visit_is_that_of_the_longer_history(plain, told, decay):
    found = explain(plain, told, decay, told.table["user"].tolist(), options=OPTIONS).chances
    p = plain.draws(visited(told), decay, **ASKED)
    np.testing.assert_allclose(found["with_visit"], p.mean("sample"), rtol=1e-12)
    np.testing.assert_allclose(found["with_visit_upper"], p.quantile(0.95, "sample", method="weibull"), rtol=1e-12)


def test_where_nothing_changes_it_is_said(told, decay):
    fit = fitted(told, "returned ~ channel + member")
    user = some_users(told, (0,))[0]
    found = explain(fit, told, decay, [user], options=OPTIONS)
    assert found.sentences(user)[-1].startswith("With one visit today it would be the same")
    assert "Nothing follows; channel and member stay as they are." in found.notes[1]


def test_who_was_active_at_the_cutoff_is_as_before(shop_of_300, decay):
    log, history = shop_of_300
    user, last = history.table["user"][0].as_py(), history.table["last"][0].as_py()
    told = snapshots(log, cutoffs=last, horizon="30d", lapsed_after=None, activity="event", observed_until=last)
    fit = fitted(told, "returned ~ interest + log1p(tenure)")
    found = explain(fit, told, decay, [user], options=OPTIONS)
    assert found.sentences(user)[-1].startswith("With one visit today it would be the same")


def test_notes_say_what_follows_and_what_goes_beyond(rich, told, decay):
    user = some_users(told, (0,))[0]
    found = explain(rich, told, decay, [user], options=OPTIONS)
    assert "Interest, recency, frequency and active_30d follow; " in found.notes[1]
    assert "; spend, channel, member, visits and segment stay as they are." in found.notes[1]
    assert "It is not the effect of making somebody visit." in found.notes[1]
    assert len(found.notes) == 2
    tree = rich.idata.copy()
    tree.attrs["model"] = json.dumps(rich.description | {"lapsed_after": 14.0})
    found = explain(type(rich)(idata=tree), told, decay, [user], options=OPTIONS)
    assert "silent for 14 days or longer" in found.notes[2]
    assert found.sentences(user)[-1].endswith(", which goes beyond what the model has seen.")


def test_by_seed(plain, told, decay):
    users = some_users(told, (5, 6))
    one, again, other = (
        explain(plain, told, decay, users, options=DrawOptions(draws=30, random_seed=seed)) for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(one.parts, again.parts)
    pd.testing.assert_frame_equal(one.chances, again.chances)
    assert not np.array_equal(one.parts, other.parts)
    assert explain(plain, told, decay, users, options=DrawOptions(draws=30)).parts.sizes["sample"] == 30
