from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import kstest

from bayesdecay.decide.effects import DEFAULT_EFFECT, Effect, contacted, uplift


@given(p=st.floats(1e-6, 1 - 1e-6), tau=st.floats(-5, 5))
def test_contact_adds_to_the_log_odds(p: float, tau: float) -> None:
    assert contacted(p, tau) == pytest.approx(expit(logit(p) + tau), rel=1e-9)
    assert uplift(p, tau) == pytest.approx(contacted(p, tau) - p, abs=1e-14)


@pytest.mark.parametrize("tau", [-1e4, -5.0, 0.0, 5.0, 1e4])
def test_contact_is_exact_at_the_ends(tau: float) -> None:
    ends = np.array([0.0, 1.0])
    np.testing.assert_array_equal(contacted(ends, tau), ends)
    np.testing.assert_array_equal(uplift(ends, tau), [0.0, 0.0])


def test_no_effect_lifts_nothing_at_all() -> None:
    p = np.random.default_rng(1).random(1_000)
    np.testing.assert_array_equal(uplift(p, 0.0), np.zeros(1_000))


def test_uplift_of_a_rare_return_keeps_its_digits() -> None:
    # contacted(p) - p has no correct digit left here: p is below the spacing of floats near 1.
    assert uplift(1e-18, 0.3) == pytest.approx(1e-18 * np.expm1(0.3), rel=1e-12)


def test_draws_have_the_stated_distribution() -> None:
    draws = Effect.normal(0.3, 0.2).draws(4_000, np.random.default_rng(2))
    assert kstest((draws - 0.3) / 0.2, "norm").statistic < 1 / 4_000 + 1e-9  # a slice each, closer than independent
    assert draws.mean() == pytest.approx(0.3, abs=1e-3)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.06  # in random order
    np.testing.assert_array_equal(Effect.point(0.3).draws(3, np.random.default_rng(2)), [0.3, 0.3, 0.3])


def test_draws_repeat_with_the_seed() -> None:
    first, again, other = (DEFAULT_EFFECT.draws(50, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("normal(0.3, 0.2)", Effect.normal(0.3, 0.2)),
        (" Normal( -0.1 ,1e-1) ", Effect.normal(-0.1, 0.1)),
        ("0.3", Effect.point(0.3)),
        ("-0.25", Effect.point(-0.25)),
        ("point(0.3)", Effect.point(0.3)),
        ("none", Effect.none()),
    ],
)
def test_reads_effects_in_words(text: str, effect: Effect) -> None:
    assert Effect.from_text(text) == Effect.normal(effect.mean, effect.sd, reason=effect.reason)


@pytest.mark.parametrize("effect", [Effect.normal(0.3, 0.2), Effect.point(-1.5), Effect.normal(1 / 3, 0.1)])
def test_an_effect_reads_itself_back(effect: Effect) -> None:
    assert Effect.from_text(str(effect)) == effect


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normall(0.3, 0.2)", "unknown effect distribution 'normall'; did you mean 'normal'"),
        ("normal(0.3)", "'normal\\(0.3\\)' cannot be read; write 'normal\\(mean, sd\\)', one number or 'none'"),
        ("normal(0.3, wide)", "cannot be read"),
        ("0.3 0.2", "cannot be read"),
        ("", "cannot be read"),
        ("normal(0.3, -0.2)", "sd is -0.2; a standard deviation is 0"),
        ("20", "on the log-odds scale and must lie within 5; for 20 % higher odds give log\\(1.2\\)"),
        ("nan", "unknown effect distribution 'nan'"),
        ("normal(nan, 1)", "mean nan and sd 1.0 must be finite"),
    ],
)
def test_refuses_what_is_no_effect(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Effect.from_text(text)


def test_refuses_a_number_in_place_of_text() -> None:
    with pytest.raises(TypeError, match=r"expected text such as 'normal\(0.3, 0.2\)', got 0.3"):
        Effect.from_text(0.3)  # type: ignore[arg-type]


def test_statement_says_that_it_is_an_assumption() -> None:
    assert Effect.normal(0.3, 0.2).statement() == (
        "contact is ASSUMED to multiply the odds of returning by 1.35 [0.97, 1.88]; "
        "no randomised treatment is in this log, so no output here is evidence of it"
    )
    assert "[0.91, 2.00]" in Effect.normal(0.3, 0.2).statement(ci_prob=0.95)


def test_statement_marks_a_claim_without_doubt() -> None:
    said = Effect.point(0.3).statement()
    assert "by exactly 1.35 (claiming no doubt, so every interval and risk here is too narrow)" in said
    assert "no randomised treatment" in said


def test_default_effect_has_a_reason() -> None:
    assert (DEFAULT_EFFECT.mean, DEFAULT_EFFECT.sd) == (0.3, 0.2)
    assert "your own test" in DEFAULT_EFFECT.reason
