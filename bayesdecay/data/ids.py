"""Users' ids of any type: put in their own Arrow type, and looked up without a loop over users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Ids", "as_ids", "positions", "storage"]

type Ids = pa.Array | pa.ChunkedArray | pd.Series | np.ndarray | Sequence[Any]


def as_ids(users: Ids, like: pa.DataType) -> pa.Array:
    """Put ids in the type of a history's ids.

    Raises
    ------
    TypeError
        If they are of another type; ``"1"`` is not taken for ``1``.
    """
    try:
        if isinstance(users, pa.ChunkedArray):
            users = users.combine_chunks()
        if isinstance(users, pa.Array):
            return users if users.type == like else users.cast(like)
        return pa.array(users, type=like)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TypeError(f"these users' ids are not of the log's type {like}: {error}") from error


def positions(users: Ids, among: pa.ChunkedArray) -> np.ndarray:
    """Row of each id in ``among``, -1 where it is not there.

    Parameters
    ----------
    users
        The ids looked for.
    among
        Ids that are all different.

    Returns
    -------
    numpy.ndarray
        int64[user].
    """
    wanted = storage(as_ids(users, among.type))
    found = pc.index_in(wanted, value_set=storage(among.combine_chunks()))
    return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def storage(array: pa.Array) -> pa.Array:
    """Plain values of an extension type such as UUID, which Arrow's kernels do not know."""
    return array.storage if isinstance(array, pa.ExtensionArray) else array
