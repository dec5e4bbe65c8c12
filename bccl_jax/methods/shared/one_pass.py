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
    return outputs_of_views(network, view_features(network, images, num_views), contrasted)


def view_features(network: Network, images: jax.Array, num_views: int) -> jax.Array:
    """The backbone's features [B, V, d] of images [B * V, H, W, 3], in training."""
    features = network.backbone(images, train=True)  # [B * V, d], image by image
    return features.reshape(-1, num_views, features.shape[-1])


def outputs_of_views(
    network: Network, features: jax.Array, contrasted: int
) -> tuple[jax.Array, jax.Array]:
    """What `forward_views` makes of the features [B, V, d] of its views."""
    logits = network.heads["classifier"](tapped(network, "classification", features[:, 0]))
    contrastive = features[:, -contrasted:].reshape(-1, features.shape[-1])
    contrastive = tapped(network, "contrastive", contrastive)
    embeddings = network.heads["projector"](contrastive, train=True)
    # View by view from here on.
    embeddings = embeddings.reshape(-1, contrasted, embeddings.shape[-1]).swapaxes(0, 1)
    return logits, embeddings.reshape(-1, embeddings.shape[-1])
