"""The classics against their published fits and against their own stories told by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from peers import ParetoNBD, fit_paretonbd, paretonbd_loglik
from scipy import integrate, special

from bayesdecay.model.bgnbd import BGNBD
from tests.model.cdnow_weeks import calibration_weeks

BG = BGNBD(r=0.243, alpha=4.414, a=0.793, b=2.426)
PARETO = ParetoNBD(r=0.553, alpha=10.58, s=0.606, beta=11.67)
CLASSICS = pytest.mark.parametrize("classic", [BG, PARETO], ids=lambda classic: type(classic).__name__)
X, T_X, T = (
    np.array([0.0, 0, 1, 2, 7, 26]),
    np.array([0.0, 0, 3.4, 30.4, 20.1, 30.86]),
    np.array([27.0, 38.9, 38.0, 38.86, 30, 31]),
)


@pytest.fixture(scope="module")
def sample():
    return calibration_weeks(sample=True)


def test_paretonbd_reproduces_the_published_fit(sample):
    fit = fit_paretonbd(*sample)
    assert fit.loglik == pytest.approx(-9595.0, abs=0.06)
    assert (fit.r, fit.alpha, fit.s, fit.beta) == pytest.approx((0.553, 10.58, 0.606, 11.67), rel=5e-3)


def test_paretonbd_likelihood_agrees_with_integration_over_customers():
    r, alpha, s, beta = PARETO.r, PARETO.alpha, PARETO.s, PARETO.beta

    def joint(tau, x, t_x):  # rate and dropout rate integrated out, dropout at tau
        return (alpha + tau) ** -(r + x) * s * (beta + tau) ** -(s + 1)

    for x, t_x, T_ in zip(X, T_X, T, strict=True):
        inside, _ = integrate.quad(joint, t_x, T_, args=(x, t_x), epsrel=1e-11, epsabs=0)
        total = inside + (alpha + T_) ** -(r + x) * (beta + T_) ** -s
        expected = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) + s * np.log(beta) + np.log(total)
        found = paretonbd_loglik(np.array([r, alpha, s, beta]), *(np.array([value]) for value in (x, t_x, T_)))
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@CLASSICS
def test_pmf_sums_to_one_and_has_the_published_mean(classic):
    pmf = classic.count_pmf(X, T_X, T, window=39.0, most=400)
    assert (pmf >= 0).all()
    np.testing.assert_allclose(pmf.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(pmf @ np.arange(401), classic.expected_counts(X, T_X, T, window=39.0), rtol=1e-8)


@CLASSICS
def test_unknown_customer_agrees_with_the_story_simulated(classic):
    rng, n, window = np.random.default_rng(1), 200_000, 52.0
    rate = rng.gamma(classic.r, size=n) / classic.alpha
    if classic is BG:
        counts = rng.poisson(rate * window)
        ends_at = rng.geometric(rng.beta(BG.a, BG.b, size=n))
        counts = np.minimum(counts, ends_at)
    else:
        life = rng.exponential(size=n) / (rng.gamma(PARETO.s, size=n) / PARETO.beta)
        counts = rng.poisson(rate * np.minimum(life, window))
    zero = np.zeros(1)
    pmf = classic.count_pmf(zero, zero, zero, window=window, most=30)[0]
    seen = np.bincount(counts, minlength=31)[:31] / n
    np.testing.assert_array_less(np.abs(seen - pmf), 5 * np.sqrt(pmf / n) + 1e-9)


@CLASSICS
def test_long_silence_makes_dropout_likely(classic):
    alive = classic.p_alive(np.full(3, 5.0), np.array([10.0, 10.0, 10.0]), np.array([11.0, 40.0, 200.0]))
    assert (np.diff(alive) < 0).all()
    assert alive[0] > 0.8
    assert alive[2] < 0.01
