"""What a trained network computes of images beside its prediction."""

from collections.abc import Callable

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.errors import ConfigError
from bccl_jax.models.forward import plain_features, plain_outputs


def features_of(classifier: ImageClassifier, head: str | None = None) -> Callable:
    """Closes over a network what makes features of images, with running statistics.

    Args:
      classifier: whose network it is.
      head: what is put on the backbone's features, such as "projector", whose embeddings most
        methods make unit vectors; None takes the features as they are.

    Returns:
      (apply, params, images, state) -> features [B, D], as `Method.logits` is called.

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

    return forward
