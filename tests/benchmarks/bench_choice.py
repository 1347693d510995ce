"""The choice under risk for a million users, three offers and 500 draws: seconds, peak memory, proven gap.

Users' levels and doubts differ; part of the doubt is shared by all of them, as is that about the effects. The draws are
made first and are not counted in the seconds; they are in the memory.

    python tests/benchmarks/bench_choice.py
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from measuring import arguments, goal, markdown, own_caches, peak_memory, run, stamp, tell

from bayesdecay import Campaign, Effect, Offer, Risk, choose

__all__ = ["main"]

USERS, DRAWS = 1_000_000, 500
MOST_SECONDS, MOST_MEMORY, MOST_GAP = 60, 4.0, 1e-3
RISKS = {
    "expected profit": Risk.neutral(),
    "half the CVaR shortfall": Risk.cvar(0.95, 0.5),
    "nine tenths of it": Risk.cvar(0.95, 0.9),
    "P(loss) at most 5 %": Risk.max_loss_probability(0.05),
}


def main() -> None:
    """Measure and print the section, or choose once in a process that does nothing else."""
    parser = arguments(__doc__)
    parser.add_argument("--risk", choices=list(RISKS), help="what the processes that are measured are told")
    asked = parser.parse_args()
    if asked.risk:
        chosen(RISKS[asked.risk], 20_000 if asked.quick else USERS)
    else:
        _measure(quick=asked.quick)


def probabilities(users: int, draws: int, rng: np.random.Generator) -> xr.DataArray:
    """Draws of P(return), float32 (sample, user): levels and doubts of their own, and a shared doubt."""
    level, doubt = rng.normal(-2, 1.2, users).astype("f4"), rng.uniform(0.1, 1, users).astype("f4")
    shared = rng.normal(0, 0.3, draws).astype("f4")
    p = np.empty((draws, users), dtype="f4")
    for sample in range(draws):
        logit = level + shared[sample] + doubt * rng.standard_normal(users, dtype="f4")
        p[sample] = 1 / (1 + np.exp(-logit))
    return xr.DataArray(p, dims=("sample", "user"), coords={"user": np.arange(users)})


def chosen(risk: Risk, users: int) -> None:
    """Choose under a budget and a capacity; report seconds, peak memory and the gap."""
    p = probabilities(users, DRAWS, np.random.default_rng(0))
    offers = {
        "e-mail": Offer(cost=0.05, effect=Effect.normal(0.05, 0.05)),
        "coupon": Offer(cost=0.1, cost_if_returns=1.0, effect=Effect.normal(0.4, 0.25)),
        "call": Offer(cost=1.5, effect=Effect.normal(0.7, 0.3), capacity=users // 50),
    }
    campaign = Campaign(offers=offers, value=20.0, budget=users / 10)
    began = time.perf_counter()
    plan = choose(p, campaign, risk=risk, random_seed=1)
    seconds = time.perf_counter() - began
    row = plan.summary()
    kept = {name: float(row[name]) for name in ("contacts", "profit", "p_loss", "cvar")}
    gap = plan.gap / plan.bound if plan.bound > 0 else 0.0
    print(json.dumps({"seconds": seconds, "memory": peak_memory(), "gap": gap, "users": users, **kept}))


def _measure(*, quick: bool) -> None:
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        caches = own_caches(Path(name))
        for risk in ("expected profit", *RISKS):  # the first is a cold start and is measured again
            command = (sys.executable, __file__, "--risk", risk, *(("--quick",) if quick else ()))
            found[risk], _ = run(command, environment=caches)
            tell(f"{risk}: {found[risk]}")
    print("\n\n".join(["## The choice under risk", *_words(found)]))


def _words(found: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        {
            "what is sought": risk,
            "choose [s]": f"{one['seconds']:.0f}",
            "peak memory [GiB]": f"{one['memory']:.2f}",
            "open, of the bound": f"{one['gap']:.3%}",
            "contacts": f"{one['contacts']:,.0f}",
            "expected profit": f"{one['profit']:,.0f}",
            "CVaR (95 %)": f"{one['cvar']:,.0f}",
            "P(loss)": f"{one['p_loss']:.3f}",
        }
        for risk, one in found.items()
    ]
    convex = [one for risk, one in found.items() if not risk.startswith("P(loss)")]
    seconds, gap = max(one["seconds"] for one in convex), max(one["gap"] for one in convex)
    memory = max(one["memory"] for one in convex) * 2**30 / 1e9
    return [
        stamp("numba", "numpy", "scipy"),
        (
            f"{convex[0]['users']:,} users, three offers (one with a cost if the user returns, one with a capacity), "
            f"a budget, {DRAWS} draws in single precision. Seconds of choose alone, all tables and baselines included; "
            "the memory is all that the process ever held, the draws included. What is open is the bound that no plan "
            "exceeds less the plan's score. For a highest P(loss) the bound is that of expected profit alone, so what "
            "is open is an upper limit and no measure of the method."
        ),
        markdown(pd.DataFrame(rows)),
        "- "
        + goal(
            f"Goal, expected profit and CVaR: under {MOST_SECONDS} s, {MOST_MEMORY:.0f} GB, {MOST_GAP:.1%} open "
            f"({seconds:.0f} s, {memory:.2f} GB, {gap:.3%})",
            met=seconds < MOST_SECONDS and memory < MOST_MEMORY and gap < MOST_GAP,
        ),
    ]


if __name__ == "__main__":
    main()
