r"""The best way to give cells of users their offers, in shares, and the weights of the samples that follow from it.

In: a plan, its profit in each sample, :class:`~bayesdecay.decide.cells.Cells` and an :class:`Aim`. Out: the solution of
the linear program

.. math:: \max_{x, v, z} \; b \sum_s X_s + \lambda v - \sum_s m_s z_s \quad\text{subject to}\quad
          z_s \ge v + f_s - X_s,\; z \ge 0,\; X = X^0 + \sum_{ga} (\pi_{gas} - \pi_{g a_0 s}) x_{ga},\;
          0 \le x,\; \sum_a x_{ga} \le 1

under what is left of the budget and the capacities: the shares of each cell's users who get each offer, and b plus the
prices of the samples' rows, the weights at which these shares are best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from bayesdecay.decide.aim import Aim
from bayesdecay.decide.assignment import Limits
from bayesdecay.decide.cells import Cells

__all__ = ["Mixture", "best_mixture"]

# Multiples of the golden ratio fill the unit interval evenly: neighbours among a cell's users get different offers.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """Shares of the users of each cell who get each offer.

    Attributes
    ----------
    shares : float64[cell, 1 + offer]
        With no offer and with each offer; they sum to 1.
    totals : float64[sample]
        Expected profit in each sample that they bring [money].
    weights : float64[sample]
        Weights at which they are best.
    """

    shares: np.ndarray
    totals: np.ndarray
    weights: np.ndarray

    def given_out(self, cells: Cells, pick: np.ndarray) -> np.ndarray:
        """Give each user one offer, int8[user]; ``pick`` is what those outside of all cells keep."""
        users = np.flatnonzero(cells.cell >= 0)
        users = users[np.argsort(cells.cell[users], kind="stable")]
        cell = cells.cell[users]
        place = np.arange(users.size) - np.searchsorted(cell, cell)
        # The middle for a cell of one user: it gets what most of it would.
        turn = np.where(cells.size[cell] == 1, 0.5, (place + 0.5) * _GOLDEN % 1.0)
        largest_first = np.argsort(-self.shares, axis=1, kind="stable")
        upto = np.cumsum(np.take_along_axis(self.shares, largest_first, axis=1), axis=1)
        which = np.minimum((turn[:, None] > upto[cell]).sum(axis=1), self.shares.shape[1] - 1)
        given = pick.copy()
        given[users] = largest_first[cell, which] - 1
        return given


def best_mixture(aim: Aim, cells: Cells, pick: np.ndarray, totals: np.ndarray, limits: Limits) -> Mixture | None:
    """Solve the program from a plan ``pick`` with the profit ``totals`` in each sample; None if that fails."""
    count, samples = cells.size.size, totals.size
    here = np.arange(count)
    others = np.arange(cells.cost.shape[0])[:, None] != cells.present + 1
    offer, cell = np.nonzero(cells.able & others)
    before = cells.present[cell] + 1
    gain = cells.gain[offer, cell] - cells.gain[before, cell]  # column, sample
    unit = max(np.abs(totals).max(), np.abs(gain).max(initial=0.0)) or 1.0
    rest = np.zeros((1, 1 + samples))
    free = 1.0 if aim.added is not None else 0.0
    risk = np.column_stack([-gain.T / unit, np.full(samples, free), -np.eye(samples)])
    rules, room = _left(cells, offer, cell, pick, limits)
    one = csr_array((np.ones(cell.size), (cell, np.arange(cell.size))), shape=(count, cell.size + 1 + samples))
    several = np.bincount(cell, minlength=count) > 1
    matrix = vstack([csr_array(np.vstack([risk, *(np.append(rule, rest)[None] for rule in rules)])), one[several]])
    found = linprog(
        -np.concatenate([aim.base * gain.sum(axis=1) / unit, [aim.added or 0.0], -aim.most]),
        A_ub=matrix.tocsc(),
        b_ub=np.concatenate([(totals - aim.floor) / unit, room, np.ones(int(several.sum()))]),
        bounds=[*[(0, 1)] * cell.size, (None, None) if free else (0, 0), *[(0, None)] * samples],
        method="highs",
    )
    if found.x is None:
        return None
    part = np.clip(found.x[: cell.size], 0.0, 1.0)
    shares = np.zeros((count, cells.cost.shape[0]))
    shares[cell, offer] = part
    shares[here, cells.present + 1] = np.maximum(1.0 - shares.sum(axis=1), 0.0)
    return Mixture(
        shares=shares / shares.sum(axis=1, keepdims=True),
        totals=totals + part @ gain,
        weights=aim.base + np.maximum(-found.ineqlin.marginals[:samples], 0.0),
    )


def _left(
    cells: Cells, offer: np.ndarray, cell: np.ndarray, pick: np.ndarray, limits: Limits
) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows of the budget and the capacities, and what the plan leaves of them, in units of the whole."""
    before = cells.present[cell] + 1
    users = np.flatnonzero(pick >= 0)
    rules, room = [], []
    if np.isfinite(limits.money):
        unit = max(limits.money, 1e-12)
        rules.append((cells.cost[offer, cell] - cells.cost[before, cell]) / unit)
        room.append((limits.money - limits.cost[users, pick[users]].sum()) / unit)
    for place in np.flatnonzero(np.isfinite(limits.capacity)):
        unit = max(limits.capacity[place], 1.0)
        moved = (offer == place + 1).astype(float) - (before == place + 1)
        rules.append(moved * cells.size[cell] / unit)
        room.append((limits.capacity[place] - (pick == place).sum()) / unit)
    return rules, np.array(room)
