"""What two hundred columns of noise cost: log loss of later returns, with and without them.

The reactivation model learns who of CDNOW's lapsed customers returned within 90 days of one cutoff and is judged on the
next: with the features that matter alone, and with 200 standard normal columns beside them, under the horseshoe prior
that is chosen by itself and under a normal prior for each slope. Only every third customer is learned from, since noise
costs most where there is little to learn from; all others are judged.

    python tests/benchmarks/bench_noise.py
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from measuring import arguments, goal, markdown, stamp, tell
from scipy.special import xlogy

from bayesdecay import DecayModel, ReactivationModel, load_cdnow, read_events, snapshots, summarize
from bayesdecay.model.retry import fitted

__all__ = ["main"]

FEATURES = ["recency", "frequency", "tenure", "mean_amount"]
NOISE, MOST_COST, EVERY = 200, 0.01, 3
LEARNED, JUDGED = "1997-09-30", "1997-12-31"


def main() -> None:
    """Measure and print the section."""
    asked = arguments(__doc__).parse_args()
    noise = 40 if asked.quick else NOISE
    table = load_cdnow(sample=asked.quick)
    log = read_events(table, amount="amount")
    users = np.unique(table["user"])
    drawn = np.random.default_rng(1).standard_normal((users.size, noise))
    columns = [f"noise_{i}" for i in range(noise)]
    brought = pd.DataFrame(drawn, columns=columns).assign(user=users, as_of="1996-12-31")
    options = {"horizon": "90d", "lapsed_after": "60d", "brought": brought, "features": FEATURES}
    chosen = snapshots(log, cutoffs=LEARNED, observed_until=JUDGED, **options)
    past = chosen.select(np.arange(len(chosen)) % EVERY == 0)
    now = snapshots(log, cutoffs=JUDGED, **options)
    others = ~now.table["user"].isin(past.table["user"])
    came = now.table["returned"].to_numpy(float)[others]
    history = summarize(log, at=LEARNED)
    decay = fitted(lambda sampling: DecayModel().fit(history, sampling=sampling, random_seed=1), None, tell)
    tell(f"decay model: {decay.verdict}")
    rows: list[dict[str, Any]] = []
    losses: dict[str, np.ndarray] = {}
    for name, features, shrinkage in (
        ("without noise", FEATURES, None),
        (f"{noise} columns of noise, horseshoe (chosen by itself)", [*FEATURES, *columns], None),
        (f"{noise} columns of noise, normal priors", [*FEATURES, *columns], "normal"),
    ):
        began = time.perf_counter()
        model = ReactivationModel(features=["interest", *features], shrinkage=shrinkage)
        fit = model.fit(past, decay, random_seed=1)
        seconds = time.perf_counter() - began
        tell(f"{name}: {fit.verdict}, {seconds:.0f} s")
        # A fit that did not converge is judged too, and marked as such in the table.
        p = fit.draws(now, decay, random_seed=1, allow_unconverged=True).mean("sample").to_numpy()[others]
        losses[name] = -xlogy(came, p) - xlogy(1 - came, 1 - p)
        slope = np.abs(fit.idata["posterior"]["slope"].mean(("chain", "draw"))).to_series()
        rows.append(
            {
                "model": name,
                "largest slopes": ", ".join(slope.nlargest(5).index),
                "converged": fit.verdict.converged,
                "seconds": seconds,
            }
        )
    print("\n\n".join(["## Two hundred columns of noise", *_words(rows, losses, (len(past), came.size))]))


def _words(rows: list[dict[str, Any]], losses: dict[str, np.ndarray], sizes: tuple[int, int]) -> list[str]:
    base = next(iter(losses.values()))
    for row, own in zip(rows, losses.values(), strict=True):
        above = own - base
        row["log loss"] = f"{own.mean():.4f}"
        row["above"] = f"{above.mean():.4f} ± {above.std() / np.sqrt(above.size):.4f}"
        row["converged"] = "yes" if row["converged"] else "NO"
        row["seconds"] = f"{row['seconds']:.0f}"
        row["cost"] = f"{above.mean() / base.mean():.2%}"
    cost = float((list(losses.values())[1] - base).mean() / base.mean())
    return [
        stamp("numpy"),
        (
            f"Lapsed customers of CDNOW: learned from {sizes[0]:,} at {LEARNED}, judged on {sizes[1]:,} others at "
            f"{JUDGED}; horizon 90 days; features {', '.join(FEATURES)} and the uncertain interest. Largest slopes: of "
            "standardised columns, by the size of their posterior mean, the interest aside."
        ),
        markdown(pd.DataFrame(rows)),
        "- "
        + goal(f"Goal, cost of the noise below {MOST_COST:.0%} of the log loss ({cost:.2%})", met=cost < MOST_COST),
    ]


if __name__ == "__main__":
    main()
