"""Convolutions and dense layers of a function, counted in its jaxpr.

Multiply-accumulates have padding included, as the literature counts them (69 M an image for
ResNet-32 at 32 pixels).

Bytes follow a simple model, in which each kernel reads its inputs from memory once and writes its
outputs once. Forward, a layer reads input and weights and writes its output, over which the batch
statistics are gathered on the way; normalisation and ReLU read and write it once. Backward, the
normalisation reads gradient and output twice (its sums come first) and writes the gradient; the
layer reads that gradient, its input and its weights for its two products and writes two gradients.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from bccl_jax.methods.base import Batch
from bccl_jax.training.assemble import Run
from benchmarks import recipe

# The jit of `recipe.network_passes`, outside of which nothing is a layer.
_PASS = "network_pass"


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution or dense layer of a forward pass, over the whole batch.

    Attributes:
      kind: "conv" or "dense".
      macs: multiply-accumulates.
      inputs: elements read.
      weights: elements read, float32 in memory.
      outputs: elements written.
      shape: of the output.
      itemsize: bytes of an activation.
    """

    kind: str
    macs: int
    inputs: int
    weights: int
    outputs: int
    shape: tuple[int, ...]
    itemsize: int

    @property
    def forward_bytes(self) -> int:
        """Bytes of the layer and its normalisation, as the module's model has them."""
        return self.itemsize * (self.inputs + 3 * self.outputs) + 4 * self.weights

    @property
    def backward_bytes(self) -> int:
        """Bytes of the gradients of both."""
        return self.itemsize * (2 * self.inputs + 7 * self.outputs) + 8 * self.weights


def layers(function: Callable, *arguments: Any, within: str | None = None) -> list[Layer]:
    """The convolutions and dense layers of a function, in the order of its jaxpr.

    Args:
      function: traced, never run.
      *arguments: of the function; shapes and dtypes are enough.
      within: the name of a jitted function of which alone layers count; None for all.

    Returns:
      The layers.

    Raises:
      ValueError: a layer in a loop or branch, of which the jaxpr does not tell how often it runs.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    return list(_layers(closed.jaxpr, within, within is None))


def _layers(jaxpr: Any, within: str | None, counting: bool) -> Iterator[Layer]:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        inside = counting or equation.params.get("name") == within
        if counting and name in ("conv_general_dilated", "dot_general"):
            yield _layer(equation)
        for inner in _inner_jaxprs(equation):
            for layer in _layers(inner, within, inside):
                if name in ("while", "scan", "cond"):
                    raise ValueError(f"a layer within {name} cannot be counted; unroll it")
                yield layer


def _inner_jaxprs(equation: Any) -> Iterator[Any]:
    for value in equation.params.values():
        for inner in value if isinstance(value, list | tuple) else [value]:
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield inner


def _layer(equation: Any) -> Layer:
    left, right = (variable.aval for variable in equation.invars)
    output = equation.outvars[0].aval
    if equation.primitive.name == "conv_general_dilated":
        kind = "conv"
        channels = equation.params["dimension_numbers"].rhs_spec[0]
        macs = output.size * (right.size // right.shape[channels])
    else:
        kind = "dense"
        (contracted, _), _ = equation.params["dimension_numbers"]
        macs = output.size * math.prod(left.shape[axis] for axis in contracted)
    shape, itemsize = output.shape, output.dtype.itemsize
    return Layer(kind, macs, left.size, right.size, output.size, shape, itemsize)


def network_layers(run: Run) -> list[Layer]:
    """The layers of one training forward pass over all views of a batch."""
    network, views, shape = run.network, len(run.method.views), batch_shape(run)
    images = jax.ShapeDtypeStruct(shape, jnp.dtype(run.config.dtype))
    labels = jax.ShapeDtypeStruct(shape[:1], jnp.int32)

    def passes(state, images, labels):
        batch = Batch((images,) * views, labels)
        return recipe.network_passes(network, run.method, state, batch, state.params)

    state = jax.eval_shape(run.init_state)
    return layers(passes, state, images, labels, within=_PASS)


def batch_shape(run: Run) -> tuple[int, ...]:
    """Images, side, side and channels of one view of a batch."""
    return run.config.batch_size, *run.dataset.train.images.shape[1:]
