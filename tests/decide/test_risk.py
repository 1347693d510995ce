from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import norm

from bayesdecay.decide.risk import Risk, cvar, interval, p_loss

profits = st.lists(st.integers(-50, 50), min_size=1, max_size=30)


def rockafellar_uryasev(profit: np.ndarray, level: float) -> float:
    """CVaR as the linear program max v - sum(z) / (q n), z >= v - profit, z >= 0."""
    n, worst = profit.size, 1 - level
    program = linprog(
        c=[-1.0, *np.full(n, 1 / (worst * n))],
        A_ub=np.column_stack([np.ones(n), -np.eye(n)]),
        b_ub=profit,
        bounds=[(None, None), *[(0, None)] * n],
    )
    return float(-program.fun)


@given(profit=profits, level=st.sampled_from([0.0, 0.3, 0.5, 0.77, 0.9, 0.95, 0.99]))
def test_cvar_is_the_optimum_of_its_linear_program(profit: list[int], level: float) -> None:
    draws = np.array(profit, dtype=float)
    assert cvar(draws, level) == pytest.approx(rockafellar_uryasev(draws, level), abs=1e-6)


def test_cvar_of_a_normal_profit_has_its_closed_form() -> None:
    draws = norm.ppf((np.arange(200_000) + 0.5) / 200_000, loc=10, scale=3)
    for level in (0.5, 0.9, 0.95):
        exact = 10 - 3 * norm.pdf(norm.ppf(level)) / (1 - level)
        assert cvar(draws, level) == pytest.approx(exact, abs=1e-3)


def test_cvar_splits_the_draw_at_the_border() -> None:
    # The worst 3/8 of four draws is the worst one and half of the next.
    assert cvar([4.0, 1.0, 3.0, 2.0], level=1 - 3 / 8) == pytest.approx((1.0 + 0.5 * 2.0) / 1.5)
    assert cvar([4.0, 1.0, 3.0, 2.0], level=0.99) == 1.0
    assert cvar([4.0, 1.0, 3.0, 2.0], level=0.0) == 2.5


def test_cvar_counts_whole_draws_exactly() -> None:
    # (1 - 0.95) * 100 is 5.000000000000004 in floating point.
    draws = np.array([-1.0] * 5 + [1e9] * 95)
    assert cvar(draws, 0.95) == -1.0


@given(profit=profits, shift=st.integers(-9, 9))
def test_cvar_is_coherent(profit: list[int], shift: int) -> None:
    draws = np.array(profit, dtype=float)
    levels = [cvar(draws, level) for level in (0.0, 0.5, 0.9, 0.99)]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(levels))
    assert cvar(draws + shift, 0.9) == pytest.approx(cvar(draws, 0.9) + shift)
    other = draws[::-1] * 2 - 1
    assert cvar(draws + other, 0.9) >= cvar(draws, 0.9) + cvar(other, 0.9) - 1e-9


def test_loss_and_interval() -> None:
    draws = np.arange(-1.0, 9.0)
    assert p_loss(draws) == 0.1  # breaking even is no loss
    assert interval(draws, 0.8) == pytest.approx((-0.9, 7.9))  # a tenth of the eleven gaps of ten draws at each end


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        ([], "at least one draw, got the shape \\(0,\\)"),
        ([[1.0, 2.0]], "one dimension with at least one draw, got the shape \\(1, 2\\)"),
        ([1.0, np.nan], "some draws are missing or infinite"),
    ],
)
def test_refuses_draws_that_say_nothing(draws: list[float], message: str) -> None:
    for risk in (cvar, p_loss, interval):
        with pytest.raises(ValueError, match=message):
            risk(draws)


def test_refuses_levels_that_are_no_shares() -> None:
    with pytest.raises(ValueError, match="level is 95; expected a share between 0 and 1"):
        cvar([1.0], 95)
    with pytest.raises(ValueError, match="ci_prob is 0; expected a share"):
        interval([1.0], 0)
    with pytest.raises(TypeError, match="ci_prob is a number between 0 and 1, got '90%'"):
        interval([1.0], "90%")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "risk"),
    [
        ("neutral", Risk.neutral()),
        ("cvar(0.9, 0.25)", Risk.cvar(level=0.9, weight=0.25)),
        (" CVaR ( 0.9,0.25 ) ", Risk.cvar(level=0.9, weight=0.25)),
        ("max_loss_probability(0.05)", Risk.max_loss_probability(0.05)),
    ],
)
def test_reads_risk_appetites_in_words(text: str, risk: Risk) -> None:
    assert Risk.from_text(text) == risk


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cvarr(0.9, 0.2)", "unknown risk appetite 'cvarr'; did you mean 'cvar'"),
        ("cvar(0.9)", r"risk 'cvar\(0.9\)' cannot be read; write 'neutral', 'cvar\(level, weight\)' or 'max_loss"),
        ("neutral(1)", "cannot be read"),
        ("0.5", "cannot be read"),
        ("cvar(0.9, much)", "cannot be read"),
        ("cvar(1.5, 0.5)", "risk: level is 1.5"),
        ("max_loss_probability(5)", r"risk: the highest P\(loss\) is 5.0"),
    ],
)
def test_refuses_what_is_no_risk_appetite(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Risk.from_text(text)


def test_a_number_is_no_risk_appetite() -> None:
    with pytest.raises(TypeError, match="expected text such as"):
        Risk.from_text(0.5)  # type: ignore[arg-type]
