"""Is it exponential? The law and its rivals on real logs: likelihood of what was seen, scores of what came after.

Each law is fitted by maximum likelihood until a cutoff (`laws.py`) and forecasts every user's number of active days
after it. Logs that lie in a folder of their own are skipped, and said to be, where it is not there.

    python tests/benchmarks/bench_laws.py [--data FOLDER]
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from laws import LAWS, Fitted, fit_law
from measuring import ROOT, arguments, markdown, stamp, tell
from numpy.typing import NDArray

from bayesdecay import Events, History, load_cdnow, names, read_events, summarize
from bayesdecay.data.block import Block
from bayesdecay.show.later import later_activity
from bayesdecay.show.scoring_rules import crps_of_counts
from bayesdecay.show.stacking import stacking_weights

__all__ = ["main"]

DRAWS, WIDEST = 300, 150
FIRST = LAWS[0].name


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is forecast: so many days after a cutoff of a log."""

    log: str
    at: str
    length: str


WINDOWS = (
    Window(log="cdnow_sample", at="1997-06-30", length="180d"),
    Window(log="cdnow_sample", at="1997-09-30", length="273d"),
    Window(log="cdnow_sample", at="1997-12-31", length="180d"),
    Window(log="tmall_2014", at="2013-06-15", length="30d"),
    Window(log="tmall_2014", at="2013-06-30", length="45d"),
    Window(log="completejourney", at="2017-03-31", length="180d"),
    Window(log="completejourney", at="2017-06-30", length="180d"),
)


def main() -> None:
    """Fit every law to every window and print the section."""
    parser = arguments(__doc__)
    shared = os.environ.get("BAYESDECAY_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(shared), help="folder of the logs that are not carried")
    asked = parser.parse_args()
    tables = []
    for window in WINDOWS[:1] if asked.quick else WINDOWS:
        log = _read(window.log, asked.data)
        if log is None:
            tell(f"{window.log}: skipped, no log in {asked.data}")
            continue
        tables.append(_judged(window, log))
        tell(tables[-1].to_string())
    print(_section(pd.concat(tables, ignore_index=True)))


def _read(name: str, folder: Path) -> Events | None:
    if name == "cdnow_sample":
        return read_events(load_cdnow(sample=True))
    path = folder / name / "events.parquet"
    return read_events(path, user="user_id", time="timestamp") if path.is_file() else None


def _judged(window: Window, log: Events) -> pd.DataFrame:
    """A row a law: what it says of the past and of the time after the cutoff."""
    history = summarize(log, at=window.at)
    seen = later_activity(log, history, window.length, periods=1).counts[:, 0]
    length = float(window.length.removesuffix("d"))
    fits = [_fitted(law, history) for law in LAWS]
    forecasts = [_forecast(fit, length) for fit in fits]
    # Exact, where counts of draws would be noisy: the density of what followed, given what had been seen.
    past, whole = next(history.blocks(len(history))), _same_users(log, history, length)
    log_density = np.array([fit.logliks(whole) - fit.logliks(past) for fit in fits])
    weights = stacking_weights(log_density)
    rows = []
    for fit, (pmf, total), own, weight in zip(fits, forecasts, log_density, weights, strict=True):
        gain = own - log_density[0]
        rows.append(
            {
                "log": f"{window.log} {window.at}, {window.length}",
                "law": fit.law.name,
                "shape": fit.shape,
                "rho": fit.restoration,
                "loglik": (fit.logliks(past) - fits[0].logliks(past)).sum(),
                "crps": crps_of_counts(pmf, np.minimum(seen, WIDEST)).mean(),
                "gain": gain.sum(),
                "gain_se": gain.std(ddof=1) * np.sqrt(gain.size),
                "brier": np.mean((1 - pmf[:, 0] - (seen > 0)) ** 2),
                "ratio": total / seen.sum(),
                "weight": weight,
            }
        )
    return pd.DataFrame(rows)


def _fitted(law, history: History) -> Fitted:
    block = next(history.blocks(len(history)))
    fit = fit_law(law, block, float(block.T.max()))
    tell(f"{law.name}: shape {fit.shape:g}, restoration {fit.restoration:g}")
    return fit


def _forecast(fit: Fitted, length: float) -> tuple[NDArray[np.float64], float]:
    """Shares (row, count) of a user's draws, counts beyond the widest lumped together; and the expected total."""
    counts = fit.counts(length, DRAWS, np.random.default_rng(1))
    pmf = np.zeros((len(counts), WIDEST + 1))
    np.add.at(pmf, (np.arange(len(counts))[:, None], np.minimum(counts, WIDEST)), 1 / DRAWS)
    return pmf, float(counts.mean(axis=1).sum())


def _same_users(log: Events, history: History, length: float) -> Block:
    """The users of a history as they stand so many days later."""
    later = summarize(log, at=history.at + pd.Timedelta(days=length))
    table = later.table.filter(pc.is_in(later.table[names.USER], value_set=history.table[names.USER].combine_chunks()))
    return next(later.over(table).blocks(len(history)))


def _section(found: pd.DataFrame) -> str:
    shown = pd.DataFrame(
        {
            "log, cutoff, days ahead": found["log"],
            "law": found["law"],
            "shape": [
                f"{value:g}" if law in ("floor", "power", "stretched") else ""
                for law, value in zip(found["law"], found["shape"], strict=True)
            ],
            "restoration": found["rho"].map("{:g}".format),
            "log-likelihood, gain": found["loglik"].map("{:+.1f}".format),
            "held-out log density, gain": [
                f"{g:+.1f} ± {se:.1f}" for g, se in zip(found["gain"], found["gain_se"], strict=True)
            ],
            "CRPS": found["crps"].map("{:.4f}".format),
            "Brier": found["brier"].map("{:.4f}".format),
            "predicted / seen": found["ratio"].map("{:.2f}".format),
            "stacking weight": found["weight"].map("{:.2f}".format),
        }
    )
    return (
        "## The exponential law and its rivals\n\n"
        f"{stamp('scipy')}\n\n"
        "Each law by maximum likelihood with weak priors, its shape and restoration the most likely of a few, in one "
        "implementation for all (`tests/benchmarks/laws.py`); continuous time, active days. Gains are over the "
        "exponential law, in nats, of all users together: of what was seen, and of when each user was active after the "
        "cutoff, given what was seen (± one standard error over users); stacking weights are by the latter. Brier is "
        "of any activity. Constant rates with dropout are BG/NBD and Pareto/NBD, which stand among the held-out "
        "forecasts.\n\n"
        f"{markdown(shown)}"
    )


if __name__ == "__main__":
    main()
