"""Losses whose margin or weight follows the number of a class's images."""

import math

import jax
import jax.numpy as jnp
import optax


def ldam_margins(class_counts: jax.Array, max_margin: float = 0.5) -> jax.Array:
    """Margins in proportion to n^(-1/4), the largest `max_margin` (Cao et al. 2019).

    Args:
      class_counts: [K] training images per class, integer or floating, not all zero.
      max_margin: of the class with the fewest images.

    Returns:
      float32 [K]; a class without images has `max_margin`.

    Raises:
      ValueError: class_counts that is not a vector.

    Examples:
      >>> [round(float(margin), 3) for margin in ldam_margins([625, 81, 1], max_margin=0.6)]
      [0.12, 0.2, 0.6]
    """
    counts = _vector(class_counts)
    fewest = jnp.min(jnp.where(counts > 0, counts, jnp.inf))
    return max_margin * (fewest / jnp.maximum(counts, fewest)) ** 0.25


def ldam_loss(
    logits: jax.Array,
    labels: jax.Array,
    class_counts: jax.Array,
    *,
    max_margin: float = 0.5,
    scale: float = 30.0,
    class_weights: jax.Array | None = None,
) -> jax.Array:
    """LDAM: cross-entropy of `scale * (logits - margin of the label's class)` (Cao et al. 2019).

    The margin is taken from the label's logit alone, before the scale:
    `-log(e^(s (z_y - m_y)) / (e^(s (z_y - m_y)) + sum_{k != y} e^(s z_k)))`.

    Args:
      logits: [B, K] floating, cosines in [-1, 1] between feature and class weight: what
        `models.heads.CosineClassifier` of scale 1 gives.
      labels: [B] integer classes in [0, K).
      class_counts: [K] training images per class, not all zero.
      max_margin: the largest margin; 0 leaves cross-entropy of the scaled logits.
      scale: s.
      class_weights: [K], not negative, such as `effective_number_weights`, which LDAM-DRW has from
        epoch 160 of 200; None weighs all alike.

    Returns:
      The loss, a float32 scalar: the mean over the batch, or with weights `sum w_y loss / sum w_y`,
      so that a weight counts beside the others of its batch alone. It is 0 where all are 0.

    Raises:
      ValueError: shapes that do not fit together, or labels that are no integers.
    """
    margins = ldam_margins(class_counts, max_margin)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[1:] != margins.shape:
        raise ValueError(
            f"logits have shape {logits.shape}, labels {labels.shape} and class_counts "
            f"{margins.shape}; pass logits [B, K] with one label each, [B], and one count a class, "
            "[K]."
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels are {labels.dtype}; pass integer classes, [B].")
    own = jax.nn.one_hot(labels, logits.shape[1], dtype=jnp.float32)
    shifted = scale * (logits.astype(jnp.float32) - own * margins[None, :])
    losses = optax.softmax_cross_entropy_with_integer_labels(shifted, labels)
    if class_weights is None:
        return jnp.mean(losses)
    if jnp.shape(class_weights) != margins.shape:
        raise ValueError(
            f"class_weights have shape {jnp.shape(class_weights)} and class_counts "
            f"{margins.shape}; pass one weight a class, [K]."
        )
    weights = jnp.asarray(class_weights, jnp.float32)[labels]
    return jnp.sum(weights * losses) / jnp.maximum(jnp.sum(weights), jnp.finfo(jnp.float32).tiny)


def effective_number_weights(class_counts: jax.Array, beta: float) -> jax.Array:
    """Weights of classes by their effective number, `(1 - beta) / (1 - beta^n)` (Cui et al. 2019).

    They are scaled to the sum K, as LDAM-DRW has them.

    Args:
      class_counts: [K] training images per class, integer or floating, not all zero.
      beta: from 0, which weighs all classes alike, to below 1, towards which the weights become
        those of 1 / n; a number and no array. 0.9999 in the field's recipes.

    Returns:
      float32 [K]; a class without images has weight 0.

    Raises:
      ValueError: class_counts that is not a vector, or beta out of its bounds.

    Examples:
      With beta 0 all classes weigh the same; near 1 they weigh by the inverse of their images:

      >>> [round(float(weight), 2) for weight in effective_number_weights([90, 10], beta=0.0)]
      [1.0, 1.0]
      >>> [round(float(weight), 2) for weight in effective_number_weights([90, 10], beta=0.9999)]
      [0.2, 1.8]
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta is {beta}; pass a number from 0 to below 1.")
    counts = _vector(class_counts)
    there = counts > 0
    # In float32 1 - beta^n of few images would be a difference of equal numbers; expm1 is exact.
    # The factor 1 - beta is lost to the scaling.
    log_beta = math.log(beta) if beta else -math.inf
    effective = -jnp.expm1(jnp.where(there, counts, 1.0) * log_beta)
    weights = jnp.where(there, 1.0 / effective, 0.0)
    return weights * (len(counts) / jnp.sum(weights))


def inverse_count_weights(class_counts: jax.Array, power: float) -> jax.Array:
    """Weights of classes in proportion to `n^(-power)`, scaled to the mean 1.

    Args:
      class_counts: [K] training images per class, integer or floating, not all zero.
      power: 0 weighs all classes alike, 1 by the inverse of their images.

    Returns:
      float32 [K]; a class without images has weight 0, and counts in the mean.

    Raises:
      ValueError: class_counts that is not a vector.

    Examples:
      >>> [round(float(weight), 2) for weight in inverse_count_weights([90, 10], power=1.0)]
      [0.2, 1.8]
    """
    counts = _vector(class_counts)
    there = counts > 0
    # Beside the rarest class, so that no power of a large count is lost to float32.
    fewest = jnp.min(jnp.where(there, counts, jnp.inf))
    weights = jnp.where(there, (fewest / jnp.maximum(counts, fewest)) ** power, 0.0)
    return weights * (len(counts) / jnp.sum(weights))


def _vector(class_counts: jax.Array) -> jax.Array:
    if jnp.ndim(class_counts) != 1:
        raise ValueError(
            f"class_counts has shape {jnp.shape(class_counts)}; pass one count a class, [K]."
        )
    return jnp.asarray(class_counts, jnp.float32)
