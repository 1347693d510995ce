from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesdecay.data.experiment import Experiment
from bayesdecay.data.experiment_table import read_experiment
from bayesdecay.decide.uplift_calibration import uplift_calibration


def world(rng: np.random.Generator, n: int = 2_000, shift: float = 0.3) -> tuple[Experiment, np.ndarray]:
    """Users, and draws of their uplift (sample, user) from a posterior that is right.

    The mean effect is unknown by ``shift`` to all users alike; the draws are its exact posterior, and the truth is one
    more draw of it.
    """
    own, common = 0.5 * rng.normal(size=n), shift * rng.normal(size=201)
    treated = rng.random(n) < 0.5
    frame = pd.DataFrame(
        {"given": np.where(treated, "mail", "none"), "y": treated * (own + common[0]) + rng.normal(size=n)}
    )
    made = read_experiment(frame, arm="given", control="none", outcomes=["y"])
    return made, own + common[1:, None]


def test_right_posterior_is_covered_as_often_as_said():
    # The shift that all share makes the bins of one experiment agree, so experiments are what is counted.
    rng = np.random.default_rng(1)
    judged = [uplift_calibration(*world(rng), outcome="y", arm="mail") for _ in range(200)]
    share = np.array([one.coverage for one in judged])
    assert abs(share.mean() - 0.9) < 3.5 * share.std() / np.sqrt(len(share))
    slopes = np.array([one.slope for one in judged])
    assert abs(slopes.mean() - 1) < 3.5 * slopes.std() / np.sqrt(len(slopes))
    assert np.mean([one.slope_se for one in judged]) == pytest.approx(slopes.std(), rel=0.2)


def test_posterior_that_claims_too_much_is_found_out():
    rng = np.random.default_rng(2)
    made, draws = world(rng, 8_000, shift=0.01)
    sure = uplift_calibration(made, draws, outcome="y", arm="mail")
    bold = uplift_calibration(made, 3 * draws, outcome="y", arm="mail")
    assert sure.slope == pytest.approx(3 * bold.slope)
    assert bold.slope + 3 * bold.slope_se < 0.5
    assert bold.coverage < 0.6 < sure.coverage


def test_bins_are_the_means_of_their_users_draw_by_draw():
    made, draws = world(np.random.default_rng(3), 100)
    table = uplift_calibration(made, draws, outcome="y", arm="mail", bins=4).table
    order = np.argsort(draws.mean(axis=0))
    for row, inside in zip(table.itertuples(), np.split(order, 4), strict=True):
        means = draws[:, inside].mean(axis=1)
        assert row.predicted == pytest.approx(means.mean())
        ends = np.quantile(means, [0.05, 0.95], method="weibull")
        assert (row.predicted_lower, row.predicted_upper) == pytest.approx(ends)
        part = made.table.iloc[inside].groupby("arm")["y"]
        assert row.realised == pytest.approx(part.mean()["mail"] - part.mean()["none"])
        assert row.realised_se == pytest.approx(np.sqrt((part.var() / part.size()).sum()))
        wide = 1.6448536 * np.hypot(row.realised_se, means.std())
        assert (row.predictive_lower, row.predictive_upper) == pytest.approx(
            (row.predicted - wide, row.predicted + wide)
        )
        assert row.covered == (abs(row.realised - row.predicted) <= wide)


def test_table_of_intervals_is_as_wide_as_if_all_were_shared():
    made, draws = world(np.random.default_rng(4))
    lower, upper = np.quantile(draws, [0.05, 0.95], axis=0, method="weibull")
    told = pd.DataFrame({"mean": draws.mean(axis=0), "lower": lower, "upper": upper}).sample(frac=1, random_state=1)
    by_draws, by_table = (uplift_calibration(made, p, outcome="y", arm="mail").table for p in (draws, told))
    columns = ["predicted", "predicted_lower", "predicted_upper", "realised"]
    pd.testing.assert_frame_equal(by_draws[columns], by_table[columns])  # here the doubt is shared by all


def test_labelled_draws_are_aligned_by_user():
    made, draws = world(np.random.default_rng(5), 300)
    labelled = xr.DataArray(draws.reshape(2, 100, 300), dims=("chain", "draw", "user"), coords={"user": np.arange(300)})
    shuffled = labelled.isel(user=np.random.default_rng(6).permutation(300)).transpose("user", "draw", "chain")
    tables = [uplift_calibration(made, p, outcome="y", arm="mail", bins=3).table for p in (draws, shuffled)]
    pd.testing.assert_frame_equal(*tables)


def test_equal_predictions_have_no_slope():
    made, _ = world(np.random.default_rng(7), 300)
    judged = uplift_calibration(made, np.full((50, 300), 0.1), outcome="y", arm="mail", bins=2)
    assert np.isnan(judged.slope)
    assert "differ" not in str(judged)


def test_wrong_predictions_are_refused():
    made, draws = world(np.random.default_rng(8), 60)
    judge = {"outcome": "y", "arm": "mail"}
    with pytest.raises(ValueError, match=r"predicted has the shape \(59, 200\), the experiment has 60 users"):
        uplift_calibration(made, draws[:, 1:], **judge)
    with pytest.raises(ValueError, match=r"unknown column of the predicted uplift: 'lower'"):
        uplift_calibration(made, pd.DataFrame({"mean": np.ones(60)}), **judge)
    with pytest.raises(
        ValueError, match=r"a bin of 1 users has [01] of the arm '(mail|none)'; expected at least 2: take fewer"
    ):
        uplift_calibration(made, draws, bins=60, **judge)
    with pytest.raises(ValueError, match="61 bins of 60 users cannot be"):
        uplift_calibration(made, draws, bins=61, **judge)
    draws[3, 3] = np.inf
    with pytest.raises(ValueError, match=r"expected finite draws \(sample, user\), got the shape \(200, 60\)"):
        uplift_calibration(made, draws, **judge)
