r"""What moves the interests of all users together: the population's parameters, as far as they are not known.

In: a population and snapshots. Out: a few values of each user's log interest, and how they move with a few standard
normal numbers :math:`\eta` that all users share,

.. math:: \ell_{ij}(\theta) \approx \ell_{ij}(\bar\theta) + \sum_k m_{ijk}\, \eta_k, \qquad
    \theta \approx \bar\theta + D \eta,

with :math:`\theta` the population's parameters on the whole line, and j the slices of
:mod:`bayesdecay.model.interest_slices`. D are those directions of the posterior of :math:`\theta`, along its principal
axes and turned, that move interests most. To average over each user's interest by itself would take it that the errors
of many users cancel, and those that come from the population do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import expit, logit

from bayesdecay.data.snapshots import Snapshots
from bayesdecay.model.interest_slices import interest_slices
from bayesdecay.model.population import Population

__all__ = ["SharedInterest"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Rows that the directions are found by; directions are kept until they hold this share of what moves them.
_ROWS, _KEPT, _MOST = 400, 0.99, 12
# Principal axes with a smaller share of the variance are rounding.
_LEAST_VARIANCE = 1e-9
# Restorations so near to none and all are that.
_EDGE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedInterest:
    """Directions in which a population's parameters are uncertain and users' interests move with them.

    ``mean`` (parameter,) of the posterior; ``directions`` (parameter, direction), a standard deviation of each;
    ``scores`` (direction, parameter) tell how far along each direction some parameters lie; ``size`` (direction,) is
    how much log interest moves with it, its root mean square over users.
    """

    mean: Floats
    directions: Floats
    scores: Floats
    size: Floats

    @classmethod
    def learn(cls, population: Population, snapshots: Snapshots) -> SharedInterest:
        """Find the directions that move the interest of these users."""
        place = _coordinates(population)
        mean, axes, inverse = _principal_axes(place)
        some = np.zeros(len(snapshots), dtype=bool)
        some[np.linspace(0, len(snapshots) - 1, min(_ROWS, len(snapshots))).astype(int)] = True
        moves = _moves(population, mean, axes, snapshots.select(some))[1]
        flat = moves.transpose(1, 0, 2).reshape(axes.shape[1], some.sum() * moves.shape[2])
        turned, size, _ = np.linalg.svd(flat, full_matrices=False)
        share = np.cumsum(size**2) / max(float(np.sum(size**2)), np.finfo(float).tiny)
        kept = min(int(np.searchsorted(share, _KEPT)) + 1, _MOST, int((size > 0).sum()))
        turned = turned[:, :kept]
        return cls(
            mean=mean,
            directions=axes @ turned,
            scores=turned.T @ inverse,
            size=size[:kept] / np.sqrt(flat.shape[1]),
        )

    def levels(self, population: Population, snapshots: Snapshots) -> tuple[Floats, Floats]:
        """Values (row, slice) of each row's log interest, and how each moves (row, direction, slice)."""
        return _moves(population, self.mean, self.directions, snapshots)

    def centre(self, population: Population) -> Population:
        """Return the population as it is at the mean, without doubt about it."""
        return _at(population, self.mean[None])

    def is_of(self, population: Population) -> bool:
        """Whether it was learned from these draws; of those of another fit the directions say nothing."""
        own = _coordinates(population)
        return own.shape[1] == self.mean.size and np.allclose(own.mean(axis=0), self.mean, rtol=1e-9, atol=1e-9)

    def nearest(self, population: Population, shared: Floats) -> Integers:
        """Draws (sample,) of a population that lie nearest to each of some places (sample, direction)."""
        along = (_coordinates(population) - self.mean) @ self.scores.T
        return np.asarray(KDTree(along * self.size).query(shared * self.size)[1], dtype=np.int64)

    def to_dataset(self) -> xr.Dataset:
        """Arrays, for a file."""
        dims = {"mean": "parameter", "size": "direction", "scores": ("direction", "parameter")}
        dims["directions"] = ("parameter", "direction")
        return xr.Dataset({name: (own, getattr(self, name)) for name, own in dims.items()})

    @classmethod
    def from_dataset(cls, plain: Mapping[Any, xr.DataArray]) -> SharedInterest:
        """Read back what :meth:`to_dataset` gave."""
        return cls(**{name: plain[name].to_numpy() for name in ("mean", "directions", "scores", "size")})


def _moves(population: Population, mean: Floats, directions: Floats, snapshots: Snapshots) -> tuple[Floats, Floats]:
    """Slices (row, slice) at the mean, and by central differences how they move (row, direction, slice)."""
    at = _at(population, np.concatenate([mean[None], mean + directions.T, mean - directions.T]))
    found = interest_slices(at, snapshots.histories.values())
    ahead, behind = np.split(found[1:], 2)
    return found[0], np.ascontiguousarray(0.5 * (ahead - behind).transpose(1, 0, 2))


def _principal_axes(place: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean (parameter,), axes (parameter, axis) a standard deviation long, and their inverse, of some draws."""
    mean, sd = place.mean(axis=0), place.std(axis=0)
    some = sd > 1e-12 * np.maximum(np.abs(mean), 1.0)
    scaled = (place[:, some] - mean[some]) / sd[some]
    variance, vectors = np.linalg.eigh(scaled.T @ scaled / len(place))
    kept = variance > _LEAST_VARIANCE
    root = np.sqrt(variance[kept])
    axes, inverse = np.zeros((mean.size, root.size)), np.zeros((root.size, mean.size))
    axes[some] = sd[some, None] * vectors[:, kept] * root
    inverse[:, some] = (vectors[:, kept] / root).T / sd[some]
    return mean, axes, inverse


def _coordinates(population: Population) -> Floats:
    """Parameters (sample, parameter) of the draws, each on the whole line; a group that was not seen left out."""
    size = population.size
    columns = [np.log(population.alpha), np.log(population.sigma), population.kappa]
    columns.append(logit(np.clip(population.rho, _EDGE, 1.0 - _EDGE)))
    blocks = [population.location[:, :, _seen(population)], population.slope]
    if population.grid.regular:
        share, shift = population.regulars
        columns += [logit(share), shift]
    return np.column_stack([*columns, *(block.transpose(1, 0, 2).reshape(size, -1) for block in blocks)])


def _at(population: Population, place: Floats) -> Population:
    """Return the population with other draws, given by their parameters (sample, parameter)."""
    size, regular = len(place), bool(population.grid.regular)
    log_alpha, log_sigma, kappa, restoration = place[:, :4].T
    regulars = np.stack([expit(place[:, 4]), place[:, 5]]) if regular else np.zeros((2, size))
    rest = place[:, 6 if regular else 4 :]
    seen = _seen(population)
    known = 2 * np.arange(population.location.shape[2])[seen].size
    location = np.repeat(population.location.mean(axis=1, keepdims=True), size, axis=1)
    location[:, :, seen] = rest[:, :known].reshape(size, 2, known // 2).transpose(1, 0, 2)
    slope = rest[:, known:].reshape(size, 2, population.slope.shape[2]).transpose(1, 0, 2)
    return replace(
        population,
        alpha=np.exp(log_alpha),
        sigma=np.exp(log_sigma),
        kappa=np.ascontiguousarray(kappa),
        rho=expit(restoration),
        location=location,
        slope=slope,
        regulars=regulars,
        path=None,
    )


def _seen(population: Population) -> slice:
    """Places of the locations that the fit has seen: all, or all groups but the one that stands for others."""
    return slice(0, max(len(population.groups), 1))
