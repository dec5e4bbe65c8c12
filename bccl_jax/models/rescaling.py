"""Classifiers balanced after training, by the size of a class's weights (Kang et al. 2020)."""

import jax
import jax.numpy as jnp


def tau_normalized(kernel: jax.Array, tau: float | jax.Array) -> jax.Array:
    """Each class's weights over the power tau of their norm: `w / ||w||^tau`.

    Args:
      kernel: [D, K] floating, the weights of a linear classifier, a column for each class.
      tau: 0 leaves them as they are, 1 gives unit vectors. The bias is dropped beside them.

    Returns:
      float32 [D, K]; a column of zeros stays zeros, with a gradient that is finite.

    Raises:
      ValueError: a kernel that is no matrix.
    """
    if kernel.ndim != 2:
        raise ValueError(f"kernel has shape {kernel.shape}; pass one column a class, [D, K].")
    kernel = kernel.astype(jnp.float32)
    squared = jnp.sum(kernel**2, axis=0, keepdims=True)
    return kernel * jnp.where(squared > 0, squared, 1.0) ** (-tau / 2)


def weight_scaled(logits: jax.Array, scales: jax.Array) -> jax.Array:
    """Learnable weight scaling: each class's logit times its scale.

    Scaling the logit scales a class's weights and its bias, if it has one. The scales are learned
    with all else frozen, from ones.

    Args:
      logits: [B, K] floating.
      scales: [K] floating.

    Returns:
      float32 [B, K].

    Raises:
      ValueError: shapes that do not fit together.
    """
    if logits.ndim != 2 or scales.shape != logits.shape[1:]:
        raise ValueError(
            f"logits have shape {logits.shape} and scales {scales.shape}; "
            "pass logits [B, K] with one scale a class, [K]."
        )
    return logits.astype(jnp.float32) * scales.astype(jnp.float32)[None, :]
