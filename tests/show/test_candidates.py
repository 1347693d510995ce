"""Candidates and options are checked when they are described, and the ready ones can all be learned."""

from __future__ import annotations

import numpy as np
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.simulate import simulate
from bayesdecay.data.snapshots import snapshots
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.terms import Terms
from bayesdecay.show.candidates import Candidate, default_candidates
from bayesdecay.show.question import CompareOptions, rows_of
from tests.show import made

ORIGINS = ("2024-06-28", "2024-07-28")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Candidate(activity="days"), ValueError, "day"),
        (lambda: Candidate(past_cutoffs=0), ValueError, "past_cutoffs must be at least 1"),
        (lambda: Candidate(reactivation=ReactivationModel(interest="joint")), ValueError, "compare interest='uncert"),
        (lambda: Candidate(prior=1), TypeError, "prior"),
        (lambda: CompareOptions(k=1), ValueError, "k must be at least 2"),
        (lambda: CompareOptions(draws=10), ValueError, "draws must be at least 100"),
        (lambda: CompareOptions(lapsed_after="soon"), ValueError, "'soon' cannot be read"),
        (lambda: CompareOptions(seed=1), TypeError, "seed"),
    ],
)
def test_descriptions_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("lapsed_after", ["30d", 0])
def test_default_candidates_can_all_be_learned(lapsed_after):
    events = simulate(300, population=made.SHOP, random_seed=2).events
    events["channel"] = np.where(events["user"] % 2, "mail", "shop window")
    log = read_events(events, columns=["channel"])
    candidates = default_candidates(lapsed_after=lapsed_after, group="channel")
    for candidate in candidates.values():
        known = snapshots(
            log,
            cutoffs=ORIGINS,
            horizon="30d",
            lapsed_after=lapsed_after,
            features=candidate.features,
            columns=candidate.columns,
            group=candidate.group,
        )
        terms = Terms.learn(candidate.reactivation.parsed(), known.table, np.zeros((len(known), 1)))
        assert terms.formula.interest == (candidate is not candidates["no interest"])
    assert len({(c.decay_key, c.snapshots_key, repr(c.reactivation)) for c in candidates.values()}) == len(candidates)
    assert {c.decay.restoration for c in candidates.values()} == {None, 0.0, 1.0}
    assert ("log1p(active_60d)" in candidates["window"].reactivation.formula) == (lapsed_after == "30d")


def test_rows_of_keeps_table_and_histories_together(shop):
    known = snapshots(shop[0], cutoffs=ORIGINS, horizon="30d", lapsed_after="30d", activity="event")
    kept = np.random.default_rng(0).random(len(known)) < 0.3
    some = rows_of(known, kept)
    users = [user for history in some.histories.values() for user in history.table["user"].to_pylist()]
    assert users == some.table["user"].tolist() == known.table["user"][kept].tolist()
    first = rows_of(known, (known.table["at"] == known.table["at"].iloc[0]).to_numpy())
    assert len(first.histories) == 1
