"""The figures of a check over several origins; each draws one prepared table and returns its axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bayesdecay.show.style import ACCENT, BAND, INK, QUIET, styled
from bayesdecay.show.words import count, date

__all__ = ["plot_coverage", "plot_past", "plot_totals"]

_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g} %")
_COUNT = FuncFormatter(lambda amount, _: count(amount))


def plot_totals(totals: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Activities of all users in each period: ``at``, ``predicted`` with its interval, ``seen``."""
    with styled(ax) as axes:
        places = np.arange(len(totals))
        lower, upper = (totals[f"predicted_{end}"].to_numpy() for end in ("lower", "upper"))
        band = axes.bar(places, upper - lower, bottom=lower, width=0.5, color=BAND)
        (middle,) = axes.plot(places, totals["predicted"], "_", color=INK, markersize=22, markeredgewidth=2)
        (seen,) = axes.plot(places, totals["seen"], "o", color=ACCENT, markersize=6)
        axes.set_xticks(places, [date(at, short=True) for at in totals["at"]])
        axes.tick_params(axis="x", labelsize=8 if len(totals) < 5 else 7)
        axes.set_xlim(-0.6, len(totals) - 0.4)
        axes.set_ylim(0, 1.15 * max(upper.max(), totals["seen"].max(), 1))
        axes.yaxis.set_major_formatter(_COUNT)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("forecast from the end of")
        axes.set_ylabel("activities of all users")
        axes.legend([seen, middle, band], ["seen", "predicted", "interval"], loc="lower right", ncols=3)
    return axes


def plot_coverage(groups: pd.DataFrame, *, ci_prob: float, what: str, ax: Axes | None = None) -> Axes:
    """Coverage of intervals by groups of users, in their order: ``coverage`` with ``_se``, ``claimed``."""
    with styled(ax) as axes:
        places = np.arange(1, len(groups) + 1)
        held = axes.errorbar(
            places,
            groups["coverage"],
            yerr=2 * groups["coverage_se"],
            fmt="o",
            color=ACCENT,
            elinewidth=1.2,
            markersize=5,
        )
        (claimed,) = axes.plot(places, groups["claimed"], "_", color=INK, markersize=14, markeredgewidth=2)
        asked = axes.axhline(ci_prob, color=QUIET, linestyle="--", linewidth=1)
        lowest = float((groups["coverage"] - 2 * groups["coverage_se"]).min())
        axes.set_ylim(min(lowest, ci_prob) - 0.05, 1.005)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(what)
        axes.set_ylabel("held by the interval")
        axes.legend([held, claimed, asked], ["held, ± 2 s.e.", "claimed", "asked for"], loc="lower left", ncols=3)
    return axes


def plot_past(table: pd.DataFrame, *, what: str, ax: Axes | None = None) -> Axes:
    """One aspect of the past: ``statistic``, ``replicated`` with its interval, ``seen``; all of them shares."""
    with styled(ax) as axes:
        places = np.arange(len(table))
        lower, upper = (table[f"replicated_{end}"].to_numpy() for end in ("lower", "upper"))
        # An interval that is narrower than a line would not be seen.
        least = 0.006 * max(float(upper.max()), float(table["seen"].max()))
        band = axes.bar(places, np.maximum(upper - lower, least), bottom=lower, width=0.6, color=INK, alpha=0.55)
        (seen,) = axes.plot(places, table["seen"], "o", color=ACCENT, markersize=5)
        labels = [str(label).removeprefix("at most ") for label in table["statistic"]]
        axes.set_xticks(places, [label.replace(" or more", "+").replace(" days", " d") for label in labels])
        axes.tick_params(axis="x", labelsize=8)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(what)
        axes.set_ylabel("share")
        axes.legend([seen, band], ["seen", "as the model has it"], loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return axes
