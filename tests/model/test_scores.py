"""What may be asked of the scores."""

from __future__ import annotations

import numpy as np
import pytest

from bayesdecay.model.scores import ScoreOptions


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"ci_prob": 1.0}, ValueError, "ci_prob must lie between 0 and 1, got 1.0"),
        ({"ci_prob": 90}, ValueError, "ci_prob must lie between 0 and 1, got 90"),
        ({"floor": 0.0}, ValueError, r"floor must be an interest above zero \[activities per day\], got 0.0"),
        ({"horizons": ["30d", "4 moons"]}, ValueError, "horizons: duration '4 moons' cannot be read"),
        ({"horizons": {"30d": -30.0}}, ValueError, "horizons: duration -30.0 must be finite and not negative"),
        ({"horizons": {"30d": float("nan")}}, ValueError, "horizons: duration nan must be finite"),
        ({"horizons": {"now": 0.0}}, ValueError, "horizons: expected one or several different durations above zero"),
        ({"horizons": ["30d", 30]}, ValueError, r"horizons: expected .* above zero, got \['30d', 30\]"),
        ({"horizons": {30: 30.0}}, TypeError, "horizons: the label of a duration is text such as '30d', not 30"),
        ({"horizons": {"30d", "90d"}}, TypeError, "horizons: a duration is text such as '60d', .* not {'"),
        ({"horizons": None}, TypeError, "horizons: a duration is text such as '60d', .* not None"),
        ({"horizons": b"30d"}, TypeError, "horizons: a duration is text"),
        ({"silent": ["30d", "-1d"]}, ValueError, "silent: duration '-1d' cannot be read"),
        ({"silent": {"ever": float("inf")}}, ValueError, "silent: duration inf must be finite"),
    ],
)
def test_options_are_checked(options, kind, message):
    with pytest.raises(kind, match=message):
        ScoreOptions(**options)


@pytest.mark.parametrize("given", [["30d", "2w"], ("30d", 14), np.array([30, 14]), {"30d": "30d", "14d": 14.0}])
def test_durations_may_be_written_as_lists(given):
    assert ScoreOptions(horizons=given, silent=given).windows == {"30d": 30.0, "14d": 14.0}
    assert ScoreOptions(horizons=given, silent=given).silences == {"30d": 30.0, "14d": 14.0}


def test_a_length_may_be_one_or_none_and_silence_zero():
    assert ScoreOptions(horizons="12h").windows == {"12h": 0.5}
    assert ScoreOptions(horizons=[]).windows == {}
    assert ScoreOptions().windows == {"30d": 30.0, "90d": 90.0}
    assert ScoreOptions(silent=[0, "1d"]).silences == {"0d": 0.0, "1d": 1.0}
    given = {"month": 30.0}
    options = ScoreOptions(horizons=given)
    given["month"] = 31.0
    assert options.windows == {"month": 30.0}
