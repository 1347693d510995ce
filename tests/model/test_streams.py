"""A user's stream of random numbers: numpy's own, whatever the neighbours, and different for everybody."""

from __future__ import annotations

import uuid

import numba
import numpy as np
import pyarrow as pa
import pytest
from numpy.random.bit_generator import ISeedSequence

from bayesdecay.model.streams import begin, open_generator, seed_words, user_keys


class Words(ISeedSequence):
    """A seed that is just these words."""

    def __init__(self, words):
        self.words = words

    def generate_state(self, n_words, dtype=np.uint32):
        assert (n_words, dtype) == (len(self.words), np.uint64)
        return self.words


@numba.njit
def streams(keys, size, state, rng):
    out = np.empty((len(keys), size))
    for u in range(len(keys)):
        begin(state, keys[u], rng)
        for i in range(size):
            out[u, i] = rng.random()
    return out


def drawn(users: pa.Array, seed: int = 1, size: int = 50) -> np.ndarray:
    rng, state = open_generator()
    return streams(user_keys(users, seed_words(seed)), size, state, rng)


def test_a_stream_is_numpys_sfc64_seeded_with_its_words():
    users = pa.array(["a", "b", "ü"])
    expected = [np.random.Generator(np.random.SFC64(Words(key))).random(50) for key in user_keys(users, seed_words(1))]
    np.testing.assert_array_equal(drawn(users), expected)


def test_a_half_used_word_is_not_left_to_the_next_user():
    rng, state = open_generator()
    rng.integers(0, 10, dtype=np.uint32)
    assert state[4] != 0
    streams(user_keys(pa.array([1]), seed_words(1)), 1, state, rng)
    assert rng.bit_generator.state["has_uint32"] == 0


def test_neighbours_do_not_matter_and_the_seed_does():
    users = pa.array(range(100))
    whole, some = drawn(users), drawn(users.take(pa.array([70, 3])))
    np.testing.assert_array_equal(some, whole[[70, 3]])
    assert len(np.unique(np.concatenate([whole, drawn(users, seed=2)]))) == 2 * whole.size


def test_users_are_independent():
    """Ids one after the other give uniform numbers without correlation."""
    numbers = drawn(pa.array(range(20_000)), size=4)
    assert numbers.mean(axis=0) == pytest.approx(np.full(4, 0.5), abs=5 * np.sqrt(1 / 12 / 20_000))
    neighbours = np.corrcoef(numbers[:-1].T, numbers[1:].T)
    assert np.abs(neighbours - np.eye(8)).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int32(), pa.uint8()])
def test_whole_numbers_count_by_their_value(kind):
    values = [1, 7, 100]
    np.testing.assert_array_equal(drawn(pa.array(values, kind)), drawn(pa.array(values)))


def test_ids_of_every_type_have_streams():
    named = [uuid.UUID(int=i) for i in (1, 2)]
    for users in (
        pa.array([b"a", b"b"]),
        pa.array(["a", "b"], pa.large_string()),
        pa.array(named, pa.uuid()),
        pa.array([1.5, 2.5]),
        pa.array([True, False]),
        pa.array([0, 1], pa.date32()),
        pa.array([2**63, 2**63 + 1], pa.uint64()),
        pa.array([1, 2]).cast(pa.decimal128(20, 0)),
    ):
        numbers = drawn(users)
        assert numbers[0, 0] != numbers[1, 0]
        np.testing.assert_array_equal(numbers, drawn(users))
    np.testing.assert_array_equal(drawn(pa.array(["a"], pa.large_string())), drawn(pa.array(["a"])))


def test_without_a_seed_every_run_is_another():
    assert not np.array_equal(seed_words(None), seed_words(None))
    assert not np.array_equal(seed_words(None, 1), seed_words(None, 1))


def test_a_purpose_has_numbers_of_its_own():
    np.testing.assert_array_equal(seed_words(5, 1), seed_words(5, 1))
    assert not np.array_equal(seed_words(5, 1), seed_words(5))
    assert not np.array_equal(seed_words(5, 1), seed_words(5, 2))
