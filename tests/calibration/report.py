"""reports/calibration.md of the replicates that are there, and a picture of each study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from arviz_stats.ecdf_utils import ecdf_pit
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdecay.show.style import ACCENT, BAND, INK, QUIET, STYLE, styled
from tests.calibration.judged import (
    Judged,
    coverage_table,
    independent_pits,
    judged,
    least_p_value,
    pooled_coverage,
)
from tests.calibration.study import LEVELS, Study, read_records

__all__ = ["plot_ranks", "write_report"]

_BAND_PROB = 0.95
# Shares of the ranks between two names, below which they would meet on one line.
_NEAR = 0.4
# Simulated uniform samples that the band's width is found from.
_BAND_SAMPLES = 1_000
_HEAD = """# Calibration

Is an interval of 90 % one of 90 %? Made by `make calibration` (`tests/calibration/`): a truth is drawn from the prior,
a log from the truth, the model is fitted to the log with the same prior, and it is seen where the truth lies among the
posterior's draws. Over many replicates its rank is uniform, and each interval holds it as often as it says, if
simulator, likelihood, sampler and scores are all right; with an error anywhere they are not.

**How to read the tables.** `replicates` are simulated logs, `values` the truths that were looked at (several users of a
log). The columns say which share of the truths the equal-tailed intervals of 50, 80, 90 and 95 % hold, with a standard
error in brackets; users of one log are not independent, and the error counts logs. `p` is the p-value of the ranks'
uniformity (the pointwise order test of ArviZ on one value a log); of so many rows a few are small by chance, so below
each table stands the least one times the number of rows. To see an error of 2 % in a coverage of 90 % takes an error of
0.01: 900 replicates of one parameter, some 150 of six parameters together, fewer of users. The first table tells all
quantities of a study together: an error that most of them have is seen there first, one that a single parameter has is
not.

**How to read the pictures.** On the left a line a quantity: the share of ranks below x, less x, 0 if all is well. The
band holds a whole line with 95 % probability if the ranks are uniform, so that of twenty lines one leaves it by chance;
those that leave it have a name. A hill and then a valley mean intervals that are too narrow, the reverse too wide ones;
a hill alone means truths lower than said, a valley higher. On the right the shares of the table, with two standard
errors.

**What is judged.** `fit` as it is called, with its search for the mode, its coordinates, its sampler or its
weighted proposals and its verdict; scores and forecasts as users get them. Different from a user's call: the number
of rates (72) and the law, the exponential one, are told, there are two chains instead of four, the density and the
change of coordinates are compiled by numba once for all replicates of a study (`tests/calibration/compiled.py`),
where a fit compiles its own in C, and where no shock is simulated the forecasts are told so. Ranks are among 100 of
the 1,000 draws of two chains, next to independent; intervals are of all draws, or of the 200 that a user's scores
rest on. A study whose design changes counts its replicates anew: each line in `reports/calibration/` has the number
of its design, and lines of another one are not read.

**Not here.** Groups of the kinds of activities, the power law and the choice of it, the joint form of interest (two
variables a user, too dear so far), embeddings, horseshoe and brackets of the reactivation model, missing features, the
law of days: nobody has calibrated them yet."""


def write_report(studies: Sequence[Study], folder: Path) -> Path:
    """Write the report beside the folder of the replicates, and the pictures into it."""
    found = {study: judged(read_records(study, folder)) for study in studies}
    found = {study: one for study, one in found.items() if one.converged.size > 1}
    parts = [_HEAD, _overview(found), *(_section(study, one, folder) for study, one in found.items())]
    path = folder.with_suffix(".md")
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _overview(found: Mapping[Study, Judged]) -> str:
    """All studies in one table: what 90 % intervals of all quantities together hold."""
    lines = ["| study | replicates | parameters and averages | single users |", "|---|---:|---:|---:|"]
    for study, one in found.items():
        shares = [pooled_coverage(one, of_users=of_users) for of_users in (False, True)]
        cells = [f"{share['90%']:.3f} ({share['90% se']:.3f})" if share["quantities"] else "" for share in shares]
        lines.append(f"| {study.title} | {one.converged.size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _section(study: Study, found: Judged, folder: Path) -> str:
    """One study: what was done, its tables, its picture."""
    table, size = coverage_table(found), found.converged.size
    with mpl.rc_context(dict(STYLE)):  # text stays text
        plot_ranks(found).savefig(folder / f"{study.name}.svg", metadata={"Date": None})
    told = ", ".join(f"{count} of the {name} fit" for name, count in sorted(found.faults.items())) or "none"
    lines = [
        f"## {study.title}",
        study.about,
        f"{size} replicates: with so many, a share of 90 % is known to {np.sqrt(0.09 / size):.3f} (standard error).",
        f"Not converged by the verdict of the fit, and in the table all the same: {told}.",
        f"Logs that could not be fitted and were left out: {found.refused}.",
        _markdown(table),
        f"Least p-value times the number of rows: {least_p_value(table['p_value']):.2g}.",
    ]
    if 1 < found.converged.sum() < size:
        kept = coverage_table(found, converged_only=True)
        shown = kept[["replicates", "90%", "90% se", "p_value"]]
        lines += [f"Only the {found.converged.sum()} replicates whose fits all converged:", _short(shown)]
    lines.append(f"![Ranks: {study.title}]({folder.name}/{study.name}.svg)")
    return "\n\n".join(lines)


def plot_ranks(found: Judged) -> Figure:
    """Draw all ranks within their simultaneous band, and beside it which share of the truths the intervals hold."""
    table = coverage_table(found)
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(9.6, max(3.0, 0.75 + 0.19 * len(table))), layout="constrained")
        ranks, coverage = figure.subplots(1, 2, width_ratios=(3, 2))
        _plot_ranks(ranks, found)
        _plot_coverage(coverage, table)
    return figure


def _plot_ranks(ax: Axes, found: Judged) -> None:
    """Draw the empirical distribution of each quantity's ranks less the uniform one; those that leave, with a name."""
    pits = {name: independent_pits(found, name) for name in found.pits}
    x, _, low, high = ecdf_pit(next(iter(pits.values())), _BAND_PROB, _BAND_SAMPLES)
    low, high = low - x, high - x
    leaving = []
    with styled(ax):
        ax.fill_between(x, low, high, color=BAND, alpha=0.5)
        ax.axhline(0.0, color=QUIET, linewidth=0.8)
        for name, values in pits.items():
            seen = np.searchsorted(np.sort(values), x, side="right") / values.size - x
            seen[[0, -1]] = 0.0
            leaves = bool(((seen < low) | (seen > high)).any())
            ax.plot(x, seen, color=ACCENT if leaves else INK, linewidth=1.2 if leaves else 0.6)
            if leaves:
                at = int(np.argmax(np.abs(seen)))
                leaving.append((name, float(x[at]), float(seen[at])))
        _write_names(ax, leaving)
        ax.set(xlabel="x, as a share of the ranks", ylabel="share of ranks below x, less x", xlim=(0.0, 1.0))


def _write_names(ax: Axes, leaving: Sequence[tuple[str, float, float]]) -> None:
    """Write the names of lines at their farthest point, one above the other where they would meet."""
    step, placed = 0.05 * float(np.ptp(ax.get_ylim())), list[tuple[float, float]]()
    for name, x, y in sorted(leaving, key=lambda one: one[2]):
        while any(abs(x - other) < _NEAR and abs(y - taken) < step for other, taken in placed):
            y += step
        placed.append((x, y))
        side = "left" if x < _NEAR else "right" if x > 1 - _NEAR else "center"
        ax.annotate(name, (x, y), color=ACCENT, fontsize=7.5, ha=side, va="bottom")


def _plot_coverage(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the share of the truths that each interval holds, with two standard errors, a row a quantity."""
    rows = np.arange(len(table))[::-1]
    with styled(ax):
        for level in LEVELS:
            ax.axvline(level, color=QUIET, linewidth=0.8)
            share, error = table[f"{level:.0%}"], 2 * table[f"{level:.0%} se"]
            ax.errorbar(share, rows, xerr=error, color=INK, fmt="o", markersize=2.5, linewidth=1.0)
        ax.grid(visible=False)
        ax.set_yticks(rows, table.index, fontsize=7.5)
        ax.set(xlabel="share of the truths held", xlim=(0.3, 1.02))
        ax.set_xticks(LEVELS, ["50 %", "80 %", "90", "95"], fontsize=7.5)


def _markdown(table: pd.DataFrame) -> str:
    """Write the whole table, each share with its error."""
    head = ["quantity", "replicates", "values", *(f"{level:.0%}" for level in LEVELS), "p"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for name, row in table.iterrows():
        shares = [f"{row[f'{level:.0%}']:.3f} ({row[f'{level:.0%} se']:.3f})" for level in LEVELS]
        cells = [f"{row['replicates']:.0f}", f"{row['values']:.0f}", *shares, f"{row['p_value']:.2g}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(table: pd.DataFrame) -> str:
    """Write a few columns of a table, on few lines."""
    told = [f"{name} {row['90%']:.3f} ({row['90% se']:.3f})" for name, row in table.iterrows()]
    return f"coverage of 90 %: {'; '.join(told)}. Least p-value times rows: {least_p_value(table['p_value']):.2g}."
