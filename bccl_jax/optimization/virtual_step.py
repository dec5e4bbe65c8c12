"""How something that a loss depends on should change so that a step by that loss ends better."""

from collections.abc import Callable
from typing import Any

import jax


def meta_gradient(
    loss: Callable[[Any, Any], jax.Array],
    judge: Callable[[Any], jax.Array],
    params: Any,
    settings: Any,
    learning_rate: jax.Array | float,
) -> tuple[jax.Array, Any]:
    """The gradient through one virtual step of gradient descent (Ren et al. 2018).

    With `params' = params - learning_rate d loss(params, settings) / d params` it is
    `d judge(params') / d settings`. The settings enter by the step alone. What it costs beside the
    step is the judge's gradient, and one pass along that direction through the step's backward
    pass: where the settings enter late in the loss, nothing of its depth is differentiated twice.

    Args:
      loss: (params, settings) -> a scalar.
      judge: params -> a scalar.
      params: a pytree of floating arrays; no gradient comes back to them from here.
      settings: another one.
      learning_rate: float32 [], of the virtual step.

    Returns:
      The judge's loss after the virtual step, a scalar, and the gradient, a pytree like the
      settings.
    """
    params, settings = jax.lax.stop_gradient((params, settings))

    def after_step(settings):
        gradient = jax.grad(loss)(params, settings)
        moved = jax.tree.map(lambda x, g: x - learning_rate * g, params, gradient)
        return judge(moved)

    return jax.value_and_grad(after_step)(settings)
