"""The features of a split as a trained network sees them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.variables import Variables
from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError
from bccl_jax.evaluation.over_split import compute_on


class Embeddings(NamedTuple):
    """Features of a split's images, without those that cannot be decoded.

    Attributes:
      features: float32 [N, D].
      labels: int32 [N].
    """

    features: np.ndarray
    labels: np.ndarray


def make_embed(
    classifier: ImageClassifier, head: str | None = None
) -> Callable[[Variables, Split], Embeddings]:
    """Closes over a network what computes features with running statistics; it compiles once.

    Args:
      classifier: whose network it is.
      head: what is put on the backbone's features, such as "projector", whose embeddings are unit
        vectors; None takes the features as they are.

    Returns:
      embed(variables, split): the features of every image of a split, in its order, the same in
      every process. It raises DataError where more pictures than `config.data.max_broken` allows
      cannot be decoded.

    Raises:
      ConfigError: the method has no such head.
    """
    config, network = classifier.config, classifier.network
    if head is not None and head not in network.heads:
        raise ConfigError(
            f"config.method.name is {config.method.name!r}, which has no head {head!r}; there "
            f"are {', '.join(network.heads)}, or the backbone alone"
        )

    def forward(network, images):
        features = network.backbone(images, train=False)
        if head is None:
            return features
        train = {} if head == "classifier" else {"train": False}
        return network.heads[head](features, **train)

    @functools.partial(jax.jit, out_shardings=replicated(classifier.mesh))
    def compute(params, batch_stats, images):
        variables = {"params": params, "batch_stats": batch_stats}
        return network.apply(variables, classifier.normalize(images), method=forward)

    def embed(variables: Variables, split: Split) -> Embeddings:
        (features,), decoded = compute_on(
            split,
            lambda images: (compute(variables.params, variables.batch_stats, images),),
            config,
            classifier.mesh,
        )
        return Embeddings(features, split.labels[decoded])

    return embed
