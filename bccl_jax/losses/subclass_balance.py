"""The contrastive loss of SBCL (Hou et al. 2023): over subclasses, and over classes beside it."""

import jax
import jax.numpy as jnp

from bccl_jax.losses.contrastive import supervised_contrastive_loss
from bccl_jax.losses.denominators import log_sum_exp
from bccl_jax.losses.subclasses import check_batch, dot


def subclass_loss(
    embeddings: jax.Array, subclasses: jax.Array, *, temperature: float, base_temperature: float
) -> jax.Array:
    """Supervised contrast of subclasses, times `temperature / base_temperature`.

    Args:
      embeddings: [N, D] floating, of unit norm.
      subclasses: [N] integers, numbered over all classes.
      temperature: what the similarities are divided by.
      base_temperature: at which the factor is 1. Where each class is one subclass and this is the
        temperature, the loss is supervised contrast (Khosla et al. 2020).

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together.
    """
    loss = supervised_contrastive_loss(embeddings, subclasses, temperature=temperature)
    return temperature / base_temperature * loss


def between_subclasses_loss(
    embeddings: jax.Array, labels: jax.Array, subclasses: jax.Array, class_temperatures: jax.Array
) -> jax.Array:
    """Contrast of an anchor with the other subclasses of its class, at the class's temperature.

    Positives of an anchor are its other view and the embeddings of its class that are of another
    subclass; candidates are these and all other classes. What else is of its own subclass is left
    out. The loss is averaged over the positives, then over the anchors.

    Args:
      embeddings: [2 B, D] floating, of unit norm, view by view.
      labels: [2 B] integer classes in [0, K).
      subclasses: [2 B] integers, numbered over all classes; both views of an image have the same.
      class_temperatures: [K], what the similarities of an anchor are divided by, by its class.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together.
    """
    check_batch(embeddings, labels)
    number = len(labels)
    if subclasses.shape != labels.shape or number % 2 or jnp.ndim(class_temperatures) != 1:
        raise ValueError(
            f"embeddings have shape {embeddings.shape}, subclasses {subclasses.shape} and "
            f"class_temperatures {jnp.shape(class_temperatures)}; pass both views of a batch, "
            "[2 B, D], with a subclass each, [2 B], and one temperature a class, [K]."
        )
    features = embeddings.astype(jnp.float32)
    temperatures = jnp.asarray(class_temperatures, jnp.float32)[labels]
    logits = dot("nd,md->nm", features / temperatures[:, None], features)
    rows = jnp.arange(number)
    other_view = rows[None, :] == ((rows + number // 2) % number)[:, None]
    same_class = labels[:, None] == labels[None, :]
    candidates = (subclasses[:, None] != subclasses[None, :]) | other_view
    positives = (candidates & same_class) | other_view
    log_denominator = log_sum_exp([jnp.where(candidates, logits, -jnp.inf)])
    mean_positive = jnp.sum(jnp.where(positives, logits, 0.0), axis=1) / jnp.sum(positives, axis=1)
    return jnp.mean(log_denominator - mean_positive)
