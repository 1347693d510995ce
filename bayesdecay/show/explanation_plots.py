"""The figures that explain P(reactivation); each draws one prepared table, computes nothing, and returns its axes.

The tables come from :mod:`bayesdecay.show.explain` and :mod:`bayesdecay.show.dependence`.
"""

from __future__ import annotations

import re
import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bayesdecay.show.style import ACCENT, BAND, INK, QUIET, styled
from bayesdecay.show.words import number

__all__ = ["plot_explanation", "plot_partial_dependence"]

_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g} %")
# Letters of a line of words beside the bars.
_LINE = 34
# Up to so many values are looked at one by one, such as counts.
_FEW = 8


def plot_explanation(parts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """What speaks for one user's return, and what against: ``words``, ``mean``, ``lower``, ``upper`` [log-odds].

    The first row is at the top; what speaks against is hatched. Take ``explanation.of(user)``, without its baseline.
    """
    with styled(ax) as axes:
        places = np.arange(len(parts))[::-1]
        against = (parts["mean"] < 0).to_numpy()
        for inside, colour, hatch in ((~against, BAND, None), (against, ACCENT, "///")):
            axes.barh(places[inside], parts["mean"][inside], height=0.62, color=colour, hatch=hatch, edgecolor="white")
        axes.hlines(places, parts["lower"], parts["upper"], color=INK, linewidth=1.4)
        axes.axvline(0, color=QUIET, linewidth=1)
        axes.set_yticks(places, [_wrapped(words) for words in parts["words"]])
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("against a return  ←  log-odds  →  for it")
    return axes


def plot_partial_dependence(curve: pd.DataFrame, *, what: str, ax: Axes | None = None) -> Axes:
    """Average P by the value of one feature: ``value``, ``p``, ``p_lower``, ``p_upper``; ``what`` names the feature."""
    with styled(ax) as axes:
        values = curve["value"]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            axes.fill_between(values, curve["p_lower"], curve["p_upper"], color=BAND, alpha=0.7, linewidth=0)
            axes.plot(values, curve["p"], color=INK)
            axes.set_xlim(values.min(), values.max())
            if len(values) <= _FEW:
                axes.plot(values, curve["p"], "o", color=INK, markersize=4, clip_on=False)
                axes.xaxis.set_major_locator(MaxNLocator(_FEW, integer=True))
            # Interest runs over factors of a thousand: on a plain scale all of it would lie at the left.
            if values.min() > 0 and values.max() > 50 * values.min():
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        else:
            places = np.arange(len(curve))
            axes.vlines(places, curve["p_lower"], curve["p_upper"], color=BAND, linewidth=6)
            axes.plot(places, curve["p"], "o", color=INK)
            axes.set_xticks(places, [_label(value) for value in values])
            axes.set_xlim(-0.5, len(curve) - 0.5)
            axes.grid(visible=False, axis="x")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel(what)
        axes.set_ylabel("average P(return)")
    return axes


def _wrapped(words: str) -> str:
    """Break a line of words, but no interval."""
    whole = re.sub(r"\[[^]]*\]", lambda ends: ends[0].replace(" ", "\N{NO-BREAK SPACE}"), words)
    return textwrap.fill(whole, _LINE)


def _label(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return str(value)
