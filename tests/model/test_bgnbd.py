"""BG/NBD against its published fit, its likelihood by integration, and its story told by simulation elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, special, stats

from bayesdecay.errors import NotConvergedError
from bayesdecay.model import bgnbd
from bayesdecay.model.bgnbd import BGNBD, bgnbd_loglik, fit_bgnbd
from tests.model.cdnow_weeks import calibration_weeks

BG = BGNBD(r=0.243, alpha=4.414, a=0.793, b=2.426)


@pytest.fixture(scope="module")
def sample():
    return calibration_weeks(sample=True)


def test_bgnbd_reproduces_the_published_fit(sample):
    fit = fit_bgnbd(*sample)
    assert fit.loglik == pytest.approx(-9582.4, abs=0.06)
    assert (fit.r, fit.alpha, fit.a, fit.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), abs=2e-3)


def test_bgnbd_on_the_whole_log():
    assert fit_bgnbd(*calibration_weeks(sample=False)).loglik == pytest.approx(-95_368.4, abs=0.1)


def test_fit_does_not_depend_on_the_unit_of_time(sample):
    x, t_x, T = sample
    weeks, days = fit_bgnbd(x, t_x, T), fit_bgnbd(x, 7 * t_x, 7 * T)
    assert days.alpha == pytest.approx(7 * weeks.alpha, rel=1e-3)
    assert days.loglik == pytest.approx(weeks.loglik - x.sum() * np.log(7), abs=1e-3)


def test_weights_stand_for_repeated_customers(sample):
    few = [part[:300] for part in sample]
    twice = fit_bgnbd(*[np.tile(part, 2) for part in few])
    weighted = fit_bgnbd(*few, weights=np.full(300, 2.0))
    assert weighted.loglik == pytest.approx(twice.loglik, abs=1e-6)


def test_expectation_of_the_published_customer():
    # Fader, Hardie and Lee's spreadsheet: customer 0001 (x = 2, t_x = 30.43, T = 38.86) buys 1.226 times in 39 weeks.
    found = BG.expected_counts(np.array([2.0]), np.array([30.43]), np.array([38.86]), window=39.0)
    assert found[0] == pytest.approx(1.226, abs=2e-3)


def test_likelihood_agrees_with_integration_over_users():
    x, t_x, T = 3.0, 20.0, 39.0

    def given(rate, p):  # three purchases and no dropout at the first two; then dropout, or silence
        return (1 - p) ** 2 * rate**3 * np.exp(-rate * t_x) * (p + (1 - p) * np.exp(-rate * (T - t_x)))

    # The mean over p is that of a polynomial, which five nodes of Gauss and Jacobi give exactly.
    nodes, weights = special.roots_jacobi(5, BG.b - 1, BG.a - 1)
    p, share, rate = (nodes + 1) / 2, weights / weights.sum(), stats.gamma(BG.r, scale=1 / BG.alpha)
    total, _ = integrate.quad(lambda r: share @ given(r, p) * rate.pdf(r), 0, 5, epsabs=0, epsrel=1e-10)
    found = bgnbd_loglik(np.array([BG.r, BG.alpha, BG.a, BG.b]), *(np.array([value]) for value in (x, t_x, T)))
    assert found[0] == pytest.approx(np.log(total), abs=1e-8)


def test_nobody_dropping_out_has_a_fit_too():
    rng = np.random.default_rng(1)
    x = rng.poisson(8.0, size=400).astype(float)
    fit = fit_bgnbd(x, np.where(x > 0, 99.9, 0.0), np.full(400, 100.0))
    assert fit.p_alive(np.array([8.0]), np.array([99.9]), np.array([100.0]))[0] > 0.99
    expected = fit.count_pmf(np.array([8.0]), np.array([99.9]), np.array([100.0]), window=50.0, most=60)
    assert expected @ np.arange(61) == pytest.approx(4.0, rel=0.05)


def test_a_search_without_an_end_is_told(monkeypatch):
    monkeypatch.setattr(bgnbd.optimize, "minimize", lambda *_, **__: SimpleNamespace(success=False, message="too long"))
    with pytest.raises(NotConvergedError, match="no maximum of the likelihood was found: too long"):
        fit_bgnbd(np.array([1.0]), np.array([2.0]), np.array([3.0]))
