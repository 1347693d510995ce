"""Effects of a treatment: the likelihood by hand, known effects found, none found where there are none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy.special import expit
from scipy.stats import gamma, halfnorm, norm

from bayesdecay.data.experiment import Experiment
from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.errors import DataError
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.effect_fit import EffectFit
from bayesdecay.model.effect_model import EffectModel
from bayesdecay.model.fits import load
from bayesdecay.model.posterior import Verdict, labelled
from bayesdecay.model.prior import EFFECT_PRIORS
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.terms import Terms
from bayesdecay.model.treated import Treatment
from bayesdecay.model.uncertainty import DrawOptions
from tests.model.made_up import evaluated
from tests.model.worlds import PAST, looked_at

FORMULA = "bought ~ visits + spend"
ARMS = ("none", "coupon", "mail")
# Where it does not matter what a fit finds.
BRIEF = Sampling(draws=100, tune=100, chains=2)
MANY = DrawOptions(draws=2_000, random_seed=1)


def drawn_experiment(
    rows: int, effects: Mapping[str, tuple[float, float]], *, seed: int, missing: float = 0.0, **options
) -> Experiment:
    """Users with two features, whose effect on the log-odds is the first number plus the second times the visits."""
    rng = np.random.default_rng(seed)
    visits, spend = rng.normal(size=rows), rng.normal(size=rows)
    arm = rng.choice(ARMS, rows)
    logit = -1.2 + 0.5 * visits - 0.3 * spend
    for name, (of_all, by_visits) in effects.items():
        logit += (arm == name) * (of_all + by_visits * visits)
    bought = (rng.random(rows) < expit(logit)).astype(float)
    mean = np.exp(3.0 + 0.3 * spend + 0.4 * (arm == "coupon"))
    table = pd.DataFrame({"id": [f"u{i}" for i in range(rows)], "arm": arm, "visits": visits, "spend": spend})
    table["bought"], table["paid"] = bought, bought * gamma(2.0, scale=mean / 2.0).rvs(random_state=rng)
    table.loc[rng.random(rows) < missing, "spend"] = np.nan
    return read_experiment(
        table,
        user="id",
        arm="arm",
        control="none",
        outcomes=["bought", "paid"],
        features=["visits", "spend"],
        **options,
    )


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return drawn_experiment(4_000, {"coupon": (0.6, 0.5), "mail": (0.3, 0.0)}, seed=1)


@pytest.fixture(scope="module")
def shown(experiment: Experiment) -> EffectFit:
    return EffectModel(formula=FORMULA).fit(experiment, random_seed=1)


@pytest.fixture(scope="module")
def paid(experiment: Experiment) -> EffectFit:
    return EffectModel(formula="paid ~ visits + spend").fit(experiment, random_seed=2)


# --- the likelihood, a second time ---


def terms_and_design(experiment: Experiment, formula: str = FORMULA, **options):
    model = EffectModel(formula=formula, **options)
    nothing = np.zeros((len(experiment), 1))
    terms = Terms.learn(model.parsed(), experiment.table, nothing, missing=model.missing)
    return model, terms, Treatment.of(terms, arms=experiment.arms), terms.design(experiment.table, nothing)


def by_hand(posterior: xr.Dataset, design, given: np.ndarray) -> np.ndarray:
    """P of each row, what is missing averaged over by a fine sum."""
    draw = posterior.isel(chain=0, draw=0)
    effect = np.concatenate([[0.0], draw["effect"].to_numpy()])
    along = draw["slope"].to_numpy() + np.vstack([np.zeros(2), draw["effect_slope"].to_numpy()])[given]
    logit = float(draw["intercept"]) + effect[given] + (design.x * along).sum(axis=1)
    v = np.linalg.norm(np.einsum("rf,rfk->rk", along, design.root[design.pattern]), axis=1)
    nodes = np.linspace(-8, 8, 2_001)
    return (expit(logit[:, None] + v[:, None] * nodes) * norm.pdf(nodes)).sum(axis=1) * (nodes[1] - nodes[0])


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_likelihood_is_the_equation(missing):
    some = drawn_experiment(300, {"coupon": (0.6, 0.5)}, seed=3, missing=missing)
    model, terms, treatment, design = terms_and_design(some)
    value = some.outcome("bought")
    pymc_model = model.build(terms, design, treatment, some.given, value)
    tree, values = evaluated(pymc_model, ["loglik"], random_seed=4)
    p = by_hand(tree["posterior"].to_dataset(), design, some.given)
    # Where something is missing, a few nodes leave 3e-5 at a point so far out.
    assert values["loglik"] == pytest.approx(np.log(np.where(value > 0, p, 1 - p)).sum(), rel=1e-4 if missing else 3e-6)


def test_effects_follow_the_response_and_their_spread():
    some = drawn_experiment(50, {"coupon": (0.6, 0.5)}, seed=3)
    model, terms, treatment, design = terms_and_design(some)
    pymc_model = model.build(terms, design, treatment, some.given, some.outcome("bought"))
    tree, values = evaluated(pymc_model, [], random_seed=4)
    draw = tree["posterior"].to_dataset().isel(chain=0, draw=0)
    signed, offset = values["tau_effect_mirrored_offset_"], values["effect_slope_offset_"]
    np.testing.assert_allclose(draw["tau_effect"], np.abs(signed))
    expected = draw["effect_by_response"].to_numpy()[:, None] * draw["slope"].to_numpy() + signed[:, None] * offset
    np.testing.assert_allclose(draw["effect_slope"], expected)
    # Both halves together are the half-normal prior that was asked for.
    sizes = np.abs(pm.draw(pymc_model["tau_effect"], 4_000, random_seed=1)).ravel()
    scale = EFFECT_PRIORS["tau_effect"].parameters["sigma"]
    np.testing.assert_allclose(
        np.quantile(sizes, [0.25, 0.5, 0.9]), halfnorm(scale=scale).ppf([0.25, 0.5, 0.9]), rtol=0.05
    )


def test_amounts_are_gamma(experiment):
    model, terms, treatment, design = terms_and_design(experiment, "paid ~ visits + spend")
    value = experiment.outcome("paid")
    pymc_model = model.build(terms, design, treatment, experiment.given, value)
    tree, values = evaluated(pymc_model, ["loglik_amount"], random_seed=5)
    draw = tree["posterior"].to_dataset().isel(chain=0, draw=0)
    some = value > 0
    effect = np.concatenate([[0.0], draw["amount_effect"].to_numpy()])
    slopes = np.vstack([np.zeros(2), draw["amount_effect_slope"].to_numpy()]) + draw["amount_slope"].to_numpy()
    log_mean = float(draw["amount_intercept"]) + effect[experiment.given] + (design.x * slopes[experiment.given]).sum(1)
    shape = float(draw["amount_shape"])
    density = gamma(shape, scale=np.exp(log_mean[some]) / shape).logpdf(value[some] / value[some].mean())
    assert values["loglik_amount"] == pytest.approx(density.sum(), rel=1e-9)


def test_draws_are_the_equation_whatever_is_missing():
    some = drawn_experiment(60, {"coupon": (0.6, 0.5)}, seed=6, missing=0.4)
    _, terms, treatment, design = terms_and_design(some)
    pymc_model = EffectModel(formula=FORMULA).build(terms, design, treatment, some.given, some.outcome("bought"))
    tree, _ = evaluated(pymc_model, [], random_seed=7)
    one = tree["posterior"].to_dataset()
    many = one.isel(draw=np.zeros(4_000, dtype=int)).assign_coords(draw=np.arange(4_000))
    drawn = fit_of(many, terms, treatment).draws(some, options=DrawOptions(draws=4_000, random_seed=8))
    assert drawn.dims == ("sample", "user", "arm")
    assert drawn["user"].to_numpy().tolist() == some.table["user"].tolist()
    known = design.pattern == 0
    assert 10 < known.sum() < 50
    for place in range(3):
        expected = by_hand(one, design, np.full(60, place))
        found = drawn.isel(arm=place)
        np.testing.assert_allclose(found.isel(user=known).std("sample"), 0.0, atol=1e-12)
        np.testing.assert_allclose(found.mean("sample")[known], expected[known], rtol=1e-9)
        error = found.std("sample").to_numpy() / np.sqrt(4_000)
        assert (np.abs(found.mean("sample") - expected)[~known] < 4.5 * error[~known]).all()
    # What is missing of a user is the same under every arm.
    off = ~known
    correlation = xr.corr(drawn.isel(arm=0, user=off), drawn.isel(arm=2, user=off), "sample")
    assert float(np.abs(correlation).min()) > 0.5


def fit_of(posterior: xr.Dataset, terms: Terms, treatment: Treatment) -> EffectFit:
    """A fit that claims to have converged."""
    sure = {"worst_rhat": 1.0, "least_ess_bulk": 1e4, "least_ess_tail": 1e4, "least_bfmi": 1.0}
    verdict = Verdict(**sure, divergences=0, draws=int(posterior.sizes["draw"]), chains=2)
    told = {
        "terms": terms.to_dict(),
        "treatment": treatment.to_dict(),
        "outcome": "bought",
        "unit": 1.0,
        "yes_or_no": True,
        "randomised": True,
        "rows": 100,
    }
    tree = xr.DataTree.from_dict({"posterior": posterior})
    return EffectFit(idata=labelled(tree, kind=EffectFit.KIND, model=told, verdict=verdict))


# --- what a fit finds ---


def test_known_effects_are_found(shown, experiment):
    assert shown.verdict.converged, shown.verdict
    posterior = shown.idata["posterior"]
    scale = experiment.table["visits"].std()
    for name, (of_all, by_visits) in {"coupon": (0.6, 0.5), "mail": (0.3, 0.0)}.items():
        for found, truth in (
            (posterior["effect"].sel(arm=name), of_all),
            (posterior["effect_slope"].sel(arm=name, moderator="visits"), by_visits * scale),
            (posterior["effect_slope"].sel(arm=name, moderator="spend"), 0.0),
        ):
            assert abs(found.mean() - truth) < 3.5 * found.std()
    assert float(posterior["tau_effect"].sel(arm="coupon").mean()) > 2 * float(
        posterior["tau_effect"].sel(arm="mail").mean()
    )


def test_no_differences_are_found_where_there_are_none():
    same = drawn_experiment(4_000, {"coupon": (0.5, 0.0), "mail": (0.5, 0.0)}, seed=9)
    found = EffectModel(formula=FORMULA).fit(same, random_seed=3).idata["posterior"]
    # A plain regression's coefficient has a standard error of 0.09 here; the learned spread takes most of it away.
    assert float(np.abs(found["effect_slope"].mean(("chain", "draw"))).max()) < 0.1
    assert float(found["tau_effect"].median(("chain", "draw")).max()) < 0.12
    lower, upper = found["effect_slope"].quantile([0.05, 0.95], ("chain", "draw"))
    assert bool(((lower < 0) & (upper > 0)).all())


def test_tables_say_what_the_draws_say(shown, experiment):
    few = experiment.table.head(40)
    drawn = shown.draws(few, options=MANY)
    table = shown.effects(few, options=MANY)
    assert table["user"].tolist() == np.repeat(few["user"], 2).tolist()
    assert table["arm"].tolist() == ["coupon", "mail"] * 40
    gained = (drawn.sel(arm=["coupon", "mail"]) - drawn.sel(arm="none")).transpose("sample", "user", "arm")
    np.testing.assert_allclose(table["effect"], gained.mean("sample").to_numpy().ravel())
    np.testing.assert_allclose(table["effect"], table["treated"] - table["untreated"])
    for column, q in (("effect_lower", 0.05), ("effect_upper", 0.95)):
        np.testing.assert_allclose(table[column], gained.quantile(q, "sample", method="weibull").to_numpy().ravel())
    np.testing.assert_allclose(table["p_positive"], (gained > 0).mean("sample").to_numpy().ravel())
    assert "at random" in table.attrs["statement"]
    assert "causal" not in table
    average = shown.average_effects(few, options=MANY)
    of_all = gained.mean("user")
    np.testing.assert_allclose(average["effect"], of_all.mean("sample"))
    np.testing.assert_allclose(average["effect_upper"], of_all.quantile(0.95, "sample", method="weibull"))
    np.testing.assert_allclose(average["spread"], gained.std("user").mean("sample"))


def test_users_may_be_taken_a_few_at_a_time(shown, experiment, monkeypatch):
    few = experiment.table.head(50)
    whole = shown.effects(few, options=MANY)
    monkeypatch.setattr("bayesdecay.model.effect_fit._NUMBERS", 7 * 2_000 * 3)
    pd.testing.assert_frame_equal(shown.effects(few, options=MANY), whole)


def test_expected_amounts_are_those_that_were_paid(paid, experiment):
    assert paid.verdict.converged, paid.verdict
    table, value = experiment.table, experiment.outcome("paid")
    drawn = paid.draws(table, options=DrawOptions(draws=400, random_seed=1)).mean("user")
    for name in ARMS:
        own = value[table["arm"] == name]
        error = np.hypot(own.std() / np.sqrt(own.size), float(drawn.sel(arm=name).std()))
        assert abs(float(drawn.sel(arm=name).mean()) - own.mean()) < 3 * error
    effect = paid.average_effects(table).set_index("arm")
    assert effect.loc["coupon", "effect_lower"] > 0
    effect_on_amount = paid.idata["posterior"]["amount_effect"].sel(arm="coupon")
    assert abs(float(effect_on_amount.mean()) - 0.4) < 3.5 * float(effect_on_amount.std())


def test_a_user_with_a_missing_feature_has_a_wider_interval(shown, experiment):
    known = experiment.table.head(30)
    both = [shown.effects(users, options=MANY) for users in (known, known.assign(spend=np.nan))]
    width = [table["untreated_upper"] - table["untreated_lower"] for table in both]
    assert width[1].mean() > 1.5 * width[0].mean()


def test_saved_and_read_again(shown, experiment, tmp_path):
    read = load(shown.save(tmp_path / "effects.nc"))
    assert isinstance(read, EffectFit)
    few = experiment.table.head(5)
    pd.testing.assert_frame_equal(read.effects(few), shown.effects(few))


# --- not drawn by lot ---


def test_what_nobody_drew_lots_for_is_not_called_an_effect():
    chosen = drawn_experiment(400, {"coupon": (0.6, 0.0)}, seed=10, randomised=False)
    _, terms, treatment, design = terms_and_design(chosen)
    pymc_model = EffectModel(formula=FORMULA).build(terms, design, treatment, chosen.given, chosen.outcome("bought"))
    tree, _ = evaluated(pymc_model, [], random_seed=7)
    found = fit_of(tree["posterior"].to_dataset(), terms, treatment)
    found.idata.attrs["model"] = found.idata.attrs["model"].replace('"randomised": true', '"randomised": false')
    for table in (found.effects, found.average_effects):
        with pytest.raises(ValueError, match=r"NOT given their arm at random; .* no evidence of an effect"):
            table(chosen)
        marked = table(chosen, allow_observational=True)
        assert not marked["causal"].any()
        assert "no evidence" in marked.attrs["statement"]
    assert found.draws(chosen).attrs["causal"] == 0


def test_the_fit_remembers_that_nobody_drew_lots(monkeypatch):
    chosen = drawn_experiment(400, {"coupon": (0.6, 0.0)}, seed=10, randomised=False)
    fitted = EffectModel(formula="bought ~ visits").fit(chosen, sampling=BRIEF, random_seed=1)
    assert not fitted.causal
    assert "NOT given" in fitted.statement


# --- with interest ---


def test_interest_counts_where_its_history_is_known(log, fit: DecayFit):
    told: Snapshots = looked_at(log, PAST[0])
    rng = np.random.default_rng(12)
    told.table["arm"] = rng.choice(["none", "mail"], len(told))
    read = read_experiment(told, arm="arm", control="none", outcomes=["returned"], features=["recency"])
    assert read.snapshots is told
    half = read.select(rng.random(len(told)) < 0.5)
    assert half.snapshots.table["user"].tolist() == half.table["user"].tolist()
    model = EffectModel(formula="returned ~ interest + log1p(recency)")
    found = model.fit(read, fit, sampling=BRIEF, random_seed=1)
    posterior = found.idata["posterior"]
    assert posterior["effect_slope"]["moderator"].to_numpy().tolist() == ["log1p(recency)", "interest"]
    assert float(posterior["slope_interest"].std()) > 0
    table = found.effects(told, fit, options=DrawOptions(draws=100, random_seed=1, allow_unconverged=True))
    assert len(table) == len(told)
    for incomplete in ((told, None), (told.table, fit)):
        with pytest.raises(ValueError, match="interest is in the formula: give the decay fit, and users with their"):
            found.effects(*incomplete, options=DrawOptions(allow_unconverged=True))
    with pytest.raises(ValueError, match="interest is in the formula"):
        model.fit(read)


# --- refused ---


def test_refused(experiment):
    with pytest.raises(ValueError, match="unknown outcome 'sold'"):
        EffectModel(formula="sold ~ visits").fit(experiment)
    with pytest.raises(ValueError, match="'paid' is the arm or an outcome, known after the contact only"):
        EffectModel(formula="bought ~ visits + paid").fit(experiment)
    with pytest.raises(ValueError, match="'arm' is the arm or an outcome"):
        EffectModel(formula="bought ~ visits + arm").fit(experiment)
    with pytest.raises(
        ValueError, match=r"unknown feature 'visit'; did you mean 'visits'.* choose from spend, user, visits$"
    ):
        EffectModel(formula="bought ~ visit").fit(experiment)
    with pytest.raises(ValueError, match="unknown prior 'efect'"):
        EffectModel(formula=FORMULA, priors={"efect": None})
    with pytest.raises(ValueError, match="unknown way with missing features 'drop'"):
        EffectModel(formula=FORMULA, missing="drop")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: -y, "outcome 'bought' is below 0 in"),
        (lambda y: 0 * y, "outcome 'bought' is 0 in all 4000 rows"),
        (lambda y: 0 * y + 1, "outcome 'bought' is above 0 in all 4000 rows"),
    ],
)
def test_outcomes_that_teach_nothing_are_refused(change, message, experiment):
    table = experiment.table.assign(bought=change(experiment.table["bought"]))
    read = read_experiment(table, user="user", arm="arm", control="none", outcomes=["bought"], features=["visits"])
    with pytest.raises(DataError, match=message):
        EffectModel(formula="bought ~ visits").fit(read)


def test_priors_are_told_with_reasons():
    table = EffectModel(formula=FORMULA).priors_table().set_index("parameter")
    assert {"effect", "effect_by_response", "tau_effect", "amount_effect", "slope"} <= set(table.index)
    assert table["reason"].str.len().min() > 20
