"""The one style of every figure: a few colours that stay apart in greyscale, thin lines, no frame, labelled axes.

It is applied in a context, so that the user's own settings of matplotlib are as they were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

__all__ = ["ACCENT", "BAND", "INK", "QUIET", "STYLE", "styled"]

INK = "#17456b"  # what the model says; the darkest, relative luminance 0.06
ACCENT = "#c4511a"  # what was seen, and what is chosen; 0.18
BAND = "#a9c3d9"  # intervals and bars; 0.52
QUIET = "#6b7075"  # reference lines, ticks, notes; 0.16, and never used for data
_GRID = "#e4e7ea"

STYLE: Any = MappingProxyType(
    {
        "font.family": "sans-serif",
        "font.size": 10.0,
        "axes.titlesize": 10.0,
        "axes.labelsize": 9.5,
        "xtick.labelsize": 9.0,
        "ytick.labelsize": 9.0,
        "legend.fontsize": 9.0,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "patch.linewidth": 0.0,
        "text.color": "#222222",
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        # Text stays text: it can be searched, read aloud and enlarged.
        "svg.fonttype": "none",
    }
)


@contextlib.contextmanager
def styled(ax: Axes | None = None) -> Iterator[Axes]:
    """Draw in the style of the house: on the axes given, or on those of a new figure."""
    if ax is None:
        # Only a figure that pyplot knows is shown by a notebook. It loads its backend with the first figure, and what a
        # notebook's backend then sets would be undone at the end of the context: no later figure would be shown.
        import matplotlib.pyplot as plt

        plt.draw_if_interactive()
    with mpl.rc_context(dict(STYLE)):
        if ax is None:
            ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")[1]
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(QUIET)
        ax.tick_params(color=QUIET, labelcolor="#222222", length=3)
        ax.grid(color=_GRID, linewidth=0.8)
        ax.set_axisbelow(True)
        yield ax
