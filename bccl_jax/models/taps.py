"""How strong a loss's gradient is where it reaches the features, read in the backward pass itself.

A second backward pass for each loss would cost as much as the first. Here a tap is an identity
whose backward pass also sums the squares of what goes through it, and hands the sum out as the
gradient of a scalar that enters nothing.
"""

from collections.abc import Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp

COLLECTION = "taps"


@jax.custom_vjp
def tap(x: jax.Array, sink: jax.Array) -> jax.Array:
    """Returns `x`, and makes the gradient of `sink` tell how large that of `x` is.

    Args:
      x: any floating array.
      sink: float32 scalar, whose value is not read. Its gradient is the sum of the squares of the
        gradient that comes back to `x` here; of several taps with one sink it is their sum.

    Returns:
      `x`, whose own gradient is as without the tap.
    """
    del sink
    return x


def _forward(x, sink):
    del sink
    return x, None


def _backward(_, gradient):
    return gradient, jnp.sum(jnp.square(gradient.astype(jnp.float32)))


tap.defvjp(_forward, _backward)


def sinks(names: Iterable[str]) -> dict[str, jax.Array]:
    """Returns the Flax collection that taps of these names write their gradients to."""
    return {name: jnp.zeros((), jnp.float32) for name in names}


def tapped(network: nn.Module, name: str, x: jax.Array) -> jax.Array:
    """Taps `x` in a forward pass, if whoever runs the pass asks for the tap.

    Args:
      network: bound module. Without a sink of that name in its collection "taps", as in evaluation
        or initialisation, nothing is done.
      name: of the tap.
      x: any floating array.

    Returns:
      `x`.
    """
    if not network.has_variable(COLLECTION, name):
        return x
    return tap(x, network.get_variable(COLLECTION, name))
