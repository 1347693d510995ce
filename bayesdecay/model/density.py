"""A model's log-density as a plain function of numbers, with its gradient, and its variables' values at a point.

In: a PyMC model. Out: a function of its unconstrained parameters, raveled in the order of the model's value variables.
One fused operation does nearly all the work, so the small graph around it is linked in C, whose pieces are cached from
model to model, or run in Python where there is no C compiler. Compiling all of it with numba takes ten seconds each
time, several times as long as sampling the CDNOW sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray
from pytensor.compile.maker import function
from pytensor.compile.mode import Mode
from pytensor.configdefaults import config
from pytensor.gradient import grad
from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace

__all__ = ["Density"]

Floats = NDArray[np.float64]


def _mode() -> Mode | str:
    # Products of matrices stay numpy's: PyTensor finds no BLAS to link to beside numpy's own, and warns of it.
    if not config.cxx:
        return "FAST_COMPILE"
    return Mode("cvm", "fast_run").excluding("BlasOpt", "InplaceBlasOpt", "local_usmm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """Log-density of a model, by its raveled parameters.

    ``start`` (parameter,) is the model's initial point, ``owner`` (parameter,) the name of the value variable that each
    parameter is a part of; ``names`` the model's variables and ``dims`` their dimensions.
    """

    start: Floats
    owner: tuple[str, ...]
    names: tuple[str, ...]
    dims: tuple[tuple[str, ...], ...]
    coords: dict[str, Any]
    _logp: Any
    _named: Any

    @classmethod
    def of(cls, model: pm.Model) -> Density:
        """Take the density of a model."""
        point = model.initial_point()
        values = [point[str(value.name)] for value in model.value_vars]
        theta = pt.dvector("theta")
        parts, place = {}, 0
        for variable, value in zip(model.value_vars, values, strict=True):
            size = int(np.size(value))
            stretch = theta[place : place + size].reshape(np.shape(value)) if np.ndim(value) else theta[place]
            parts[variable], place = stretch, place + size
        variables = [*model.free_RVs, *model.deterministics]
        logp, *named = graph_replace([model.logp(), *model.replace_rvs_by_values(variables)], parts, strict=False)
        owner = [str(v.name) for v, value in zip(model.value_vars, values, strict=True) for _ in range(np.size(value))]
        names = tuple(str(variable.name) for variable in variables)
        return cls(
            start=np.concatenate([np.ravel(value) for value in values]).astype(np.float64),
            owner=tuple(owner),
            names=names,
            dims=tuple(tuple(model.named_vars_to_dims.get(name, ())) for name in names),
            coords={name: list(labels) for name, labels in model.coords.items() if labels is not None},
            _logp=function([theta], [logp, cast(Variable, grad(logp, theta))], mode=_mode()),
            _named=function([theta], named, mode=_mode(), on_unused_input="ignore"),
        )

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """Log-density and its gradient (parameter,) at a point."""
        with np.errstate(all="ignore"):
            value, gradient = self._logp(theta)
        return float(value), np.asarray(gradient)

    def set_data(self, arrays: Mapping[str, Any]) -> None:
        """Put other data of the same shapes in the place of the model's, by name; it changes the model too."""
        for function_ in (self._logp, self._named):
            for variable in function_.get_shared():
                if variable.name in arrays:
                    variable.set_value(arrays[variable.name], borrow=True)

    def twin(self) -> Density:
        """Make one that another thread may call at the same time: a compiled function keeps its numbers in itself."""
        return Density(
            start=self.start,
            owner=self.owner,
            names=self.names,
            dims=self.dims,
            coords=self.coords,
            _logp=self._logp.copy(share_memory=False),
            _named=self._named,
        )

    def named(self, theta: Floats) -> xr.Dataset:
        """Values (chain, draw, ...) of the model's variables at the points ``theta`` (chain, draw, parameter)."""
        chains, draws, _ = theta.shape
        found = [self._named(point) for point in theta.reshape(chains * draws, -1)]
        data: dict[str, Any] = {}
        for i, (name, dims) in enumerate(zip(self.names, self.dims, strict=True)):
            values = np.stack([one[i] for one in found])
            own = dims or tuple(f"{name}_dim_{axis}" for axis in range(values.ndim - 1))
            data[name] = (("chain", "draw", *own), values.reshape(chains, draws, *values.shape[1:]))
        used = {dim for dims in self.dims for dim in dims}
        return xr.Dataset(data, coords={name: labels for name, labels in self.coords.items() if name in used})
