"""The logistic regression against scikit-learn's, and what it refuses; BG/NBD as a forecaster is in the benchmarks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bayesdecay.errors import DataError
from bayesdecay.model.bgnbd import BGNBD
from bayesdecay.show.later import later_activity
from bayesdecay.show.rivals import Logistic, classic_forecaster, recency_frequency


@pytest.fixture(scope="module")
def came(shop):
    log, history = shop
    return later_activity(log, history, 40, periods=1).counts[:, -1] > 0


def test_logistic_is_that_of_scikit_learn(history, came):
    found = Logistic.fit(history, came)
    n, last, T = recency_frequency(history)
    features = np.column_stack([np.log1p(T - last), np.log1p(n), np.log1p(T), n == 0])
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    theirs = LogisticRegression(C=9.0, tol=1e-10, max_iter=10_000).fit(x, came)  # a prior sd of 3
    np.testing.assert_allclose(found.p_active(history), theirs.predict_proba(x)[:, 1], atol=1e-4)
    assert found.p_active(history).mean() == pytest.approx(came.mean(), abs=1e-5)


def test_logistic_stays_finite_where_outcomes_are_perfectly_parted(history):
    n, *_ = recency_frequency(history)
    p = Logistic.fit(history, n > 0).p_active(history)
    assert np.isfinite(p).all()
    assert p[n == 0].max() < 0.1 < 0.9 < p[n > 0].min()


@pytest.mark.parametrize("all_of", [True, False])
def test_logistic_refuses_outcomes_that_are_all_alike(history, all_of):
    with pytest.raises(DataError, match=f"of 1,500 users at 2024-06-28, {'1,500' if all_of else '0'} came back"):
        Logistic.fit(history, np.full(len(history), all_of))


def test_what_lies_beyond_the_table_goes_into_its_last_cell(history, monkeypatch):
    busy = BGNBD(r=20.0, alpha=10.0, a=0.1, b=50.0)
    whole = classic_forecaster(busy, samples=50)(history, 90.0, np.random.default_rng(1))
    monkeypatch.setattr("bayesdecay.show.rivals._MOST", 3)
    forecast = classic_forecaster(busy, samples=50)(history, 90.0, np.random.default_rng(1))
    assert forecast.pmf.shape == (1_500, 4)
    np.testing.assert_allclose(forecast.pmf.sum(axis=1), 1.0)
    np.testing.assert_allclose(forecast.pmf[:, 3], whole.pmf[:, 3:].sum(axis=1), atol=1e-12)
    assert forecast.total.mean() == pytest.approx(forecast.mean.sum(), rel=0.01)
