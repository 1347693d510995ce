"""The decay model, or its reference form, fitted to a saved history in a process of its own; as the peer is.

Prints one line of JSON: wall seconds from the start of the process, of them in imports (the history's reading
included), in the fit (compilation included), of these in sampling (warm-up and draws), the smallest bulk ESS over the
population parameters, and their means.

    python tests/benchmarks/fit_ours.py history.parquet --chains 2 --draws 300
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402 - the clock starts before anything is imported
import json  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import arviz as az  # noqa: E402
import nutpie  # noqa: E402

from bayesdecay.data.history import History  # noqa: E402
from bayesdecay.model.decay import DecayModel  # noqa: E402
from bayesdecay.model.reference import ReferenceModel  # noqa: E402
from bayesdecay.model.sampling import Sampling  # noqa: E402

__all__ = ["main"]

MODELS = {"marginal": DecayModel, "reference": ReferenceModel}
PARAMETERS = ["mu_log_rate", "sigma_log_rate", "mu_log_interest", "alpha", "kappa", "rho"]


def timed_sampling() -> list[float]:
    """From now on, the seconds of every call of the sampler alone; compilation comes before it."""
    sample, seconds = nutpie.sample, []

    def timed(*given: Any, **options: Any) -> Any:
        began = time.perf_counter()
        drawn = sample(*given, **options)
        seconds.append(time.perf_counter() - began)
        return drawn

    nutpie.sample = timed
    return seconds


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("history", help="Parquet file that History.to_parquet wrote")
    parser.add_argument("--model", default="marginal", choices=list(MODELS))
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--tune", type=int, default=200)
    parser.add_argument("--random-seed", type=int, default=1)
    asked = parser.parse_args()
    history = History.from_parquet(asked.history)
    imported = time.perf_counter()
    in_sampler = timed_sampling()
    sampling = Sampling(draws=asked.draws, tune=asked.tune, chains=asked.chains, cores=asked.chains, sampler="nutpie")
    fit = MODELS[asked.model]().fit(history, sampling=sampling, random_seed=asked.random_seed)
    fitted = time.perf_counter()
    posterior = fit.idata["posterior"].to_dataset()[PARAMETERS]
    ess = {name: float(value) for name, value in az.ess(posterior, method="bulk").data_vars.items()}
    result = {
        "seconds": fitted - STARTED,
        "seconds_imports": imported - STARTED,
        "seconds_fit": fitted - imported,
        "seconds_sampling": sum(in_sampler),
        "min_bulk_ess": min(ess.values()),
        "draws": asked.draws * asked.chains,
        "rhat": float(az.rhat(posterior).to_array().max()),
        "parameters": {name: float(value.mean()) for name, value in posterior.data_vars.items()},
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
