"""The features of a split as a trained network sees them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bccl_jax.classifier.features import features_of
from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.variables import Variables
from bccl_jax.data.split import Split
from bccl_jax.evaluation.passes import make_pass


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
    run = make_pass(classifier, features_of(classifier, head))

    def embed(variables: Variables, split: Split) -> Embeddings:
        features, decoded = run(variables, split)
        return Embeddings(features, split.labels[decoded])

    return embed
