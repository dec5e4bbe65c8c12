"""Losses of two mixed views of an image (GLMC, Du et al. 2023)."""

import jax
import jax.numpy as jnp

from bccl_jax.losses.classification import cross_entropy_loss


def cumulative_loss(
    plain_logits: jax.Array,
    weighted_logits: jax.Array,
    labels: jax.Array,
    class_weights: jax.Array,
    epoch: jax.Array | int,
    epochs: jax.Array | int,
) -> jax.Array:
    """Cross-entropy of one classifier that gives way to a weighted one of another over a run.

    With a = 1 - (t / T)^2 it is `a CE(plain, y) + (1 - a) CE(weighted, w y)`, where w y are the
    soft labels y, each class's share times its weight, and CE(z, y) is the mean of
    `-sum_k y_k log softmax(z)_k`: L_total of Du et al. without the consistency of the views.

    Args:
      plain_logits: [B, K] floating.
      weighted_logits: [B, K] floating.
      labels: [B, K] shares of the classes.
      class_weights: [K], not negative, such as `margins.inverse_count_weights`.
      epoch: t, epochs that are complete; 0 leaves the first term alone, T the second one.
      epochs: T, of the run.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together.
    """
    shapes = [jnp.shape(x) for x in (plain_logits, weighted_logits, labels)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2 or jnp.shape(class_weights) != shapes[0][1:]:
        raise ValueError(
            f"the two classifiers' logits have shapes {shapes[0]} and {shapes[1]}, labels "
            f"{shapes[2]} and class_weights {jnp.shape(class_weights)}; pass [B, K] three times, "
            "and one weight a class, [K]."
        )
    plain = cross_entropy_loss(plain_logits, labels)
    weights = jnp.asarray(class_weights, jnp.float32)[None, :]
    weighted = cross_entropy_loss(weighted_logits, labels * weights)
    # As a difference of squares a would lose its digits near the end.
    t, whole = jnp.asarray(epoch, jnp.float32), jnp.asarray(epochs, jnp.float32)
    a = (whole - t) * (whole + t) / whole**2
    return a * plain + (t / whole) ** 2 * weighted


def negative_cosine(predictions: jax.Array, projections: jax.Array) -> jax.Array:
    """SimSiam's loss: minus the cosine between prediction and projection, averaged over the batch.

    Predictions are of one view and projections of the other one; projections carry no gradient
    (Chen & He 2021, Eq. 1 and 3).

    Args:
      predictions: [B, D] floating, of any length.
      projections: [B, D] floating, of any length.

    Returns:
      The loss, a float32 scalar in [-1, 1]. The cosine with a vector of zeros is 0, without a
      gradient.

    Raises:
      ValueError: shapes that do not fit together.
    """
    if predictions.ndim != 2 or predictions.shape != projections.shape:
        raise ValueError(
            f"predictions have shape {predictions.shape} and projections {projections.shape}; pass "
            "two of one shape [B, D]."
        )
    fixed = jax.lax.stop_gradient(projections)
    return -jnp.mean(jnp.sum(_direction(predictions) * _direction(fixed), axis=1))


def _direction(vectors):
    """Vectors of norm 1 from those of any length, the squares of which float32 may not hold."""
    vectors = vectors.astype(jnp.float32)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=1, keepdims=True))
    there = largest >= jnp.finfo(jnp.float32).tiny
    scaled = vectors / jnp.where(there, largest, 1.0)
    squared = jnp.sum(scaled * scaled, axis=1, keepdims=True)
    return jnp.where(there, scaled * jax.lax.rsqrt(jnp.where(there, squared, 1.0)), 0.0)
