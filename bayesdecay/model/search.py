"""Where a decay model's posterior lies, and draws of it: the grid, the coordinates and the method that suit the data.

In: a way to build the model on a grid, and the data. Out: draws, and how far they depend on the grid.

Of many users some are looked at first, which finds the mode, how fine the grid must be, and which part of the
restorations matters. What the look at some, or the draws it was judged by, had not seen is found afterwards, and mended
by another round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from bayesdecay.model.density import Density
from bayesdecay.model.design import FitData
from bayesdecay.model.fineness import fine_enough, grid_error, trimmed
from bayesdecay.model.grid import Grid
from bayesdecay.model.laplace import LEAST_PROPOSALS, draw_laplace
from bayesdecay.model.place import Build, Place, place_of
from bayesdecay.model.population import Population
from bayesdecay.model.posterior import GRID_TOLERANCE, Verdict
from bayesdecay.model.prior import Prior
from bayesdecay.model.sampling import Sampling, draw_posterior

__all__ = ["METHODS", "Means", "draw_on_grid"]

METHODS = ("nuts", "laplace", "auto")
# Draws that the grid is checked at. Of many users' narrow posterior one is like the other, and each takes a pass.
_CHECKED_DRAWS, _CHECKED_DRAWS_LARGE, _MANY_USERS = 4, 1, 100_000
_FIRST_DRAWS = 100
# Rows of a first look, which finds the mode and the grid; of twice as many or less, all are looked at.
_LOOKED_AT = 20_000
# Part of the tolerance of the grid that is used up beforehand. What some rows say of the error of all is rough: of a
# million users, 0.005 became 0.024.
_OF_TOLERANCE, _OF_TOLERANCE_SAMPLED = 0.5, 0.1
# Rows x rates from which on "auto" takes the approximation.
_LARGE = 4_000_000
# Proposals x rows x rates where proposals are cheap, some seconds: with 440 effective draws on CDNOW the standard
# deviations are 6 % short, by chance or by the tails that so few do not reach.
_LOOKS, _MOST_PROPOSALS = 4e9, 2_000
# Each design has its own weights on the grid. Of 480 of them the graph outside the fused operation takes most of the
# time: a fit takes 140 s uncompiled and 50 s compiled.
_FEW_DESIGNS = 16
# Where the grid is found too coarse afterwards: 0.1 nats of 800 users became less than 0.01 by so much finer a grid.
_FINER = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """How to draw: one of ``METHODS``, what the sampler is told, the seed, whether the user fixed the rates.

    And the prior of the shoulder, where it is to be found, and whether regulars are.
    """

    method: str
    sampling: Sampling
    random_seed: int | None
    fixed_rates: bool
    shoulder: Prior | None = None
    regulars: bool = False


def draw_on_grid(build: Build, data: FitData, whole: Grid, means: Means) -> tuple[xr.DataTree, float]:
    """Draw the posterior of a model, on a part of the ``whole`` grid or on a finer one.

    Returns
    -------
    tuple
        A tree with the groups ``posterior``, ``sample_stats`` and ``constant_data``, and by how much doubling the grid
        moves the log-likelihood [nats].
    """
    narrow, finest, law = True, means.fixed_rates, None
    while True:
        place = _looked_at(build, data, whole, means, narrow=narrow)
        law = law or _law(place)
        whole, means = whole.with_law(place.grid), replace(means, shoulder=None, regulars=False)
        tree = _drawn(place, data, means)
        if narrow and not _holds(place.grid, tree):  # the first look at some of the users misled
            narrow = False
            continue
        error = grid_error(_population(tree, data, place.grid), data, place.grid, whole=whole)
        tree["constant_data"].attrs |= law
        if finest or error <= GRID_TOLERANCE:
            return tree, error
        whole, finest = whole.finer(_FINER), True  # the first look's draws lay where a coarser grid will do


def _looked_at(build: Build, data: FitData, grid: Grid, means: Means, *, narrow: bool) -> Place:
    """Find a grid that is fine enough and where the posterior lies; of many users, from a look at some first."""
    look = data.sample(_LOOKED_AT) if data.weight.size > 2 * _LOOKED_AT else data
    place = place_of(build, look, grid, shoulder=means.shoulder, regulars=means.regulars)
    grid = finer = place.grid
    first = xr.DataTree.from_dict({"posterior": place.whitening.normal_draws(place.density, _FIRST_DRAWS)})
    if not means.fixed_rates:
        population = _population(first, look, grid)
        share = _OF_TOLERANCE if look is data else _OF_TOLERANCE_SAMPLED
        finer = fine_enough(population, look, grid, share=share)
        finer = finer if look is data else trimmed(population, look, finer, share=share)
    if look is not data and narrow:
        # Where the mode of all lies is known as well as some tell, which is less well than all do.
        rho, wide = first["posterior"]["rho"], math.sqrt(data.weight.size / look.weight.size)
        reach = (10.0 + 4.0 * wide) * float(rho.std())
        finer = finer.narrowed(float(rho.mean()) - reach, float(rho.mean()) + reach)
    if look is not data or finer is not grid:
        model = build(data, finer)
        place = replace(place, model=model, grid=finer, density=Density.of(model))
    if look is not data:
        place = replace(place, whitening=place.whitening.refined(place.density))
    return place


def _law(place: Place) -> dict[str, float]:
    """The shoulder [days] of a power law, and what the log says of the law and of regulars if it was asked."""
    told = {"shoulder": place.grid.shoulder} if place.grid.is_power else {}
    if place.shoulder is not None:
        told |= {"log_shoulder_sd": place.shoulder.log_sd} if place.grid.is_power else {}
        told |= {"log_bayes_factor_of_power_law": place.shoulder.log_factor}
    return told if place.log_factor is None else told | {"log_bayes_factor_of_regulars": place.log_factor}


def _drawn(place: Place, data: FitData, means: Means) -> xr.DataTree:
    """Draw by the method that was asked for, or by NUTS where "auto" finds the approximation poor."""
    seed = means.random_seed
    if means.method == "laplace" or (means.method == "auto" and _is_large(data, place.grid)):
        cells = data.weight.size * place.grid.rates.size
        proposals = int(np.clip(_LOOKS / cells, LEAST_PROPOSALS, _MOST_PROPOSALS))
        tree = draw_laplace(place.density, place.whitening, means.sampling, proposals=proposals, random_seed=seed)
        if means.method == "laplace" or Verdict.of(tree).converged:
            return tree
    return draw_posterior(
        place.model,
        means.sampling,
        density=place.density if data.design_group.size <= _FEW_DESIGNS else None,
        whitening=place.whitening,
        random_seed=seed,
    )


def _holds(grid: Grid, tree: xr.DataTree) -> bool:
    """Whether all draws of the restoration lie where the likelihood is interpolated."""
    rho = tree["posterior"]["rho"]
    return grid.restorations.size == 1 or bool(rho.min() >= grid.restorations[0] and rho.max() <= grid.restorations[-1])


def _is_large(data: FitData, grid: Grid) -> bool:
    """Whether NUTS would take minutes, and the posterior can be about normal: a spread of groups is not."""
    return not data.groups and data.weight.size * grid.rates.size >= _LARGE


def _population(tree: xr.DataTree, data: FitData, grid: Grid) -> Population:
    """Some draws of a posterior, with what the model knows besides them put into its tree."""
    tree["constant_data"] = xr.DataTree(_constants(data, grid))
    many = data.weight.sum() > _MANY_USERS
    return Population.of(tree, draws=_CHECKED_DRAWS_LARGE if many else _CHECKED_DRAWS)


def _constants(data: FitData, grid: Grid) -> xr.Dataset:
    """What scoring needs besides the draws."""
    constants = xr.Dataset(coords={"rate": grid.rates, "restoration_node": grid.restorations})
    if data.groups:
        constants = constants.assign_coords(group=list(data.groups))
    if data.standard.names:
        constants = constants.assign_coords(covariate=list(data.standard.names))
        constants["covariate_center"] = ("covariate", data.standard.center)
        constants["covariate_scale"] = ("covariate", data.standard.scale)
    constants["rate"].attrs |= {"units": "1/d", "clock": grid.clock, "shoulder": grid.shoulder}
    if grid.regular:
        constants["regular_rate"] = ((), grid.regular, {"units": "1/d"})
    return constants
