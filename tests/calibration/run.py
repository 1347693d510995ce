"""Make replicates of the calibration studies, those first that lack most, and write the report of all there are.

    python -m tests.calibration.run [--only decay groups] [--replicates 400] [--minutes 60]

Replicates are kept in reports/calibration/ as lines of JSON; the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.calibration.coupon import COUPON
from tests.calibration.decay import DECAY
from tests.calibration.effects import EFFECTS
from tests.calibration.groups import GROUPS
from tests.calibration.kinds import KINDS
from tests.calibration.reactivation import REACTIVATION
from tests.calibration.report import write_report
from tests.calibration.study import Study, extend, read_records

__all__ = ["STUDIES", "main"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "reports" / "calibration"
STUDIES = {study.name: study for study in (DECAY, GROUPS, KINDS, REACTIVATION, EFFECTS, COUPON)}


def main() -> int:
    """Extend the studies that were asked for, and report on all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES), help="extend just these")
    parser.add_argument("--replicates", type=int, default=900, help="replicates of each study; 900 tell 2 %% of 90 %%")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where replicates and pictures are kept")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    until = time.time() + 60 * asked.minutes
    while (study := _shortest([STUDIES[name] for name in asked.only], asked.folder, asked.replicates)) is not None:
        if time.time() > until:
            break
        record = extend(study, asked.folder)
        told = record.get("refused") or "; ".join(record["faults"]) or "converged"
        print(f"{study.name} {record['seed']}: {record['cpu']} s, {told}", file=sys.stderr, flush=True)
    write_report(list(STUDIES.values()), asked.folder)
    return 0


def _shortest(studies: list[Study], folder: Path, wanted: int) -> Study | None:
    """The study with the fewest replicates; None if each has as many as are wanted."""
    made = {study.name: sum(1 for _ in read_records(folder / f"{study.name}.jsonl")) for study in studies}
    least = min(studies, key=lambda study: made[study.name])
    return least if made[least.name] < wanted else None


if __name__ == "__main__":
    sys.exit(main())
