"""Parametric contrast: class centres and embeddings as candidates of one softmax (PaCo, GPaCo)."""

import math

import jax
import jax.numpy as jnp

from bccl_jax.losses.classification import log_class_prior
from bccl_jax.losses.denominators import log_sum_exp
from bccl_jax.losses.subclasses import check_batch, dot


def parametric_contrastive_loss(
    logits: jax.Array,
    embeddings: jax.Array,
    labels: jax.Array,
    keys: jax.Array,
    key_labels: jax.Array,
    *,
    class_counts: jax.Array | None,
    temperature: float,
    alpha: float,
    beta: float = 1.0,
    gamma: float = 1.0,
    targets: jax.Array | None = None,
) -> jax.Array:
    """The loss of PaCo (Cui et al. 2021) and GPaCo (Cui et al. 2023), mean over the anchors.

    Candidates of anchor i are the K class centres, with the logits u_k of the classifier plus the
    log class prior, and the other embeddings of the batch and the keys, with the logits
    v_j = z_i . z_j / temperature:

        D_i = sum_k exp(u_k) + gamma sum_{j != i} exp(v_j)
        loss_i = - (beta sum_k y_k log(exp(u_k) / D_i) + alpha sum_{j in P(i)} log(exp(v_j) / D_i))
                 / (beta + alpha |P(i)|)

    P(i) are the candidates of its class, y the label, one-hot or soft. With alpha = gamma = 0 it is
    `balanced_softmax_loss`.

    This is what their code computes, the mean over an anchor's positives by weight, but for the
    1e-12 that it adds to D_i and the 1e-9 that it adds to the prior. Here a class without training
    images drops out of the softmax, as in `logit_compensation_loss`, and an anchor of that class
    makes the loss infinite.

    Args:
      logits: [N, K] floating, of the anchors, without the prior.
      embeddings: [N, D] floating, of the anchors, of unit norm.
      labels: [N] integer classes in [0, K).
      keys: [M, D] floating, further candidates of unit norm; M may be 0. Gradients go into them;
        cut those that should not.
      key_labels: [M] integer classes, below 0 where a key is none: then what it holds is not read.
      class_counts: [K] training images per class, not all zero; None for no prior.
      temperature: what the similarities are divided by, positive; the centres' logits are not.
      alpha: weight of a positive that is no centre; a number and no array, as beta and gamma.
      beta: weight of the centre.
      gamma: weight of the embeddings in the denominator; 0 leaves the centres alone in it.
      targets: float [N, K], shares of the classes that sum to 1, in the place of the labels at the
        centres alone, as of label smoothing. GPaCo's code shares out s among the K - 1 classes that
        are not the label, which is `smoothed` by s K / (K - 1).

    Returns:
      The loss, a float32 scalar. An anchor without a positive of a weight, which only beta = 0
      allows, is left out of the mean; without any the loss is 0.

    Raises:
      ValueError: shapes that do not fit together, or a weight below 0.
    """
    _check(logits, embeddings, labels, keys, key_labels, targets)
    if min(alpha, beta, gamma) < 0:
        raise ValueError(f"alpha, beta, gamma are {alpha}, {beta}, {gamma}; none may be below 0.")
    centres = logits.astype(jnp.float32)
    if class_counts is not None:
        prior = log_class_prior(class_counts)
        if prior.shape != logits.shape[1:]:
            raise ValueError(
                f"class_counts have shape {prior.shape} and logits {logits.shape}; "
                "pass one count a class, [K], for logits [N, K]."
            )
        centres += prior[None, :]
    features, labels = embeddings.astype(jnp.float32), labels.astype(jnp.int32)
    there = key_labels >= 0
    keys = jnp.where(there[:, None], keys, 0).astype(jnp.float32)
    similarities = dot("nd,md->nm", features / temperature, jnp.concatenate([features, keys]))
    # Of the batch each but the anchor itself.
    others = ~jnp.eye(len(labels), dtype=bool)
    of_class = labels[:, None] == labels[None, :]
    candidates = jnp.concatenate([others, jnp.broadcast_to(there, (len(labels), len(keys)))], 1)
    same = jnp.concatenate([of_class, labels[:, None] == key_labels[None, :]], 1)

    embedded = jnp.full_like(similarities, -jnp.inf)
    if gamma:
        embedded = jnp.where(candidates, similarities + math.log(gamma), -jnp.inf)
    log_denominator = log_sum_exp([centres, embedded])
    positive_sum = jnp.zeros_like(log_denominator)
    weight = jnp.full_like(log_denominator, beta)
    if alpha:
        positives = candidates & same
        positive_sum += alpha * jnp.sum(jnp.where(positives, similarities, 0.0), axis=1)
        weight += alpha * jnp.sum(positives, axis=1)
    if beta:
        positive_sum += beta * _of_label(centres, labels, targets)
    counted = weight > 0
    losses = log_denominator - positive_sum / jnp.where(counted, weight, 1.0)
    return jnp.sum(jnp.where(counted, losses, 0.0)) / jnp.maximum(jnp.sum(counted), 1)


def _of_label(centres, labels, targets):
    """The logits [N] of the label, of shares their mean."""
    if targets is None:
        return jnp.take_along_axis(centres, labels[:, None], axis=1)[:, 0]
    shares = targets.astype(jnp.float32)
    # 0 * -inf is NaN.
    finite = jnp.where((shares == 0) & jnp.isneginf(centres), 0.0, centres)
    return jnp.sum(shares * finite, axis=1)


def _check(logits, embeddings, labels, keys, key_labels, targets):
    check_batch(embeddings, labels)
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(
            f"logits have shape {logits.shape} and labels {labels.shape}; "
            "pass logits [N, K] with one label each, [N]."
        )
    for name, array in (("labels", labels), ("key_labels", key_labels)):
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise ValueError(f"{name} are {array.dtype}; pass integer classes.")
    if keys.ndim != 2 or keys.shape[1:] != embeddings.shape[1:]:
        raise ValueError(
            f"keys have shape {keys.shape} and embeddings {embeddings.shape}; "
            "pass keys [M, D] for embeddings [N, D]."
        )
    if key_labels.shape != keys.shape[:1]:
        raise ValueError(
            f"key_labels have shape {key_labels.shape} and keys {keys.shape}; "
            "pass one label a key, [M]."
        )
    if targets is not None and targets.shape != logits.shape:
        raise ValueError(
            f"targets have shape {targets.shape} and logits {logits.shape}; "
            "pass shares of the classes, [N, K]."
        )
