"""Candidates side by side: nothing of the future is seen, errors are right, and noise is called noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayesdecay.data.events import read_events
from bayesdecay.data.simulate import simulate
from bayesdecay.data.snapshots import snapshots
from bayesdecay.errors import DataError, LeakageError
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.sampling import Sampling
from bayesdecay.show.candidates import Candidate
from bayesdecay.show.comparison import Comparison, compare
from bayesdecay.show.question import CompareOptions
from tests.show import made
from tests.show.stand_ins import Says, ToldDecay, share

ORIGINS = ("2024-06-28", "2024-07-28")
ASKED = {"cutoffs": ORIGINS, "horizon": "30d"}
LAPSED = CompareOptions(lapsed_after="30d", random_seed=1)


def told(**options) -> Candidate:
    """A candidate for which nothing is sampled."""
    return Candidate(decay=ToldDecay(), reactivation=Says(**options), activity="event")


def moved(*, by: float = 0.0, noise: float = 0.0):
    """A law beside the sensible one: all logits moved, and each by some more."""

    def law(past, decay, table):
        p = share(past, decay, table)
        logit = np.log(p / (1 - p)) + by
        if noise:
            logit = logit + noise * np.random.default_rng(len(table)).standard_normal(len(table))
        return 1 / (1 + np.exp(-logit))

    return law


def compared(log, candidates=None, *, by="rolling", options=LAPSED, **changes) -> Comparison:
    return compare(log, candidates or {"one": told()}, **{**ASKED, **changes}, by=by, options=options)


def changed(after: str, until: str):
    """The shop's log with other events in (after, until], ends of days."""
    events = simulate(1_500, population=made.SHOP, random_seed=1).events
    begin, end = (pd.Timestamp(day) + pd.Timedelta(days=1) for day in (after, until))
    inside = (events["time"] >= begin) & (events["time"] < end)
    assert inside.sum() > 50
    rng = np.random.default_rng(3)
    later = pd.to_timedelta(rng.random(700) * ((end - begin).total_seconds() - 1), unit="s")
    other = pd.DataFrame({"user": rng.integers(1, 1_501, 700), "time": begin + later})
    return read_events(pd.concat([events[~inside], other]))


@pytest.mark.parametrize("by", ["rolling", "kfold", "loo"])
def test_nothing_after_the_last_horizon_is_used(shop, by):
    one, other = compared(shop[0], by=by), compared(changed("2024-08-27", "2024-09-26"), by=by)
    assert one.rows.identical(other.rows)


def test_what_happens_within_a_horizon_changes_outcomes_and_no_forecast_from_its_cutoff(shop):
    one, other = compared(shop[0]), compared(changed(ORIGINS[1], "2024-08-27"))
    assert one.rows["p_reactivation"].identical(other.rows["p_reactivation"].assign_coords(returned=one.rows.returned))
    differs = (one.rows["returned"] != other.rows["returned"]).groupby("at").sum()
    assert differs.values[0] == 0
    assert differs.values[1] > 50


def test_later_origins_learn_from_what_happened_after_earlier_ones(shop):
    one, other = compared(shop[0]), compared(changed(*ORIGINS))
    first, second = ([rows for _, rows in found.rows["p_reactivation"].groupby("at")] for found in (one, other))
    np.testing.assert_array_equal(first[0].to_numpy(), second[0].to_numpy())
    assert first[1].shape != second[1].shape
    assert not np.intersect1d(first[1].to_numpy(), second[1].to_numpy()).size


def test_rolling_learns_from_outcomes_known_at_the_origin(shop):
    candidate = told()
    found = compared(shop[0], {"one": candidate})
    for past, origin in zip(candidate.reactivation.learned, found.by_cutoff.columns, strict=True):
        assert past.observed_until == origin
        assert [(origin - at).days for at in past.histories] == [90, 60, 30]
    for history, origin in zip(candidate.decay.seen, found.by_cutoff.columns, strict=True):
        assert history.at == origin


def test_kfold_forecasts_each_user_from_others(shop):
    candidate = told()
    found = compared(shop[0], {"one": candidate}, by="kfold")
    model = candidate.reactivation
    seen = [set(past.table["user"]) for past in model.learned]
    forecast = [set(part.table["user"]) for part in model.forecast]
    assert len(seen) == len(forecast) == 5
    users = set(found.rows["user"].to_numpy().tolist())
    for one, other in zip(seen, forecast, strict=True):
        assert not one & other
        assert one | other == users
    assert sum(map(len, forecast)) == len(users)


@pytest.mark.parametrize("by", ["kfold", "loo"])
def test_the_decay_model_sees_no_outcome(shop, by):
    candidate = told()
    compared(shop[0], {"one": candidate}, by=by)
    assert [history.at.date().isoformat() for history in candidate.decay.seen] == [ORIGINS[0]]


def test_a_decay_fit_is_made_once_for_all_that_share_it(shop):
    decay = ToldDecay()
    pair = {name: Candidate(decay=decay, reactivation=Says(), activity="event") for name in ("a", "b")}
    found = compared(shop[0], pair)
    assert len(decay.seen) == len(ORIGINS)
    assert (found.table["seconds"] > 0).all()
    compared(shop[0], pair | {"c": Candidate(decay=decay, reactivation=Says(), activity="session")})
    assert len(decay.seen) == 3 * len(ORIGINS)


@pytest.mark.parametrize("by", ["rolling", "kfold", "loo"])
def test_scores_are_those_of_the_forecasts(shop, by):
    found = compared(shop[0], {"one": told(), "moved": told(law=moved(by=0.7))}, by=by)
    returned = found.rows["returned"].to_numpy()
    for name in ("one", "moved"):
        row, p = found.table.loc[name], found.rows["p_reactivation"].sel(candidate=name).to_numpy()
        loss = -np.where(returned, np.log(p), np.log1p(-p))
        assert row["log_loss"] == pytest.approx(loss.mean(), rel=1e-9)
        assert row["elpd"] == pytest.approx(-loss.sum(), rel=1e-9)
        assert row["elpd_se"] == pytest.approx(row["log_loss_se"] * loss.size)
        assert row["brier"] == pytest.approx(((p - returned) ** 2).mean())
    best = found.best
    assert found.table["log_loss"].idxmin() == best
    assert found.table.loc[best, ["difference", "difference_se"]].tolist() == [0.0, 0.0]
    assert found.table["weight"].sum() == pytest.approx(1.0)
    assert found.by_cutoff.shape == (2, 2)
    sizes = found.rows["returned"].groupby("at").count().to_numpy()
    np.testing.assert_allclose(found.by_cutoff.to_numpy() @ sizes / sizes.sum(), found.table["log_loss"])
    assert ("khat" in found.table) == (by == "loo")
    kinds = found.table.dtypes.astype(str)
    assert set(kinds.drop(["verdict", "noise", "converged"])) == {"float64"}
    assert set(kinds[["noise", "converged"]]) == {"bool"}


def test_units_of_activity_are_judged_on_the_same_rows_and_outcomes(shop):
    alike = {
        unit: Candidate(decay=ToldDecay(), reactivation=Says(), activity=unit) for unit in ("day", "session", "event")
    }
    found = compared(shop[0], alike)
    rows = snapshots(shop[0], cutoffs=ORIGINS, horizon="30d", lapsed_after="30d", activity="event").table
    assert found.left_out <= 0.01 * len(rows)
    assert found.rows.sizes["row"] == len(rows) - found.left_out
    seen = found.rows["returned"].to_dataframe(name="seen").reset_index(drop=True)
    seen = seen.assign(user=found.rows["user"].to_numpy(), at=found.rows["at"].to_numpy())
    kept = rows.merge(seen[["user", "at", "seen"]])
    assert len(kept) == len(seen)
    assert (kept["returned"] == kept["seen"]).all()


def test_a_row_on_the_border_that_units_dispute_is_left_out():
    # A session from before midnight to after it: its start had lapsed at the cutoff, its last day had not.
    common = [(user, f"2024-01-0{1 + user % 5}") for user in range(1, 200)]
    extra = [(user, "2024-03-15") for user in range(1, 60)]
    border = [(500, "2024-01-01"), (500, "2024-02-01 23:50"), (500, "2024-02-02 00:10")]
    frame = pd.DataFrame([*common, *extra, *border], columns=["user", "time"])
    frame["time"] = pd.to_datetime(frame["time"], format="mixed")
    units = {unit: Candidate(decay=ToldDecay(), reactivation=Says(), activity=unit) for unit in ("day", "session")}
    found = compare(
        read_events(frame),
        units,
        cutoffs="2024-03-02",
        horizon="13d",
        by="kfold",
        options=CompareOptions(lapsed_after="29.9d", random_seed=1),
    )
    assert found.left_out == 1
    assert 500 not in found.rows["user"]
    assert "(1 row left out that not all candidates have)" in found.verdict[0]


def test_candidates_that_disagree_on_who_lapsed_are_refused(shop):
    long = Candidate(decay=ToldDecay(), reactivation=Says(), activity="session", session_gap="25d")
    with pytest.raises(DataError, match=r"judged on the same users, and 'long' has .* rows that not all .* \(such as"):
        compared(shop[0], {"one": told(), "long": long})


def test_a_truly_better_candidate_wins_and_a_copy_is_noise(shop):
    found = compared(
        shop[0], {"off": told(law=moved(by=1.0)), "one": told(), "like it": told(law=moved(noise=0.02))}, by="kfold"
    )
    assert set(found.tied) | {found.best} == {"one", "like it"}
    assert not found.table.loc["off", "noise"]
    said = str(found)
    assert "is noise: keep the simpler one of the two, or what you have." in said
    assert "Worse, beyond what chance explains: “off” (" in said
    assert "the weights are noise too" in said


def test_identical_candidates_are_noise_and_share_the_weight(shop):
    found = compared(shop[0], {"a": told(), "b": told(), "c": told()})
    assert found.table["noise"].all()
    np.testing.assert_allclose(found.table["weight"], 1 / 3)
    assert "are noise: keep the simplest of these 3" in str(found)
    assert "not so at every cutoff" not in str(found)


def test_that_another_is_best_at_a_cutoff_is_told(shop):
    def later(past, decay, table):
        """Right at the first cutoff alone."""
        late = (table["at"] > pd.Timestamp("2024-07-01")).to_numpy()
        return np.where(late, moved(by=1.0)(past, decay, table), share(past, decay, table))

    def early(past, decay, table):
        late = (table["at"] > pd.Timestamp("2024-07-01")).to_numpy()
        return np.where(late, share(past, decay, table), moved(by=0.4)(past, decay, table))

    found = compared(shop[0], {"early": told(law=early), "later": told(law=later)})
    firsts = found.by_cutoff.idxmin()
    assert set(firsts) == {"early", "later"}
    at = next(at for at, name in firsts.items() if name != found.best)
    assert f"The best of all is not so at every cutoff: “{firsts[at]}” at {at:%Y-%m-%d}." in found.verdict


def test_one_candidate_alone_is_best_and_mixed_with_nothing(shop):
    found = compared(shop[0])
    assert found.best == "one"
    assert found.tied == ()
    assert len(found.verdict) == 2


@pytest.mark.parametrize("where", ["decay", "reactivation"])
def test_an_unconverged_candidate_is_tried_twice_marked_and_not_best(shop, where):
    decay = ToldDecay(verdict=made.BAD if where == "decay" else made.GOOD)
    model = Says(verdict=made.BAD if where == "reactivation" else made.GOOD)
    lost = Candidate(decay=decay, reactivation=model, activity="event")
    pair = {"off": told(law=moved(by=1.0)), "<lost>": lost}
    lines = []
    found = compared(shop[0], pair, options=CompareOptions(lapsed_after="30d", tell=lines.append))
    assert len(decay.seen if where == "decay" else model.learned) == 2 * len(ORIGINS)
    assert sum("once more, with 100 draws after 400 warm-up draws" in line for line in lines) == len(ORIGINS)
    row = found.table.loc["<lost>"]
    assert found.best == "off"
    assert row["verdict"].startswith(f"NOT CONVERGED: {where} model at 2024-06-28: R-hat is 1.200")
    assert not row["converged"]
    assert row[["difference", "difference_se", "weight"]].isna().all()
    assert "“<lost>”, it is left out of the ranking: NOT CONVERGED" in str(found)
    assert "&lt;lost&gt;" in found._repr_html_()
    assert "<lost>" not in found._repr_html_()
    found = compared(shop[0], pair, options=CompareOptions(lapsed_after="30d", allow_unconverged=True))
    assert found.best == "<lost>"
    assert "“<lost>”, its scores may be wrong: NOT CONVERGED" in str(found)


def test_without_any_that_converged_none_is_best(shop):
    found = compared(shop[0], {"a": told(verdict=made.BAD), "b": told(verdict=made.BAD)})
    assert found.best is None
    assert found.tied == ()
    assert found.table["log_loss"].notna().all()
    assert "No candidate's fits converged, so none is best" in str(found)


def test_leave_one_out_that_cannot_be_relied_on_is_marked(shop):
    class Wild(Says):
        def fit(self, past, decay, **options):
            fit = super().fit(past, decay, **options)
            plain, rng = fit.log_likelihood, np.random.default_rng(0)

            def log_likelihood(shown, decay, **options):
                found = plain(shown, decay, **options)
                first = (shown.table["user"] == shown.table["user"].iloc[0]).to_numpy()
                # Draws of which a few would be a thousand times as probable had the first user not been seen.
                heavy = -3.0 * rng.standard_exponential(found.sizes["sample"])
                return found + np.where(first, heavy[:, None], 0.0)

            fit.log_likelihood = log_likelihood
            return fit

    wild = Candidate(decay=ToldDecay(), reactivation=Wild(samples=400), activity="event")
    found = compared(shop[0], {"wild": wild, "tame": told(samples=400)}, by="loo")
    assert found.table.loc["wild", "bad_khat"] == 1
    assert found.table.loc["wild", "khat"] > 0.7
    assert found.table.loc["tame", "bad_khat"] == 0
    assert "“wild”: leaving out 1 user changes the fit too much for leave-one-out" in str(found)
    assert "khat" in found.rows


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"by": "roling"}, ValueError, "unknown way to compare 'roling'; did you mean 'rolling'"),
        ({"candidates": {"x": 1}}, TypeError, "'x' is not a Candidate but int"),
        ({"cutoffs": "2024-09-10"}, LeakageError, "reaches beyond"),
        ({"cutoffs": "2024-02-15"}, DataError, r"to forecast at 2024-02-15, .* had lapsed by 2024-01-16"),
        ({"options": CompareOptions(lapsed_after="260d")}, DataError, "nobody had lapsed at any cutoff"),
        ({"candidates": {"u": told(formula="returned ~ interest + (1 | user)")}, "by": "loo"}, ValueError, "single us"),
        ({"candidates": {"g": told(averaged=0)}, "by": "loo"}, ValueError, "'g' averages over its many small groups"),
        ({"options": CompareOptions(lapsed_after="30d", k=3_000), "by": "kfold"}, ValueError, "3000 folds of"),
    ],
)
def test_what_cannot_be_compared_is_refused(shop, changes, error, message):
    with pytest.raises(error, match=message):
        compared(shop[0], **changes)


def test_no_candidate_is_refused(shop):
    with pytest.raises(ValueError, match=r"there is no candidate; take default_candidates\(\)"):
        compare(shop[0], {}, **ASKED)


@pytest.mark.parametrize("by", ["rolling", "loo"])
def test_real_models_the_one_that_knows_interest_wins(shop, by):
    sampling = Sampling(draws=500, tune=200, chains=2, cores=1)
    candidates = {
        name: Candidate(decay=ToldDecay(), reactivation=ReactivationModel(formula=formula), activity="event")
        for name, formula in {
            "blind": "returned ~ log1p(tenure)",
            "told": "returned ~ interest + log1p(tenure)",
        }.items()
    }
    options = CompareOptions(lapsed_after="30d", sampling=sampling, random_seed=1, allow_unconverged=True)
    found = compared(shop[0], candidates, by=by, options=options, cutoffs=ORIGINS[1])
    assert found.best == "told"
    assert found.tied == ()
    assert "of other times more cutoffs would tell" in str(found)
    row = found.table.loc["blind"]
    assert row["difference"] > 3 * row["difference_se"]
    assert row["weight"] < 0.2
    assert found.table.loc["told", "auc"] > row["auc"] + 0.05


def test_real_fits_of_both_models_from_end_to_end():
    log = read_events(simulate(150, population=made.SHOP, random_seed=4).events)
    short = Sampling(draws=250, tune=150, chains=2, cores=1)
    pair = {"a": Candidate(decay=DecayModel(rates=40), activity="event", past_cutoffs=1)}
    found = compare(
        log,
        pair | {"b": pair["a"]},
        cutoffs=ORIGINS[1],
        horizon="30d",
        options=CompareOptions(lapsed_after="30d", sampling=short, random_seed=2, allow_unconverged=True),
    )
    assert found.table.loc["a", "log_loss"] == found.table.loc["b", "log_loss"]
    assert 0.5 < found.table.loc["a", "auc"] <= 1.0
    assert (found.best, found.tied) == ("a", ("b",))
