"""Classification by centroids: a class is as near as its centroids are on average."""

import jax
import jax.numpy as jnp

from bccl_jax.losses.classification import log_class_prior
from bccl_jax.losses.subclasses import check_batch, check_centroids, dot, valid


def centroid_classification_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    centroids: jax.Array,
    centroid_mask: jax.Array | None,
    class_counts: jax.Array,
    *,
    temperature: float,
    factor: float = 1.0,
) -> jax.Array:
    """Cross-entropy over classes, whose logits are what their centroids have of the embedding.

    The logit of class k is `log mean_c exp(z . c_kc / temperature) + factor log(n_k / N)`, the mean
    over its valid centroids: a mixture of von Mises-Fisher distributions of one concentration and
    equal shares, under the class prior. An embedding may be near any of its class's centroids.
    Classes without a valid centroid have no logit; their embeddings do not enter the mean.
    Centroids carry no gradient.

    Args:
      embeddings: [N, D] floating, of unit norm.
      labels: [N] integer classes in [0, K).
      centroids: [K, C, D] of unit norm.
      centroid_mask: [K, C] bool, which centroids are valid; None where all are. What the others
        hold is never read.
      class_counts: [K] training images per class.
      temperature: what the similarities are divided by, positive.
      factor: of the log prior; a number and no array.

    Returns:
      The loss, a float32 scalar; 0 with zero gradients where no class of the batch has a valid
      centroid.

    Raises:
      ValueError: shapes that do not fit together.

    Examples:
      >>> centroids = jnp.array([[[1.0, 0.0]], [[-1.0, 0.0]]])  # one a class
      >>> embeddings, counts = jnp.array([[1.0, 0.0]]), jnp.array([5, 5])
      >>> loss = jax.jit(lambda y: centroid_classification_loss(
      ...     embeddings, y, centroids, None, counts, temperature=0.5))
      >>> print(round(float(loss(jnp.array([0]))), 3), round(float(loss(jnp.array([1]))), 3))
      0.018 4.018
    """
    check_batch(embeddings, labels)
    centroids, mask = check_centroids(embeddings, centroids, centroid_mask)
    prior = log_class_prior(class_counts)
    if prior.shape != mask.shape[:1]:
        raise ValueError(
            f"class_counts has shape {prior.shape} and centroids {centroids.shape}; "
            "pass one count a class, [K]."
        )
    anchors = embeddings.astype(jnp.float32) / temperature
    bank = valid(jax.lax.stop_gradient(centroids), mask)
    logits = jnp.where(mask[None, :, :], dot("nd,kcd->nkc", anchors, bank), -jnp.inf)
    number, there = jnp.sum(mask, axis=1), jnp.any(mask, axis=1)
    # A class without centroids would have log 0 - log 0.
    shift = -jnp.log(jnp.maximum(number, 1))
    if factor:
        shift += factor * jnp.where(there, prior, 0.0)
    logits = jnp.where(there[None, :, None], logits, 0.0)
    of_class = jax.nn.logsumexp(logits, axis=2) + shift[None, :]
    of_class = jnp.where(there[None, :], of_class, -jnp.inf)
    counted = there[labels]
    # No class may be there at all.
    of_class = jnp.where(counted[:, None], of_class, 0.0)
    own = jnp.take_along_axis(of_class, labels[:, None], axis=1)[:, 0]
    terms = jnp.where(counted, jax.nn.logsumexp(of_class, axis=1) - own, 0.0)
    return jnp.sum(terms) / jnp.maximum(jnp.sum(counted), 1)
