"""How long until the posterior is known well enough: ours, pymc-marketing's BG/NBD, and our reference model.

CDNOW sample until 1997-09-30, 2 chains, every fit in a fresh process that reads a small ready-made table. Each
contestant draws as little (in steps of 50 draws a chain) as gives every counted seed a minimal bulk ESS of 400; how
much that is, uncounted runs find, which also fill the caches of compiled code. Then the contestants take turns: A B C
A B C. The reference model and ours are then drawn at equal lengths, in turns too, and compared by ESS a second.

    python tests/benchmarks/bench_sampling.py --peers-python .venv-peers/bin/python
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from measuring import HERE, Finished, arguments, goal, markdown, own_caches, run, stamp, tell

from bayesdecay import load_cdnow, read_events, summarize

__all__ = ["main"]

WANTED = 400
CUTOFF = "1997-09-30"
STEP = 50
MOST_DRAWS = 4_000  # a chain; somebody who needs more has missed
WANTED_RATIO = 50
# With fewer draws the reference model's R-hat is such that its effective sample size cannot be told.
LENGTH = {"draws": 2_000, "tune": 500}
PATIENCE = 1_200  # seconds for one fit of the reference model


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A name, the command that fits it once, its warm-up draws and where its compiled code is kept."""

    name: str
    command: tuple[str, ...]
    tune: int
    caches: Path

    def fit(self, draws: int, seed: int, *, caches: Path | None = None) -> Finished:
        """Fit in a fresh process."""
        options = ("--draws", draws, "--tune", self.tune, "--chains", 2, "--random-seed", seed)
        return run((*self.command, *options), environment=own_caches(caches or self.caches))

    def enough_draws(self, seeds: range, at_most: int) -> int:
        """Fewest draws a chain, as far as climbing finds them, that give every seed the wanted ESS."""
        draws = 4 * STEP
        # Fresh code and code from the cache draw different numbers with the same seed, so the caches are filled first.
        self.fit(draws, seeds[0])
        for seed in seeds:
            while True:
                ess = self.fit(draws, seed)[0]["min_bulk_ess"]
                tell(f"{self.name}: {draws} draws a chain, seed {seed}: minimal bulk ESS {ess:.0f}")
                if ess >= WANTED or draws >= at_most:
                    break
                draws = min(max(draws + STEP, STEP * math.ceil(draws * WANTED / ess / STEP)), at_most)
        return draws


def main() -> None:
    """Measure and print the section."""
    parser = arguments(__doc__, peers=True)
    parser.add_argument("--seeds", type=int, default=3, help="counted fits of each contestant")
    parser.add_argument("--reference-seeds", type=int, default=1, help="fits of the reference model, minutes each")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history, customers = _written(folder)
        ours, *peers = _contestants(folder, history, customers, asked.peers_python)
        seeds, at_most = (range(1, 2), 4 * STEP) if asked.quick else (range(1, asked.seeds + 1), MOST_DRAWS)
        runs = _race([ours, *peers], seeds=seeds, at_most=at_most)
        table = pd.DataFrame(runs)
        tell(table.to_string())
        length = {"draws": 20, "tune": 50} if asked.quick else LENGTH
        pairs = _pairs(folder, history, seeds=range(1, asked.reference_seeds + 1), **length)
        tell(pairs.to_string())
    print("\n\n".join(["## Time to a posterior", *_words(table, ours, peers), *_against_reference(pairs)]))


def _written(folder: Path) -> tuple[Path, Path]:
    """The same customers as a history [days] and as the peer's table x, t_x, T [weeks]."""
    history = summarize(read_events(load_cdnow(sample=True)), at=CUTOFF)
    (block,) = history.blocks()
    customers = pd.DataFrame({"x": block.n, "t_x": block.last / 7, "T": block.T / 7})
    customers.to_csv(folder / "customers.csv", index=False)
    return history.to_parquet(folder / "history.parquet"), folder / "customers.csv"


def _contestants(folder: Path, history: Path, customers: Path, peers_python: str) -> list[Contestant]:
    """Ours with its own settings; the peer with its own, and with the sampler and the warm-up of ours."""
    peer = (peers_python, str(HERE / "peer_pymc_marketing.py"), str(customers))
    return [
        Contestant(
            name="bayesdecay, decay model",
            command=(sys.executable, str(HERE / "fit_ours.py"), str(history)),
            tune=200,
            caches=folder / "ours",
        ),
        Contestant(name="pymc-marketing, BG/NBD", command=peer, tune=1_000, caches=folder / "peer"),
        Contestant(
            name="pymc-marketing, BG/NBD, with nutpie",
            command=(*peer, "--sampler", "nutpie"),
            tune=200,
            caches=folder / "peer-nutpie",
        ),
    ]


def _race(contestants: list[Contestant], *, seeds: range, at_most: int) -> list[dict[str, Any]]:
    """Find everyone's draws; then a cold start each, and warm ones in turns."""
    draws = {one.name: one.enough_draws(seeds, at_most) for one in contestants}
    rows = []
    for seed in (0, *seeds):
        for one in contestants:
            # Seed 0 stands for the cold start: the first seed, as many draws, nothing compiled yet.
            cold = one.caches.with_name(f"{one.caches.name}-cold") if seed == 0 else None
            found, seconds = one.fit(draws[one.name], seed or seeds[0], caches=cold)
            rows.append(
                {
                    "contestant": one.name,
                    "caches": "cold" if cold else "warm",
                    "seed": seed or seeds[0],
                    "draws": draws[one.name],
                    "tune": one.tune,
                    "process": seconds,
                    "fit": found["seconds_fit"],
                    "cpu": found["cpu_seconds"],
                    "ess": found["min_bulk_ess"],
                }
            )
            tell(f"{one.name}, {rows[-1]['caches']}: {seconds:.1f} s")
    return rows


def _pairs(folder: Path, history: Path, *, seeds: range, draws: int, tune: int) -> pd.DataFrame:
    """Fits of the decay model and of the reference model in turns; none of the latter where time was up."""
    rows = []
    for seed in seeds:
        for model in ("marginal", "reference"):
            command = (sys.executable, HERE / "fit_ours.py", history, "--model", model, "--random-seed", seed)
            options = ("--draws", draws, "--tune", tune, "--chains", 2)
            try:
                found, _ = run((*command, *options), environment=own_caches(folder / "ours"), timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                tell(f"{model}, seed {seed}: not finished after {PATIENCE} s")
                continue
            kept = ("seconds_sampling", "seconds_fit", "min_bulk_ess", "rhat")
            rows.append({"model": model, "seed": seed, "draws": draws, "tune": tune, **{k: found[k] for k in kept}})
            tell(f"{rows[-1]}")
    table = pd.DataFrame(rows)
    for part in ("sampling", "fit"):
        table[f"rate_{part}"] = table["min_bulk_ess"] / table[f"seconds_{part}"]
    return table


def _words(table: pd.DataFrame, ours: Contestant, peers: list[Contestant]) -> list[str]:
    """The race in words and two tables."""
    middle = table.groupby(["contestant", "caches"], sort=False)[["process", "fit", "cpu"]].median()
    rows = []
    for one in (ours, *peers):
        own = table[(table["contestant"] == one.name) & (table["caches"] == "warm")]
        cold, warm = middle.loc[(one.name, "cold")], middle.loc[(one.name, "warm")]
        rows.append(
            {
                "model": one.name,
                "warm-up + draws a chain": f"{one.tune} + {own['draws'].iloc[0]}",
                "process, warm [s]": f"{warm['process']:.1f}",
                "fit, warm [s]": f"{warm['fit']:.1f}",
                "process, cold [s]": f"{cold['process']:.1f}",
                "fit, cold [s]": f"{cold['fit']:.1f}",
                "processor time, warm [s]": f"{warm['cpu']:.1f}",
                "minimal bulk ESS": ", ".join(f"{ess:.0f}" for ess in own["ess"]),
            }
        )
    raw = table.assign(**{name: table[name].map("{:.1f}".format) for name in ("process", "fit", "cpu")})
    raw["ess"] = table["ess"].map("{:.0f}".format)
    return [
        stamp("pymc", "nutpie", "numba"),
        (
            "CDNOW sample (2,357 customers until 1997-09-30), 2 chains. Seconds until every population parameter has "
            f"a bulk ESS of {WANTED}: as few draws as give it to each of the seeds, found by uncounted runs. The "
            "process is all of it, from the start of the interpreter over imports and compilation to the end; the "
            "fit is compilation, warm-up, draws and checks. Warm means that the code has been compiled before, cold "
            "that nothing has; medians of the warm runs, which took turns, and one cold run each. pymc-marketing "
            "runs in an environment of its own, once with its own settings and once with the sampler and the warm-up "
            "of ours."
        ),
        markdown(pd.DataFrame(rows)),
        *_missed(table),
        *(_comparison(middle, ours, peer) for peer in peers),
        "<details><summary>Every run, in the order they were made</summary>\n",
        markdown(raw),
        "</details>",
    ]


def _missed(table: pd.DataFrame) -> list[str]:
    warm = table[table["caches"] == "warm"]
    missed = int((warm["ess"] < WANTED).sum())
    return [f"{missed} of {len(warm)} warm runs did not reach an ESS of {WANTED}."] if missed else []


def _comparison(middle: pd.DataFrame, ours: Contestant, peer: Contestant) -> str:
    """Ratio of the medians to one of the peers."""
    process, fit, cold = (
        middle.loc[(peer.name, caches), what] / middle.loc[(ours.name, caches), what]
        for caches, what in (("warm", "process"), ("warm", "fit"), ("cold", "process"))
    )
    said = goal(f"- Goal, not slower than {peer.name}", met=process >= 1)
    return (
        f"{said}: it takes {process:.2f} times our time (process, warm), {fit:.2f} times (fit, warm), {cold:.2f} "
        "times (process, cold)."
    )


def _against_reference(pairs: pd.DataFrame) -> list[str]:
    head = "### Against the reference model"
    draws, tune = pairs["draws"].iloc[0], pairs["tune"].iloc[0]
    about = (
        "The reference model has two variables a customer, here 4,714, beside the population's; the decay model "
        f"integrates them out. Both with 2 chains of {tune} warm-up and {draws} kept draws, the same customers and "
        "sampler, in turns. ESS is the smallest bulk ESS over the same population parameters. Seconds of sampling "
        "are warm-up and draws alone, those of the fit have compilation and checks too. Medians over the seeds."
    )
    if "reference" not in set(pairs["model"]):
        return [head, about, f"No fit of the reference model had finished after {PATIENCE} s, so there is no ratio."]
    middle = pairs.groupby("model")[["seconds_sampling", "seconds_fit", "min_bulk_ess", "rate_sampling", "rate_fit"]]
    middle, runs, rhat = middle.median(), pairs.groupby("model").size(), pairs.groupby("model")["rhat"].max()
    rows = [
        {
            "model": {"marginal": "decay model"}.get(model, "reference model"),
            "runs": str(runs[model]),
            "minimal bulk ESS": f"{row['min_bulk_ess']:.0f}",
            "worst R-hat": f"{rhat[model]:.3f}",
            "sampling [s]": f"{row['seconds_sampling']:.1f}",
            "fit [s]": f"{row['seconds_fit']:.1f}",
            "ESS a second of sampling": f"{row['rate_sampling']:.2f}",
            "ESS a second of the fit": f"{row['rate_fit']:.2f}",
        }
        for model, row in middle.iterrows()
    ]
    sampling, fit = (
        middle.loc["marginal", name] / middle.loc["reference", name] for name in ("rate_sampling", "rate_fit")
    )
    said = goal(f"- Goal, {WANTED_RATIO} times the ESS a second or more", met=sampling >= WANTED_RATIO)
    words = f"{said}: {sampling:.0f} times in sampling, {fit:.0f} times over the whole fit."
    return [head, about, markdown(pd.DataFrame(rows)), words]


if __name__ == "__main__":
    main()
