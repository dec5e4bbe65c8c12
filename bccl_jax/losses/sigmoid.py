"""Sigmoid classification under a class prior: every class against all others."""

import jax
import jax.numpy as jnp
import optax

from bccl_jax.losses.classification import (
    check_class_counts,
    check_labels,
    log_class_prior,
)


def log_class_odds(class_counts: jax.Array) -> jax.Array:
    """Log of the odds that a training image is of a class: `log(n_y / (N - n_y))`.

    Args:
      class_counts: [K] images per class, integer or floating.

    Returns:
      float32 [K]; -inf for a class without images, inf for the only one that has some.

    Raises:
      ValueError: class_counts that is not a vector.

    Examples:
      >>> [round(float(odds), 3) for odds in log_class_odds(jnp.array([80, 15, 5]))]
      [1.386, -1.735, -2.944]
    """
    prior = log_class_prior(class_counts)
    counts = jnp.asarray(class_counts, jnp.float32)
    total = jnp.sum(counts)
    return prior - jnp.log((total - counts) / jnp.maximum(total, 1.0))


def compensated_sigmoid_loss(
    logits: jax.Array, labels: jax.Array, class_counts: jax.Array, *, factor: float = 1.0
) -> jax.Array:
    """Binary cross-entropy of every class's `logit + factor log odds`, summed over the classes.

    What `logit_compensation_loss` is to the softmax: at its optimum, with factor 1, a logit is the
    log of how much more likely the image is of the class than of the others together, whatever the
    share of the class among the training images. The sum is averaged over the batch.

    A class without training images, whose odds are 0, is left out, and so is the only class that
    has some, whose odds are infinite.

    Args:
      logits: [B, K] floating.
      labels: hard [B] or soft [B, K], as `cross_entropy_loss` has them.
      class_counts: [K] training images per class.
      factor: a number and no array; 0 leaves plain binary cross-entropy, of all classes.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together, or one label an image that is no integer.

    Examples:
      Of two classes that no logit tells apart, a frequent label costs little and a rare one much:

      >>> logits, counts = jnp.zeros((1, 2)), jnp.array([90, 10])
      >>> print(round(float(compensated_sigmoid_loss(logits, jnp.array([0]), counts)), 3))
      0.211
      >>> print(round(float(compensated_sigmoid_loss(logits, jnp.array([1]), counts)), 3))
      4.605
    """
    odds = log_class_odds(class_counts)
    check_class_counts(logits, odds)
    check_labels(logits, labels)
    if labels.ndim == 1:
        labels = jax.nn.one_hot(labels, logits.shape[1], dtype=jnp.float32)
    logits, shares = logits.astype(jnp.float32), labels.astype(jnp.float32)
    if not factor:
        return jnp.mean(jnp.sum(optax.sigmoid_binary_cross_entropy(logits, shares), axis=1))
    counted = jnp.isfinite(odds)
    logits = logits + jnp.where(counted, factor * odds, 0.0)[None, :]
    terms = optax.sigmoid_binary_cross_entropy(logits, shares)
    return jnp.mean(jnp.sum(jnp.where(counted[None, :], terms, 0.0), axis=1))
