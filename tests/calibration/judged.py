"""What a study's replicates say: coverage of intervals with its error, and whether the ranks are uniform.

In: the records of :mod:`tests.calibration.study`. Out: tables, a row a quantity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from tests.calibration.study import LEVELS

__all__ = ["Judged", "coverage_table", "independent_pits", "judged", "least_p_value", "pooled_coverage"]

Floats = NDArray[np.float64]

# Ranks are taken among 100 to 200 draws. A count above all 200 of them has a rank of exactly 1, which a test of order
# statistics takes for impossible.
_FINEST = 0.0025
# What the names of single users' quantities have in them.
_OF_USER = "user: "
# With what begin the names of what is shown for comparison, and is known to be wrong.
_BESIDE = "("


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One study's replicates by quantity: ``pits`` and ``inside`` a replicate each, and how many were refused."""

    pits: Mapping[str, list[Floats]]
    inside: Mapping[str, list[NDArray[np.bool_]]]
    converged: NDArray[np.bool_]
    refused: int
    faults: Mapping[str, int]


def judged(records: Iterable[Mapping[str, Any]]) -> Judged:
    """Put the records of a study together."""
    pits: dict[str, list[Floats]] = {}
    inside: dict[str, list[NDArray[np.bool_]]] = {}
    faults: dict[str, int] = {}
    converged, refused = [], 0
    for record in records:
        if "refused" in record:
            refused += 1
            continue
        converged.append(not record["faults"])
        for fit in {fault.partition(":")[0] for fault in record["faults"]}:
            faults[fit] = faults.get(fit, 0) + 1
        for name, found in record["found"].items():
            pits.setdefault(name, []).append(np.array(found["pit"]))
            bits = np.array(found["in"], dtype=np.int64)[:, None] >> np.arange(len(LEVELS)) & 1
            inside.setdefault(name, []).append(bits.astype(bool))
    return Judged(pits=pits, inside=inside, converged=np.array(converged, bool), refused=refused, faults=faults)


def coverage_table(found: Judged, *, converged_only: bool = False) -> pd.DataFrame:
    """Share of the truths that each interval holds.

    Units of one replicate share its data, so the error of a share is that of a mean over replicates.

    Returns
    -------
    pandas.DataFrame
        A row a quantity: ``replicates``, ``values``, for each level ``50 %`` and ``50 % se``, and ``p_value`` of the
        ranks of one unit a replicate, of the test against uniformity.
    """
    keep = found.converged if converged_only else np.ones_like(found.converged)
    rows = {}
    for name, parts in found.inside.items():
        kept = [part for part, kept in zip(parts, keep, strict=True) if kept]
        means = np.array([part.mean(axis=0) for part in kept])
        row: dict[str, Any] = {"replicates": len(kept), "values": sum(len(part) for part in kept)}
        for place, level in enumerate(LEVELS):
            row[f"{level:.0%}"] = means[:, place].mean()
            row[f"{level:.0%} se"] = means[:, place].std(ddof=1) / np.sqrt(len(kept))
        row["p_value"] = _p_value(independent_pits(found, name)[keep])
        rows[name] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "quantity"
    return table


def pooled_coverage(found: Judged, *, of_users: bool) -> pd.Series:
    """Share of all truths together that each interval holds, of single users or of all else.

    A coverage of 90 % that is off for most quantities alike is seen here with fewer replicates than in any one of them.
    Each quantity counts as much as any other, and a replicate counts once.

    Returns
    -------
    pandas.Series
        By level, ``50%`` and ``50% se``, and ``quantities``, their number: 0 if there are none.
    """
    names = [name for name in found.inside if (_OF_USER in name) == of_users and not name.startswith(_BESIDE)]
    own: dict[str, Any] = {"quantities": len(names)}
    if names:
        shares = np.array([[part.mean(axis=0) for part in found.inside[name]] for name in names]).mean(axis=0)
        for place, level in enumerate(LEVELS):
            own[f"{level:.0%}"] = shares[:, place].mean()
            own[f"{level:.0%} se"] = shares[:, place].std(ddof=1) / np.sqrt(len(shares))
    return pd.Series(own)


def independent_pits(found: Judged, name: str) -> Floats:
    """Ranks (replicate,) of one unit of each replicate, each time another one; none beyond all draws."""
    pits = np.array([pit[i % len(pit)] for i, pit in enumerate(found.pits[name])])
    return np.clip(pits, _FINEST, 1.0 - _FINEST)


def least_p_value(p_values: pd.Series) -> float:
    """The least p-value, times how many there are: what it says when one looks at all of them."""
    return float(min(1.0, len(p_values) * p_values.min()))


def _p_value(pits: Floats) -> float:
    """P-value of the ranks' uniformity, by the pointwise order test that ArviZ recommends."""
    return float(array_stats.uniformity_test(pits)[0])
