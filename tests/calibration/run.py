"""Make replicates of the calibration studies, those first that lack most, and write the report of all there are.

    python -m tests.calibration.run [--only decay groups] [--replicates 400] [--minutes 60]

Replicates are kept in reports/calibration/ as lines of JSON; the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.calibration.compiled import compiled_once
from tests.calibration.coupon import COUPON
from tests.calibration.covariates import COVARIATES
from tests.calibration.decay import DECAY
from tests.calibration.effects import EFFECTS
from tests.calibration.groups import GROUPS
from tests.calibration.kinds import KINDS
from tests.calibration.pace import PACE
from tests.calibration.reactivation import REACTIVATION
from tests.calibration.regulars import REGULARS
from tests.calibration.report import write_report
from tests.calibration.study import extend, read_records

__all__ = ["STUDIES", "main"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "reports" / "calibration"
STUDIES = {
    study.name: study for study in (DECAY, COVARIATES, REGULARS, GROUPS, PACE, KINDS, REACTIVATION, EFFECTS, COUPON)
}


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
    with compiled_once() as compiled:
        made = {name: sum(1 for _ in read_records(STUDIES[name], asked.folder)) for name in asked.only}
        while time.time() < until and min(made.values()) < asked.replicates:
            study = STUDIES[min(made, key=made.__getitem__)]
            compiled.begin()
            record = extend(study, asked.folder)
            made[study.name] += 1
            told = record.get("refused") or "; ".join(record["faults"]) or "converged"
            print(f"{study.name} {record['seed']}: {record['cpu']} s, {told}", file=sys.stderr, flush=True)
    write_report(list(STUDIES.values()), asked.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
