"""The centroids of an embedding's own class, and its subclass: the nearest of them."""

import jax
import jax.numpy as jnp


def assign_subclasses(
    embeddings: jax.Array, labels: jax.Array, centroids: jax.Array, centroid_mask: jax.Array
) -> jax.Array:
    """The valid centroid of its own class that each embedding has the largest cosine with.

    Args:
      embeddings: [N, D] floating.
      labels: [N] integer classes in [0, K).
      centroids: [K, C, D], of any norm.
      centroid_mask: [K, C] bool, which centroids are valid.

    Returns:
      int32 [N] in [0, C), the first of equals; -1 where the class has no valid centroid.

    Raises:
      ValueError: shapes that do not fit together.
    """
    check_batch(embeddings, labels)
    centroids, mask = check_centroids(embeddings, centroids, centroid_mask)
    centroids = jax.lax.stop_gradient(centroids)
    own, own_mask = own_centroids(labels.astype(jnp.int32), centroids, mask)
    features = jax.lax.stop_gradient(embeddings).astype(jnp.float32)
    return nearest_own(features, own, own_mask) - 1


def own_centroids(
    labels: jax.Array, centroids: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The centroids of each label, zero where invalid or no class here, and their mask.

    Args:
      labels: [N] integers.
      centroids: [K, C, D].
      mask: [K, C] bool, which centroids are valid.

    Returns:
      float32 [N, C, D] and bool [N, C].
    """
    here = (labels >= 0) & (labels < mask.shape[0])
    labels = jnp.where(here, labels, 0)
    own_mask = mask[labels] & here[:, None]
    return valid(centroids[labels], own_mask), own_mask


def nearest_own(features: jax.Array, own: jax.Array, own_mask: jax.Array) -> jax.Array:
    """The valid own centroid of the largest cosine.

    Args:
      features: float32 [N, D].
      own: [N, C, D] of `own_centroids`.
      own_mask: [N, C] of `own_centroids`.

    Returns:
      int32 [N], counted from 1; 0 without any.
    """
    similarity = dot("nd,ncd->nc", features, own)
    norm = jnp.linalg.norm(own, axis=-1)
    cosine = similarity / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny)
    nearest = jnp.argmax(jnp.where(own_mask, cosine, -jnp.inf), axis=1).astype(jnp.int32)
    return jnp.where(jnp.any(own_mask, axis=1), nearest + 1, 0)


def dot(subscripts: str, left: jax.Array, right: jax.Array) -> jax.Array:
    """An einsum of full float32 products."""
    # An accelerator's default (TF32) is not enough at a small temperature.
    return jnp.einsum(subscripts, left, right, precision=jax.lax.Precision.HIGHEST)


def valid(centroids: jax.Array, mask: jax.Array) -> jax.Array:
    """In float32, zero where invalid: these may hold NaN."""
    return jnp.where(mask[..., None], centroids, 0).astype(jnp.float32)


def check_centroids(
    embeddings: jax.Array, centroids: jax.Array, mask: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Checks the centroids' shapes.

    Args:
      embeddings: [N, D].
      centroids: [K, C, D].
      mask: [K, C], which centroids are valid; None where all are.

    Returns:
      The centroids and their mask.

    Raises:
      ValueError: shapes that do not fit together.
    """
    if centroids.ndim != 3 or centroids.shape[2] != embeddings.shape[1]:
        raise ValueError(
            f"centroids have shape {centroids.shape} and embeddings {embeddings.shape}; "
            "pass centroids [K, C, D] for embeddings [N, D]."
        )
    if mask is None:
        mask = jnp.ones(centroids.shape[:2], dtype=bool)
    if mask.shape != centroids.shape[:2]:
        raise ValueError(
            f"centroid_mask has shape {mask.shape} and centroids {centroids.shape}; "
            "pass a mask [K, C] for centroids [K, C, D]."
        )
    return jnp.asarray(centroids), jnp.asarray(mask, bool)


def check_batch(embeddings: jax.Array, labels: jax.Array) -> None:
    """Checks that there is one label for each embedding.

    Raises:
      ValueError: shapes that do not fit together.
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings have shape {embeddings.shape} and labels {labels.shape}; "
            "pass embeddings [N, D] with one label each, [N]."
        )
