"""`make demo` as a newcomer meets it: in a fresh clone with nothing installed, then again with everything there.

python tests/benchmarks/bench_demo.py
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from measuring import ROOT, arguments, goal, markdown, own_caches, run, stamp, tell

__all__ = ["main"]

MOST_SECONDS, REPEATS = 60, 5
PATIENCE = 3_600  # seconds, for a slow package index
MADE = ("report.html", "scores.parquet", "audience.csv", "decay.nc", "reactivation.nc")


def main() -> None:
    """Measure and print the section."""
    parser = arguments(__doc__)
    parser.add_argument("--repository", type=Path, default=ROOT, help="what to clone: its last commit is measured")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        clone, newcomer = Path(name) / "clone", _newcomer(Path(name))
        run(["git", "clone", "--quiet", asked.repository, clone])
        began = time.time()
        first = _demo(clone, newcomer)
        # The stamp that make leaves when everything is installed parts the first run in two.
        setup = (clone / ".venv" / ".demo").stat().st_mtime - began
        again = [_demo(clone, newcomer) for _ in range(1 if asked.quick else REPEATS)]
    print("\n\n".join(["## make demo", *_words(first, setup, again)]))


def _newcomer(folder: Path) -> dict[str, str]:
    """Environment of somebody who has downloaded and compiled nothing: caches in a new folder, no environment on."""
    ours = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != ours)
    caches = {"UV_CACHE_DIR": str(folder / "downloads"), "PIP_NO_CACHE_DIR": "1", "MPLCONFIGDIR": str(folder / "fonts")}
    return own_caches(folder / "compiled") | caches | {"PATH": path, "VIRTUAL_ENV": "", "PYTHONPATH": ""}


def _demo(clone: Path, newcomer: dict[str, str]) -> float:
    """Wall seconds of one ``make demo``, which must have made everything."""
    for made in MADE:
        (clone / "reports" / "demo" / made).unlink(missing_ok=True)
    _, seconds = run(["make", "demo"], environment=newcomer, folder=clone, timeout=PATIENCE)
    if missing := [made for made in MADE if not (clone / "reports" / "demo" / made).is_file()]:
        raise RuntimeError(f"make demo ended well and did not make {', '.join(missing)}")
    tell(f"make demo: {seconds:.1f} s")
    return seconds


def _words(first: float, setup: float, again: list[float]) -> list[str]:
    middle = statistics.median(again)
    rows = [
        {"run": "in a fresh clone, nothing installed, downloaded or compiled", "seconds": f"{first:.0f}"},
        {"run": "of these: environment made, packages downloaded and installed", "seconds": f"{setup:.0f}"},
        {"run": "of these: the demo, its code compiled on the way", "seconds": f"{first - setup:.0f}"},
        {"run": f"again, everything there (median of {len(again)})", "seconds": f"{middle:.1f}"},
    ]
    return [
        stamp(),
        (
            "`make demo` in a fresh clone of the commit, wall time of the whole command. Downloads depend on the "
            "package index and the way to it."
        ),
        markdown(pd.DataFrame(rows)),
        "- "
        + goal(f"Goal, under {MOST_SECONDS} s with everything installed ({middle:.1f} s)", met=middle < MOST_SECONDS),
        f"Repeated runs: {', '.join(f'{seconds:.1f}' for seconds in again)} s.",
    ]


if __name__ == "__main__":
    main()
