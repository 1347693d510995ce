"""A simulated shop with a coupon, where no model of ours is exactly true: what is said of single users there."""

from __future__ import annotations

import math

import numpy as np

from bayesdecay.data.events import Events, read_events
from bayesdecay.data.experiment import Experiment
from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.data.history import summarize
from bayesdecay.data.simulate import Simulation, simulate
from bayesdecay.data.snapshots import snapshots
from bayesdecay.data.truth import Coupon, Population
from bayesdecay.model.decay import DecayModel
from bayesdecay.model.effect_model import EffectModel
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import ScoreOptions, user_draws
from bayesdecay.model.uncertainty import DrawOptions
from tests.calibration.study import Replicate, Study, faults_of, ranked

__all__ = ["COUPON", "replicate"]

USERS, ASKED, DRAWN = 2_500, 100, 400
SHOP = Population(half_life="45d", interest=0.15, restoration=0.6)
AT, WITHIN, LAPSED = "2024-06-30", "30d", "14d"
EFFECT_MODEL = EffectModel(formula="returned ~ interest + log1p(recency) + log1p(frequency)")
SAMPLING = Sampling(draws=500, chains=2, cores=1, progress=False)


def replicate(seed: int, *, users: int = USERS, asked: int = ASKED) -> Replicate:
    """Hand out a coupon in the shop, fit, and rank what is true of users who were not learned from."""
    rng = np.random.default_rng([seed, 5])
    drawn = simulate(
        users,
        population=SHOP,
        coupon=Coupon(at=AT, effect=0.6, within=WITHIN, lapsed_after=LAPSED),
        acquired_within="180d",
        observed="213d",
        random_seed=rng,
    )
    log = read_events(drawn.events)
    experiment = _experiment(log, drawn)
    half = rng.random(len(experiment)) < 0.5
    learned, judged = experiment.select(half), experiment.select(~half)
    history = summarize(log, at=AT, activity="event")
    model = DecayModel(rates=100, shoulder=math.inf, regulars=False)
    decay = model.fit(history, method="laplace", sampling=SAMPLING, random_seed=seed)
    fit = EFFECT_MODEL.fit(learned, decay, sampling=SAMPLING, random_seed=seed)
    options = DrawOptions(draws=DRAWN, random_seed=seed, allow_unconverged=True)
    p = fit.draws(judged, decay, options=options).transpose("arm", "user", "sample").to_numpy()
    own = drawn.users.set_index("user").loc[judged.table["user"]]
    without, under = (own[name].to_numpy() for name in ("p_return_without", "p_return_with"))
    some = rng.choice(len(judged), min(asked, len(judged)), replace=False)
    (known,) = judged.snapshots.histories.values()
    # The pace of the shop is even, and told to be.
    even = ScoreOptions(horizons=[WITHIN], random_seed=seed, shocks=False)
    by_decay = user_draws(decay.population(DRAWN, allow_unconverged=True), known, even)
    found = {
        "average effect on P(return)": ranked((under - without).mean(), (p[1] - p[0]).mean(axis=0), rng),
        "user: P(return) if left alone": ranked(without[some], p[0][some], rng),
        "user: effect on P(return)": ranked((under - without)[some], (p[1] - p[0])[some], rng),
        "user: P(return) by the decay model": ranked(
            without[some], by_decay["p_return"].isel(horizon=0).transpose("user", "sample").to_numpy()[some], rng
        ),
    }
    return Replicate(quantities=found, faults=faults_of(decay=decay.verdict, effect=fit.verdict))


def _experiment(log: Events, drawn: Simulation) -> Experiment:
    """The coupon as an experiment, with the histories of its users."""
    arms = drawn.users.loc[drawn.users["eligible"], ["user", "treated"]].assign(as_of=AT)
    arms["arm"] = arms.pop("treated").map({True: "coupon", False: "nothing"})
    told = snapshots(log, cutoffs=AT, horizon=WITHIN, lapsed_after=LAPSED, activity="event", brought=arms)
    roles = {"arm": "arm", "control": "nothing", "outcomes": ["returned"]}
    return read_experiment(told, **roles, features=["recency", "frequency"])


COUPON = Study(
    name="coupon",
    title="A shop with a coupon, where no model of ours is exactly true",
    about=(
        f"{USERS:,} users of one fixed population (half-life 45 days, spread 1, restoration 0.6), who act by the law "
        "of decay; half of those silent for two weeks get a coupon that multiplies their odds of returning within 30 "
        "days by 1.8. The effect model knows interest, recency and frequency; how fast each user fades it does not "
        "know, and the log-odds of returning are no straight line in log interest. So this is no simulation-based "
        f"calibration but asks how much a wrong model costs. {ASKED} users of the half that was not learned from are "
        "asked about."
    ),
    replicate=replicate,
    design=3,
)
