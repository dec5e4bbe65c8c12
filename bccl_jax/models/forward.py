"""Forward passes over a network that has a classifier, and maybe a projector."""

import inspect
from collections.abc import Callable

import jax

from bccl_jax.models.network import Network


def plain_logits(network: Network, images: jax.Array) -> jax.Array:
    """The usual prediction: the head called "classifier" on the backbone, running statistics."""
    return network.heads["classifier"](network.backbone(images, train=False))


def plain_features(network: Network, images: jax.Array) -> jax.Array:
    """The backbone's features [B, d], running statistics."""
    return network.backbone(images, train=False)


def plain_outputs(head: str) -> Callable[[Network, jax.Array], jax.Array]:
    """Closes over a head's name: its outputs on the backbone's features, running statistics."""

    def outputs(network: Network, images: jax.Array) -> jax.Array:
        module = network.heads[head]
        # A layer alone, as a projector without normalisation is, is the same in training.
        takes_mode = "train" in inspect.signature(type(module).__call__).parameters
        mode = {"train": False} if takes_mode else {}
        return module(plain_features(network, images), **mode)

    return outputs


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
