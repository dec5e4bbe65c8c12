"""The two contrasted terms of BCCL's loss, each in the form that the settings choose."""

import jax
import jax.numpy as jnp

from bccl_jax.losses.contrastive import (
    centroid_loss,
    complement_and_centroid_loss,
    supervised_contrastive_loss,
)
from bccl_jax.losses.linear_centroid import linear_centroid_loss
from bccl_jax.methods.base import Method, Progress
from bccl_jax.methods.shared.queued_centroids import BCCLState


def contrast(
    method: Method, embeddings: jax.Array, labels: jax.Array, state: BCCLState, progress: Progress
) -> tuple[jax.Array, jax.Array | None]:
    """The contrastive loss and the centroid loss of a batch.

    Args:
      method: BCCL with its settings.
      embeddings: [N, D] floating, of unit norm; all contrasted views of a batch.
      labels: [N] integer classes.
      state: whose centroids are candidates.
      progress: where in the run the batch is.

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
    if method.class_complement and softmax:
        return complement_and_centroid_loss(embeddings, labels, **bank, **options)
    complement = bank if method.class_complement else {}
    contrastive = supervised_contrastive_loss(embeddings, labels, **complement, **options)
    if softmax:
        return contrastive, centroid_loss(embeddings, labels, **bank, **options)
    if not weighs:
        return contrastive, None
    return contrastive, linear_centroid_loss(
        embeddings, labels, **bank, num_classes=len(state.class_counts)
    )


def _temperature(method: Method, progress: Progress) -> float | jax.Array:
    if method.temperature_start is None:
        return method.temperature
    share = jnp.minimum(progress.epoch / method.temperature_epochs, 1.0)
    return method.temperature_start + share * (method.temperature - method.temperature_start)
