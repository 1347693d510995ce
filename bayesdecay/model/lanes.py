"""Users side by side in blocks of ``LANES``, as the compiled likelihood reads them.

In: statistics of rows, their weights and designs. Out: arrays (block, ..., lane). A design is a distinct combination of
group and covariates; the loops here take what is known of each design to its lanes, and back.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from bayesdecay.model.polynomials import coefficients
from bayesdecay.model.user_statistics import Statistics

__all__ = ["LANES", "differ", "gather", "side_by_side", "spread"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

# Users in a block. Fewer leave the loops too short, more fall out of the fastest cache.
LANES = 128

_loop = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan", "reassoc"})


def side_by_side(part: Statistics, weight: Floats, design: Integers) -> dict[str, NDArray]:
    """Lay users out in blocks, those of one design next to each other.

    Parameters
    ----------
    part : Statistics
        Of each row.
    weight : array (row,)
        Number of users that a row stands for.
    design : array (row,)
        Which design each row has.

    Returns
    -------
    dict
        ``log_exposure`` (block, power, rate, lane): its polynomial along the restoration, in single precision;
        ``ageing`` (block, power, lane) that of A, in double; ``n``, ``weight`` and ``design`` (block, lane). The last
        block is filled up with rows of no weight.
    """
    order = np.argsort(design, kind="stable")
    n_blocks = -(-order.size // LANES)
    rows = np.concatenate([order, np.full(n_blocks * LANES - order.size, order[-1])])
    counted = np.where(np.arange(rows.size) < order.size, weight[rows], 0.0)
    _, n_nodes, n_rates = part.exposure.shape
    log_exposure = np.empty((n_blocks, n_nodes, n_rates, LANES), np.float32)
    to_powers = coefficients(n_nodes)
    ageing = part.ageing[rows] @ to_powers.T
    for block, lanes in enumerate(rows.reshape(n_blocks, LANES)):
        values = np.log(part.exposure[lanes]).transpose(1, 2, 0)
        log_exposure[block] = (to_powers @ values.reshape(n_nodes, -1)).reshape(values.shape)
    return {
        "log_exposure": log_exposure,
        "ageing": np.ascontiguousarray(ageing.reshape(n_blocks, LANES, -1).swapaxes(1, 2)),
        "n": part.n[rows].reshape(n_blocks, LANES),
        "weight": counted.reshape(n_blocks, LANES),
        "design": design[rows].reshape(n_blocks, LANES),
    }


@_loop
def differ(owner: Integers, design: Integers) -> bool:
    """Whether the lanes' designs have changed."""
    changed = 0
    for i in range(LANES):
        changed += owner[i] != design[i]
    return changed > 0


@_loop
def spread(values: Singles, owner: Integers, out: Singles) -> None:
    """Write each design's values (design, rate) into its lanes (rate, lane)."""
    for i in range(LANES):
        for k in range(out.shape[0]):
            out[k, i] = values[owner[i], k]


@_loop
def gather(sums: Floats, owner: Integers, out: Floats) -> None:
    """Add the lanes' sums (rate, lane) to their designs' (design, rate), and begin them anew."""
    for i in range(LANES):
        for k in range(sums.shape[0]):
            out[owner[i], k] += sums[k, i]
            sums[k, i] = 0.0
