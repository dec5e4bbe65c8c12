"""The features of a split as a trained network sees them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.variables import Variables
from bccl_jax.data.split import Split
from bccl_jax.errors import ConfigError
from bccl_jax.evaluation.passes import make_pass
from bccl_jax.models.forward import plain_features, plain_outputs


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
      head: what is put on the backbone's features, such as "projector", whose embeddings most
        methods make unit vectors; None takes the features as they are.

    Returns:
      embed(variables, split): the features of every image of a split, in its order, the same in
      every process. It raises DataError where more pictures than `config.data.max_broken` allows
      cannot be decoded.

    Raises:
      ConfigError: the method has no such head.
    """
    config, heads = classifier.config, classifier.network.heads
    if head is not None and head not in heads:
        raise ConfigError(
            f"config.method.name is {config.method.name!r}, which has no head {head!r}; there "
            f"are {', '.join(heads)}, or the backbone alone"
        )

    outputs = plain_features if head is None else plain_outputs(head)

    def forward(apply, params, images, state):
        del state
        return apply(params, outputs, images)[0]

    run = make_pass(classifier, forward)

    def embed(variables: Variables, split: Split) -> Embeddings:
        features, decoded = run(variables, split)
        return Embeddings(features, split.labels[decoded])

    return embed
