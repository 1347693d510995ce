"""From priors to the random variables of a PyMC model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform

from bayesdecay.model.prior import Prior

__all__ = [
    "HORSESHOE",
    "OFFSET",
    "PLAIN_SLOPE",
    "SHARED_INTEREST",
    "is_group_offset",
    "is_horseshoe",
    "is_spread",
    "pooled",
    "spread_or_less",
    "variable",
]

# Ends the names of variables that are of no use to anybody but the sampler.
OFFSET = "_offset_"
# Begins the names of the parts of a horseshoe prior.
HORSESHOE = "horseshoe"
# Begins the name of the slopes that have a prior of their own beside a horseshoe over the others.
PLAIN_SLOPE = "plain_slope"

# Name of the standard normal numbers that move the interests of all users together.
SHARED_INTEREST = "shared_interest"

# How sharply the transform turns from log(1 - rho) to the wall at rho = 0; 4 keeps the turn below rho = 0.3.
_SHARPNESS = 16.0


def variable(
    priors: Mapping[str, Prior],
    name: str,
    *,
    called: str | None = None,
    fixed: float | None = None,
    dims: str | None = None,
    shape: int | None = None,
) -> Any:
    """Make the random variable of a prior, or a constant of the same name where the user fixed it.

    It is ``called`` by the prior's name unless several variables share the prior.
    """
    if fixed is not None:
        return pm.Deterministic(called or name, pt.as_tensor_variable(float(fixed)))
    prior = priors[name]
    options = {"default_transform": RestorationTransform()} if name == "rho" else {}
    return getattr(pm, prior.distribution)(called or name, **prior.parameters, dims=dims, shape=shape, **options)


def spread_or_less(priors: Mapping[str, Prior], name: str, *, dims: str) -> Any:
    """Make a spread that multiplies standard normal offsets, and so may be mirrored: minus it is the same model.

    A half-normal spread near 0 is sampled twice as well with both its halves: a chain walks through 0 and not down the
    logarithm of it. The variable of the spread's name is its size; what is returned may be below 0.
    """
    prior = priors[name]
    if prior.distribution != "HalfNormal":
        return variable(priors, name, dims=dims)
    sigma = prior.parameters["sigma"]
    size = len(pm.modelcontext(None).coords[dims])
    mirrored = pm.Normal(f"{name}_mirrored{OFFSET}", 0.0, sigma, dims=dims, initval=np.full(size, sigma))
    pm.Deterministic(name, pt.abs(mirrored), dims=dims)
    return mirrored


def is_spread(name: str) -> bool:
    """Whether a variable, by its name, is the spread of a group's values."""
    return name.startswith("tau_")


def is_group_offset(name: str) -> bool:
    """Whether a variable, by its name, is standard normal before the data and moves the values of groups."""
    return OFFSET in name and not name.startswith(PLAIN_SLOPE)


def is_horseshoe(name: str) -> bool:
    """Whether a variable, by its name, is a part of a horseshoe prior."""
    return name.startswith(HORSESHOE)


def pooled(
    name: str, center: Any, spread: Any, *, dims: str | tuple[str, ...] = "group", centered: bool = False
) -> Any:
    """Make one value a group around a centre with a learned spread.

    Non-centred, values that few rows speak for are sampled well; centred, those of a few large groups.
    """
    if centered:
        return pm.Normal(name, center, spread, dims=dims)
    offset = pm.Normal(f"{name}{OFFSET}", dims=dims)
    return pm.Deterministic(name, center + spread * offset, dims=dims)


class RestorationTransform(Transform):
    r"""Map :math:`\rho \in (0, 1)` to the line by about :math:`-\log(1-\rho)`.

    On that scale the other parameters are close to linear in :math:`\rho` (on CDNOW the shape of the interests bends
    by 20 % of its residual variance against the logit, by 0.1 % against this), so NUTS walks straight.
    """

    name = "restoration"
    ndim_supp = 0

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Give rho for a number on the line."""
        return -pt.expm1(-pt.softplus(_SHARPNESS * value) / _SHARPNESS)

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Give the number on the line for rho."""
        return pt.log(pt.expm1(-_SHARPNESS * pt.log1p(-value))) / _SHARPNESS

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Give the logarithm of the slope of rho along the line."""
        return -pt.softplus(_SHARPNESS * value) / _SHARPNESS - pt.softplus(-_SHARPNESS * value)
