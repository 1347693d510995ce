"""pymc-marketing's BG/NBD by NUTS on a table of x, t_x, T [weeks], run in an environment of its own.

Prints one line of JSON: wall seconds from the start of the process, of them in imports, in the fit (compilation
included), the smallest bulk ESS over the population parameters, and the parameters' posterior means. It imports
nothing of bayesdecay, so that both are measured alike.

    python tests/benchmarks/peer_pymc_marketing.py customers.csv --chains 2 --draws 1000
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402 - the clock starts before anything is imported
import json  # noqa: E402
import sys  # noqa: E402

import arviz as az  # noqa: E402
import pandas as pd  # noqa: E402
from pymc_marketing.clv import BetaGeoModel  # noqa: E402

__all__ = ["main"]

PARAMETERS = ["r", "alpha", "a", "b"]


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("customers", help="CSV file with columns x, t_x, T")
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--tune", type=int, default=1_000)
    parser.add_argument("--random-seed", type=int, default=1)
    parser.add_argument("--sampler", default="pymc", choices=["pymc", "nutpie"])
    asked = parser.parse_args()
    table = pd.read_csv(asked.customers)
    data = table.rename(columns={"x": "frequency", "t_x": "recency"}).assign(customer_id=range(len(table)))
    imported = time.perf_counter()
    model = BetaGeoModel()
    model.fit(
        data=data,
        chains=asked.chains,
        cores=asked.chains,
        draws=asked.draws,
        tune=asked.tune,
        random_seed=asked.random_seed,
        nuts_sampler=asked.sampler,
        progressbar=False,
    )
    fitted = time.perf_counter()
    posterior = model.idata["posterior"].dataset[PARAMETERS]
    ess = {name: float(value) for name, value in az.ess(posterior, method="bulk").data_vars.items()}
    result = {
        "seconds": fitted - STARTED,
        "seconds_imports": imported - STARTED,
        "seconds_fit": fitted - imported,
        "min_bulk_ess": min(ess.values()),
        "draws": asked.draws * asked.chains,
        "parameters": {name: float(value.mean()) for name, value in posterior.data_vars.items()},
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
