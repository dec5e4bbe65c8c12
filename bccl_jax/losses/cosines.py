"""How close the embeddings of a batch are, within classes and between them."""

import jax
import jax.numpy as jnp


def mean_cosines(embeddings: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean cosine over the pairs of one class and over those of two.

    A measure and no loss: it carries no gradient.

    Args:
      embeddings: [N, D] floating, of unit norm.
      labels: [N] integer classes.

    Returns:
      Means of z_i . z_j, float32 scalars: over all i != j of the same label, and over all i, j of
      different labels; 0 where there is no such pair.

    Examples:
      >>> embeddings = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
      >>> within, between = mean_cosines(embeddings, jnp.array([0, 0, 1]))
      >>> print(within, between)
      1.0 0.0
    """
    features = jax.lax.stop_gradient(embeddings).astype(jnp.float32)
    cosines = jnp.einsum("nd,md->nm", features, features, precision=jax.lax.Precision.HIGHEST)
    same = labels[:, None] == labels[None, :]
    within = same & ~jnp.eye(labels.shape[0], dtype=bool)
    return _mean(cosines, within), _mean(cosines, ~same)


def _mean(values, mask):
    return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.maximum(jnp.sum(mask), 1)
