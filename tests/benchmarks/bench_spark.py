"""A million users reduced and scored on Spark, beside the same here: seconds, memory, and whether they agree.

CDNOW's customers repeated with jitter, four events an activity, as a log in eight Parquet files. Both roads go from the
files of the log to Parquet files of scores. Spark runs on this machine alone, with a worker a core: what it costs, not
what a cluster gains.

    python tests/benchmarks/bench_spark.py
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from measuring import arguments, goal, markdown, run, stamp, tell

__all__ = ["main"]

USERS, DRAWS = 1_000_000, 200
FILES, EVENTS = 8, 4
WAYS = ("local", "spark")
CUTOFF = "1997-09-30"


def main() -> None:
    """Measure and print the section, or do one step of it in a process that does nothing else."""
    parser = arguments(__doc__)
    parser.add_argument("--step", choices=["prepare", *WAYS], help="what the processes that are measured are told")
    parser.add_argument("--folder", type=Path, help="where a step finds and leaves its files")
    asked = parser.parse_args()
    if asked.step == "prepare":
        prepare(asked.folder, 20_000 if asked.quick else USERS)
    elif asked.step:
        with Memory() as memory:
            seconds = {"local": here, "spark": there}[asked.step](asked.folder)
        print(json.dumps(seconds | {"memory": memory.peak}))
    else:
        _measure(quick=asked.quick)


class Memory:
    """Watches what this process and all that it started hold, four times a second; shared pages count for each."""

    def __enter__(self) -> Memory:
        """Begin."""
        self.peak, self.done = 0.0, threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.done.set()
        self.watcher.join()

    def _watch(self) -> None:
        while not self.done.wait(0.25):
            self.peak = max(self.peak, _resident() / 2**20)


def _resident() -> float:
    """Resident memory of this process and its descendants [KiB]."""
    parents, sizes = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            told = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:  # it has ended meanwhile
            continue
        parents[int(told["Pid"])] = int(told["PPid"])
        sizes[int(told["Pid"])] = float(told.get("VmRSS", "0 kB").split()[0])

    def ours(process: int) -> bool:
        return process == os.getpid() or (process in parents and ours(parents[process]))

    return sum(size for process, size in sizes.items() if ours(process))


def prepare(folder: Path, users: int) -> None:
    """Fit the decay model to CDNOW, and write it and the log of the many users to the folder."""
    from repeated import repeated

    from bayesdecay import DecayModel, Sampling, load_cdnow, read_events, summarize

    history = summarize(read_events(load_cdnow()), at=CUTOFF)
    fit = DecayModel().fit(history, sampling=Sampling(draws=400), random_seed=1)
    fit.save(folder / "decay.nc")
    (folder / "log").mkdir()
    with duckdb.connect() as connection:
        connection.register("history", repeated(history, users).table)
        for part in range(FILES):
            connection.execute(f"""
                COPY (
                    SELECT "user", opened + to_seconds((20 * event)::BIGINT) AS time
                    FROM (SELECT "user", unnest(list_prepend("first", list_transform(times,
                              lambda t: "first" + to_microseconds(t)))) AS opened
                          FROM history WHERE "user" % {FILES} = {part}) AS activities, range({EVENTS}) AS _(event)
                    WHERE opened < TIMESTAMP '{CUTOFF} 23:00:00'
                ) TO '{folder / "log" / f"{part}.parquet"}' (FORMAT parquet)""")
    print(json.dumps({"verdict": str(fit.verdict)}))


def here(folder: Path) -> dict[str, Any]:
    """Check, reduce and score with DuckDB and threads."""
    import pyarrow.parquet as pq

    from bayesdecay import ScoreOptions, load, read_events, summarize
    from bayesdecay.model.scoring import score_blocks

    fit, began = load(folder / "decay.nc"), time.perf_counter()
    log = read_events(folder / "log" / "*.parquet")
    checked = time.perf_counter()
    history = summarize(log, at=CUTOFF)
    reduced = time.perf_counter()
    population = fit.population(DRAWS, allow_unconverged=True)
    blocks = score_blocks(population, history, ScoreOptions(random_seed=1))
    head = next(blocks)
    with pq.ParquetWriter(folder / "local.parquet", head.schema) as writer:
        writer.write_batch(head)
        for block in blocks:
            writer.write_batch(block)
    return {
        "start": 0.0,
        "check": checked - began,
        "reduce": reduced - checked,
        "all": time.perf_counter() - began,
        "events": log.n_rows,
        "users": len(history),
    }


def there(folder: Path) -> dict[str, Any]:
    """Check, reduce and score on Spark; the reduction is run once alone, to be timed, and once with the scoring."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    from bayesdecay import ScoreOptions, load, read_events, summarize

    fit, began = load(folder / "decay.nc"), time.perf_counter()
    builder = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", "2g").config("spark.sql.shuffle.partitions", "16")
    session = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    started = time.perf_counter()
    log = read_events(str(folder / "log"), engine="spark")
    checked = time.perf_counter()
    history = summarize(log, at=CUTOFF)
    history.frame.write.format("noop").mode("overwrite").save()
    reduced = time.perf_counter()
    scores = fit.score(history, options=ScoreOptions(random_seed=1), draws=DRAWS, allow_unconverged=True)
    scores.write.mode("overwrite").parquet(str(folder / "spark"))
    ended = time.perf_counter()
    session.stop()
    return {
        "start": started - began,
        "check": checked - started,
        "reduce": reduced - checked,
        "all": ended - reduced + checked - began,
        "events": log.n_rows,
    }


def _measure(*, quick: bool) -> None:
    options = ("--quick",) if quick else ()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def step(what: str) -> dict[str, Any]:
            reported, seconds = run((sys.executable, __file__, "--step", what, "--folder", folder, *options))
            tell(f"{what}: {reported}, {seconds:.1f} s in all")
            return reported

        step("prepare")
        found = {way: step(way) for way in WAYS}
        apart = _apart(folder)
    print("\n\n".join(["## On Spark", *_words(found, *apart)]))


def _apart(folder: Path) -> tuple[int, float]:
    """Users in both tables, and the largest difference of any number."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW a AS SELECT * FROM '{folder / 'local.parquet'}'")
        connection.execute(f"CREATE VIEW b AS SELECT * FROM '{folder / 'spark' / '*.parquet'}'")
        names = [row[0] for row in connection.execute("DESCRIBE a").fetchall() if row[0] != "user"]
        apart = ", ".join(f"max(abs(a.{name} - b.{name}) / greatest(1, abs(a.{name})))" for name in names)
        query = f'SELECT count(*), greatest({apart}) FROM a JOIN b USING ("user")'
        users, largest = connection.execute(query).fetchall()[0]
    return int(users), float(largest)


def _words(found: dict[str, dict[str, Any]], users: int, largest: float) -> list[str]:
    rows = [
        {
            "where": {"local": "here, DuckDB and threads", "spark": "Spark, local mode"}[way],
            "start [s]": f"{own['start']:.0f}",
            "check [s]": f"{own['check']:.0f}",
            "reduction alone [s]": f"{own['reduce']:.0f}",
            "log to scores, start included [s]": f"{own['all']:.0f}",
            "peak memory of all processes [GiB]": f"{own['memory']:.1f}",
        }
        for way, own in found.items()
    ]
    local = found["local"]
    return [
        stamp("pyspark", "duckdb", "pyarrow"),
        (
            f"A log of {local['events']:,} events and {local['users']:,} users in {FILES} Parquet files, reduced to "
            f"active days and scored with the default columns from {DRAWS} draws; one run each, in turns."
        ),
        markdown(pd.DataFrame(rows)),
        "- "
        + goal(
            f"Goal: the same users, no number apart by more than 1e-9 ({users:,} users, {largest:.1g})",
            met=users == local["users"] and largest < 1e-9,
        ),
    ]


if __name__ == "__main__":
    main()
