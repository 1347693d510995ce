"""A log of fifty million events to its history beside the barest query over it, and one user scored.

The log is made here, in the order of time: users with few events and with very many, in visits of up to four clicks,
fewer as time goes on. The bare query gives count, sum, first and last time of each user, in no order and without a
check of the log. Everything is read from one Parquet file, in processes of their own, which take turns.

    python tests/benchmarks/bench_reduction.py
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from measuring import arguments, goal, markdown, peak_memory, run, stamp, tell

__all__ = ["main"]

EVENTS, USERS, AT = 50_000_000, 2_000_000, "2023-12-10"
MOST_RATIO, MOST_MILLISECONDS, CALLS = 2.0, 5.0, 500
LIMIT = "1GB"
BARE = "bare query"
WAYS = {
    BARE: {},
    "days": {"activity": "day"},
    f"days, {LIMIT}": {"activity": "day", "memory_limit": LIMIT},
    f"days, {LIMIT}, to a file": {"activity": "day", "memory_limit": LIMIT, "to_file": True},
    "sessions": {"activity": "session"},
    "instants": {"activity": "event"},
}
QUERY = """
    SELECT "user", count(*) AS n, sum(epoch_us("time")) AS total, min("time") AS first, max("time") AS last
    FROM read_parquet('{log}') WHERE "time" <= TIMESTAMP '{at} 23:59:59.999999' GROUP BY "user" """


def main() -> None:
    """Measure and print the section, or do one step of it in a process that does nothing else."""
    parser = arguments(__doc__)
    parser.add_argument("--step", choices=["prepare", "one", *WAYS], help="what the processes that are measured do")
    parser.add_argument("--folder", type=Path, help="where a step finds and leaves its files")
    parser.add_argument("--turns", type=int, default=3, help="how often each way is measured")
    asked = parser.parse_args()
    if asked.step == "prepare":
        prepare(asked.folder, *((500_000, 20_000) if asked.quick else (EVENTS, USERS)))
    elif asked.step == "one":
        one_user(50 if asked.quick else CALLS)
    elif asked.step:
        reduce(asked.folder, asked.step)
    else:
        _measure(turns=1 if asked.quick else asked.turns, quick=asked.quick)


def prepare(folder: Path, events: int, users: int) -> None:
    """Write the log."""
    from bayesdecay import Resources

    mean = math.log(1.03 * events / users) - 1.5**2 / 2  # a little more than is wanted; what is too much is cut off
    normal = "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())"
    query = f"""
        WITH person AS (
            SELECT hash(i) % 9000000000 AS id, greatest(1, round(exp({mean} + 1.5 * {normal})))::BIGINT AS n,
                   300 * random() AS born, 20 + 300 * random() AS life
            FROM range({users}) AS ids(i)),
        visit AS (SELECT *, unnest(range((n + 3) // 4)) AS v FROM person),
        placed AS (
            SELECT id, n, v, born + if(v = 0, 0, least(life, 365 - born) * pow(random(), 1.5)) AS day FROM visit),
        click AS (SELECT id, day, unnest(range(least(4, n - 4 * v))) AS k FROM placed)
        SELECT id::BIGINT AS "user",
               TIMESTAMP '2023-01-01' + to_seconds(floor(86400 * day + 300 * k * random())) AS "time",
               if(random() < 0.05, 'purchase', 'view') AS kind
        FROM click ORDER BY "time" LIMIT {events}"""
    with Resources().open() as connection:
        connection.execute("SELECT setseed(0.1)")
        connection.execute(f"COPY ({query}) TO '{folder / 'log.parquet'}' (COMPRESSION zstd)")
        counts = 'count(*), count(DISTINCT "user"), count(DISTINCT ("user", "time"::DATE))'
        found = connection.execute(f"SELECT {counts} FROM '{folder / 'log.parquet'}'").fetchall()[0]
    size = (folder / "log.parquet").stat().st_size / 1e6
    print(json.dumps(dict(zip(("events", "users", "days"), found, strict=True)) | {"megabytes": size}))


def reduce(folder: Path, way: str) -> None:
    """Reduce the log in one of the ways; report the seconds of that, without imports, and the peak memory."""
    from bayesdecay import Resources, read_events, summarize, summarize_to

    log, told = folder / "log.parquet", dict(WAYS[way])
    began, worked = time.perf_counter(), time.process_time()
    if way == BARE:
        with Resources().open() as connection:
            users, checked = connection.sql(QUERY.format(log=log, at=AT)).to_arrow_table().num_rows, 0.0
    else:
        events = read_events(log, resources=Resources(memory_limit=told.pop("memory_limit", None)))
        checked = time.perf_counter() - began
        to_file = told.pop("to_file", False)
        made = (
            summarize_to(folder / "history.parquet", events, at=AT, **told)
            if to_file
            else summarize(events, at=AT, **told)
        )
        users = len(made)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    found = {"seconds": seconds, "processor": processor, "checking": checked, "memory": peak_memory(), "users": users}
    print(json.dumps(found))


def one_user(calls: int) -> None:
    """Time the scores of users one by one, with a fit to the CDNOW sample."""
    from bayesdecay import DecayModel, Sampling, ScoreOptions, load_cdnow, read_events, summarize, summarize_times
    from bayesdecay.model.scoring import score

    history = summarize(read_events(load_cdnow(sample=True)), at="1997-09-30")
    fit = DecayModel().fit(history, sampling=Sampling(draws=400), random_seed=1)
    options = ScoreOptions(horizons=["30d", "60d", "90d"], random_seed=1)
    population = fit.population(200, allow_unconverged=True)
    ones = [history.over(history.table.slice(row, 1)) for row in range(calls)]
    times = load_cdnow(sample=True).groupby("user")["time"].apply(list).to_dict()
    listed = [{user: times[user]} for user in history.table["user"].to_pylist()[:calls]]
    ways: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
        "fit.score(history)": (lambda own: fit.score(own, options=options, draws=200, allow_unconverged=True), ones),
        "score(population, history, options)": (lambda own: score(population, own, options), ones),
        "the same from a list of times": (
            lambda own: score(population, summarize_times(own, at="1997-09-30"), options),
            listed,
        ),
    }
    found = {}
    for name, (call, given) in ways.items():
        call(given[0])
        took = []
        for own in given:
            began = time.perf_counter()
            call(own)
            took.append(1e3 * (time.perf_counter() - began))
        found[name] = [statistics.median(took), statistics.quantiles(took, n=20)[-1]]
    print(json.dumps(found))


def _measure(*, turns: int, quick: bool) -> None:
    options = ("--quick",) if quick else ()
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:

        def step(what: str) -> dict[str, Any]:
            reported, seconds = run((sys.executable, __file__, "--step", what, "--folder", name, *options))
            tell(f"{what}: {reported}, {seconds:.1f} s in all")
            return reported

        log = step("prepare")
        for _ in range(turns):
            for way in WAYS:
                found[way].append(step(way))
        latencies = step("one")
    latencies.pop("cpu_seconds")
    print("\n\n".join(["## A log to its history, and one user", *_words(log, found), *_one_words(latencies)]))


def _words(log: dict[str, Any], found: dict[str, list[dict[str, Any]]]) -> list[str]:
    ratios = {
        of: {
            way: statistics.median(one[of] / bare[of] for one, bare in zip(own, found[BARE], strict=True))
            for way, own in found.items()
        }
        for of in ("seconds", "processor")
    }
    rows = [
        {
            "what": way,
            "seconds": f"{statistics.median(one['seconds'] for one in own):.1f}",
            "of these the check of the log": f"{statistics.median(one['checking'] for one in own):.1f}",
            "times the bare query": f"{ratios['seconds'][way]:.2f}",
            "processor [s]": f"{statistics.median(one['processor'] for one in own):.1f}",
            "times the bare query's": f"{ratios['processor'][way]:.2f}",
            "peak memory [GiB]": f"{max(one['memory'] for one in own):.2f}",
        }
        for way, own in found.items()
    ]
    return [
        stamp("duckdb", "numpy", "pyarrow"),
        (
            f"{log['events']:,} events of {log['users']:,} users in a Parquet file of {log['megabytes']:,.0f} MB, in "
            f"the order of time; {log['days']:,} active days. `read_events` checks the log, `summarize` makes the "
            "history, a row a user in order, with every activity's time. The bare query gives count, sum, minimum and "
            f"maximum of the times, unordered. {LIMIT} is the memory limit given to the database. To a file: "
            "`summarize_to`. "
            f"Medians of {len(found[BARE])} runs in turns, ratios within a turn; judged by the processor time, "
            "which others on the machine disturb less. The most of the memory, all that the process ever held."
        ),
        markdown(pd.DataFrame(rows)),
        *(
            "- "
            + goal(
                f"Goal, {way}, within {MOST_RATIO:.0f} times the bare query ({ratios['processor'][way]:.2f})",
                met=ratios["processor"][way] <= MOST_RATIO,
            )
            for way in ("days", "sessions", "instants")
        ),
    ]


def _one_words(latencies: dict[str, list[float]]) -> list[str]:
    rows = [
        {"call": f"`{name}`" if "(" in name else name, "median [ms]": f"{median:.2f}", "95 % below [ms]": f"{high:.2f}"}
        for name, (median, high) in latencies.items()
    ]
    slowest = latencies["fit.score(history)"][0]
    return [
        "### One user, warm",
        "Three horizons with intervals from 200 draws, users of the CDNOW sample one call each.",
        markdown(pd.DataFrame(rows)),
        "- "
        + goal(f"Goal, one user under {MOST_MILLISECONDS:.0f} ms ({slowest:.2f} ms)", met=slowest < MOST_MILLISECONDS),
    ]


if __name__ == "__main__":
    main()
