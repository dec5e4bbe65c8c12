"""The centroid loss of the code that Kim & Ko 2025 released: linear where Eq. 5 is a softmax."""

import jax
import jax.numpy as jnp


def linear_centroid_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    centroids: jax.Array,
    centroid_mask: jax.Array | None = None,
    *,
    num_classes: int | None = None,
) -> jax.Array:
    """Mean over all pairs of embedding and centroid of -z.c within a class, z.c between classes.

    There is neither a temperature nor a softmax, so that an embedding's gradient is the same
    wherever it stands: the sum of all centroids less twice those of its class, over N K C.
    Centroids carry no gradient. One that is not valid is counted as zero: before the first
    clustering, when none is valid, the loss is 0.

    Args:
      embeddings: [N, D] floating, of unit norm; both contrasted views of a batch.
      labels: [N] integer classes in [0, K).
      centroids: [K, C, D], of any norm.
      centroid_mask: [K, C] bool, which centroids are valid; None where all are. What the others
        hold is never read.
      num_classes: K of the mean, where `centroids` has more classes for padding.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together.
    """
    shape = centroids.shape
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings have shape {embeddings.shape} and labels {labels.shape}; "
            "pass embeddings [N, D] with one label each, [N]."
        )
    if len(shape) != 3 or shape[2] != embeddings.shape[1]:
        raise ValueError(
            f"centroids have shape {shape} and embeddings {embeddings.shape}; "
            "pass centroids [K, C, D] for embeddings [N, D]."
        )
    if centroid_mask is not None and centroid_mask.shape != shape[:2]:
        raise ValueError(
            f"centroid_mask has shape {centroid_mask.shape} and centroids {shape}; "
            "pass a mask [K, C] for centroids [K, C, D]."
        )
    bank = jax.lax.stop_gradient(centroids)
    if centroid_mask is not None:
        bank = jnp.where(centroid_mask[..., None], bank, 0)
    # Linear in the centroids: their sums say it all, and no [N, K, C] is ever made.
    of_class = jnp.sum(bank.astype(jnp.float32), axis=1)  # [K, D]
    away = jnp.sum(of_class, axis=0)[None, :] - 2.0 * of_class[labels]  # [N, D]
    pairs = labels.shape[0] * (num_classes or shape[0]) * shape[1]
    return jnp.sum(embeddings.astype(jnp.float32) * away) / max(pairs, 1)
