"""Implicit semantic augmentation: features moved at random along what varies within their class.

A feature f of class y, moved by Normal(0, strength Sigma_y), has infinitely many copies; an upper
bound of their mean cross-entropy is that of the logits (Wang et al. 2019)

    z_j + strength / 2 (w_j - w_y)' Sigma_y (w_j - w_y),

by the rows w of a linear classifier. MetaSAug (Li et al. 2021) learns the Sigma.
"""

import jax
import jax.numpy as jnp

from bccl_jax.losses.margins import ldam_loss

# An accelerator's default (TF32) would round what the sums are of to three digits.
_EXACT = jax.lax.Precision.HIGHEST


def semantic_spread(weights: jax.Array, labels: jax.Array, covariances: jax.Array) -> jax.Array:
    """How far the copies of an image spread in the direction of each class.

    Args:
      weights: [K, D] floating, the rows of the linear classifier.
      labels: [N] integer classes y in [0, K).
      covariances: [K, D, D], or [K, D] of variances, where all else is 0.

    Returns:
      float32 [N, K], `(w_j - w_y)' Sigma_y (w_j - w_y)`; exactly 0 for the label's class. No array
      is larger than [N, D, D] and [K, D, D], or [N, D] and [K, D].

    Raises:
      ValueError: shapes that do not fit together, or labels that are no integers.
    """
    num_classes = _check(weights, labels, covariances)
    # The differences are the same, and their products lose less to rounding, around the mean row.
    rows = weights.astype(jnp.float32)
    rows -= jnp.mean(rows, axis=0, keepdims=True)
    own = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)  # [N, K]
    of_label = jnp.matmul(own, rows, precision=_EXACT)  # w_y, [N, D]
    flat = covariances.astype(jnp.float32).reshape(num_classes, -1)
    # Products and not gathers, whose gradients are added up in another order each time on a GPU.
    sigma = jnp.matmul(own, flat, precision=_EXACT)
    if covariances.ndim == 2:
        squares = rows * rows
        moved = 2 * sigma * of_label
    else:
        squares = (rows[:, :, None] * rows[:, None, :]).reshape(num_classes, -1)
        sigma_of = sigma.reshape(len(labels), *covariances.shape[1:])
        # Both ways, so that the gradient of a symmetric matrix is one.
        moved = jnp.einsum("nde,ne->nd", sigma_of, of_label, precision=_EXACT)
        moved += jnp.einsum("nde,nd->ne", sigma_of, of_label, precision=_EXACT)
    spread = jnp.matmul(sigma, squares.T, precision=_EXACT)
    spread -= jnp.matmul(moved, rows.T, precision=_EXACT)
    spread += 0.5 * jnp.sum(moved * of_label, axis=1, keepdims=True)
    return spread * (1 - own)


def augmented_logits(
    logits: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    covariances: jax.Array,
    *,
    strength: jax.Array | float,
) -> jax.Array:
    """Logits of an image and, in the mean, of its copies: see the module.

    Args:
      logits: z, [N, K] floating.
      labels: [N] integer classes in [0, K).
      weights: [K, D] floating, the rows of the linear classifier that the logits are of.
      covariances: [K, D, D] or [K, D]; see `semantic_spread`.
      strength: float32 []; 0 leaves the logits as they are.

    Returns:
      float32 [N, K]; the label's own logit is as it was.

    Raises:
      ValueError: shapes that do not fit together, or labels that are no integers.
    """
    if logits.ndim != 2 or logits.shape != (*labels.shape, len(weights)):
        raise ValueError(
            f"logits have shape {logits.shape}, labels {labels.shape} and weights {weights.shape}; "
            "pass logits [N, K], labels [N] and weights [K, D]."
        )
    return logits.astype(jnp.float32) + 0.5 * strength * semantic_spread(
        weights, labels, covariances
    )


def semantic_augmentation_loss(
    logits: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    covariances: jax.Array,
    class_counts: jax.Array,
    *,
    strength: jax.Array | float,
    max_margin: float = 0.5,
    class_weights: jax.Array | None = None,
) -> jax.Array:
    """LDAM's cross-entropy of the augmented logits, weighed by class (Li et al. 2021).

    The margin is taken from the label's logit alone and is not scaled, for the logits of a linear
    classifier have no bound that a scale would stretch.

    Args:
      logits: [N, K] floating.
      labels: [N] integer classes in [0, K).
      weights: [K, D] floating, the rows of the linear classifier that the logits are of.
      covariances: [K, D, D] or [K, D]; see `semantic_spread`.
      class_counts: [K] training images per class, not all zero.
      strength: float32 []; 0, or covariances of 0, leave `ldam_loss` of scale 1.
      max_margin: of the class with the fewest images; 0 for none.
      class_weights: [K], not negative, such as `effective_number_weights`; None weighs all alike.

    Returns:
      The loss, a float32 scalar: the mean over the batch, or `sum w_y loss / sum w_y`.

    Raises:
      ValueError: shapes that do not fit together, or labels that are no integers.
    """
    augmented = augmented_logits(logits, labels, weights, covariances, strength=strength)
    return ldam_loss(
        augmented,
        labels,
        class_counts,
        max_margin=max_margin,
        scale=1.0,
        class_weights=class_weights,
    )


def _check(weights, labels, covariances):
    """Returns K."""
    fits = weights.ndim == 2 and covariances.shape in (
        weights.shape,
        (*weights.shape, weights.shape[1]),
    )
    if not fits or labels.ndim != 1:
        raise ValueError(
            f"weights have shape {weights.shape}, labels {labels.shape} and covariances "
            f"{covariances.shape}; pass weights [K, D], labels [N], and covariances [K, D, D] or "
            "variances [K, D]."
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels are {labels.dtype}; pass integer classes, [N].")
    return len(weights)
