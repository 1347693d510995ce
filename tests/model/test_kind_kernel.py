"""The compiled loop that draws kinds, against quadrature, a recursion over days, and closed forms."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from bayesdecay import curves
from bayesdecay.model import streams
from bayesdecay.model.ahead import state_at, time_ahead
from bayesdecay.model.kind_kernel import draw_kinds
from tests.model.thinned import none_by_days, none_by_quadrature, none_by_renewal


def futures(state, T, *, rho, pi, ends, whole_days=False, shock=None):
    """Chances (end,) of a kind, ``pi`` of one user's activities, their standard errors, and E[N] (end,).

    ``state`` is the user's interest, rate and the law's shoulder; it was last seen at its acquisition, ``T`` days ago.
    """
    size = 40_000
    rng, stream = streams.open_generator()
    ends, (interest, rate, shoulder) = np.array(ends, dtype=float), state
    shock = np.ones(ends.size) if shock is None else np.array(shock)
    within = np.empty(ends.size)
    time_ahead(rate, shoulder + T + (0.5 if whole_days else 0.0), ends, shock, within)
    _, p, expected, number = draw_kinds(
        np.tile(1e12 * np.array([pi, 1.0 - pi]), (1, size, 1)),
        np.zeros((1, 2), np.int64),
        (
            np.full((1, size), interest),
            np.full((1, size), rate),
            np.tile(-np.expm1(-interest * within), (1, size, 1)),
            np.array([T]),
            np.zeros(1),
            np.full(size, rho),
        ),
        np.full((1, size, ends.size), 3.0),
        (ends, np.tile(shock, (size, 1)), shoulder, whole_days, 2),
        streams.user_keys(pa.array([1]), streams.seed_words(1)),
        stream,
        rng,
    )
    assert (number.sum(axis=2) == 3.0).all()
    return p[0, :, 0].mean(axis=0), p[0, :, 0].std(axis=0) / np.sqrt(size), expected[0].mean(axis=0)


def fading(interest, rate, restored, *, rho, **asked):
    """The same of a user whose interest fades exponentially and is so much right after an activity at the cutoff."""
    T = np.log(restored / interest) / (rate * rho) if rho else 0.0
    return futures((interest, rate, np.inf), T, rho=rho, **asked)


@pytest.mark.parametrize(
    ("interest", "restored", "rho", "pi"),
    [(0.02, 0.3, 0.6, 0.2), (0.02, 0.3, 0.9, 0.7), (0.4, 0.5, 0.6, 0.05), (0.1, 0.1, 0.0, 0.3)],
)
def test_thinned_futures_are_those_of_the_renewal_equation(interest, restored, rho, pi):
    p, error, _ = fading(interest, 0.04, restored, rho=rho, pi=pi, ends=[7.0, 30.0])
    for h, end in enumerate((7.0, 30.0)):
        none = none_by_quadrature(interest, 0.04, restored, rho=rho, pi=pi, end=end)
        assert p[h] == pytest.approx(1.0 - none, abs=4.0 * error[h] + 1e-5)
    assert error.max() < 0.003


@pytest.mark.parametrize(("interest", "rho", "pi"), [(0.05, 0.7, 0.2), (0.8, 0.9, 0.1)])
def test_thinned_days_are_those_of_a_recursion_over_days(interest, rho, pi):
    p, error, _ = fading(interest, 0.05, 1.2, rho=rho, pi=pi, ends=[7.0, 30.0], whole_days=True)
    for h, days in enumerate((7, 30)):
        none = none_by_days(interest, 0.05, 1.2, rho=rho, pi=pi, days=days)
        assert p[h] == pytest.approx(1.0 - none, abs=4.0 * error[h])


@pytest.mark.parametrize(("interest", "rho", "pi"), [(0.05, 0.6, 0.2), (0.3, 0.9, 0.5)])
def test_thinned_futures_by_a_power_law_are_those_of_the_renewal_equation(interest, rho, pi):
    shoulder, T, first_rate = 15.0, 40.0, 0.12
    rate = curves.rate_after(first_rate, T, shoulder)
    first = interest / curves.interest_after(1.0, first_rate, T, shoulder)
    p, error, _ = futures((interest, rate, shoulder), T, rho=rho, pi=pi, ends=[7.0, 30.0])

    def after_one(time: float) -> tuple[float, float, float]:
        age = (1.0 - rho) * (T + time)
        left = curves.interest_after(first, first_rate, age, shoulder)
        return left, curves.rate_after(first_rate, age, shoulder), curves.shoulder_after(age, shoulder)

    for h, end in enumerate((7.0, 30.0)):
        none = none_by_renewal((interest, rate, shoulder + T), after_one, pi=pi, end=end)
        assert p[h] == pytest.approx(1.0 - none, abs=4.0 * error[h] + 1e-5)


@pytest.mark.parametrize("whole_days", [False, True])
@pytest.mark.parametrize("shoulder", [np.inf, 20.0])
def test_the_first_interest_is_found_again(whole_days, shoulder):
    """With nothing restored an activity changes nothing, so all futures are of the law from the cutoff on."""
    state = state_at(0.8, 0.1, 30.0, shoulder, whole_days)
    p, error, expected = futures(
        (state[0], state[1], shoulder), 30.0, rho=0.0, pi=0.4, ends=[40.0], whole_days=whole_days
    )
    if whole_days:
        days = [state_at(0.8, 0.1, 30.0 + day, shoulder, True) for day in range(40)]
        within, one = np.array([np.empty(1)] * 40), np.ones(1)
        for day, own in enumerate(days):
            time_ahead(own[1], own[2], one, one, within[day])
        active = -np.expm1(-np.array([own[0] for own in days]) * within[:, 0])
        assert p[0] == pytest.approx(1.0 - np.prod(1.0 - 0.4 * active), abs=4.0 * error[0])
        assert expected[0] == pytest.approx(active.sum(), rel=0.02)
    else:
        mass = state[0] * curves.decayed_time(state[1], 40.0, state[2])
        assert p[0] == pytest.approx(-np.expm1(-0.4 * mass), abs=4.0 * error[0])
        assert expected[0] == pytest.approx(mass, rel=0.02)


def test_without_restoration_the_kind_is_a_thinned_poisson_process():
    shock = [1.5, 0.5]
    p, error, expected = fading(0.3, 0.02, 0.3, rho=0.0, pi=0.25, ends=[10.0, 40.0], shock=shock)
    mass = 0.3 * np.cumsum([1.5 * -np.expm1(-0.2), 0.5 * (np.exp(-0.2) - np.exp(-0.8))]) / 0.02
    np.testing.assert_allclose(p, -np.expm1(-0.25 * mass), atol=4.0 * error.max())
    np.testing.assert_allclose(expected, mass, rtol=0.01)


def test_all_activities_of_one_kind_are_any_activity():
    p, _, _ = fading(0.05, 0.03, 0.4, rho=0.5, pi=1.0, ends=[7.0, 30.0])
    np.testing.assert_allclose(p, -np.expm1(-0.05 * -np.expm1(-0.03 * np.array([7.0, 30.0])) / 0.03), rtol=1e-9)


def test_shares_next_to_all_or_nothing_are_drawn_too():
    """Gamma variables of a tiny shape are 0 in floating point; then one kind has all, as often as it should."""
    rng, state = streams.open_generator()
    user = np.zeros((1, 20_000))
    share, *_ = draw_kinds(
        np.tile([2e-6, 8e-6], (1, 20_000, 1)),
        np.zeros((1, 2), np.int64),
        (user, user, np.zeros((1, 20_000, 1)), user[:, 0], user[:, 0], user[0]),
        np.zeros((1, 20_000, 1)),
        (np.array([30.0]), np.ones((20_000, 1)), np.inf, False, 1),
        streams.user_keys(pa.array([1]), streams.seed_words(1)),
        state,
        rng,
    )
    np.testing.assert_allclose(share.sum(axis=2), 1.0)
    assert share[0, :, 0].mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / 20_000))
