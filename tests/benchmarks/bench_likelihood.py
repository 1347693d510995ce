"""The decay likelihood and its gradient: one pass beside the bare exponentials and logarithms, and beside a graph.

Users are simulated, and each is a row of its own. All three run in one thread: the chains of a fit have one each.

    python tests/benchmarks/bench_likelihood.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
import pandas as pd
import pytensor
import pytensor.tensor as pt
from measuring import arguments, goal, markdown, stamp, tell

from bayesdecay import simulate, summarize
from bayesdecay.data.events import read_events
from bayesdecay.model import grid as grids
from bayesdecay.model.grid import Grid
from bayesdecay.model.lanes import side_by_side
from bayesdecay.model.likelihood import marginal_loglik
from bayesdecay.model.user_statistics import Statistics
from bayesdecay.model.vector_math import exp32, log1p32

__all__ = ["main"]

USERS, REPEATS = 100_000, 9
MOST_OVER_FLOOR, LEAST_OVER_GRAPH = 3.0, 10.0
# Of each user and rate: E/beta and the posterior's share are exponentials, log(1 + E/beta) a logarithm.
EXPONENTIALS, LOGARITHMS = 2, 1


def main() -> None:
    """Measure and print the section."""
    asked = arguments(__doc__).parse_args()
    print("\n\n".join(["## The likelihood", *_words(_measured(5_000 if asked.quick else USERS))]))


def _measured(users: int) -> dict[str, Any]:
    log = simulate(users, observed="365d", random_seed=1)
    history = summarize(read_events(log.events), activity="event")
    block = next(iter(history.blocks(len(history))))
    whole = Grid.covering(float(block.T.max()), 1.0)
    # As a fit of so many users has them: a few nodes about the mode of the restoration.
    few = whole.narrowed(0.55, 0.65)
    log_rates = np.log(whole.rates)[None]
    log_weight = grids.log_weights(log_rates, -3.5, 1.5)
    log_beta = grids.log_beta(log_rates, (-3.5, -2.0), {"alpha": 1.0, "kappa": 0.5, "sigma_r": 1.5})
    weight, design = np.ones(block.n.size), np.zeros(block.n.size, dtype=np.int64)
    numbers = np.random.default_rng(0).normal(0, 3, (-(-block.n.size * whole.rates.size // 4_096), 4_096))
    numbers = numbers.astype(np.float32)
    jobs: dict[str, Callable[[], Any]] = {"bare": lambda: _bare(numbers)}
    for name, grid in (("few", few), ("whole", whole)):
        part = Statistics.from_block(block, grid)
        data = (grid.restorations, grid.rates, *side_by_side(part, weight, design).values())
        jobs[name] = partial(marginal_loglik, log_weight, log_beta, 1.0, 0.6, *data)
    graph = _graph(part, whole)
    jobs["graph"] = lambda: graph(log_weight[0], log_beta[0], 1.0, 0.6)
    value, slope, plain = jobs["whole"](), jobs["few"](), jobs["graph"]()
    assert np.allclose((value[0], slope[0]), plain[0], rtol=1e-6)
    assert np.allclose((value[4], slope[4]), plain[4], rtol=1e-3)
    seconds = _median_of_alternating(jobs)
    tell(f"{seconds}")
    return {"users": int(block.n.size), "rates": whole.rates.size, **seconds}


def _median_of_alternating(jobs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median processor time [s] of each, in turns, so that a busy moment falls on all; compiled before.

    Not wall time: beside other work the longer ones are interrupted more often than the bare loop.
    """
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(REPEATS):
        for name, job in jobs.items():
            began = time.thread_time()
            job()
            taken[name].append(time.thread_time() - began)
    return {name: float(np.median(times)) for name, times in taken.items()}


@numba.njit(error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})
def _bare(numbers: Any) -> float:
    """As many exponentials and logarithms of numbers that lie in the cache, and a sum, lest they be left out."""
    one, two = np.empty(numbers.shape[1], np.float32), np.empty(numbers.shape[1], np.float32)
    total = np.float32(0.0)
    for row in range(numbers.shape[0]):
        for i in range(numbers.shape[1]):
            one[i] = exp32(numbers[row, i])
        for i in range(numbers.shape[1]):
            two[i] = log1p32(one[i])
        for i in range(numbers.shape[1]):
            total += exp32(-two[i])
    return total


def _graph(part: Statistics, grid: Grid) -> Any:
    """The same formula as PyTensor differentiates and compiles it by itself, in double precision."""
    log_weight, log_beta = pt.vector("log_weight"), pt.vector("log_beta")
    alpha, rho = pt.scalar("alpha"), pt.scalar("rho")
    low, high = grid.restorations[0], grid.restorations[-1]
    powers = ((2.0 * rho - low - high) / (high - low)) ** np.arange(grid.restorations.size)
    weights = pt.dot(grid.lagrange, powers)
    log_exposure = pt.tensordot(pytensor.shared(np.log(part.exposure).transpose(0, 2, 1)), weights, axes=1)
    n, age = part.n[:, None], pt.dot(part.ageing, weights)[:, None]
    excess = pt.softplus(log_exposure - log_beta)
    term = log_weight - n * log_beta - grid.rates * age - (alpha + n) * excess
    value = pt.sum(pt.logsumexp(term, axis=1))
    inputs = [log_weight, log_beta, alpha, rho]
    return pytensor.function(inputs, [value, *pytensor.grad(value, inputs)])


def _words(found: dict[str, Any]) -> list[str]:
    count = found["users"] * found["rates"]
    floor, wide = found["few"] / found["bare"], found["whole"] / found["bare"]
    gain = found["graph"] / found["whole"]
    rows = [
        {
            "one pass over the users": what,
            "time [ms]": f"{1e3 * found[name]:.1f}",
            "a user and rate [ns]": f"{1e9 * found[name] / count:.2f}",
            "times the bare loop": f"{found[name] / found['bare']:.1f}",
        }
        for name, what in (
            ("bare", f"bare loop: {EXPONENTIALS} exponentials and {LOGARITHMS} logarithm"),
            ("few", "likelihood and gradient, compiled as one pass; 4 nodes of the restoration"),
            ("whole", "the same with 10 nodes, over all restorations"),
            ("graph", "the same with 10 nodes, PyTensor's own graph"),
        )
    ]
    return [
        stamp("numba", "numpy", "pytensor"),
        (
            f"{found['users']:,} simulated users, each a row of its own, {found['rates']} rates; one thread, as a "
            f"chain has; the median processor time of {REPEATS} passes, in turns. The bare loop works on single "
            "precision in the cache. A fit of more than 40,000 distinct rows has 4 or 5 nodes about the mode, a "
            "smaller one 10."
        ),
        markdown(pd.DataFrame(rows)),
        "- "
        + goal(
            f"Goal: at most {MOST_OVER_FLOOR:.0f} times the bare loop ({floor:.1f} with 4 nodes, {wide:.1f} with 10)",
            met=floor <= MOST_OVER_FLOOR,
        ),
        "- "
        + goal(
            f"Goal: at least {LEAST_OVER_GRAPH:.0f} times as fast as the graph ({gain:.1f})",
            met=gain >= LEAST_OVER_GRAPH,
        ),
    ]


if __name__ == "__main__":
    main()
