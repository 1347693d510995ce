r"""Simulation-based calibration: a truth from the prior, data from the truth, the posterior of the data, many times.

In: a :class:`Study`, whose ``replicate`` draws, simulates and fits once for a seed. Out: a line of JSON a replicate, in
a file that is only ever added to, so that a study can be stopped, resumed and extended.

.. math:: \theta^* \sim p(\theta),\quad y \sim p(y \mid \theta^*),\quad \theta_1..\theta_L \sim p(\theta \mid y)
          \;\Rightarrow\; \#\{l: \theta_l < \theta^*\} \text{ is uniform on } 0..L ,

for any function of :math:`\theta` and y, and a credible interval of 90 % holds :math:`\theta^*` in 90 % of replicates.
It holds for every prior, as long as the fit has the prior that the truth was drawn from.

References
----------
Talts, S., Betancourt, M., Simpson, D., Vehtari, A. and Gelman, A. (2018). Validating Bayesian inference algorithms with
simulation-based calibration. https://doi.org/10.48550/arXiv.1804.06788
Modrák, M. et al. (2025). Simulation-based calibration checking for Bayesian computation: the choice of test quantities
shapes sensitivity. *Bayesian Analysis* 20(2). https://doi.org/10.1214/23-BA1404
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesdecay.errors import DataError
from bayesdecay.model.intervals import interval_ends
from bayesdecay.model.posterior import Verdict
from bayesdecay.model.prior import Prior

__all__ = [
    "LEVELS",
    "Ranked",
    "Replicate",
    "Study",
    "extend",
    "faults_of",
    "normal",
    "prior_draw",
    "ranked",
    "ranked_counts",
    "ranked_parameters",
    "read_records",
    "record_of",
]

Floats = NDArray[np.float64]

# Probabilities of the equal-tailed intervals that are looked at.
LEVELS = (0.5, 0.8, 0.9, 0.95)
# Draws that a rank is taken among: chains keep 500 effective draws and more, so that these are next to independent.
_RANKED = 100
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Where the truths of some units lie: ``pit`` (unit,), uniform if all is well, and ``inside`` (unit, level)."""

    pit: Floats
    inside: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicate:
    """What one replicate found: the quantities by name, and what is wrong with its fits, nothing if they converged."""

    quantities: Mapping[str, Ranked]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A posterior to be judged.

    ``about`` says in a few sentences of what the truth is drawn, and how the fit is made; ``replicate`` does it once.
    ``design`` is raised with every change of what is drawn, fitted or judged: replicates of another one do not count.
    """

    name: str
    title: str
    about: str
    replicate: Callable[[int], Replicate]
    design: int = 1


def normal(mu: float, sigma: float) -> Prior:
    """Normal prior of a study."""
    return Prior(
        distribution="Normal", parameters={"mu": mu, "sigma": sigma}, reason="narrow, for short simulated logs"
    )


def prior_draw(priors: Mapping[str, Prior], name: str, rng: np.random.Generator, size: int | None = None) -> Any:
    """Draw the truth of a parameter from the very prior that the fit will have."""
    return priors[name].frozen().rvs(size=size, random_state=rng)


def ranked(truth: Any, draws: Any, rng: np.random.Generator) -> Ranked:
    """Rank the truths (unit,) among draws (unit, draw), and see which of the intervals hold them.

    Equal values are put in random order.
    """
    truth, draws = np.atleast_1d(np.asarray(truth, dtype=float)), np.atleast_2d(np.asarray(draws, dtype=float))
    kept = draws[:, np.linspace(0, draws.shape[1] - 1, min(_RANKED, draws.shape[1])).round().astype(int)]
    below, equal = (kept < truth[:, None]).sum(axis=1), (kept == truth[:, None]).sum(axis=1)
    pit = (below + rng.random(truth.size) * (equal + 1)) / (kept.shape[1] + 1)
    low, high = (interval_ends(draws, tuple((1 + side * level) / 2 for level in LEVELS)) for side in (-1, 1))
    return Ranked(pit=pit, inside=((low <= truth) & (truth <= high)).T)


def ranked_counts(count: Any, pmf: Floats, rng: np.random.Generator) -> Ranked:
    """Rank what happened, counts (unit,), within predictive probabilities (unit, count), at random within a count."""
    count = np.minimum(np.asarray(count, dtype=np.int64), pmf.shape[1] - 1)
    rows = np.arange(count.size)
    up_to = np.minimum(np.cumsum(pmf, axis=1)[rows, count], 1.0)
    pit = up_to - rng.random(count.size) * pmf[rows, count]
    return Ranked(pit=pit, inside=np.abs(pit[:, None] - 0.5) <= np.array(LEVELS) / 2)


def ranked_parameters(posterior: xr.Dataset, truth: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Ranked]:
    """Rank the true values, numbers or arrays in the order of the posterior's own, among all draws."""
    found = {}
    for name, value in truth.items():
        draws = posterior[name].stack(sample=("chain", "draw")).transpose(..., "sample").to_numpy()
        found[name] = ranked(np.ravel(value), draws.reshape(-1, draws.shape[-1]), rng)
    return found


def faults_of(**verdicts: Verdict) -> tuple[str, ...]:
    """What is wrong with some fits, each with the name of the fit."""
    return tuple(f"{name}: {fault}" for name, verdict in verdicts.items() for fault in verdict.faults)


def record_of(study: Study, seed: int) -> dict[str, Any]:
    """Make a replicate, and write it as plain values.

    A log that cannot be fitted, as when nobody returned, is noted with the reason: whether it can follows from the data
    alone, so that leaving it out does no harm to the others.
    """
    began = time.process_time()
    record: dict[str, Any] = {"seed": seed, "design": study.design}
    try:
        made = study.replicate(seed)
    except DataError as error:
        record["refused"] = str(error)
    else:
        record |= {"faults": list(made.faults), "found": {name: _plain(r) for name, r in made.quantities.items()}}
    return record | {"cpu": round(time.process_time() - began, 2)}


def extend(study: Study, folder: Path) -> dict[str, Any]:
    """Make the next replicate of a study and add it to its file; a line that was cut off stays alone."""
    path = folder / f"{study.name}.jsonl"
    record = record_of(study, 1 + max((known["seed"] for known in read_records(study, folder)), default=0))
    line = json.dumps(record, separators=(",", ":"))
    with path.open("a+b") as file:
        if file.seek(0, 2):
            file.seek(-1, 2)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())
    return record


def read_records(study: Study, folder: Path) -> Iterator[dict[str, Any]]:
    """Read the replicates of a study's design.

    A line that was cut off when the study was stopped is left out, and what two runs at the same time made twice.
    """
    path = folder / f"{study.name}.jsonl"
    if not path.is_file():
        return
    seen = {None}
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line) if line.endswith("}\n") else {}
            if record.get("design", 1) == study.design and record.get("seed") not in seen:
                seen.add(record["seed"])
                yield record


def _plain(found: Ranked) -> dict[str, Any]:
    """Write the levels that hold the truth as the bits of a number, the first level the lowest."""
    bits = found.inside @ (1 << np.arange(len(LEVELS)))
    return {"pit": [round(float(p), _DIGITS) for p in found.pit], "in": [int(b) for b in bits]}
