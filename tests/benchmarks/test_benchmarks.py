"""What in the benchmarks could be wrong without anybody noticing: the repeated users, the peers' forecasts."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from measuring import markdown, run
from peers import ParetoNBD
from repeated import repeated

from bayesdecay import History, names, read_events, summarize
from bayesdecay.model.bgnbd import BGNBD
from bayesdecay.show.rivals import classic_forecaster, recency_frequency

BG = BGNBD(r=0.243, alpha=7 * 4.414, a=0.793, b=2.426)  # in days
PARETO = ParetoNBD(r=0.553, alpha=7 * 10.58, s=0.606, beta=7 * 11.67)


@pytest.fixture(scope="module")
def history() -> History:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"user": rng.integers(0, 40, 200), "day": rng.integers(0, 200, 200)})
    frame["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame.pop("day"), unit="D")
    return summarize(read_events(frame), at="2024-08-01")


def test_repeated_users_are_possible_and_all_different(history):
    many = repeated(history, 1_000)
    (block,) = many.blocks()
    table = many.table
    assert table.schema.equals(history.table.schema)
    assert table[names.USER].to_pylist() == list(range(1, 1_001))
    assert len(set(table["T"].to_pylist())) == 1_000
    assert block.n.sum() == block.times.size
    assert (block.last <= block.T).all()
    within = [block.times[a:b] for a, b in zip(block.offsets, block.offsets[1:], strict=False)]
    assert all((np.diff(times, prepend=0.0) > 0).all() for times in within)
    np.testing.assert_allclose(block.last, [times[-1] if times.size else 0.0 for times in within], atol=1e-10)
    np.testing.assert_allclose(block.sum_times, [times.sum() for times in within], rtol=1e-9, atol=1e-9)
    assert max(table[names.LAST].to_pylist()) <= many.at


@pytest.mark.parametrize("classic", [BG, PARETO], ids=lambda classic: type(classic).__name__)
def test_classic_forecast_has_the_published_mean_and_its_total(history, classic):
    forecast = classic_forecaster(classic, samples=4_000)(history, 91.0, np.random.default_rng(1))
    expected = classic.expected_counts(*recency_frequency(history), window=91.0)
    np.testing.assert_allclose(forecast.pmf.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(forecast.mean, expected, rtol=1e-5)
    error = forecast.total.std() / np.sqrt(forecast.total.size)
    assert forecast.total.mean() == pytest.approx(expected.sum(), abs=4 * error)


def test_tables_put_numbers_to_the_right():
    table = pd.DataFrame({"who": ["a"], "how many": ["1,000"], "change": ["-0.2 ± 0.1"]})
    lines = markdown(table).splitlines()
    assert lines == ["| who | how many | change |", "| --- | ---: | ---: |", "| a | 1,000 | -0.2 ± 0.1 |"]


def test_a_process_reports_its_last_line_and_its_failure():
    found, seconds = run([sys.executable, "-c", "print('working'); print('{\"ess\": 4}')"])
    assert found["ess"] == 4
    assert 0 <= found["cpu_seconds"] < 5
    assert seconds > 0
    with pytest.raises(RuntimeError, match="no such luck"):
        run([sys.executable, "-c", "raise SystemExit('no such luck')"])
