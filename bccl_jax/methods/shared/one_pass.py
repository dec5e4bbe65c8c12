"""One forward pass over all views of a batch, so that they share one set of batch statistics."""

import jax

from bccl_jax.models.network import Network
from bccl_jax.models.taps import tapped


def forward_views(
    network: Network, images: jax.Array, num_views: int, contrasted: int
) -> tuple[jax.Array, jax.Array]:
    """Runs the network in training on all views of a batch.

    Args:
      network: with the heads "classifier" and "projector".
      images: [B * V, H, W, 3], the views of one image after another.
      num_views: V.
      contrasted: how many of the views, the last ones, are projected.

    Returns:
      Logits [B, K] of the first view, and embeddings of the projected ones, view by view.
    """
    features = network.backbone(images, train=True)  # [B * V, d], image by image
    features = features.reshape(-1, num_views, features.shape[-1])
    logits = network.heads["classifier"](tapped(network, "classification", features[:, 0]))
    contrastive = features[:, -contrasted:].reshape(-1, features.shape[-1])
    contrastive = tapped(network, "contrastive", contrastive)
    embeddings = network.heads["projector"](contrastive, train=True)
    # View by view from here on.
    embeddings = embeddings.reshape(-1, contrasted, embeddings.shape[-1]).swapaxes(0, 1)
    return logits, embeddings.reshape(-1, embeddings.shape[-1])
