"""Cross-entropy with a margin on the label, less of what is nearly certain."""

import jax
import jax.numpy as jnp

from bccl_jax.losses.classification import check_labels


def focal_margin_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    scale: float = 1.0,
    margin: float = 0.0,
    focus: float = 0.0,
) -> jax.Array:
    """`(1 - p_y)^focus * -log p_y`, of `p = softmax(scale (z - margin onehot(y)))`.

    The factor before the logarithm carries no gradient, as in the second stage of GCL (Li et al.
    2022); the focal loss of Lin et al. 2017 differentiates it. Of soft labels it is the sum over
    the classes of each one's share times the loss of that class as the label, margin and factor its
    own: what mixed images have.

    Args:
      logits: z, [B, K] floating.
      labels: [B] integer classes in [0, K), or [B, K] shares of the classes.
      scale: of the logits and the margin, such as s of cosines.
      margin: taken from the label's logit, not below 0.
      focus: 0 leaves cross-entropy.

    Returns:
      The loss, a float32 scalar: the mean over the batch.

    Raises:
      ValueError: shapes that do not fit together, or one label an image that is no integer.
    """
    check_labels(logits, labels)
    scaled = scale * logits.astype(jnp.float32)
    if labels.ndim == 2:
        own, others = scaled, _log_sum_of_others(scaled)
        return jnp.mean(jnp.sum(labels * _focal(others - own + scale * margin, focus), axis=1))
    own = jnp.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
    is_own = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(is_own, -jnp.inf, scaled), axis=1)
    return jnp.mean(_focal(others - own + scale * margin, focus))


def _focal(odds: jax.Array, focus: float) -> jax.Array:
    """The loss where the log of the odds against the label is `odds`."""
    loss = jax.nn.softplus(odds)
    if not focus:
        return loss
    return jax.lax.stop_gradient(jax.nn.sigmoid(odds) ** focus) * loss


def _log_sum_of_others(logits: jax.Array) -> jax.Array:
    """`log sum_{j != k} exp(z_j)` of every class k, [B, K]."""
    largest = jnp.argmax(logits, axis=1)
    is_largest = jax.nn.one_hot(largest, logits.shape[1], dtype=bool)
    log_sum = jax.nn.logsumexp(logits, axis=1, keepdims=True)
    # Any class but the largest has half of the sum at most: the difference keeps its digits.
    share = jnp.where(is_largest, 0.0, jnp.exp(logits - log_sum))
    of_largest = jax.nn.logsumexp(jnp.where(is_largest, -jnp.inf, logits), axis=1, keepdims=True)
    return jnp.where(is_largest, of_largest, log_sum + jnp.log1p(-share))
