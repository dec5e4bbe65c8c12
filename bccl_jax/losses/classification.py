"""Classification losses: softmax cross-entropy, plain and with logits compensated by the prior."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross-entropy, averaged over the batch, in float32.

    Args:
      logits: [B, K] floating.
      labels: [B] integer classes in [0, K).

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits have shape {logits.shape} and labels {labels.shape}; "
            "pass logits [B, K] with one label each, [B]."
        )
    losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)
    return jnp.mean(losses)


def log_class_prior(class_counts: jax.Array) -> jax.Array:
    """Log of each class's share of the training set (Eq. 7).

    Args:
      class_counts: [K] images per class, integer or floating.

    Returns:
      float32 [K]: `log(n_y / sum n)`, and -inf for a class without images.

    Raises:
      ValueError: class_counts that is not a vector.
    """
    if jnp.ndim(class_counts) != 1:
        raise ValueError(
            f"class_counts has shape {jnp.shape(class_counts)}; pass one count a class, [K]."
        )
    counts = jnp.asarray(class_counts, dtype=jnp.float32)
    return jnp.log(counts) - jnp.log(jnp.maximum(jnp.sum(counts), 1.0))


def post_hoc_offset(class_counts: jax.Array, factor: float) -> jax.Array:
    """What post-hoc adjustment takes from the logits: `factor * log prior` (Menon et al. 2021).

    Args:
      class_counts: [K] images per class, integer or floating.
      factor: tau; 0 leaves the logits as they are, whatever the counts.

    Returns:
      float32 [K], without NaN. With a factor a class without training images, whose prior nothing
      is known of, has the offset inf, and so is never predicted.

    Raises:
      ValueError: class_counts that is not a vector.
    """
    prior = log_class_prior(class_counts)
    if not factor:  # 0 * -inf is NaN
        return jnp.zeros_like(prior)
    return jnp.where(jnp.isneginf(prior), jnp.inf, factor * prior)


def logit_compensation_loss(
    logits: jax.Array, labels: jax.Array, class_counts: jax.Array
) -> jax.Array:
    """Cross-entropy of `logits + log(n_y / sum n)`, averaged over the batch (Eq. 8).

    A class without training images has a prior of -inf: it drops out of the softmax and its logit
    gets a zero gradient. A label of such a class contradicts the counts and makes the loss
    infinite, not NaN.

    Args:
      logits: [B, K] floating.
      labels: [B] integer classes in [0, K).
      class_counts: [K] training images per class, not all zero.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together.
    """
    prior = log_class_prior(class_counts)
    if logits.ndim != 2 or logits.shape[1:] != prior.shape:
        raise ValueError(
            f"logits have shape {logits.shape} and class_counts {prior.shape}; "
            "pass logits [B, K] with one count a class, [K]."
        )
    return cross_entropy_loss(logits.astype(jnp.float32) + prior[None, :], labels)
