"""Figures of explanations: they draw the table they are given, name their axes, and leave the user's settings alone."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesdecay.show import explanation_plots as plots

PARTS = pd.DataFrame(
    {
        "words": ["silent for 120 days", "an interest of 0.03 [0.00, 0.11] activities per 30 days", "channel: ads"],
        "mean": [-1.3, 0.8, 0.1],
        "lower": [-1.6, 0.2, -0.3],
        "upper": [-1.0, 1.5, 0.4],
    }
)


def curve(values) -> pd.DataFrame:
    p = np.linspace(0.1, 0.3, len(values))
    return pd.DataFrame({"value": values, "p": p, "p_lower": p - 0.05, "p_upper": p + 0.1})


CURVES = {
    "number": curve(np.linspace(10.0, 200.0, 25)),
    "count": curve([0.0, 1.0, 2.0]),
    "factors": curve(np.geomspace(0.001, 1.0, 25)),
    "text": curve(["ads", "friends"]),
    "truth": curve([False, True]),
}


@pytest.fixture
def axes():
    return Figure().subplots()


def test_explanation_has_a_bar_a_part_the_first_on_top(axes):
    settings = dict(mpl.rcParams)
    assert plots.plot_explanation(PARTS, ax=axes) is axes
    axes.figure.canvas.draw()
    assert dict(mpl.rcParams) == settings
    assert axes.get_xlabel() == "against a return  ←  log-odds  →  for it"
    bars = {round(bar.get_y() + bar.get_height() / 2): bar for bar in axes.patches}
    assert [bars[place].get_width() for place in (2, 1, 0)] == PARTS["mean"].tolist()
    assert bars[2].get_hatch()
    assert not bars[1].get_hatch()
    labels = {tick: text.get_text() for tick, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    assert labels[2] == "silent for 120 days"
    # The words are broken into lines, the interval is not.
    assert "[0.00,\N{NO-BREAK SPACE}0.11]" in labels[1]
    assert "\n" in labels[1]


@pytest.mark.parametrize("name", CURVES)
def test_curves_of_every_kind(name, axes):
    shown = CURVES[name]
    assert plots.plot_partial_dependence(shown, what="spend", ax=axes) is axes
    axes.figure.canvas.draw()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("spend", "average P(return)")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), shown["p"])
    assert axes.get_ylim()[0] == 0
    assert axes.get_xscale() == ("log" if name == "factors" else "linear")
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert {"text": ["ads", "friends"], "truth": ["no", "yes"], "count": ["0", "1", "2"]}.get(name, labels) == labels
    assert (len(axes.lines) > 1) == (name == "count")


def test_plots_make_their_own_figure_where_none_is_given():
    import matplotlib.pyplot as plt

    for drawn in (plots.plot_explanation(PARTS), plots.plot_partial_dependence(CURVES["text"], what="channel")):
        assert isinstance(drawn, Axes)
        assert drawn.figure.number in plt.get_fignums()
        plt.close(drawn.figure)
