r"""Where a decay model's posterior lies: at the law of fading, and with the kinds of users, that the log speaks for.

In: a way to build the model on a grid, and the data. Out: :class:`Place`.

Two questions may be left to the log: whether interest falls by a power law (:mod:`bayesdecay.model.shoulder`), and
whether some users are regulars, whose interest does not fade. The second is answered by the evidence with and without
them, all parameters integrated out by Laplace's method, and the law, if it is asked for too, at even odds:

.. math::

    \log B = \log\big(p(y \mid \text{reg, exp}) + p(y \mid \text{reg, power})\big)
        - \log\big(p(y \mid \text{exp}) + p(y \mid \text{power})\big) .

So neither question comes first: some who never fade look like a power law, and the other way round. There are regulars
on strong evidence alone, as there is a power law on strong evidence alone, given the kinds of users.

Where nobody is a regular the share's posterior goes to its end at 0, and Laplace's method is of use there because it is
taken in the log-odds: of :math:`e^{-c\pi}`, a Gamma law of shape 1, it finds :math:`\sqrt{2\pi}/e = 0.92` of the
integral.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pymc as pm

from bayesdecay.model.density import Density
from bayesdecay.model.design import FitData
from bayesdecay.model.grid import Grid
from bayesdecay.model.prior import Prior
from bayesdecay.model.shoulder import BENT_BY, STRONG, Shoulder, most_likely
from bayesdecay.model.whitening import Whitening

__all__ = ["Build", "Place", "place_of"]

Build = Callable[[FitData, Grid], pm.Model]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A model on a grid, its density, and coordinates in which it is about normal.

    ``log_evidence`` is that of the data it was found with, over both laws if that was asked; ``shoulder``, and
    ``log_factor``, the logarithm of the Bayes factor of regulars, are there where the log was asked for them.
    """

    model: pm.Model
    grid: Grid
    density: Density
    whitening: Whitening
    log_evidence: float
    shoulder: Shoulder | None = None
    log_factor: float | None = None


def place_of(build: Build, data: FitData, grid: Grid, *, shoulder: Prior | None, regulars: bool) -> Place:
    """Find the place on a grid without regulars, or with the law and the kinds of users that the data speak for.

    ``shoulder`` is the prior of a shoulder that is asked for, and ``regulars`` tells whether regulars are.
    """
    without = _place(build, data, grid, shoulder)
    if not regulars:
        return without
    among = _place(build, data, replace(grid, regular=float(grid.rates[0])), shoulder)
    log_factor = among.log_evidence - without.log_evidence
    return replace(among if log_factor > STRONG else without, log_factor=log_factor)


def _place(build: Build, data: FitData, grid: Grid, prior: Prior | None) -> Place:
    """Find the place with the grid's kinds of users, at its law or at that which the data speak for."""
    model = build(data, grid)
    density = Density.of(model)
    whitening = Whitening.of(density, bent_by=BENT_BY)
    if prior is None:
        log_evidence = whitening.refined(density).log_evidence(density)
        return Place(model=model, grid=grid, density=density, whitening=whitening, log_evidence=log_evidence)
    found, whitening = most_likely(density, whitening, data, grid, prior)
    return Place(
        model=model,
        grid=replace(grid, shoulder=found.days),
        density=density,
        whitening=whitening,
        log_evidence=found.log_evidence,
        shoulder=found,
    )
