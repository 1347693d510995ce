"""The law of decay where floating point is hard on it."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest

from bayesdecay import curves


@pytest.mark.parametrize("interest", [1e-12, 1.0, 1e6])
@pytest.mark.parametrize("rate", [1e-12, 1e-3, 10.0])
@pytest.mark.parametrize("gone", [1e-300, 1e-17, 1e-9, 0.3, 0.999999, 1 - 2**-53])
def test_return_time_is_exact_to_the_last_digits(interest, rate, gone):
    exposure = gone * interest / rate
    share = exposure * rate / interest  # as rounded
    with localcontext(prec=400):
        expected = -(1 - Decimal(share)).ln() / Decimal(rate)
    assert float(curves.return_time(interest, rate, exposure)) == pytest.approx(float(expected), rel=1e-14)


def test_return_time_of_who_never_returns_is_infinite():
    times = curves.return_time(np.array([0.5, 0.5, 0.0]), 1.0, np.array([0.5, 0.6, 0.1]))
    assert np.isinf(times).all()


def test_return_time_reaches_the_exposure():
    rng = np.random.default_rng(1)
    interest, rate, exposure = rng.exponential(1, 1_000), rng.lognormal(-3, 2, 1_000), rng.exponential(1, 1_000)
    times = curves.return_time(interest, rate, exposure)
    back = np.isfinite(times)
    np.testing.assert_array_equal(back, exposure < interest / rate)
    np.testing.assert_allclose((interest * curves.decayed_time(rate, times))[back], exposure[back], rtol=1e-9)
