"""Gaussian clouds of logits, larger for rarer classes (GCL, Li et al. 2022)."""

import jax
import jax.numpy as jnp

# Standard deviation of the noise before it is cut to [-1, 1], which are three of them.
_DEVIATION = 1 / 3


def draw_noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Noise of Normal(0, 1/3), cut to [-1, 1]: float32 of that shape."""
    return jnp.clip(_DEVIATION * jax.random.normal(key, shape, jnp.float32), -1.0, 1.0)


def cloud_sizes(class_counts: jax.Array) -> jax.Array:
    """`(log n_max - log n_k)`, scaled so that the rarest class has 1 (Li et al. 2022, Eq. 7).

    Args:
      class_counts: [K] training images per class, integer or floating, not all zero.

    Returns:
      float32 [K] in [0, 1]; all 0 where classes are of one size. A class without images has 1, or
      0 where the others are of one size.

    Raises:
      ValueError: class_counts that is not a vector.
    """
    if jnp.ndim(class_counts) != 1:
        raise ValueError(
            f"class_counts has shape {jnp.shape(class_counts)}; pass one count a class, [K]."
        )
    counts = jnp.asarray(class_counts, jnp.float32)
    fewest = jnp.min(jnp.where(counts > 0, counts, jnp.inf))
    sizes = jnp.log(jnp.max(counts)) - jnp.log(jnp.maximum(counts, fewest))
    largest = jnp.max(sizes)
    return sizes / jnp.where(largest > 0, largest, 1.0)


def clouded_logits(
    cosines: jax.Array, noise: jax.Array, class_counts: jax.Array, *, cloud: float
) -> jax.Array:
    """`cos_k - cloud * |noise_k| * size_k` of every class, the label's or not.

    Args:
      cosines: [B, K] floating, in [-1, 1].
      noise: [B, K] of `draw_noise`.
      class_counts: [K] training images per class.
      cloud: nu; 0 leaves the cosines as they are.

    Returns:
      float32 [B, K].

    Raises:
      ValueError: shapes that do not fit together.
    """
    sizes = cloud_sizes(class_counts)
    if cosines.ndim != 2 or noise.shape != cosines.shape or cosines.shape[1:] != sizes.shape:
        raise ValueError(
            f"cosines have shape {cosines.shape}, noise {noise.shape} and class_counts "
            f"{sizes.shape}; pass cosines and noise [B, K] with one count a class, [K]."
        )
    return cosines.astype(jnp.float32) - cloud * jnp.abs(noise) * sizes[None, :]
