"""Draws of two fits side by side: coefficients, and the population that the users' interests come from.

In: a fit of users' outcomes, and a decay fit. Out: as many draws of one as of the other. What all users' interests have
in common is in both, so a draw of the coefficients goes with a draw of the population that agrees with it there.
"""

from __future__ import annotations

import xarray as xr

from bayesdecay import names
from bayesdecay.model.coefficients import Coefficients
from bayesdecay.model.decay_fit import DecayFit
from bayesdecay.model.population import Population
from bayesdecay.model.shared_interest import SharedInterest
from bayesdecay.model.terms import Terms
from bayesdecay.model.variables import SHARED_INTEREST

__all__ = ["paired", "paired_size", "shared_interest_of"]


def paired(
    tree: xr.DataTree, terms: Terms, decay: DecayFit, draws: int, *, allow_unconverged: bool = False
) -> tuple[Coefficients, Population]:
    """Take at most ``draws`` of each, as many as the shorter has; those of another decay fit go together as they come.

    Raises
    ------
    NotConvergedError
        If the decay fit did not converge and ``allow_unconverged`` is not set.
    """
    size = paired_size(draws, tree, decay.idata)
    coefficients = Coefficients.of(tree, terms, size)
    shared = shared_interest_of(tree)
    if shared is not None and shared.size.size:
        population = decay.population(allow_unconverged=allow_unconverged)
        if shared.is_of(population):
            return coefficients, population.take(shared.nearest(population, coefficients.shared))
    return coefficients, decay.population(size, allow_unconverged=allow_unconverged)


def paired_size(draws: int, *trees: xr.DataTree) -> int:
    """How many draws there are of some fits together: as many as asked for, if each of them has so many."""
    sizes = [tree["posterior"].sizes for tree in trees]
    return min(draws, *(int(own[names.CHAIN] * own[names.DRAW]) for own in sizes))


def shared_interest_of(tree: xr.DataTree) -> SharedInterest | None:
    """What a fit knows of all users' interests together; None where it was not asked."""
    return SharedInterest.from_dataset(tree[SHARED_INTEREST].to_dataset()) if SHARED_INTEREST in tree else None
