"""The reactivation model with uncertain interest, on top of a decay fit by weighted proposals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import expit

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.simulate import Simulation, simulate
from bayesdecay.data.snapshots import Snapshots, snapshots
from bayesdecay.model.decay import DecayFit
from bayesdecay.model.latent_interest import KnownInterest
from bayesdecay.model.prior import REACTIVATION_PRIORS, with_changes
from bayesdecay.model.reactivation import ReactivationModel
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.terms import Terms
from tests.calibration.decay import AFTER, DRAWS, MODEL, SAMPLING, SEEN, drawn_truth, interest_at, shop_of, users_found
from tests.calibration.study import Replicate, Study, faults_of, normal, prior_draw, ranked, ranked_parameters

__all__ = ["REACTIVATION", "interest_of_rows"]

USERS, ASKED = 256, 64
RETURNING = ReactivationModel(
    formula="returned ~ interest + log1p(recency) + visits",
    priors={"intercept": normal(-0.5, 1.0)},
)
RETURNING_SAMPLING = Sampling(draws=500, tune=200, chains=2, cores=1, progress=False)


def _replicate(seed: int) -> Replicate:
    rng = np.random.default_rng([seed, 3])
    truth = drawn_truth(rng)
    drawn = simulate(USERS, population=shop_of(truth), acquired_within="60d", observed=SEEN + AFTER, random_seed=rng)
    log, at = read_events(drawn.events), drawn.end - np.timedelta64(AFTER, "D")
    history = summarize(log, at=at, activity="event")
    decay = MODEL.fit(history, method="laplace", sampling=SAMPLING, random_seed=seed)
    found = {
        f"decay {name}": one
        for name, one in ranked_parameters(decay.idata["posterior"].to_dataset(), truth, rng).items()
    }
    asked = history.select(np.sort(rng.choice(history.table["user"].to_numpy(), ASKED, replace=False)))
    found |= {f"decay {name}": one for name, one in users_found(decay, asked, drawn, truth["rho"], rng).items()}
    told = snapshots(
        log,
        cutoffs=str(at),
        horizon=f"{AFTER}d",
        lapsed_after="7d",
        activity="event",
        features=["recency"],
        observed_until=str(drawn.end),
    )
    told = replace(told, table=told.table.assign(visits=rng.poisson(3, len(told)).astype(float)), columns=("visits",))
    learned = rng.permutation(len(told)) % 4 > 0  # three in four are learned from, the others scored
    told, coefficients, p = _with_outcomes(told, decay, interest_of_rows(told, drawn, truth["rho"]), learned, rng)
    fit = RETURNING.fit(
        told.select(learned),
        decay,
        sampling=RETURNING_SAMPLING,
        random_seed=seed,
        allow_unconverged=True,
    )
    found |= ranked_parameters(fit.idata["posterior"].to_dataset(), coefficients, rng)
    others = np.flatnonzero(~learned)[:ASKED]
    mask = np.isin(np.arange(len(told)), others)
    draws = fit.draws(told.select(mask), decay, draws=DRAWS, random_seed=seed, allow_unconverged=True)
    found["user: P(reactivation)"] = ranked(p[mask], draws.transpose("user", "sample").to_numpy(), rng)
    return Replicate(quantities=found, faults=faults_of(decay=decay.verdict, reactivation=fit.verdict))


def interest_of_rows(told: Snapshots, drawn: Simulation, rho: float) -> np.ndarray:
    """True log interest (row,) of snapshots at one cutoff."""
    ((_, history),) = told.histories.items()
    return np.log(np.maximum(interest_at(history, drawn, rho)[0], 1e-12))


def _with_outcomes(
    told: Snapshots, decay: DecayFit, level: np.ndarray, learned: np.ndarray, rng: np.random.Generator
) -> tuple[Snapshots, dict[str, object], np.ndarray]:
    """Draw coefficients and outcomes by the model's law, which is written for features as the fit will scale them."""
    priors = with_changes(REACTIVATION_PRIORS, RETURNING.priors)
    train = told.select(learned)
    # What the fit will standardise by follows from the features, not from the outcomes.
    seen = KnownInterest.of(decay.population(allow_unconverged=True), train)
    terms = Terms.learn(RETURNING.parsed(), train.table, seen.level, chance=seen.chance, computed=told.features)
    design = terms.design(told.table, level[:, None])
    coefficients = {
        "intercept": float(prior_draw(priors, "intercept", rng)),
        "slope": prior_draw(priors, "slope", rng, len(terms.slopes)),
        "slope_interest": float(prior_draw(priors, "slope_interest", rng)) * terms.interest_scale,
    }
    logit = (
        coefficients["intercept"]
        + design.x @ coefficients["slope"]
        + coefficients["slope_interest"] * design.level[:, 0]
    )
    p = expit(logit)
    returned = pd.array(rng.random(len(told)) < p, dtype="boolean")
    return replace(told, table=told.table.assign(returned=returned)), coefficients, p


REACTIVATION = Study(
    name="reactivation",
    title="Decay model by weighted proposals, and reactivation with uncertain interest on top of it",
    about=(
        f'{USERS} users of a population as above; the decay model by `method="laplace"`, 1,000 draws resampled from '
        "2,000 to 4,000 weighted proposals. At the cutoff those silent for a week are lapsed; whether they returned is "
        "drawn from a logit of their TRUE interest, of recency and of a feature of their own, with the default priors "
        "of the slopes and Normal(-0.5, 1) of the intercept. Three in four are learned from, the others are scored. "
        "Two chains of 500 draws."
    ),
    replicate=_replicate,
    design=4,
)
