"""What every benchmark shares: fresh processes that report in JSON, the machine in words, tables in Markdown.

A script `bench_x.py` measures, and prints a section of Markdown on its standard output; what it does meanwhile goes to
the standard error. `run_all.py` puts the sections together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from bayesdecay import __version__

__all__ = [
    "Finished",
    "HERE",
    "ROOT",
    "arguments",
    "commit",
    "goal",
    "machine",
    "markdown",
    "own_caches",
    "peak_memory",
    "run",
    "stamp",
    "tell",
]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

Finished = tuple[dict[str, Any], float]
"""What a process reported, and its wall time from start to end [s]."""


def arguments(description: str | None, *, peers: bool = False) -> argparse.ArgumentParser:
    """Options that the scripts share; the description is the script's docstring."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="small settings, to see that it runs; figures mean nothing"
    )
    if peers:
        parser.add_argument("--peers-python", required=True, help="interpreter of the peers' own environment")
    return parser


def run(
    command: Sequence[object],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float | None = None,
) -> Finished:
    """Run a process of its own and take the JSON of its last line, if that is JSON, and its ``cpu_seconds``.

    Raises
    ------
    RuntimeError
        If it fails, with the end of what it said.
    subprocess.TimeoutExpired
        If it takes more than ``timeout`` seconds.
    """
    words = [str(word) for word in command]
    started, worked = time.perf_counter(), _processor_time()
    ended = subprocess.run(
        words,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {ended.returncode}:\n{ended.stderr[-2_000:]}")
    lines = ended.stdout.strip().splitlines()
    reported = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return reported | {"cpu_seconds": _processor_time() - worked}, seconds


def _processor_time() -> float:
    """Processor time of all processes that have been run and have ended [s]."""
    used = os.times()
    return used.children_user + used.children_system


def own_caches(folder: Path) -> dict[str, str]:
    """Environment in which everything that is compiled is kept in ``folder``: empty at first, so a cold start."""
    for name in ("pytensor", "numba"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {"PYTENSOR_FLAGS": f"base_compiledir={folder / 'pytensor'}", "NUMBA_CACHE_DIR": str(folder / "numba")}


def peak_memory() -> float:
    """Largest resident memory of this process so far [GiB].

    Linux counts the starting process's memory in ``ru_maxrss`` of what it starts, but not in ``VmHWM``.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20
    import resource

    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def machine() -> str:
    """The machine in words: cores, memory, kind."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {pages:.0f} GiB of memory, {platform.system()} on {platform.machine()}"


def commit() -> str:
    """The commit that is measured."""
    words = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def stamp(*packages: str) -> str:
    """One line: the date, the commit and the versions behind a section."""
    versions = [f"bayesdecay {__version__}", *(f"{name} {metadata.version(name)}" for name in packages)]
    parts = [f"Measured {date.today().isoformat()}", f"commit {commit()}", machine(), *versions]
    return f"*{'; '.join([*parts, f'Python {platform.python_version()}'])}.*"


def goal(wanted: str, *, met: bool) -> str:
    """A goal and whether it was met."""
    return f"{wanted}: **{'met' if met else 'missed'}**"


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, its index left out: numbers to the right; give floats as formatted text."""
    numeric = [str(text).lstrip("-+").replace(",", "")[:1].isdigit() for text in table.iloc[0]] if len(table) else []
    rows = [
        [str(column) for column in table.columns],
        ["---:" if right else "---" for right in numeric] or ["---"] * table.shape[1],
        *([str(cell) for cell in row] for row in table.itertuples(index=False)),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def tell(line: str) -> None:
    """Say what is going on, on the standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
