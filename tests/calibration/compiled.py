"""Densities compiled once for all replicates of a study, as the graphs of one design differ in their numbers alone.

Compiling takes as long as sampling, or longer, and most of what is left goes by in Python between the compiled parts.
So what :meth:`bayesdecay.model.density.Density.of` would compile for the constants of one log is compiled with shared
arrays in their place, by numba, and the next log's arrays are put there; and the change of coordinates
(:meth:`bayesdecay.model.whitening.Whitening.whitened`) is compiled together with it. The formulas are those of the
model; how they are linked is not what is judged, and a test holds it against the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest.mock import patch

import numba
import numpy as np
from numpy.typing import NDArray
from pytensor.compile.maker import function
from pytensor.compile.sharedvalue import SharedVariable, shared
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import toposort

from bayesdecay.model.density import Density
from bayesdecay.model.whitening import Whitening

__all__ = ["Compiled", "compiled_once"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Digits after the point of the numbers that formulas and priors are written with.
_SHORT = 6


@dataclass(frozen=True, slots=True)
class Direct:
    """A compiled loop and its data, called without the checks around it."""

    loop: Any
    data: tuple[Any, ...]

    def __call__(self, theta: Floats) -> Any:
        """Outputs at a point."""
        return self.loop(theta, *self.data)


@dataclass(frozen=True, slots=True)
class Compiled:
    """Functions by the shape of their graph, each with the shared arrays that its numbers are put into.

    Of equal graphs within one replicate each has a function of its own: both may be in use.
    """

    made: dict[Any, list[tuple[Any, list[SharedVariable]]]] = field(default_factory=dict)
    used: dict[Any, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin a replicate: all functions are free."""
        self.used.clear()

    def function(self, inputs: Sequence[Variable], outputs: Sequence[Variable], **_: Any) -> Direct:
        """Return what :func:`pytensor.function` would, perhaps compiled before for other numbers."""
        opened, holes = _with_holes(outputs)
        key = _shape_of(inputs, opened, holes)
        place = self.used.get(key, 0)
        self.used[key] = place + 1
        known = self.made.setdefault(key, [])
        if place == len(known):
            known.append((function(list(inputs), opened, mode="NUMBA", on_unused_input="ignore"), holes))
        found, own = known[place]
        for hole, new in zip(own, holes, strict=True):
            hole.set_value(new.get_value(borrow=True), borrow=True)
        return Direct(found.vm.jit_fn, tuple(given.storage[0] for given in found.input_storage[len(inputs) :]))


@contextmanager
def compiled_once() -> Iterator[Compiled]:
    """Let fits within the block share what they compile; :meth:`Compiled.begin` starts each replicate.

    For fits with ``Sampling(cores=1)``: chains that run at the same time would share their numbers.
    """
    compiled = Compiled()
    with (
        patch("bayesdecay.model.density.function", compiled.function),
        patch.object(Density, "twin", lambda self: self),
        patch.object(Whitening, "whitened", _whitened),
    ):
        yield compiled


def _whitened(self: Whitening, density: Density) -> Callable[[Floats], tuple[float, Floats]]:
    """Return the density as a function of the coordinates, all of it compiled."""
    loop, joint = _in_coordinates(density._logp.loop), self.joint
    fixed = (np.flatnonzero(joint), np.flatnonzero(~joint), np.ascontiguousarray(self.root), self.bend, self.scale)
    center, data = np.ascontiguousarray(self.center), density._logp.data

    def at(eta: Floats) -> tuple[float, Floats]:
        found: tuple[float, Floats] = loop(np.ascontiguousarray(eta), center, fixed, data)
        return found

    return at


@cache
def _in_coordinates(loop: Any) -> Any:
    @numba.njit
    def at(eta: Floats, center: Floats, fixed: Any, data: Any) -> tuple[float, Floats]:
        value, gradient = loop(_parameters(eta, center, *fixed), *data)
        return value.item(), _slopes(eta[0], gradient, *fixed)

    return at


@numba.njit
def _parameters(
    eta: Floats, center: Floats, joint: Integers, other: Integers, root: Floats, bend: Floats, scale: Floats
) -> Floats:
    """Parameters at coordinates, as :meth:`Whitening.parameters`."""
    theta, first = center.copy(), eta[0]
    for i in range(joint.size):
        theta[joint[i]] += np.sum(root[i] * eta[: joint.size]) + first**2 * bend[0, i] + first**3 * bend[1, i]
    for i in range(other.size):
        theta[other[i]] += scale[i] * eta[joint.size + i]
    return theta


@numba.njit
def _slopes(
    first: float, gradient: Floats, joint: Integers, other: Integers, root: Floats, bend: Floats, scale: Floats
) -> Floats:
    """Gradient to the coordinates, from that to the parameters."""
    found = np.zeros_like(gradient)
    for i in range(joint.size):
        found[: joint.size] += gradient[joint[i]] * root[i]
        found[0] += gradient[joint[i]] * (2.0 * first * bend[0, i] + 3.0 * first**2 * bend[1, i])
    for i in range(other.size):
        found[joint.size + i] = gradient[other[i]] * scale[i]
    return found


def _with_holes(outputs: Sequence[Variable]) -> tuple[list[Variable], list[SharedVariable]]:
    """The same graphs with shared arrays, of no told length, in place of constant and of shared ones."""
    found: dict[Variable, SharedVariable] = {}
    for node in toposort(list(outputs)):
        for variable in node.inputs:
            if variable not in found and _is_array(variable):
                shape = tuple(1 if size == 1 else None for size in variable.type.shape)
                found[variable] = shared(_value_of(variable), shape=shape, borrow=True)
    return list(clone_replace(list(outputs), replace=found, rebuild_strict=False)), list(found.values())


def _is_array(variable: Variable) -> bool:
    if not isinstance(variable, Constant | SharedVariable) or not hasattr(variable.type, "shape"):
        return False
    if all(size == 1 for size in variable.type.shape):
        # A number of many digits comes from data, as the scale of a prior does; others are part of the formula.
        value = np.asarray(_value_of(variable))
        return value.dtype.kind == "f" and bool(np.any(np.round(value, _SHORT) != value))
    return True


def _shape_of(inputs: Sequence[Variable], outputs: Sequence[Variable], holes: Sequence[SharedVariable]) -> Any:
    """All that a compiled function depends on but for the numbers in the holes."""
    place: dict[Variable, Any] = {variable: ("input", i) for i, variable in enumerate(inputs)}
    place |= {variable: ("hole", i, variable.type) for i, variable in enumerate(holes)}
    nodes = []
    for number, node in enumerate(toposort(list(outputs))):
        nodes.append((node.op, tuple(_place_of(variable, place) for variable in node.inputs)))
        place |= {variable: ("node", number, i) for i, variable in enumerate(node.outputs)}
    return tuple(nodes), tuple(_place_of(variable, place) for variable in outputs)


def _place_of(variable: Variable, place: dict[Variable, Any]) -> Any:
    if variable in place:
        return place[variable]
    value = _value_of(variable)
    return variable.type, np.asarray(value).tobytes() if isinstance(value, np.ndarray | np.generic) else str(value)


def _value_of(variable: Any) -> Any:
    return variable.data if isinstance(variable, Constant) else variable.get_value(borrow=True)
