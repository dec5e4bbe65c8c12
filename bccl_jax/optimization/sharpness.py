"""Sharpness-aware minimisation (SAM, Foret et al. 2021): where its second gradient is taken."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def uphill(params: Any, gradient: Any, rho: float) -> Any:
    """The parameters a step of length `rho` up the loss, Eq. 2 of Foret et al. for p = 2.

    `optax.contrib.sam` has the same in its opaque mode, but divides by a norm of 0 and keeps a
    counter, so that a checkpoint would be of another structure with it.

    Args:
      params: a pytree of float32 arrays.
      gradient: of the loss with respect to them; what has none stays where it is.
      rho: length of the step over all parameters.

    Returns:
      `params + rho gradient / ||gradient||`; the parameters where the gradient is 0.
    """
    norm = optax.global_norm(gradient)
    length = jnp.where(norm > 0, rho / jnp.where(norm > 0, norm, 1.0), 0.0)
    return jax.tree.map(lambda x, g: x + length * g, params, gradient)
