"""Two kinds of users: those whose interest fades, and regulars, whose interest does not."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import bayesdecay as bd
from bayesdecay.data.truth import Population as Truth
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.design import FitData
from bayesdecay.model.fused import FusedLogLikelihood
from bayesdecay.model.grid import Grid, chebyshev_nodes
from bayesdecay.model.laplace import StudentT
from bayesdecay.model.place import Place, place_of
from bayesdecay.model.population import total_loglik
from bayesdecay.model.prior import DECAY_PRIORS, REGULAR_PRIORS
from bayesdecay.model.run_in import run_in_table
from bayesdecay.model.scoring import score
from bayesdecay.model.user_statistics import Statistics, marginal_loglik
from tests.model.worlds import SHOP, block_of, history_of, population_at, simulated

REGULARS = replace(SHOP, regulars=0.3, regulars_shift=0.7)
USERS = [[], [2.0], [0.5, 3.0, 40.0], [float(t) for t in range(5, 100, 5)]]
LENGTHS = [30.0, 90.0, 100.0, 100.0]
NONE = DecayModel(regulars=False)


def population(shop: Truth = REGULARS, *, draws: int = 1):
    """The truth as a posterior without uncertainty, its grid with the regulars' rate."""
    plain = population_at(shop, draws=draws)
    grid = replace(plain.grid, regular=float(plain.grid.rates[0]))
    return replace(plain, grid=grid, regulars=np.tile([[shop.regulars], [shop.regulars_shift]], (1, draws)))


def loglik_of_regular(n: int, T: float, shop: Truth) -> float:
    """Log-likelihood of n activities within T at a constant interest that is gamma: integrated by scipy."""
    truth = shop.truth()
    mean = math.exp(truth["mu_log_interest"] + truth["shift_regular"])
    law = stats.gamma(truth["alpha"], scale=mean / truth["alpha"])
    return math.log(law.expect(lambda level: level**n * math.exp(-level * T), epsabs=0, limit=200))


def test_likelihood_is_that_of_the_two_kinds():
    block, weight = block_of(USERS, LENGTHS), np.ones(1)
    both, fading = population(), population_at(SHOP, draws=1)
    for row in range(len(USERS)):
        one = block.take(np.array([row]))
        parts = [total_loglik(fading, one, weight, fading.grid)[0] + math.log(0.7)]
        parts += [loglik_of_regular(len(USERS[row]), LENGTHS[row], REGULARS) + math.log(0.3)]
        # The regulars' rate is that of the slowest users, under which interest falls by 0.02 % within 100 days.
        assert total_loglik(both, one, weight, both.grid)[0] == pytest.approx(logsumexp(parts), abs=2e-3)


def test_compiled_loop_takes_the_regulars_with_it():
    history = history_of(simulated(150, shop=REGULARS, random_seed=3))
    data, own = FitData.of(history), population()
    grid = replace(own.grid, restorations=chebyshev_nodes(0.0, 1.0, 10))
    _, log_weight, log_beta = own.designs(data.block)
    function = FusedLogLikelihood("bayesdecay.model.likelihood.marginal_loglik", n_parameters=4).function
    arrays = list(data.arrays(grid).values())
    found = function(log_weight[:, 0], log_beta[:, 0], SHOP.interest_shape, SHOP.restoration, *arrays)[0]
    part = Statistics.from_block(data.block, own.grid)
    plain = marginal_loglik(
        part, own.grid, log_weight[0, 0], log_beta[0, 0], alpha=SHOP.interest_shape, rho=SHOP.restoration
    )
    above = data.n_above(grid)
    found += np.sum(above * np.log(SHOP.interest_shape + np.arange(above.size)))
    assert found == pytest.approx(data.weight @ plain, rel=1e-6)


def test_recovers_share_and_level_of_regulars():
    shop = replace(REGULARS, half_life=10)
    history = history_of(simulated(3_000, shop=shop, random_seed=1))
    fit = DecayModel(regulars=True).fit(history, method="laplace", random_seed=1)
    table = fit.summary()
    for name, truth in shop.truth().items():
        assert abs(table.loc[name, "mean"] - truth) < 4 * table.loc[name, "sd"], name
    assert table.loc["share_regular", "sd"] < 0.05


def test_finds_few_where_there_are_none():
    history = history_of(simulated(2_000, random_seed=2))
    table = DecayModel(regulars=True).fit(history, method="laplace", random_seed=1).summary()
    assert table.loc["share_regular", "mean"] < 0.05


def test_a_regular_is_told_from_one_who_faded(tmp_path):
    history = history_of(simulated(600, shop=REGULARS, random_seed=4))
    fit = DecayModel(regulars=True).fit(history, method="laplace", random_seed=1)
    fit.save(tmp_path / "fit.nc")
    options = bd.ScoreOptions(horizons=["30d", "365d"], random_seed=1)
    steady = bd.summarize_times({"steady": [f"2024-0{month}-01" for month in range(1, 7)]}, at="2024-06-05")
    history = replace(steady, activity="event")
    found, again = (one.score(history, options=options).table for one in (fit, bd.load(tmp_path / "fit.nc")))
    assert found.equals(again)
    plain = DecayModel().fit(history_of(simulated(600, random_seed=4)), method="laplace", random_seed=1)
    # Half a year from now one who may be a regular is still expected; where all fade, less so.
    assert found["p_return_365d"][0].as_py() > plain.score(history, options=options).table["p_return_365d"][0].as_py()


def test_another_grid_by_the_same_law_has_the_regulars_too():
    own = population()
    block, weight = block_of(USERS, LENGTHS), np.ones(len(USERS))
    other = Grid.covering(200.0, 1 / 1_440, n_rates=80, restoration=SHOP.restoration).with_law(own.grid)
    found = total_loglik(own, block, weight, other)[0]
    assert found == pytest.approx(total_loglik(own, block, weight, own.grid)[0], abs=2e-3)


# --- whether there are any, where that is left to the log ---


def described(fit: bd.DecayFit) -> dict:
    return json.loads(fit.idata.attrs["model"])


def place(history: bd.History, *, regulars: bool) -> Place:
    model = DecayModel(shoulder=math.inf)
    grid = replace(model, regulars=regulars).grid(history)
    return place_of(model.build, FitData.of(history), grid, shoulder=None, regulars=False)


def evidence_by_sampling(found: Place) -> float:
    """Logarithm of the mean of the weights that points from a wide law need."""
    rng, size = np.random.default_rng(1), found.whitening.center.size
    law = StudentT(center=np.zeros(size), root=np.eye(size))
    eta = law.draws(1_000, rng)
    height = np.array([found.density(point)[0] for point in found.whitening.parameters(eta)])
    log_volume = np.linalg.slogdet(found.whitening.root)[1]
    return float(logsumexp(height - law.log_density(eta)) - math.log(len(eta)) + log_volume)


@pytest.mark.parametrize(("shop", "seed"), [(REGULARS, 1), (SHOP, 2)], ids=["some", "none"])
def test_a_log_says_whether_there_are_regulars(shop, seed):
    history = history_of(simulated(500, shop=replace(shop, half_life=10), random_seed=seed))
    model = DecayModel(shoulder=math.inf)
    fit = model.fit(history, method="laplace", random_seed=1)
    told, regulars = described(fit), shop is REGULARS
    without, among = (place(history, regulars=some) for some in (False, True))
    by_sampling = evidence_by_sampling(among) - evidence_by_sampling(without)
    # Laplace's method is off by some tenths of a nat.
    assert told["log_bayes_factor_of_regulars"] == pytest.approx(by_sampling, abs=0.7)
    assert told["regulars"] == regulars == (by_sampling > math.log(20))
    assert ("share_regular" in fit.summary().index) == regulars
    assert (fit.population(1).grid.regular > 0) == regulars
    prior = (REGULAR_PRIORS if regulars else DECAY_PRIORS)["sigma_log_rate"]
    assert told["priors"]["sigma_log_rate"]["distribution"] == prior.distribution


def test_regulars_are_not_taken_for_a_power_law():
    history = history_of(simulated(500, shop=replace(REGULARS, half_life=10), random_seed=3))
    told = described(DecayModel().fit(history, method="laplace", random_seed=1))
    assert told["regulars"]
    assert told["log_bayes_factor_of_power_law"] < math.log(20)


def test_who_says_so_has_regulars_or_none():
    history = history_of(simulated(60, random_seed=2))
    for regulars in (False, True):
        model = DecayModel(regulars=regulars, shoulder=math.inf, restoration=SHOP.restoration)
        told = described(model.fit(history, method="laplace", random_seed=1))
        assert told["regulars"] == regulars
        assert "log_bayes_factor_of_regulars" not in told


def test_priors_of_regulars_belong_to_the_models_that_may_have_them():
    for model in (DecayModel(), DecayModel(regulars=True)):
        assert {"share_regular", "shift_regular"} <= set(model.priors_table()["parameter"])
    assert "share_regular" not in set(DecayModel(regulars=False).priors_table()["parameter"])
    own = {"share_regular": bd.Prior(distribution="Beta", parameters={"alpha": 1.0, "beta": 9.0})}
    with pytest.raises(ValueError, match="unknown prior 'share_regular'"):
        DecayModel(regulars=False, priors=own)
    asked = DecayModel(priors=own)
    assert asked.settled(regulars=True).priors_in_force()["share_regular"] == own["share_regular"]
    assert asked.settled(regulars=False) == DecayModel(regulars=False)


def test_old_customers_are_simulated_with_the_regulars_among_them():
    history = history_of(simulated(100, shop=REGULARS, random_seed=6))
    model = DecayModel(regulars=True, shoulder=math.inf, restoration=SHOP.restoration)
    fit, shares = model.fit(history, method="laplace", random_seed=1), []
    for share in (0.0, 0.6):
        fit.idata["posterior"]["share_regular"].values[:] = share
        table = run_in_table(fit, history, "30d", shop_age="300d", random_seed=1)
        shares.append(table["share_old"][0])
    # Who does not fade is seen within the run-in. 20,000 users tell shares to some thousandths.
    assert shares[1] < shares[0] - 0.02


def test_prior_predictive_has_users_who_never_fade():
    users = bd.prior_predictive(DecayModel(regulars=True), n=4_000, random_seed=1)
    share = float((users["half_life"] > 1e8).mean())
    assert share == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / 4_000))  # the mean of Beta(1, 4)
    left_to_the_log, none = (bd.prior_predictive(model, n=50, random_seed=1) for model in (DecayModel(), NONE))
    assert left_to_the_log.equals(none)


def test_simulated_regulars_keep_their_pace():
    drawn = simulated(4_000, shop=replace(REGULARS, regulars=0.5), random_seed=5)
    regular = drawn.users["half_life"] > 1e8
    assert abs(regular.mean() - 0.5) < 4 * math.sqrt(0.25 / 4_000)
    mean = drawn.users.loc[regular, "initial_interest"].mean()
    expected = SHOP.interest * math.exp(0.7)
    assert abs(mean - expected) < 4 * expected / math.sqrt(SHOP.interest_shape * regular.sum())


@pytest.mark.parametrize("options", [{"regulars": 1.0}, {"regulars": -0.1}, {"regulars_shift": math.inf}])
def test_impossible_regulars_are_refused(options):
    with pytest.raises(ValueError, match="regulars is a share from 0 to below 1 and regulars_shift finite"):
        Truth(**options)


def test_by_a_power_law_regulars_have_half_lives_without_end():
    plain = population(replace(SHOP, regulars=0.6, regulars_shift=0.5), draws=200)
    among = replace(plain, grid=replace(plain.grid, regular=1e-6, shoulder=30.0))
    found = score(among, history_of(simulated(100, random_seed=3)), bd.ScoreOptions(random_seed=1)).to_pandas()
    assert not found.isna().to_numpy().any()
    lower, median, upper = (found[name].to_numpy() for name in ("half_life_lower", "half_life", "half_life_upper"))
    assert np.isinf(upper).mean() > 0.5
    assert np.isfinite(lower).all()
    assert ((lower <= median) & (median <= upper)).all()
