"""The figure of a plan's frontier: expected profit against risk, and where the chosen plan and simpler ones lie.

In: the table :meth:`~bayesdecay.decide.plan.Plan.frontier` and the chosen plan's numbers. Out: axes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bayesdecay.decide.columns import (
    AUDIENCE,
    BEST,
    BUDGET,
    COUPON_RULE,
    CVAR,
    EVERYBODY,
    LIKELIEST,
    NOBODY,
    P_LOSS,
    PROFIT,
    RISK_WEIGHT,
)  # fmt: skip
from bayesdecay.errors import unknown_name
from bayesdecay.show.style import ACCENT, INK, QUIET, styled
from bayesdecay.show.words import count

__all__ = ["plot_frontier"]

_LINES = (":", "--", "-", "-.")
_SIMPLE = {LIKELIEST: "^", COUPON_RULE: "s", EVERYBODY: "v", NOBODY: "X"}
# Contacting everybody may lose ten times what any plan does: beyond so many widths of the plans it may leave the
# picture.
_BEYOND = 0.6
# Nearer to each other than this part of the picture, two weights have one label.
_APART = 0.05
_MONEY = FuncFormatter(lambda amount, _: count(amount))
_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g} %")


def plot_frontier(
    frontier: pd.DataFrame, *, chosen: pd.Series | None = None, risk: str = CVAR, ax: Axes | None = None
) -> Axes:
    """Expected profit against risk: a line for each budget, a dot for each weight of risk, and simpler audiences.

    Parameters
    ----------
    frontier : DataFrame
        ``plan.frontier()``.
    chosen : Series, optional
        ``plan.summary()``, to be pointed out.
    risk : {"cvar", "p_loss"}
        Risk on the horizontal axis: the mean profit in the worst cases [money], or the probability of a loss.

    Notes
    -----
    The weights are written at the dots where there is one budget. An audience far from all plans is drawn at the edge,
    and its label says so.
    """
    if risk not in (CVAR, P_LOSS):
        raise unknown_name("risk", risk, (CVAR, P_LOSS))
    plans = frontier[frontier[AUDIENCE] == BEST]
    lines = list(plans.groupby(BUDGET, dropna=False, sort=True))
    with styled(ax) as axes:
        for (budget, line), style in zip(lines, itertools.cycle(_LINES if len(lines) > 1 else "-")):
            label = "no limit" if math.isnan(budget) else f"budget {budget:,.10g}"
            label += " (weights at dots)" if len(lines) == 1 else ""
            axes.plot(line[risk], line[PROFIT], color=INK, linestyle=style, marker="o", markersize=4, label=label)
        if chosen is not None:
            axes.plot(
                chosen[risk], chosen[PROFIT], "o", color=ACCENT, markersize=12, markerfacecolor="none",
                markeredgewidth=2, label="chosen",
            )  # fmt: skip
        _frame(axes, frontier[frontier[AUDIENCE] != BEST], risk)
        if len(lines) == 1:
            _weights(axes, plans, risk)
        axes.axhline(0, color=QUIET, linewidth=0.8, zorder=1)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(_PERCENT if risk == P_LOSS else _MONEY)
        axes.yaxis.set_major_formatter(_MONEY)
        worst = 100 * (1 - frontier.attrs.get("risk_level", 0.95))
        axes.set_xlabel("P(loss)" if risk == P_LOSS else f"mean profit in the worst {worst:.3g} % of cases [money]")
        axes.set_ylabel("expected profit [money]")
        _legend(axes, (frontier[AUDIENCE] != BEST).sum())
    return axes


def _frame(axes: Axes, simple: pd.DataFrame, risk: str) -> None:
    """Draw the simpler audiences: within the picture of the plans, a little beyond, or at its edge."""
    limits = []
    for column, (low, high) in ((risk, axes.get_xlim()), (PROFIT, axes.get_ylim())):
        room, found = _BEYOND * (high - low), simple[column]
        near = found[found.between(low - room, high + room)]
        margin = 0.04 * (high - low)
        limits.append((min(low, near.min() - margin), max(high, near.max() + margin)))
    (left, right), (bottom, top) = limits
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for row in simple.to_dict("records"):
        x, y = min(max(row[risk], left), right), min(max(row[PROFIT], bottom), top)
        beyond = "" if (x, y) == (row[risk], row[PROFIT]) else " (off the edge)"
        name = row[AUDIENCE]
        axes.plot(
            x, y, _SIMPLE.get(name, "P"), color=INK, markerfacecolor="white", markersize=8, clip_on=False,
            linestyle="none", label=f"{name}{beyond}",
        )  # fmt: skip


def _legend(axes: Axes, audiences: int) -> None:
    """Lines and the chosen plan in one column, audiences with their longer names in another."""
    marks, names = axes.get_legend_handles_labels()
    short = len(marks) - audiences
    blank = [Line2D([], [], linestyle="none")] * max(audiences - short, 0)
    marks, names = [*marks[:short], *blank, *marks[short:]], [*names[:short], *[""] * len(blank), *names[short:]]
    axes.legend(marks, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=2.2, fontsize=8.5)


def _weights(axes: Axes, line: pd.DataFrame, risk: str) -> None:
    """Write the weights of risk at the dots; those of dots that all but coincide together."""
    # On the empty side of the line, which falls to the right with the CVaR and rises with P(loss).
    aside = (7, 5) if risk == CVAR else (12, -9)
    for place, weights in _together(axes, line, risk):
        ends = f"{weights[0]:g}" if len(weights) == 1 else f"{weights[0]:g} to {weights[-1]:g}"
        axes.annotate(ends, place, xytext=aside, textcoords="offset points", fontsize=8.5, color=INK)


def _together(axes: Axes, line: pd.DataFrame, risk: str) -> Iterator[tuple[tuple[float, float], list[float]]]:
    """Neighbouring dots that are nearer than can be told apart: the place of the first, and their weights."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    group: list[float] = []
    place = (math.nan, math.nan)
    for row in line.sort_values(RISK_WEIGHT).to_dict("records"):
        here = (row[risk], row[PROFIT])
        if group and math.hypot((here[0] - place[0]) / (right - left), (here[1] - place[1]) / (top - bottom)) > _APART:
            yield place, group
            group = []
        if not group:
            place = here
        group.append(row[RISK_WEIGHT])
    if group:
        yield place, group
