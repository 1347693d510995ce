r"""The same posterior in coordinates that NUTS likes: centred at its mode, scaled by its curvature there.

A model with unconstrained parameters :math:`\theta` is rewritten with :math:`\theta = \hat\theta + L\eta`, where
:math:`\hat\theta` is the mode and :math:`LL^\top` the inverse of the Hessian of the negative log-density. For a few
strongly correlated population parameters :math:`\eta` is close to standard normal, so the warm-up has little to learn:
on CDNOW a draw takes about half the gradients, and a warm-up of 150 draws does what 300 could not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray
from pytensor.compile.maker import function
from pytensor.graph.replace import graph_replace
from scipy import optimize

from bayesdecay.model.variables import OFFSET, is_spread

__all__ = ["Whitening"]

Floats = NDArray[np.float64]

# A direction in which the density is all but flat at the mode is not stretched further than a wide prior would be.
_LEAST_CURVATURE = 0.05
_STEP = 1e-4
# Typical posterior standard deviation of the logarithm of a spread of groups.
_SPREAD_SCALE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """Coordinates of a model's unconstrained parameters.

    ``mode`` (parameter,) and ``scale`` (parameter, coordinate), over the raveled value variables in the model's order.
    They hold for any model with the same parameters, such as one with a finer grid.
    """

    mode: Floats
    scale: Floats

    @classmethod
    def of(cls, model: pm.Model) -> Whitening:
        """Find the mode of a model's unconstrained density, and its curvature there.

        Spreads of groups are held at their first values and keep a coordinate of their own: with them free, the mode of
        a hierarchical model lies where all groups are equal, far from its posterior.
        """
        density = model.logp_dlogp_function(ravel_inputs=True, mode="FAST_COMPILE")
        density.set_extra_values({})
        start = model.initial_point()
        center = np.concatenate([np.ravel(start[str(v.name)]) for v in model.value_vars])
        moves = np.concatenate(
            [np.full(np.size(start[str(v.name)]), not is_spread(str(v.name))) for v in model.value_vars]
        )

        def loss(theta: Floats) -> tuple[float, Floats]:
            value, gradient = density(theta)
            finite = np.isfinite(value) and np.isfinite(gradient).all()
            return (-float(value), -np.asarray(gradient) * moves) if finite else (1e300, np.zeros_like(theta))

        mode = optimize.minimize(loss, center, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
        steps = _STEP * np.eye(mode.size)[moves]
        hessian = np.array([(loss(mode + step)[1] - loss(mode - step)[1])[moves] / (2 * _STEP) for step in steps])
        curvature, directions = np.linalg.eigh((hessian + hessian.T) / 2)
        scale = np.diag(np.where(moves, 0.0, _SPREAD_SCALE))
        scale[np.ix_(moves, moves)] = directions / np.sqrt(np.maximum(curvature, _LEAST_CURVATURE))
        return cls(mode=mode, scale=scale)

    def applied(self, model: pm.Model) -> pm.Model:
        """Rewrite a model in these coordinates; its variables become deterministics of the same names and dims."""
        with pm.Model(coords=model.coords) as white:
            eta = pm.Flat(f"coordinate{OFFSET}", shape=self.mode.size)
            parts = self._parts(model, lambda rows: pt.constant(self.mode[rows]) + pt.dot(self.scale[rows], eta))
            named = [*model.free_RVs, *model.deterministics]
            density, *expressions = graph_replace(
                [model.logp(), *model.replace_rvs_by_values(named)], parts, strict=False
            )
            pm.Potential("log_density", density)
            for variable, expression in zip(named, expressions, strict=True):
                pm.Deterministic(str(variable.name), expression, dims=model.named_vars_to_dims.get(str(variable.name)))
        return white

    def normal_draws(self, model: pm.Model, draws: int) -> xr.Dataset:
        """Draws (chain, draw) of the normal distribution that fits the posterior at its mode: a first look at it."""
        theta = pt.dvector("theta")
        named = [*model.free_RVs, *model.deterministics]
        expressions = graph_replace(
            model.replace_rvs_by_values(named), self._parts(model, lambda rows: theta[rows]), strict=False
        )
        evaluate = function([theta], expressions, mode="FAST_COMPILE")
        eta = np.random.default_rng(0).standard_normal((draws, self.mode.size))
        found = [evaluate(self.mode + self.scale @ row) for row in eta]
        data: dict[str, Any] = {}
        for i, variable in enumerate(named):
            name = str(variable.name)
            data[name] = (
                ("chain", "draw", *model.named_vars_to_dims.get(name, ())),
                np.stack([f[i] for f in found])[None],
            )
        return xr.Dataset(data)

    @staticmethod
    def _parts(model: pm.Model, stretch: Callable[[slice | int], Any]) -> dict[Any, Any]:
        """Each value variable as its stretch of the raveled parameters; a single one by its number."""
        start = model.initial_point()
        shapes = [np.shape(start[str(v.name)]) for v in model.value_vars]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        return {
            value: stretch(slice(end - int(np.prod(shape)), end)).reshape(shape) if shape else stretch(int(end) - 1)
            for value, shape, end in zip(model.value_vars, shapes, ends, strict=True)
        }
