"""A stream of random numbers for each user, which follows from the seed and the user's id alone.

In: a seed and the users' ids. Out: for each user the three words that open its stream, and a generator that compiled
loops can set to it. So a user's score is the same whoever is scored beside it, in whatever order, block or partition,
and when a failed part is computed again.

The generator is SFC64, seeded as numpy seeds it: three words, a counter of one, twelve numbers thrown away.

References
----------
Doty-Humphrey, C. PractRand, http://pracrand.sourceforge.net (SFC64).
"""

from __future__ import annotations

import ctypes

import numba
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from bayesdecay.data.ids import storage

__all__ = ["begin", "open_generator", "seed_words", "user_keys"]

Words = NDArray[np.uint64]

_WARMING = 12


def seed_words(random_seed: int | None, *purpose: int) -> Words:
    """Two words (2,) of a seed, fresh ones if it is None; others for each ``purpose``, a number."""
    entropy = [random_seed, *purpose] if purpose and random_seed is not None else random_seed
    words: Words = np.random.SeedSequence(entropy).generate_state(2, np.uint64).astype(np.uint64)
    return words


def user_keys(users: pa.Array, seed: Words) -> Words:
    """Words (user, 3) that open each user's stream.

    Parameters
    ----------
    users
        Ids of any type. Whole numbers count by their value, whatever their width.
    seed
        What :func:`seed_words` gives.
    """
    plain = storage(users)
    if pa.types.is_integer(plain.type):
        wide = pa.uint64() if plain.type == pa.uint64() else pa.int64()
        values = plain.cast(wide).to_numpy(zero_copy_only=False)
    else:
        readable = plain if _is_text_or_bytes(plain.type) else plain.cast(pa.string())
        values = readable.to_numpy(zero_copy_only=False)
    keys = np.empty((len(values), 3), np.uint64)
    keys[:, 0], keys[:, 1:] = pd.util.hash_array(values, categorize=False), seed
    return keys


def open_generator() -> tuple[np.random.Generator, Words]:
    """Make a generator, and lay its state open: four words, and a fifth for half a number left over.

    Raises
    ------
    RuntimeError
        If this version of numpy keeps its state in another way.
    """
    bits = np.random.SFC64(0)
    words = (ctypes.c_uint64 * 5).from_address(bits.ctypes.state_address)
    state = np.ctypeslib.as_array(words)
    if not np.array_equal(state[:4], bits.state["state"]["state"]):
        raise RuntimeError(f"numpy {np.__version__} keeps the state of SFC64 otherwise than expected; take another one")
    return np.random.Generator(bits), state


@numba.njit(cache=True, nogil=True)
def begin(state: Words, key: Words, rng: np.random.Generator) -> None:
    """Set the generator to the start of a user's stream."""
    state[0], state[1], state[2], state[3], state[4] = key[0], key[1], key[2], np.uint64(1), np.uint64(0)
    for _ in range(_WARMING):
        rng.random()


def _is_text_or_bytes(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in (*kinds, pa.types.is_binary, pa.types.is_fixed_size_binary))
