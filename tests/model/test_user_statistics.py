"""Users' statistics and likelihood against the law itself: intensities integrated, parameters integrated out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from bayesdecay import curves, names
from bayesdecay.model import exposure
from bayesdecay.model import grid as grids
from bayesdecay.model.grid import Grid
from bayesdecay.model.user_statistics import Statistics, marginal_loglik, statistics
from tests.model.worlds import block_of, log_likelihood

TIMES, END = [0.4, 3.0, 3.5, 20.0, 41.0], 60.0
RATES = np.geomspace(1e-6, 20.0, 40)
HISTORIES = st.lists(st.floats(0.01, 30.0), min_size=0, max_size=8).map(lambda gaps: list(np.cumsum(gaps)))


def exposures(times, T, *, rates=RATES, restorations=(0.0, 0.3, 1.0)):
    """E (node, rate) of one user."""
    block = block_of([list(times)], [T])
    return exposure.exposures(
        block.times, block.offsets, block.T, rates, np.array(restorations), 1.0 / rates, np.zeros(block.times.size)
    )[0]


@pytest.mark.parametrize("rho", [0.0, 0.35, 0.9, 1.0])
@pytest.mark.parametrize("rate", [1e-5, 0.03, 0.7, 5.0])
def test_exposure_is_the_integrated_intensity(rho, rate):
    def intensity(t):
        last = max((s for s in [0.0, *TIMES] if s <= t), default=0.0)
        return np.exp(-rate * curves.effective_age(t, last, rho))

    expected = sum(integrate.quad(intensity, a, b, epsrel=1e-12)[0] for a, b in pairwise([0.0, *TIMES, END]))
    found = exposures(TIMES, END, rates=np.array([rate]), restorations=[rho])[0, 0]
    assert found == pytest.approx(expected, rel=1e-9)


def test_limits_of_restoration():
    none, _, full = exposures(TIMES, END)
    np.testing.assert_allclose(none, curves.decayed_time(RATES, END), rtol=1e-10)
    gaps = np.diff([0.0, *TIMES, END])
    np.testing.assert_allclose(full, curves.decayed_time(RATES[:, None], gaps).sum(axis=1), rtol=1e-10)


def test_exposure_of_one_who_never_fades_is_time_itself():
    np.testing.assert_allclose(exposures(TIMES, END, rates=np.array([1e-12])), END, rtol=1e-9)


@given(times=HISTORIES, rest=st.floats(0.0, 50.0), further=HISTORIES, rho=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_exposure_adds_up_over_any_cut_in_time(times, rest, further, rho):
    cut = (times[-1] if times else 0.0) + rest
    later = [cut + gap for gap in further]
    end = (later[-1] if later else cut) + 3.0
    whole = exposures([*times, *later], end, restorations=[rho])[0]
    # After the cut: the gap that was open goes on, then one term an activity.
    age = curves.effective_age(cut, times[-1] if times else 0.0, rho)
    starts, ends = [cut, *later], [*later, end]
    ages = [age, *((1 - rho) * np.array(later))]
    pieces = [
        np.exp(-RATES * a) * curves.decayed_time(RATES, to - at) for a, at, to in zip(ages, starts, ends, strict=True)
    ]
    np.testing.assert_allclose(whole, exposures(times, cut, restorations=[rho])[0] + sum(pieces), rtol=1e-9, atol=1e-12)


@given(times=HISTORIES, rho=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_ageing_is_the_sum_of_effective_ages_at_the_activities(times, rho):
    end = (times[-1] if times else 0.0) + 1.0
    part = Statistics.from_block(block_of([times], [end]), Grid(rates=RATES[:5], restorations=np.array([rho])))
    expected = sum(t - rho * before for before, t in pairwise([0.0, *times]))
    assert part.ageing[0, 0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("times", "T"), [([], 30.0), ([2.0], 90.0), ([0.5, 1.0, 4.0, 4.5, 9.0], 25.0), ([30.0, 31.0, 100.0], 101.0)]
)
@pytest.mark.parametrize("rho", [0.0, 0.6, 1.0])
def test_marginal_likelihood_is_the_integral_over_rate_and_interest(times, T, rho):
    mu_r, sigma, mu_i, kappa, alpha = np.log(0.03), 0.8, np.log(0.2), 0.4, 1.3

    def integrand(log_initial, z):
        scale = np.exp(mu_i + kappa * z) / alpha
        prior = stats.norm.pdf(z) * stats.gamma.pdf(np.exp(log_initial), alpha, scale=scale) * np.exp(log_initial)
        loglik = log_likelihood(times, T, rate=np.exp(mu_r + sigma * z), initial=np.exp(log_initial), rho=rho)
        return prior * np.exp(loglik)

    z, dz = np.linspace(-7, 7, 400, retstep=True)
    log_initial, dx = np.linspace(-22, 4, 800, retstep=True)
    expected = np.log(integrand(log_initial[None, :], z[:, None]).sum() * dz * dx)  # trapezoids, zero at the edges
    grid = Grid.covering(T, 0.1, restoration=rho, n_rates=80)
    log_rates = np.log(grid.rates)
    found = marginal_loglik(
        Statistics.from_block(block_of([times], [T]), grid),
        grid,
        grids.log_weights(log_rates, mu_r, sigma),
        grids.log_beta(log_rates, (mu_r, mu_i), {"alpha": alpha, "kappa": kappa, "sigma_r": sigma}),
        alpha=alpha,
        rho=rho,
    )
    assert found[0] == pytest.approx(expected, abs=2e-6)


def test_statistics_are_labelled_with_the_users_own_ids(history):
    grid = Grid.covering(180.0, 1.0, n_rates=7)
    found = statistics(history, grid)
    assert found["E"].dims == (names.USER, "restoration", "rate")
    assert found.sizes == {"user": len(history), "restoration": grid.restorations.size, "rate": 7}
    assert found["user"].to_numpy().tolist() == history.table["user"].to_pylist()
    assert found["E"].attrs["units"] == "d"
    row = 17
    times = np.array(history.table["times"][row].as_py()) / 86_400_000_000
    expected = exposures(times, history.table["T"][row].as_py(), rates=grid.rates, restorations=grid.restorations)
    np.testing.assert_allclose(found["E"][row], np.maximum(expected, 1e-5))
    np.testing.assert_allclose(found["A"][row], times.sum() - grid.restorations * times[:-1].sum(), atol=1e-9)
