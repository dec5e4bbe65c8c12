"""Classifiers balanced after training: what a trained one's weights or logits become."""

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

    Examples:
      A frequent class has weights of norm 4, a rare one of norm 1. Afterwards both have norm 1:

      >>> kernel = jnp.array([[4.0, 1.0], [0.0, 0.0]])
      >>> tau_normalized(kernel, tau=1.0).tolist()
      [[1.0, 1.0], [0.0, 0.0]]
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

    Examples:
      >>> weight_scaled(jnp.array([[2.0, 1.0]]), jnp.array([1.0, 3.0]))
      Array([[2., 3.]], dtype=float32)
    """
    if logits.ndim != 2 or scales.shape != logits.shape[1:]:
        raise ValueError(
            f"logits have shape {logits.shape} and scales {scales.shape}; "
            "pass logits [B, K] with one scale a class, [K]."
        )
    return logits.astype(jnp.float32) * scales.astype(jnp.float32)[None, :]


def aligned(
    logits: jax.Array, confidence: jax.Array, magnitude: jax.Array, margin: jax.Array
) -> jax.Array:
    """DisAlign: `(1 + c a_k) z_k + c b_k`, as much of an affine map as an image calls for.

    It is `c (alpha_k z_k + b_k) + (1 - c) z_k` of Zhang et al. 2021, Eq. 6 and 7, with a = alpha -
    1: magnitudes and margins of 0 leave the logits as they are, bit for bit, whatever c.

    Args:
      logits: z, [B, K] floating.
      confidence: c, [B] floating, from 0 to 1.
      magnitude: a, [K] floating.
      margin: b, [K] floating.

    Returns:
      float32 [B, K].

    Raises:
      ValueError: shapes that do not fit together.
    """
    fits = logits.ndim == 2 and confidence.shape == logits.shape[:1]
    if not fits or not magnitude.shape == margin.shape == logits.shape[1:]:
        raise ValueError(
            f"logits have shape {logits.shape}, confidence {confidence.shape}, magnitude "
            f"{magnitude.shape} and margin {margin.shape}; pass logits [B, K] with one confidence "
            "an image, [B], and a magnitude and a margin a class, [K]."
        )
    logits, confidence = logits.astype(jnp.float32), confidence.astype(jnp.float32)[:, None]
    magnitude, margin = (x.astype(jnp.float32)[None, :] for x in (magnitude, margin))
    return (1 + confidence * magnitude) * logits + confidence * margin
