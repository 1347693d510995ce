"""Every benchmark after the other, each in a process of its own, and their sections put into reports/benchmarks.md.

Sections are kept in reports/benchmarks/, so that one can be measured again alone; the report needs all of them.

    python tests/benchmarks/run_all.py --peers-python .venv-peers/bin/python [--only sampling] [--quick]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from measuring import HERE, ROOT, arguments, tell

__all__ = ["main"]

SCRIPTS = (
    *(
        "demo",
        "sampling",
        "likelihood",
        "fit_curve",
        "heldout",
        "laws",
        "reduction",
        "scoring",
        "spark",
        "reactivation",
    ),
    *("large_reactivation", "noise", "choice"),
    "uplift",
)
WITH_PEERS = ("sampling",)
HEAD = """# Benchmarks

Made by `make benchmarks`; each section by one of the commands in `tests/benchmarks/`, which runs alone too. Under each
heading stand the date, the commit, the machine and the versions. Times on a machine that others share are good to about
30 %; what is compared was measured in the same session, in turns."""


def main() -> int:
    """Run what was asked for; write the report if every section is there."""
    parser = arguments(__doc__, peers=True)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, help="measure just these again")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks.md", help="the report")
    asked = parser.parse_args()
    kept: Path = asked.out.with_suffix("")
    kept.mkdir(parents=True, exist_ok=True)
    peers = Path(asked.peers_python).absolute()  # not resolved: an environment's interpreter is a link
    failed = [name for name in asked.only if not _measured(name, kept, peers, quick=asked.quick)]
    sections = [kept / f"{name}.md" for name in SCRIPTS]
    missing = [part.stem for part in sections if not part.is_file()]
    if failed or missing:
        tell(f"no report was written: failed {failed or 'none'}, never measured {missing or 'none'}")
        return 1
    asked.out.write_text("\n\n".join([HEAD, *(part.read_text().strip() for part in sections)]) + "\n")
    tell(f"written: {asked.out}")
    return 0


def _measured(name: str, kept: Path, peers: Path, *, quick: bool) -> bool:
    """Run one script and keep its section; False if it failed, the section of before being kept then."""
    tell(f"--- {name}")
    command = [sys.executable, str(HERE / f"bench_{name}.py"), *(["--quick"] if quick else [])]
    command += ["--peers-python", str(peers)] if name in WITH_PEERS else []
    began = time.perf_counter()
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    tell(f"--- {name}: {time.perf_counter() - began:.0f} s, exit code {ended.returncode}")
    if ended.returncode == 0:
        (kept / f"{name}.md").write_text(ended.stdout)
    return ended.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
