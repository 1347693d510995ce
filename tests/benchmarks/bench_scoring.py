"""Scoring a million users: seconds and peak memory, in processes of their own.

CDNOW's customers repeated with jitter, three horizons with 90 % intervals from 200 draws. Streamed means that the
history is read and the scores are written part by part, from Parquet file to Parquet file; whole, that both tables are
held in memory.

    python tests/benchmarks/bench_scoring.py
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from measuring import arguments, goal, markdown, own_caches, peak_memory, run, stamp, tell

__all__ = ["main"]

USERS, DRAWS, HORIZONS = 1_000_000, 200, ("30d", "60d", "90d")
MOST_SECONDS, MOST_MEMORY = 120, 2.0
WAYS = {"streamed": 3, "whole": 1}


def main() -> None:
    """Measure and print the section, or do one step of it in a process that does nothing else."""
    parser = arguments(__doc__)
    parser.add_argument("--step", choices=["prepare", *WAYS], help="what the processes that are measured are told")
    parser.add_argument("--folder", type=Path, help="where a step finds and leaves its files")
    asked = parser.parse_args()
    if asked.step == "prepare":
        prepare(asked.folder, 20_000 if asked.quick else USERS)
    elif asked.step:
        score_all(asked.folder, streamed=asked.step == "streamed")
    else:
        _measure(quick=asked.quick)


def prepare(folder: Path, users: int) -> None:
    """Fit the decay model to CDNOW, and write it and the many users to the folder."""
    from repeated import repeated

    from bayesdecay import DecayModel, Sampling, load_cdnow, read_events, summarize

    history = summarize(read_events(load_cdnow()), at="1997-09-30")
    fit = DecayModel().fit(history, sampling=Sampling(draws=400), random_seed=1)
    fit.save(folder / "decay.nc")
    repeated(history, users).to_parquet(folder / "history.parquet")
    print(json.dumps({"verdict": str(fit.verdict)}))


def score_all(folder: Path, *, streamed: bool) -> None:
    """Score everybody and write the scores; report the seconds of that, without imports, and the peak memory."""
    import pyarrow.parquet as pq

    from bayesdecay import History, HistoryFile, ScoreOptions, load
    from bayesdecay.model.scores import write_scores
    from bayesdecay.model.scoring import score_parts

    # Speed is measured here; whether such a fit may be believed is told elsewhere.
    fit = load(folder / "decay.nc")
    began = time.perf_counter()
    path, options = folder / "scores.parquet", ScoreOptions(horizons=HORIZONS, random_seed=1)
    if streamed:
        file = HistoryFile.open(folder / "history.parquet")
        write_scores(score_parts(fit.population(DRAWS, allow_unconverged=True), file, options), path)
        users = len(file)
    else:
        history = History.from_parquet(folder / "history.parquet")
        fit.score(history, options=options, draws=DRAWS, allow_unconverged=True).to_parquet(path)
        users = len(history)
    seconds, rows = time.perf_counter() - began, pq.read_metadata(path).num_rows
    if rows != users:
        raise RuntimeError(f"{rows} rows were written of {users} users")
    print(json.dumps({"seconds": seconds, "memory": peak_memory(), "users": rows}))


def _measure(*, quick: bool) -> None:
    options = ("--quick",) if quick else ()
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Compiled code is kept in the folder too: the first run is a cold start and is not counted.
        caches = own_caches(folder / "caches")

        def step(what: str) -> dict[str, Any]:
            command = (sys.executable, __file__, "--step", what, "--folder", folder, *options)
            reported, seconds = run(command, environment=caches)
            tell(f"{what}: {reported}, {seconds:.1f} s in all")
            return reported | {"process": seconds}

        step("prepare")
        cold = step("streamed")
        for way, times in WAYS.items():
            found[way] = [step(way) for _ in range(1 if quick else times)]
    print("\n\n".join(["## Scores of a million users", *_words(found, cold)]))


def _words(found: dict[str, list[dict[str, Any]]], cold: dict[str, Any]) -> list[str]:
    users = cold["users"]
    runs = {"streamed, first run, nothing compiled": [cold], **found}
    rows = [
        {
            "how": how,
            "runs": str(len(own)),
            "process [s]": f"{statistics.median(one['process'] for one in own):.0f}",
            "scoring and writing [s]": f"{statistics.median(one['seconds'] for one in own):.0f}",
            "peak memory [GiB]": f"{max(one['memory'] for one in own):.2f}",
        }
        for how, own in runs.items()
    ]
    seconds = statistics.median(one["process"] for one in found["streamed"])
    gigabytes = max(one["memory"] for one in found["streamed"]) * 2**30 / 1e9
    return [
        stamp("numba", "numpy", "pyarrow"),
        (
            f"CDNOW's customers repeated with jitter in their times, {users:,} rows of which no two are equal; "
            f"interest, half-life, P(never), and for {', '.join(HORIZONS)} P(return) and activities, each with a 90 % "
            f"interval, from {DRAWS} draws of the population. Streamed: the history is read from a Parquet file and "
            "the scores are written to one, part by part. Whole: both tables are held in memory. The peak memory of a "
            "process is all that it ever held, imports included. "
            "Medians of the seconds, the most of the memory."
        ),
        markdown(pd.DataFrame(rows)),
        "- "
        + goal(
            f"Goal, streamed, under {MOST_SECONDS} s and {MOST_MEMORY:.0f} GB ({seconds:.0f} s, {gigabytes:.2f} GB)",
            met=seconds < MOST_SECONDS and gigabytes < MOST_MEMORY,
        ),
    ]


if __name__ == "__main__":
    main()
