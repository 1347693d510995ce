"""Users replicated from a fit that states a known law, beside users that were simulated by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesdecay.data.block import Block
from bayesdecay.data.events import read_events
from bayesdecay.data.history import History, summarize
from bayesdecay.data.simulate import simulate
from bayesdecay.model import replicate
from bayesdecay.model.replicate import replicated
from tests.show import made


@pytest.fixture(scope="module")
def history() -> History:
    drawn = simulate(1_500, population=made.SHOP, acquired_within="300d", observed="360d", random_seed=3)
    return summarize(read_events(drawn.events), activity="event")


def block_of(history: History) -> Block:
    return next(history.blocks(len(history)))


def test_replicated_users_are_those_of_the_simulation(history):
    own = block_of(history)
    blocks = list(replicated(made.fit(history).population(8), own, np.random.default_rng(1)))
    for block in blocks:
        np.testing.assert_array_equal(block.T, own.T)
        assert (block.times <= np.repeat(block.T, block.n)).all()
        each = np.split(block.times, block.offsets[1:-1])
        assert all((np.diff(times) > 0).all() for times in each)
        np.testing.assert_array_equal(block.last, [times[-1] if times.size else 0.0 for times in each])
        np.testing.assert_allclose(block.sum_times, [times.sum() for times in each])
    for measure in (lambda b: (b.n > 0).mean(), lambda b: np.log1p(b.n).mean(), lambda b: (b.last / b.T).mean()):
        values = np.array([measure(block) for block in blocks])
        assert measure(own) == pytest.approx(values.mean(), abs=4.5 * values.std(ddof=1) * np.sqrt(1 + 1 / 8))


def test_replicated_days_are_whole_and_different(history):
    own = block_of(history)
    days = replace(own, T=np.floor(own.T))
    block = next(replicated(made.fit(history).population(1), days, np.random.default_rng(1), whole_days=True))
    assert block.times.min() >= 1
    assert (block.times == np.round(block.times)).all()
    assert block.n.max() <= block.T.max()
    assert all((np.diff(times) > 0).all() for times in np.split(block.times, block.offsets[1:-1]))


def test_who_acts_without_end_is_cut_off(history):
    endless = made.fit(history, mu_log_interest=np.log(1e4), mu_log_rate=np.log(1e-6), sigma_log_rate=0.01, alpha=50.0)
    few = block_of(history).take(np.arange(3))
    block = next(replicated(endless.population(1), few, np.random.default_rng(1)))
    assert (block.n == replicate.MOST).all()


def test_nobody_acts_who_is_not_seen_any_longer(history):
    own = block_of(history)
    block = next(replicated(made.fit(history).population(1), replace(own, T=0.0 * own.T), np.random.default_rng(1)))
    assert block.n.sum() == block.times.size == 0
