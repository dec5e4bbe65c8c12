"""Forward passes over a network that has a classifier, and maybe a projector."""

import jax

from bccl_jax.models.network import Network


def plain_logits(network: Network, images: jax.Array) -> jax.Array:
    """The usual prediction: the head called "classifier" on the backbone, running statistics."""
    return network.heads["classifier"](network.backbone(images, train=False))


def plain_features(network: Network, images: jax.Array) -> jax.Array:
    """The backbone's features [B, d], running statistics."""
    return network.backbone(images, train=False)


def classify(network: Network, images: jax.Array) -> jax.Array:
    """The training forward pass of a method that has a classifier alone."""
    return network.heads["classifier"](network.backbone(images, train=True))


def project(network: Network, images: jax.Array) -> jax.Array:
    """The training forward pass to the embeddings [B, D], of the head called "projector"."""
    return network.heads["projector"](network.backbone(images, train=True), train=True)


def classify_and_project(network: Network, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The training forward pass to the logits [B, K] and the embeddings [B, D] of all images."""
    features = network.backbone(images, train=True)
    return network.heads["classifier"](features), network.heads["projector"](features, train=True)
