"""The decay model, restoration learned: the population, and single users' interest, half-life and returns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bayesdecay import curves
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.simulate import Simulation, simulate
from bayesdecay.data.truth import Population
from bayesdecay.model.decay import DecayFit, DecayModel
from bayesdecay.model.prior import DECAY_PRIORS, Prior, with_changes
from bayesdecay.model.sampling import Sampling
from bayesdecay.model.scoring import ScoreOptions, forecast_counts, user_draws
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

__all__ = [
    "DECAY",
    "DRAWS",
    "MODEL",
    "SAMPLING",
    "drawn_truth",
    "history_of",
    "interest_at",
    "replicate",
    "shop_of",
    "users_found",
]

PARAMETERS = ("mu_log_rate", "sigma_log_rate", "mu_log_interest", "alpha", "kappa", "rho")
# With the default priors one log in three is all but empty and one in five has users of a thousand activities; and a
# spread of rates next to 0 asks for a grid of more than a hundred rates, several times as slow.
NARROW = {
    "mu_log_rate": normal(math.log(math.log(2) / 15), 0.5),
    "sigma_log_rate": Prior(distribution="LogNormal", parameters={"mu": math.log(0.8), "sigma": 0.3}),
    "mu_log_interest": normal(math.log(0.1), 0.4),
    "kappa": normal(0.0, 0.4),
    "alpha": Prior(distribution="LogNormal", parameters={"mu": 0.3, "sigma": 0.4}),
}
# The number of rates is told, so that the fit need not look for one; it is judged by doubling it all the same. The law
# and the kinds of users are told too: which are chosen is a decision, and no posterior.
MODEL = DecayModel(priors=NARROW, rates=72, shoulder=math.inf, regulars=False)
SAMPLING = Sampling(draws=500, chains=2, cores=1, progress=False)
# Users (the likelihood takes 128 at a time), days until the cutoff and after it, and users who are asked about.
USERS, SEEN, AFTER, ASKED = 128, 120, 30, 8
# Draws that a user's own statements rest on, as many as `score` takes.
DRAWS = 200


def drawn_truth(rng: np.random.Generator) -> dict[str, float]:
    """Draw a population from the priors of the model."""
    priors = with_changes(DECAY_PRIORS, MODEL.priors)
    return {name: float(prior_draw(priors, name, rng)) for name in PARAMETERS}


def shop_of(truth: dict[str, Any], **groups: Any) -> Population:
    """Write the truth of a model as a population to simulate; of groups, half-lives and interests are given."""
    one = {
        "half_life": math.log(2) / math.exp(truth["mu_log_rate"]),
        "interest": math.exp(truth["mu_log_interest"]),
    }
    return Population(
        **(one | groups),
        half_life_spread=truth["sigma_log_rate"],
        interest_shape=truth["alpha"],
        coupling=truth["kappa"],
        restoration=truth["rho"],
    )


def history_of(drawn: Simulation, **options: Any) -> History:
    """History at the cutoff of a log that goes on beyond it; instants as they are, since the law knows no days."""
    at = drawn.end - np.timedelta64(AFTER, "D")
    columns = [name for name in drawn.events.columns if name not in ("user", "time")]
    return summarize(read_events(drawn.events, columns=columns), at=at, activity="event", **options)


def interest_at(history: History, drawn: Simulation, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """True interest at the cutoff and decay rate [per day] of each user of a history (user,)."""
    users = drawn.users.set_index("user").loc[history.table["user"].to_pylist()]
    block = next(history.blocks())
    age = curves.effective_age(block.T, block.last, rho)
    rate = users["rate"].to_numpy()
    return curves.interest_after(users["initial_interest"].to_numpy(), rate, age), rate


def replicate(seed: int, *, method: str = "nuts", users: int = USERS) -> Replicate:
    """Draw a population, simulate its log, fit, and rank the population's parameters and some users' own."""
    rng = np.random.default_rng(seed)
    truth = drawn_truth(rng)
    drawn = simulate(users, population=shop_of(truth), acquired_within="60d", observed=SEEN + AFTER, random_seed=rng)
    history = history_of(drawn)
    fit = MODEL.fit(history, method=method, sampling=SAMPLING, random_seed=seed)
    found = ranked_parameters(fit.idata["posterior"].to_dataset(), truth, rng)
    asked = history.select(np.sort(rng.choice(history.table["user"].to_numpy(), ASKED, replace=False)))
    found |= users_found(fit, asked, drawn, truth["rho"], rng)
    return Replicate(quantities=found, faults=faults_of(decay=fit.verdict))


def users_found(
    fit: DecayFit, asked: History, drawn: Simulation, rho: float, rng: np.random.Generator
) -> dict[str, Ranked]:
    """Rank what is true of some users, and what became of them after the cutoff."""
    seed, window = int(rng.integers(2**31)), f"{AFTER}d"
    population = fit.population(DRAWS, allow_unconverged=True)
    # No shock hits these shops, and the prior of how large shocks are has no zero.
    draws = user_draws(population, asked, ScoreOptions(horizons=[window], random_seed=seed, shocks=False))
    interest, rate = interest_at(asked, drawn, rho)
    # A draw stands for its cell of the grid, as in the table of scores.
    cell = population.grid.spacing * (rng.random(draws["rate"].T.shape) - 0.5)
    found = {
        "user: interest": ranked(interest, draws["interest"].T, rng),
        "user: half-life": ranked(math.log(2) / rate, math.log(2) / (draws["rate"].T.to_numpy() * np.exp(cell)), rng),
        f"user: P(return in {window})": ranked(
            curves.p_return(interest, rate, float(AFTER)), draws["p_return"].isel(horizon=0).T, rng
        ),
    }
    later = drawn.events[drawn.events["time"] > asked.at]
    count = later.groupby("user").size().reindex(asked.table["user"].to_pylist(), fill_value=0).to_numpy()
    pmf = forecast_counts(population, asked, window, shocks=False, random_seed=seed).pmf
    returns = np.column_stack([pmf[:, 0], 1.0 - pmf[:, 0]])
    found[f"user: returns in {window}, or not"] = ranked_counts(count > 0, returns, rng)
    found[f"user: activities in {window}"] = ranked_counts(count, pmf, rng)
    return found


_ABOUT = (
    f"{USERS} users acquired over 60 days and seen for {SEEN} in all, counted by instants; "
    "the median half-life is exp(Normal(log 15, 0.5)) days, the spread of its logarithm LogNormal(log 0.8, 0.3), the "
    "median interest exp(Normal(log 0.1, 0.4)) a day, alpha LogNormal(0.3, 0.4), kappa Normal(0, 0.4), rho Uniform(0, "
    f"1). {ASKED} users of each log are asked about: their interest, half-life and P(return) at the cutoff are known "
    f"from the simulation, and the log goes on for {AFTER} days, so that what they did is known too; the forecasts "
    "take the pace of the shop for even (`shocks=False`), as it is."
)
DECAY = Study(
    name="decay",
    title="Decay model by NUTS",
    about=f"{_ABOUT} Two chains of 500 draws.",
    replicate=replicate,
    design=2,
)
