from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.decide.uplift_calibration import uplift_calibration
from bayesdecay.decide.uplift_curves import uplift_curve
from bayesdecay.show.uplift_plots import plot_uplift_calibration, plot_uplift_curve


@pytest.fixture(params=[True, False], ids=["lots drawn", "no lots"])
def judged(request):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"given": ["mail", "none"] * 200, "x": rng.normal(size=400), "visit": rng.random(400)})
    made = read_experiment(
        frame, arm="given", control="none", outcomes=["visit"], features=["x"], randomised=request.param
    )
    draws = 0.1 * frame["x"].to_numpy() + 0.02 * rng.normal(size=(50, 1))
    told = {"outcome": "visit", "arm": "mail"}
    return uplift_curve(made, frame["x"], **told), uplift_calibration(made, draws, **told)


def test_plots_draw_the_tables_and_say_what_is_causal(judged):
    curve, calibration = judged
    settings = dict(mpl.rcParams)
    axes = plot_uplift_curve(curve, ax=Figure().subplots())
    np.testing.assert_allclose(axes.lines[0].get_ydata(), curve.table["gain"])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), curve.table["random"])
    assert axes.get_xlabel() == "share of the users given mail, the highest scores first"
    assert ("not causal" in axes.get_ylabel()) == (not curve.causal)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "score", "90% interval", "random order", "90% of these"
    ]  # fmt: skip
    beside = plot_uplift_calibration(calibration, ax=Figure().subplots())
    drawn = np.concatenate([bar.lines[0].get_xydata() for bar in beside.containers])
    np.testing.assert_allclose(
        drawn[np.argsort(drawn[:, 0])], calibration.table.sort_values("predicted")[["predicted", "realised"]]
    )
    assert ("not causal" in beside.get_ylabel()) == (not calibration.causal)
    assert dict(mpl.rcParams) == settings


def test_groups_outside_of_their_interval_are_hollow(judged):
    table = judged[1].table.assign(covered=lambda t: t.index > 1)
    axes = plot_uplift_calibration(replace(judged[1], table=table), ax=Figure().subplots())
    filled, hollow = (bar.lines[0] for bar in axes.containers)
    assert len(filled.get_xdata()) == len(table) - 2
    assert hollow.get_markerfacecolor() == "white"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "as predicted", "in its predictive interval", "outside"
    ]  # fmt: skip
