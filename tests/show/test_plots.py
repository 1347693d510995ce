"""Figures: they draw the table they are given, name their axes, and leave the user's settings alone."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bayesdecay.show import plots, style

AT = pd.Timestamp("2024-03-01")
CURVE = pd.DataFrame(
    {
        "time": pd.date_range("2024-01-01", periods=90, freq="D"),
        "interest": np.linspace(0.2, 0.1, 90),
        "interest_lower": np.linspace(0.1, 0.05, 90),
        "interest_upper": np.linspace(0.4, 0.2, 90),
    }
)
SHARES = pd.DataFrame(
    {"half_life": ["short", "long"], "share": [0.4, 0.6], "share_lower": [0.3, 0.61], "share_upper": [0.5, 0.7]}
)
HISTOGRAM = pd.DataFrame({"from": [0.0, 0.5], "to": [0.5, 1.0], "users": [900, 100]})
RANKED = pd.DataFrame({"rank": [1.0, 500.0], "p": [0.9, 0.1], "p_lower": [0.8, 0.0], "p_upper": [1.0, 0.3]})
CALIBRATION = pd.DataFrame(
    {"predicted": [0.1, 0.8], "observed": [0.12, 0.7], "observed_lower": [0.1, 0.6], "observed_upper": [0.2, 0.8]}
)
TOTAL = pd.DataFrame(
    {"to": [30.0, 60.0], "predicted": [100, 180], "predicted_lower": [80, 150], "predicted_upper": [120, 210]}
).assign(seen=[90, 220])
PROFIT = pd.DataFrame({"from": [-10.0, 0.0, 10.0], "to": [0.0, 10.0, 20.0], "share": [0.2, 0.5, 0.3]})
CONTACTS = pd.DataFrame({"contacts": [0, 10, 20], "profit": [0.0, 50.0, 30.0]})
PRIOR = pd.DataFrame(
    {"half_life": np.exp(np.random.default_rng(1).normal(3.4, 1.7, 2_000)), "p": np.linspace(0, 1, 2_000)}
)

PLOTS = {
    "interest": lambda ax: plots.plot_interest(CURVE, pd.Series([AT]), at=AT, ax=ax),
    "half_life": lambda ax: plots.plot_half_life(SHARES, ax=ax),
    "probabilities": lambda ax: plots.plot_probabilities(HISTOGRAM, what="P(return)", ax=ax),
    "ranking": lambda ax: plots.plot_ranking(RANKED, what="P(return)", ax=ax),
    "calibration": lambda ax: plots.plot_calibration(CALIBRATION, ax=ax),
    "total": lambda ax: plots.plot_total(TOTAL, ax=ax),
    "profit": lambda ax: plots.plot_profit(PROFIT, {"expected": 5.0, "CVaR": -8.0}, ax=ax),
    "contacts": lambda ax: plots.plot_contacts(CONTACTS, chosen=10, ax=ax),
    "prior_predictive": lambda ax: plots.plot_prior_predictive(PRIOR, "half_life", what="half-life [days]", ax=ax),
}


@pytest.fixture
def axes():
    return Figure().subplots()


@pytest.mark.parametrize("name", PLOTS)
def test_plot_draws_on_the_axes_given_and_names_them(name, axes):
    settings = dict(mpl.rcParams)
    drawn = PLOTS[name](axes)
    assert drawn is axes
    assert axes.get_ylabel()
    assert axes.get_xlabel() or name == "interest"  # dates name themselves
    assert axes.has_data()
    axes.figure.canvas.draw()
    assert dict(mpl.rcParams) == settings


def test_every_plot_is_tried():
    assert {f"plot_{name}" for name in PLOTS} == set(plots.__all__)


def test_plot_makes_its_own_figure_where_none_is_given():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    axes = plots.plot_half_life(SHARES)
    assert isinstance(axes, Axes)
    assert len(plt.get_fignums()) == len(before) + 1
    plt.close(axes.figure)


def test_interest_is_drawn_per_month_and_cut_off_where_it_was(axes):
    plots.plot_interest(CURVE, pd.Series([AT]), at=AT, ax=axes)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 30 * CURVE["interest"])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["interest", "interval", "cutoff", "activity"]


def test_interest_without_activities_has_no_ticks(axes):
    plots.plot_interest(CURVE, at=AT, ax=axes)
    assert "activity" not in [text.get_text() for text in axes.get_legend().get_texts()]


def test_calibration_shows_points_and_the_perfect_line(axes):
    plots.plot_calibration(CALIBRATION, ax=axes)
    points = axes.containers[0].lines[0]
    np.testing.assert_allclose(points.get_xdata(orig=False), CALIBRATION["predicted"])
    np.testing.assert_allclose(points.get_ydata(orig=False), CALIBRATION["observed"])


def test_total_starts_at_nothing(axes):
    plots.plot_total(TOTAL, ax=axes)
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [0, 90, 220])


def test_losses_are_told_by_more_than_colour(axes):
    plots.plot_profit(PROFIT, {"expected": 5.0}, ax=axes)
    hatched = [bar for bar in axes.patches if bar.get_hatch()]
    assert [bar.get_x() for bar in hatched] == [-10.0]


def test_prior_predictive_of_a_share_stays_linear(axes):
    plots.plot_prior_predictive(PRIOR, "p", ax=axes)
    assert axes.get_xscale() == "linear"
    assert axes.get_xlabel() == "p"
    assert plots.plot_prior_predictive(PRIOR, "half_life", ax=Figure().subplots()).get_xscale() == "log"


def test_prior_predictive_of_a_fixed_quantity_is_one_bar(axes):
    plots.plot_prior_predictive(pd.DataFrame({"restoration": np.full(50, 0.8)}), "restoration", ax=axes)
    assert [bar.get_height() for bar in axes.patches if bar.get_height()] == [pytest.approx(1.0)]


def test_colours_stay_apart_in_greyscale():
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    levels = sorted(luminance(colour) for colour in (style.INK, style.ACCENT, style.BAND))
    contrast = [(b + 0.05) / (a + 0.05) for a, b in itertools.pairwise(levels)]
    assert min(contrast) > 2.0
    assert 1.05 / (luminance(style.QUIET) + 0.05) > 4.5  # it can be read on white


def test_the_first_plot_leaves_what_a_notebooks_backend_sets(tmp_path):
    # As the backend of notebooks does: it turns on, when loaded, that figures are shown after each cell.
    backend = "import matplotlib\nfrom matplotlib.backends.backend_agg import *\nmatplotlib.interactive(True)\n"
    (tmp_path / "inline_like.py").write_text(backend)
    code = (
        "import matplotlib, pandas as pd\nfrom bayesdecay.show.plots import plot_contacts\n"
        "plot_contacts(pd.DataFrame({'contacts': [0, 10], 'profit': [0.0, 5.0]}))\nprint(matplotlib.is_interactive())"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    told = os.environ | {"MPLBACKEND": "module://inline_like", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
