"""The log-likelihood of single outcomes, for leave-one-out and other comparisons: plain numpy, some rows at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit

from bayesdecay import names
from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.coefficients import Coefficients
from bayesdecay.model.latent_interest import KnownInterest
from bayesdecay.model.logistic import NODE_WEIGHTS, NODES
from bayesdecay.model.matrices import Design

__all__ = ["pointwise", "probability"]

Floats = NDArray[np.float64]

ROW = "row"
_NUMBERS = 2_000_000


def pointwise(coefficients: Coefficients, snapshots: Snapshots, known: KnownInterest) -> xr.DataArray:
    """Log-likelihood (sample, row) [nats] of each outcome, own interest and missing features averaged over."""
    returned = snapshots.table[names.RETURNED].to_numpy(dtype=bool)
    step = max(_NUMBERS // coefficients.size // known.level.shape[1], 1)
    parts = []
    for start in range(0, len(snapshots), step):
        rows = slice(start, start + step)
        own = known.rows(rows)
        design = coefficients.terms.design(snapshots.table.iloc[rows], own.level, chance=own.chance, moves=own.moves)
        p = probability(coefficients, design)
        parts.append(np.log(np.where(returned[rows, None], p, 1.0 - p)))
    return xr.DataArray(np.concatenate(parts).T, dims=(names.SAMPLE, ROW), name="log_likelihood")


def probability(coefficients: Coefficients, design: Design) -> Floats:
    """P(reactivation) (row, sample), averaged over the levels of interest and over what missing features may be.

    Over intercepts of very many small groups too: a user's own says what the outcome was.
    """
    coefficients, design, tau = coefficients.of_unknown_groups(design)
    known = replace(design, pattern=np.zeros_like(design.pattern), level=np.zeros((len(design.x), 1)))
    logit = coefficients.logit(known, np.random.default_rng(0))
    spread = np.sqrt(coefficients.spread(design) ** 2 + tau**2) if design.pattern.any() or tau.any() else None
    found = np.zeros_like(logit)
    nodes = zip(NODES, NODE_WEIGHTS, strict=True) if spread is not None else ((0.0, 1.0),)
    for node, weight in nodes:
        shifted = logit if spread is None else logit + spread * node
        for j, level in enumerate(design.level.T):
            own = level[:, None] + design.moves[:, :, j] @ coefficients.shared.T
            found += weight * design.chance[j] * expit(shifted + coefficients.interest * own)
    return found
