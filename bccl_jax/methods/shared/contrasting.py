"""The contrasted terms of BCCL's loss, each in the form that the settings choose, and their sum."""

import jax
import jax.numpy as jnp

from bccl_jax.losses.class_centroids import centroid_classification_loss
from bccl_jax.losses.contrastive import (
    centroid_loss,
    complement_and_centroid_loss,
    supervised_contrastive_loss,
)
from bccl_jax.losses.linear_centroid import linear_centroid_loss
from bccl_jax.methods.base import Method, Progress
from bccl_jax.methods.shared.queued_centroids import BCCLState


def contrast(
    method: Method,
    embeddings: jax.Array,
    labels: jax.Array,
    state: BCCLState,
    progress: Progress,
    prototypes: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """The contrastive loss and the centroid loss of a batch.

    Args:
      method: BCCL with its settings.
      embeddings: [N, D] floating, of unit norm; all contrasted views of a batch.
      labels: [N] integer classes.
      state: whose centroids are candidates.
      progress: where in the run the batch is.
      prototypes: [K, D] of unit norm, one learned for each class; candidates and positives of the
        contrastive loss beside the centroids. None for none.

    Returns:
      Both losses, without their weights; None for a centroid loss that has none.
    """
    bank = {"centroids": state.centroids, "centroid_mask": state.centroid_mask}
    options = {
        "temperature": _temperature(method, progress),
        "class_average": method.class_average,
        "one_view_counts": method.one_view_counts,
        "chunk_size": method.class_chunk or None,
        "mesh": jax.sharding.get_abstract_mesh() if method.split_classes else None,
    }
    weighs = method.weights[1] > 0
    softmax = weighs and method.centroid_loss_form == "softmax"
    if method.class_complement and softmax and prototypes is None:
        return complement_and_centroid_loss(embeddings, labels, **bank, **options)
    complement = bank if method.class_complement else {}
    if prototypes is not None:
        complement = _with_prototypes(complement, prototypes)
    contrastive = supervised_contrastive_loss(embeddings, labels, **complement, **options)
    if softmax:
        return contrastive, centroid_loss(embeddings, labels, **bank, **options)
    if not weighs:
        return contrastive, None
    if method.centroid_loss_form == "class":
        return contrastive, centroid_classification_loss(
            embeddings,
            labels,
            **bank,
            class_counts=state.class_counts,
            temperature=options["temperature"],
            factor=float(method.logit_compensation),
        )
    return contrastive, linear_centroid_loss(
        embeddings, labels, **bank, num_classes=len(state.class_counts)
    )


def _with_prototypes(bank, prototypes):
    """Prototypes [K, D] as one more centroid of each class, with gradient; arguments of a loss."""
    centroids, mask = prototypes[:, None, :], jnp.ones((len(prototypes), 1), bool)
    if bank:
        centroids = jnp.concatenate([bank["centroids"], centroids], axis=1)
        mask = jnp.concatenate([bank["centroid_mask"], mask], axis=1)
    return {"centroids": centroids, "centroid_mask": mask, "learned": True}


def combine(
    method: Method,
    contrastive: jax.Array,
    centroid: jax.Array | None,
    classification: jax.Array,
    progress: Progress,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of the three losses, Eq. 9.

    Args:
      method: BCCL with its settings.
      contrastive: a float32 scalar, as the two that follow.
      centroid: None for a method that has none.
      classification: of the classified view.
      progress: where in the run the batch is.

    Returns:
      The float32 scalar, and each loss by its name as a metric.
    """
    weight_contrastive, weight_centroid, weight_classification = method.weights
    ramp = 1.0
    if method.contrastive_ramp_epochs:
        ramp = jnp.minimum((progress.epoch + 1) / method.contrastive_ramp_epochs, 1.0)
    terms = [(weight_contrastive, ramp * contrastive), (weight_classification, classification)]
    metrics = {"contrastive_loss": contrastive, "classification_loss": classification}
    if weight_centroid:
        terms.append((weight_centroid, centroid))
        metrics["centroid_loss"] = centroid
    # 0 * inf is NaN: a term without weight is left out.
    return sum((weight * term for weight, term in terms if weight), start=jnp.float32(0)), metrics


def _temperature(method: Method, progress: Progress) -> float | jax.Array:
    if method.temperature_start is None:
        return method.temperature
    share = jnp.minimum(progress.epoch / method.temperature_epochs, 1.0)
    return method.temperature_start + share * (method.temperature - method.temperature_start)
