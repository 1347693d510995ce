"""The compiled loops over what comes after the cutoff, against known distributions."""

from __future__ import annotations

import numpy as np
import pytest

from bayesdecay.model import ahead


def test_counts_of_new_users_are_poisson_without_restoration():
    size, interest, rate, length = 40_000, 0.3, 0.05, 20.0
    everybody = np.ones(size)
    counts = ahead.count_activities(
        interest * everybody,
        rate * everybody,
        0.0 * everybody,
        np.inf * everybody,
        length,
        False,
        np.random.default_rng(5),
    )
    mean = interest * -np.expm1(-rate * length) / rate
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / size))
    assert counts.var() == pytest.approx(mean, rel=0.06)


def test_counts_of_busy_users_who_hardly_fade():
    # Between two activities such a user fades by less than the spacing of numbers beside 1.
    interest, rate = np.full(200, 500.0), np.full(200, 1e-16)
    counts = ahead.count_activities(
        interest, rate, np.full(200, 0.5), np.full(200, np.inf), 10.0, False, np.random.default_rng(6)
    )
    assert counts.mean() == pytest.approx(5_000, abs=4 * np.sqrt(5_000 / 200))
