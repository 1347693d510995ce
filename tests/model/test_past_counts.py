"""The past told once more: counted as a plain loop counts, and drawn as the law and the simulator have it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from bayesdecay.data.events import read_events
from bayesdecay.data.history import summarize
from bayesdecay.data.simulate import simulate
from bayesdecay.model.past_counts import tally, tally_replicated
from tests.show import made

GAPS, SINCE = np.array([1.0, 5.0, 20.0]), np.array([7.0, 40.0])


def test_tally_is_the_plain_count():
    _, history = made.shop(300)
    told = tally(history, GAPS, SINCE)
    users, gaps, since = np.zeros_like(told.users[0]), np.zeros(4, dtype=int), np.zeros(3, dtype=int)
    for row in history.table.to_pylist():
        times = np.array([0, *row["times"]]) / 86_400_000_000
        users[times.size - 1] += 1
        for gap in np.diff(times):
            gaps[sum(gap > cut for cut in GAPS)] += 1
        if times.size > 1:
            since[sum(row["T"] - times[-1] > cut for cut in SINCE)] += 1
    np.testing.assert_array_equal(told.users[0], users)
    np.testing.assert_array_equal(told.gaps[0], gaps)
    np.testing.assert_array_equal(told.since[0], since)


def test_users_never_seen_again_are_as_the_law_has_it():
    _, history = made.shop(2_000)
    population = made.fit(history).population(100)
    drawn = tally_replicated(population, history, GAPS, SINCE, np.random.default_rng(1))
    assert (drawn.users.sum(axis=1) == 2_000).all()
    rate = np.log(2) / 40

    def silent(z, T):  # the first interest integrated out
        r = rate * np.exp(0.7 * z)
        return stats.norm.pdf(z) / (1 + 0.15 * -np.expm1(-r * T) / r)

    T = history.table["T"].to_numpy()
    ages = np.quantile(T, (np.arange(20) + 0.5) / 20)
    expected = np.mean([integrate.quad(silent, -6, 6, args=(one,))[0] for one in ages])
    share = drawn.users[:, 0] / 2_000
    assert share.mean() == pytest.approx(expected, abs=4 * share.std() / 10 + 0.002)


@pytest.mark.parametrize("resolution", ["continuous", "day"])
def test_pasts_are_those_of_the_simulator(resolution):
    activity = "event" if resolution == "continuous" else "day"
    events = simulate(
        20_000, population=made.SHOP, acquired_within=0, observed="90d", random_seed=3, resolution=resolution
    ).events
    history = summarize(read_events(events), at="2024-03-30", activity=activity)
    seen = tally(history, GAPS, SINCE)
    drawn = tally_replicated(made.fit(history).population(20), history, GAPS, SINCE, np.random.default_rng(1))
    number = np.arange(seen.users.shape[1])
    # In days the simulator cuts times down and the day of acquisition swallows what falls into it; half a day of 90.
    slack = 0.002 if activity == "event" else 0.03
    mean = (drawn.users @ number).mean() / 20_000
    assert (seen.users[0] @ number) / 20_000 == pytest.approx(mean, rel=0.02 + 2 * slack)
    for what in ("gaps", "since"):
        own, others = getattr(seen, what)[0], getattr(drawn, what).sum(axis=0)
        np.testing.assert_allclose(own / own.sum(), others / others.sum(), atol=0.01 + slack)


def test_a_day_counts_once():
    _, history = made.shop(200)
    from dataclasses import replace

    daily = replace(history, activity="day")
    busy = made.fit(history, mu_log_interest=np.log(50.0), mu_log_rate=np.log(1e-4), sigma_log_rate=0.01, alpha=50.0)
    drawn = tally_replicated(busy.population(4), daily, np.array([1.0]), SINCE, np.random.default_rng(1))
    (block,) = history.blocks()
    assert np.flatnonzero(drawn.users[0]).max() <= block.T.max()
    assert drawn.gaps[:, 1].sum() == 0  # every day there is one
