"""The decay fit from a thousand to a million users, by `method="auto"`: seconds, memory, verdict, coverage.

Logs are drawn from the model's own law, instants as they are, so that the truth is known and nothing but the method can
miss it: a shop of 7 activities a user. Each log is simulated and fitted in processes of their own. A fit's seconds are
those of `DecayModel.fit` on a history that has been read; its peak memory is all that the process ever held. Beside it,
all of CDNOW by NUTS with 4 chains of 1,000 draws.

With --folder what has been measured is kept there and not measured again, so that the curve can be made in pieces.

    python tests/benchmarks/bench_fit_curve.py [--folder kept] [--users 1000 10000]
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from measuring import arguments, commit, goal, markdown, own_caches, peak_memory, run, stamp, tell

__all__ = ["main"]

# Logs of each size: where one takes seconds, enough to see whether 90 % intervals hold the truth.
CURVE = {1_000: 6, 10_000: 3, 100_000: 2, 1_000_000: 1}
QUICK = {300: 1, 600: 1}
SHOP: dict[str, Any] = {
    "half_life": "30d",
    "half_life_spread": 1.0,
    "interest": 0.1,
    "interest_shape": 1.0,
    "coupling": 0.3,
    "restoration": 0.5,
}
PARAMETERS = ("mu_log_rate", "sigma_log_rate", "mu_log_interest", "kappa", "alpha", "rho")
CUTOFF, CDNOW_SECONDS = "1997-09-30", 60
AGREED = 25_000  # users of the log that both methods fit
MOST_SECONDS, MOST_MEMORY = 300, 6.0


def main() -> None:
    """Measure and print the section, or do one step of it in a process that does nothing else."""
    parser = arguments(__doc__)
    parser.add_argument("--step", choices=["simulate", "fit", "cdnow", "agree"], help="what the processes are told")
    parser.add_argument("--folder", type=Path, help="where results are kept")
    parser.add_argument("--users", type=int, nargs="+", help="sizes to measure; all unless told")
    parser.add_argument("--seed", type=int, default=1, help="of the log that a step makes or fits")
    asked = parser.parse_args()
    if asked.step == "simulate":
        simulate_log(asked.folder, asked.users[0], asked.seed)
    elif asked.step == "fit":
        fit_log(asked.folder, asked.users[0], asked.seed)
    elif asked.step == "cdnow":
        fit_cdnow(draws=50 if asked.quick else 1_000)
    elif asked.step == "agree":
        fit_both_ways(asked.folder, asked.users[0], asked.seed)
    else:
        curve = QUICK if asked.quick else CURVE
        sizes = asked.users or list(curve)
        with tempfile.TemporaryDirectory() as name:
            _measure(asked.folder or Path(name), {users: curve.get(users, 1) for users in sizes}, quick=asked.quick)


def simulate_log(folder: Path, users: int, seed: int) -> None:
    """Draw a log and write its history and the truth."""
    import bayesdecay as bd
    from bayesdecay.data.truth import Population

    drawn = bd.simulate(users, population=Population(**SHOP), random_seed=seed)
    history = bd.summarize(bd.read_events(drawn.events), at=drawn.end, activity="event")
    history.to_parquet(folder / f"{users}-{seed}.parquet")
    (folder / f"{users}-{seed}.json").write_text(json.dumps(drawn.truth))
    print(json.dumps({"events": len(drawn.events)}))


def fit_log(folder: Path, users: int, seed: int) -> None:
    """Fit a log by the method that suits it; report seconds, memory, the verdict and which parameters are covered."""
    from bayesdecay import DecayModel, History

    history = History.from_parquet(folder / f"{users}-{seed}.parquet")
    truth = json.loads((folder / f"{users}-{seed}.json").read_text())
    began = time.perf_counter()
    fit = DecayModel().fit(history, method="auto", random_seed=seed)
    seconds = time.perf_counter() - began
    table = fit.summary(allow_unconverged=True)
    inside = [bool(table.loc[name, "5 %"] <= truth[name] <= table.loc[name, "95 %"]) for name in PARAMETERS]
    z = [float((table.loc[name, "mean"] - truth[name]) / table.loc[name, "sd"]) for name in PARAMETERS]
    print(json.dumps(_figures(fit) | {"seconds": seconds, "memory": peak_memory(), "covered": inside, "z": z}))


def fit_cdnow(draws: int) -> None:
    """Fit all of CDNOW by NUTS; report seconds and the verdict."""
    from bayesdecay import DecayModel, Sampling, load_cdnow, read_events, summarize

    history = summarize(read_events(load_cdnow()), at=CUTOFF)
    began = time.perf_counter()
    fit = DecayModel().fit(history, method="nuts", sampling=Sampling(draws=draws), random_seed=1)
    print(json.dumps(_figures(fit) | {"seconds": time.perf_counter() - began, "memory": peak_memory()}))


def fit_both_ways(folder: Path, users: int, seed: int) -> None:
    """Fit a log by NUTS and by the approximation; report how far apart posteriors and users' chances are."""
    from bayesdecay import DecayModel, History, Sampling, ScoreOptions

    history = History.from_parquet(folder / f"{users}-{seed}.parquet")
    fits, seconds = {}, {}
    for method in ("laplace", "nuts"):
        began = time.perf_counter()
        fits[method] = DecayModel().fit(history, method=method, sampling=Sampling(draws=1_000), random_seed=seed)
        seconds[method] = time.perf_counter() - began
    one, other = (fit.idata["posterior"].to_dataset() for fit in fits.values())
    apart: dict[str, dict[str, float]] = {}
    for name in PARAMETERS:
        sd = float(other[name].std())
        apart[name] = {
            "mean": float(one[name].mean() - other[name].mean()) / sd,
            "sd": float(one[name].std()) / sd - 1.0,
            **{f"q{int(100 * q)}": float(one[name].quantile(q) - other[name].quantile(q)) / sd for q in (0.05, 0.95)},
        }
    options = ScoreOptions(horizons="30d", random_seed=1)
    # The same draw of a user's own interest for each: what differs is the population's draws.
    chances = [fit.score(history, options=options, draws=400).table["p_return_30d"].to_numpy() for fit in fits.values()]
    found = {method: _figures(fit) for method, fit in fits.items()}
    found |= {"apart": apart, "seconds": seconds, "chances": float(abs(chances[0] - chances[1]).max())}
    print(json.dumps(found))


def _figures(fit: Any) -> dict[str, Any]:
    verdict = fit.verdict
    ess = verdict.effective_draws if verdict.proposals else min(verdict.least_ess_bulk, verdict.least_ess_tail)
    return {
        "method": verdict.method,
        "converged": verdict.converged,
        "verdict": str(verdict),
        "r_hat": verdict.worst_rhat,
        "k_hat": verdict.k_hat if verdict.proposals else math.nan,
        "ess": ess,
        "grid_error": verdict.grid_error,
        "rates": fit.idata["constant_data"].sizes["rate"],
    }


def _measure(folder: Path, curve: dict[int, int], *, quick: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    caches = own_caches(folder / "caches")
    options = ("--quick",) if quick else ()

    def step(what: str, *words: object) -> dict[str, Any]:
        kept = folder / f"{'-'.join(map(str, (what, *words[1::2])))}.result.json"
        if not kept.exists():
            command = (sys.executable, __file__, "--step", what, "--folder", folder, *words, *options)
            reported, seconds = run(command, environment=caches)
            tell(f"{what} {words}: {reported}, {seconds:.1f} s in all")
            kept.write_text(json.dumps(reported | {"process": seconds, "commit": commit()}))
        return dict(json.loads(kept.read_text()))

    # The first run compiles, and is not counted.
    smallest = min(curve)
    step("simulate", "--users", smallest, "--seed", 0)
    step("fit", "--users", smallest, "--seed", 0)
    cdnow = [step("cdnow", "--seed", seed) for seed in (0, 1)][1]
    both = 500 if quick else AGREED
    step("simulate", "--users", both, "--seed", 99)
    agreed = step("agree", "--users", both, "--seed", 99)
    rows = []
    for users, logs in curve.items():
        for seed in range(1, logs + 1):
            log = step("simulate", "--users", users, "--seed", seed)
            rows.append({"users": users, "seed": seed, **log, **step("fit", "--users", users, "--seed", seed)})
            (folder / f"{users}-{seed}.parquet").unlink(missing_ok=True)
    print(
        "\n\n".join(["## The fit from a thousand to a million users", *_words(pd.DataFrame(rows), cdnow, agreed, both)])
    )


def _words(table: pd.DataFrame, cdnow: dict[str, Any], agreed: dict[str, Any], both: int) -> list[str]:
    sizes = list(table.groupby("users"))
    seconds = {users: float(own["seconds"].median()) for users, own in sizes}
    processor = {users: float(own["cpu_seconds"].median()) for users, own in sizes}
    memory = {users: float(own["memory"].max()) * 2**30 / 1e9 for users, own in sizes}
    rows = [
        {
            "users": f"{users:,}",
            "logs": str(len(own)),
            "fit [s]": f"{seconds[users]:.0f}",
            "processor time of the process [s]": f"{processor[users]:.0f}",
            "seconds for 1,000 users": f"{1_000 * seconds[users] / users:.3g}",
            "peak memory [GB]": f"{memory[users]:.1f}",
            "method": ", ".join(sorted(set(own["method"]))),
            "worst R-hat or k-hat": _worst(own),
            "effective draws, least": f"{own['ess'].min():.0f}",
            "converged": f"{own['converged'].sum()} of {len(own)}",
            "rates": ", ".join(str(n) for n in sorted(set(own["rates"]))),
            "commit": ", ".join(sorted(set(own["commit"]))),
            "true values within 90 % intervals": _covered(own["covered"]),
        }
        for users, own in sizes
    ]
    large = [users for users in seconds if users >= 100_000]
    lines = [
        goal(
            f"Goal, all of CDNOW by NUTS, 4 x 1,000 draws, under {CDNOW_SECONDS} s ({cdnow['seconds']:.0f} s; "
            f"{cdnow['verdict']}; commit {cdnow['commit']})",
            met=bool(cdnow["seconds"] < CDNOW_SECONDS and cdnow["converged"]),
        )
    ]
    if large:
        most = max(large)
        lines.append(
            goal(
                f"Goal, 1,000,000 users under {MOST_SECONDS / 60:.0f} minutes and {MOST_MEMORY:.0f} GB ({most:,}: "
                f"{seconds[most]:.0f} s, {processor[most]:.0f} s of processor time, {memory[most]:.1f} GB)",
                met=most >= 1_000_000 and seconds[most] < MOST_SECONDS and memory[most] < MOST_MEMORY,
            )
        )
    steps = list(zip(seconds, list(seconds)[1:], strict=False))
    growth = [math.log(seconds[b] / seconds[a]) / math.log(b / a) for a, b in steps]
    if growth:
        lines.append(
            goal(
                "Goal, time grows no faster than users (from size to size as users to the power "
                f"{', '.join(f'{power:.2f}' for power in growth)})",
                met=max(growth) <= 1.0,
            )
        )
    return [
        stamp("pymc", "nutpie", "numba"),
        _PREAMBLE,
        markdown(pd.DataFrame(rows)),
        "- " + "\n- ".join(lines),
        *_agreement(agreed, both),
    ]


def _agreement(agreed: dict[str, Any], users: int) -> list[str]:
    """Both methods on one log, beside the error that their numbers of draws leave."""
    sizes = [agreed[method]["ess"] for method in ("laplace", "nuts")]
    error = math.sqrt(sum(1 / size for size in sizes))
    rows = [
        {
            "parameter": name,
            "mean [sd]": f"{own['mean']:+.3f}",
            "sd, ratio less 1": f"{own['sd']:+.3f}",
            "5 % quantile [sd]": f"{own['q5']:+.3f}",
            "95 % quantile [sd]": f"{own['q95']:+.3f}",
        }
        for name, own in agreed["apart"].items()
    ]
    # Of a normal law: the error of a sd is 0.71 of a mean's, that of a 5 % quantile 2.1 of it.
    worst = max(
        abs(own[what]) / (factor * error)
        for own in agreed["apart"].values()
        for what, factor in (("mean", 1.0), ("sd", 0.71), ("q5", 2.1), ("q95", 2.1))
    )
    return [
        (
            f"The approximation less NUTS on one log of {users:,} users, in posterior standard deviations; "
            f"{sizes[0]:.0f} and {sizes[1]:.0f} effective draws leave an error of {error:.3f} in the difference of two "
            f"means. Users' chances of a return within 30 days differ by {agreed['chances']:.4f} at most. Seconds: "
            f"{agreed['seconds']['laplace']:.0f} and {agreed['seconds']['nuts']:.0f}; {agreed['laplace']['verdict']}; "
            f"{agreed['nuts']['verdict']}. Commit {agreed['commit']}."
        ),
        markdown(pd.DataFrame(rows)),
        "- " + goal(f"Goal, no difference above 4 of its standard errors (worst {worst:.1f})", met=worst <= 4.0),
    ]


_PREAMBLE = (
    "Logs drawn from the model's own law (7 activities a user within at most 270 days), no two histories equal; "
    '`DecayModel().fit(history, method="auto")`, medians of the seconds, the most of the memory of a whole process. '
    "Processor time is that of the whole process, all threads together; where the seconds are more than it, other work "
    "took the cores, and sizes of different commits were measured under different load. "
    "Coverage counts the six population parameters of every log: 90 % of them are to be within their 90 % intervals."
)


def _worst(own: pd.DataFrame) -> str:
    named = (("R-hat", own["r_hat"].max(), ".3f"), ("k-hat", own["k_hat"].max(), ".2f"))
    return ", ".join(f"{name} {value:{form}}" for name, value, form in named if not math.isnan(value))


def _covered(covered: Sequence[list[bool]]) -> str:
    flat = [inside for one in covered for inside in one]
    return f"{sum(flat)} of {len(flat)}"


if __name__ == "__main__":
    main()
