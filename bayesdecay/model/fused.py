"""One PyTensor operation for log-likelihoods whose compiled loop returns the gradient with the value."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

__all__ = ["FusedLogLikelihood"]


class FusedLogLikelihood(Op):
    """Value of a log-likelihood and its gradients to the first ``n_parameters`` inputs, from one pass over the data.

    Parameters
    ----------
    name : str
        Full name of the compiled function, which takes the parameters and then the data, and returns the value and one
        gradient a parameter.
    n_parameters : int
        How many of the inputs are parameters; the others are data and have no gradient.
    """

    __props__ = ("name", "n_parameters")

    def __init__(self, name: str, n_parameters: int) -> None:
        self.name = name
        self.n_parameters = n_parameters

    @property
    def function(self) -> Callable[..., tuple[Any, ...]]:
        """Compiled loop behind this operation."""
        module, _, name = self.name.rpartition(".")
        return getattr(importlib.import_module(module), name)

    def value(self, *inputs: Any) -> Variable:
        """Return the value alone; PyTensor finds the gradients again when it differentiates."""
        return cast(list[Variable], self(*inputs, return_list=True))[0]

    def make_node(self, *inputs: Any) -> Apply:
        """Build the node: one scalar for the value, then one output shaped like each parameter."""
        variables = [pt.as_tensor_variable(item) for item in inputs]
        gradients = [variable.type() for variable in variables[: self.n_parameters]]
        return Apply(self, variables, [pt.scalar(dtype="float64"), *gradients])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Evaluate in Python, for the linkers that do not compile with numba."""
        # Compiled for contiguous arrays, the loop runs in vector registers; for others it takes twice as long.
        given = [item.item() if item.ndim == 0 else np.ascontiguousarray(item) for item in inputs]
        for storage, result in zip(output_storage, self.function(*given), strict=True):
            storage[0] = np.asarray(result, dtype=np.float64)

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Variable]
    ) -> list[Variable]:
        """Chain rule on the value; the gradients themselves are not differentiated again."""
        if any(not isinstance(item.type, DisconnectedType) for item in cotangents[1:]):
            raise NotImplementedError(f"{self} has no second derivatives")
        slopes = [pt.mul(cotangents[0], gradient) for gradient in outputs[1:]]
        return [*slopes, *(DisconnectedType()() for _ in inputs[self.n_parameters :])]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Tell that the data have no influence that could be differentiated."""
        return [[i < self.n_parameters] * len(node.outputs) for i in range(len(node.inputs))]


@register_funcify_default_op_cache_key(FusedLogLikelihood)
def _compile_with_numba(op: FusedLogLikelihood, node: Apply, **_: Any) -> Any:
    """Call the loop from numba code, 0-dimensional arrays becoming numbers on the way in and back on the way out."""
    arguments = [f"x{i}" for i in range(len(node.inputs))]
    # PyTensor's arrays may have any strides; told that they are contiguous, the loop runs in vector registers.
    passed = [
        f"{a}.item()" if v.type.ndim == 0 else f"np.ascontiguousarray({a})"
        for a, v in zip(arguments, node.inputs, strict=True)
    ]
    results = [f"y{i}" for i in range(len(node.outputs))]
    returned = [f"np.asarray({r})" if v.type.ndim == 0 else r for r, v in zip(results, node.outputs, strict=True)]
    source = (
        f"def fused({', '.join(arguments)}):\n"
        f"    {', '.join(results)} = loop({', '.join(passed)})\n"
        f"    return {', '.join(returned)}\n"
    )
    scope: dict[str, Any] = {"loop": op.function, "np": np}
    exec(source, scope)  # the number and kinds of arguments differ from loop to loop; numba needs them written out
    return numba_njit(scope["fused"]), _version_of_loops()


@cache
def _version_of_loops() -> int:
    """Number that changes with the code of the loops, as PyTensor keeps on disk what it compiled."""
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return int.from_bytes(sha256(code).digest()[:8], "big")
