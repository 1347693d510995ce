r"""Users taken together who would change their offer at about the same prices of risk.

In: how much each user gains by each offer at the present weights of the samples, and what plans met before gave it.
Out: cells of users, and what all of a cell would bring if it changed to another offer, in each sample.

A cell holds users whom all those plans treat alike and to whom the next best offer is nearly as good as the
present one; the closer the call, the finer the cells. Of many users some are looked at, each with a chance that falls
with the distance of its call, and weighted by its inverse (Horvitz and Thompson).

References
----------
Horvitz, D. G., Thompson, D. J. (1952). A generalization of sampling without replacement from a finite universe.
*J. Am. Stat. Assoc.* 47(260), 663-685. https://doi.org/10.1080/01621459.1952.10483446
Zipkin, P. H. (1980). Bounds for aggregating nodes in network problems. *Math. Program.* 19, 155-177.
https://doi.org/10.1007/BF01581638 (solving a linear program over aggregated columns)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesdecay.decide.stakes import Stakes, each

__all__ = ["Cells", "cells_of", "nearest_users"]

# Users whose draws are looked at for the sums of cells.
_LOOKED_AT = 100_000
# Cells of a kind, by the rank of the distance to the power: a tenth of the users with the closest calls get half.
_FINER = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """Groups of users, and what changes if all of one get another offer.

    Attributes
    ----------
    cell : int64[user]
        Cell of each user; -1 for users who keep what they have.
    size : float64[cell]
        Number of users.
    present : int64[cell]
        Offer that they have; -1 for none.
    gain : float64[1 + offer, cell, sample]
        Expected profit of all users of a cell with no offer and with each offer [money].
    cost : float64[1 + offer, cell]
        What that costs at contact [money].
    able : bool[1 + offer, cell]
        What they may be given.
    """

    cell: np.ndarray
    size: np.ndarray
    present: np.ndarray
    gain: np.ndarray
    cost: np.ndarray
    able: np.ndarray


def cells_of(stakes: Stakes, margin: np.ndarray, picks: list[np.ndarray], most: int, rng: np.random.Generator) -> Cells:
    """Make cells of all users, about ``most`` of them.

    Parameters
    ----------
    stakes : Stakes
        What each user and offer may bring.
    margin : float64[user, 1 + offer]
        What each user gains with no offer (0) and with each offer, less the prices of money and places; -inf for what
        it cannot get.
    picks : list of int8[user]
        What plans gave, the present one first.
    most : int
        Number of cells that is aimed at.
    """
    distance, other = _calls(margin, picks[0])
    kind = other.astype(np.int64)
    for pick in picks:
        kind = kind * margin.shape[1] + pick + 1
    order = np.lexsort((distance, kind))
    if stakes.users <= most:
        cell = np.arange(stakes.users)
    else:
        cell = np.empty(stakes.users, dtype=np.int64)
        cell[order] = _numbered(kind[order], most)
    chance = np.minimum(_chances(distance), 1.0)[order]
    # Every so many steps of chance one is taken, which spreads them over the cells.
    steps = np.floor(np.cumsum(chance) + rng.random())
    taken = order[np.diff(steps, prepend=0.0) >= 1]
    weight = 1 / np.minimum(_chances(distance), 1.0)[taken]
    return _summed(stakes, margin, picks[0], cell, taken, weight)


def nearest_users(stakes: Stakes, margin: np.ndarray, pick: np.ndarray, most: int) -> Cells:
    """Make cells of one user each of those with the closest calls; all others keep what they have."""
    distance, _ = _calls(margin, pick)
    rows = np.argpartition(distance, most)[:most] if most < distance.size else np.arange(distance.size)
    rows = np.sort(rows[np.isfinite(distance[rows])])
    cell = np.full(stakes.users, -1)
    cell[rows] = np.arange(rows.size)
    return _summed(stakes, margin, pick, cell, rows, np.ones(rows.size))


def _calls(margin: np.ndarray, pick: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the best other offer is from the present one, and which it is (0 for none); inf where there is none."""
    rows = np.arange(pick.size)
    rest = margin.copy()
    present = rest[rows, pick + 1]
    rest[rows, pick + 1] = -np.inf
    other = rest.argmax(axis=1)
    return np.abs(present - rest[rows, other]), other


def _numbered(kind: np.ndarray, most: int) -> np.ndarray:
    """Number the cells of users who are sorted by their kind and, within it, by distance."""
    starts = np.flatnonzero(np.diff(kind, prepend=kind[0] - 1))
    sizes = np.diff(starts, append=kind.size)
    parts = np.maximum(np.rint(most * sizes / kind.size), 1)
    place = np.repeat(np.arange(starts.size), sizes)
    rank = (np.arange(kind.size) - starts[place] + 0.5) / sizes[place]
    part = np.minimum(np.floor(rank**_FINER * parts[place]), parts[place] - 1)
    new = np.diff(place * (most + 1.0) + part, prepend=-1.0) != 0
    return np.cumsum(new) - 1


def _chances(distance: np.ndarray) -> np.ndarray:
    """Chance of each user to be looked at, above 1 for certain; the sum is about what is looked at."""
    if distance.size <= _LOOKED_AT:
        return np.ones(distance.size)
    known = np.where(np.isfinite(distance), distance, distance[np.isfinite(distance)].max(initial=1.0))
    near = 1 / (known + np.quantile(known, 0.02) + 1e-300)
    scale = _LOOKED_AT / near.sum()
    for _ in range(20):  # what is certain leaves more to the rest
        scale *= _LOOKED_AT / np.minimum(scale * near, 1.0).sum()
    return scale * near


def _summed(
    stakes: Stakes, margin: np.ndarray, pick: np.ndarray, cell: np.ndarray, rows: np.ndarray, weight: np.ndarray
) -> Cells:
    """Sum over the users of each cell who are looked at, and scale to all of them."""
    count, offers = int(cell.max()) + 1, list(range(stakes.cost.shape[1]))
    inside = cell >= 0
    size = np.bincount(cell[inside], minlength=count).astype(float)
    scale = size / np.maximum(np.bincount(cell[rows], weights=weight, minlength=count), 1e-300)
    rows, weight = (part[np.argsort(cell[rows], kind="stable")] for part in (rows, weight))
    share = weight * scale[cell[rows]]

    def one(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        part = rows[place]
        starts = np.flatnonzero(np.diff(cell[part], prepend=-1))
        profit = stakes.profit(part, offers) * share[place].astype(np.float32)
        return cell[part[starts]], np.add.reduceat(profit, starts, axis=2, dtype=np.float64)

    gain = np.zeros((1 + len(offers), count, stakes.samples))
    for found, sums in each(one, stakes.split(np.arange(rows.size))):
        gain[1:, found] += sums.transpose(0, 2, 1)
    cost = np.stack([np.bincount(cell[inside], stakes.cost[inside, offer], count) for offer in offers])
    able = np.ones((1 + len(offers), count), dtype=bool)
    for offer in range(1 + len(offers)):
        able[offer, cell[inside & ~np.isfinite(margin[:, offer])]] = False
    seen = np.zeros(count, dtype=bool)
    seen[cell[rows]] = True
    present = np.full(count, -1)
    present[cell[inside]] = pick[inside]
    return Cells(
        cell=cell,
        size=size,
        present=present,
        gain=gain,
        cost=np.concatenate([np.zeros((1, count)), cost]),
        able=able & seen,
    )
