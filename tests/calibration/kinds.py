"""The kinds of activities: the population's shares, and single users' shares, chances and numbers of a kind."""

from __future__ import annotations

import numpy as np

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.kinds import KindCounts, count_kinds
from bayesdecay.data.simulate import Simulation, simulate
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.kind_fit import KindFit
from bayesdecay.model.kind_model import KIND_PRIORS, KindModel
from bayesdecay.model.prior import Prior, with_changes
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import ScoreOptions
from tests.calibration.decay import AFTER, DRAWS, MODEL, SAMPLING, SEEN, drawn_truth, interest_at, shop_of
from tests.calibration.study import (
    Ranked,
    Replicate,
    Study,
    faults_of,
    normal,
    prior_draw,
    ranked,
    ranked_counts,
    ranked_parameters,
)
from tests.model.thinned import none_by_quadrature

__all__ = ["KINDS", "replicate"]

NAMES = ("purchase", "cart", "view")
# With the default priors one shop in three has a kind that nobody sees, or users who all do but one thing.
SHARES = KindModel(
    priors={
        "log_share": normal(0.0, 1.0),
        "concentration": Prior(distribution="LogNormal", parameters={"mu": np.log(4.0), "sigma": 0.7}),
    }
)
USERS, ASKED = 150, 8


def replicate(seed: int, *, method: str = "nuts", users: int = USERS) -> Replicate:
    """Draw a population, simulate its log with kinds, fit both models, and rank what is true."""
    rng = np.random.default_rng([seed, 3])
    truth, kinds = drawn_truth(rng), _drawn_kinds(rng)
    shop = shop_of(
        truth, kinds=dict(zip(NAMES, kinds["share"], strict=True)), kind_concentration=kinds["concentration"]
    )
    drawn = simulate(users, population=shop, acquired_within="60d", observed=SEEN + AFTER, random_seed=rng)
    log = read_events(drawn.events, kind="kind", kinds=NAMES)
    counts = _counted(log, drawn)
    decay = MODEL.fit(counts.history, method=method, sampling=SAMPLING, random_seed=seed)
    fit = SHARES.fit(counts, sampling=Sampling(chains=2, cores=1, progress=False), random_seed=seed)
    found = ranked_parameters(fit.idata["posterior"].to_dataset(), kinds, rng)
    asked = counts.select(np.sort(rng.choice(counts.history.table["user"].to_numpy(), ASKED, replace=False)))
    found |= _users_found((fit, decay), asked, drawn, truth["rho"], rng)
    return Replicate(quantities=found, faults=faults_of(decay=decay.verdict, kinds=fit.verdict))


def _drawn_kinds(rng: np.random.Generator) -> dict[str, np.ndarray | float]:
    """Shares and concentration from the priors of the model."""
    priors = with_changes(KIND_PRIORS, SHARES.priors)
    share = np.exp(prior_draw(priors, "log_share", rng, size=len(NAMES)))
    return {"share": share / share.sum(), "concentration": float(prior_draw(priors, "concentration", rng))}


def _counted(log, drawn: Simulation) -> KindCounts:
    """Counts at the cutoff of a log that goes on beyond it; a kind that the log is without has none."""
    history = summarize(log, at=drawn.end - np.timedelta64(AFTER, "D"), activity="event")
    there = [kind for kind in NAMES if kind in log.kinds]
    found = count_kinds(log, history, there)
    counts = np.zeros((len(history), len(NAMES)), dtype=np.int64)
    counts[:, [NAMES.index(kind) for kind in there]] = found.counts
    return KindCounts(history=history, kinds=NAMES, counts=counts)


def _users_found(
    fits: tuple[KindFit, DecayFit], asked: KindCounts, drawn: Simulation, rho: float, rng: np.random.Generator
) -> dict[str, Ranked]:
    """Rank what is true of some users' purchases, and what became of them after the cutoff."""
    fit, decay = fits
    window, kind = f"{AFTER}d", NAMES[0]
    options = ScoreOptions(horizons=[window], random_seed=int(rng.integers(2**31)))
    draws = fit.draws(asked, decay, options=options, draws=DRAWS, allow_unconverged=True).sel(kind=kind)
    ids = asked.history.table["user"].to_pylist()
    users = drawn.users.set_index("user").loc[ids]
    share = users[f"share_{kind}"].to_numpy()
    interest, rate = interest_at(asked.history, drawn, rho)
    restored = users["initial_interest"] * np.exp(-rate * (1.0 - rho) * asked.history.table["T"].to_numpy())
    none = [
        none_by_quadrature(*own, rho=rho, pi=pi, end=float(AFTER), size=600)
        for *own, pi in zip(interest, rate, restored, share, strict=True)
    ]
    p = draws["p"].isel(horizon=0).T.to_numpy()
    later = drawn.events[(drawn.events["time"] > asked.history.at) & (drawn.events["kind"] == kind)]
    count = later.groupby("user").size().reindex(ids, fill_value=0).to_numpy()
    number = draws["activities"].isel(horizon=0).T.to_numpy().astype(np.int64)
    pmf = np.array([np.bincount(own, minlength=number.max() + 2) / own.size for own in number])
    mean = p.mean(axis=1)
    return {
        f"user: share of {kind}s": ranked(share, draws["share"].T.to_numpy(), rng),
        f"user: P({kind} in {window})": ranked(1.0 - np.array(none), p, rng),
        f"user: {kind} in {window}, or not": ranked_counts(count > 0, np.column_stack([1.0 - mean, mean]), rng),
        f"user: {kind}s in {window}": ranked_counts(count, pmf, rng),
    }


KINDS = Study(
    name="kinds",
    title="Kinds of activities",
    about=(
        f"Shops as in the decay model's study, each activity a {NAMES[0]}, {NAMES[1]} or {NAMES[2]}: the shares are "
        "the softmax of three Normal(0, 1), their concentration over users is LogNormal(log 4, 0.7), and the fit has "
        f"these priors. The first activities are not counted. {ASKED} users of each log are asked about: their own "
        f"share of {NAMES[0]}s, P(a {NAMES[0]} within {AFTER} days), which is known by the renewal equation, and what "
        "they did. Two chains of 500 and 1,000 draws."
    ),
    replicate=replicate,
)
