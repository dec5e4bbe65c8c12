"""Post-hoc logit adjustment of what a run trained: whether it is allowed, and by how much."""

import ml_collections
import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import post_hoc_offset
from bccl_jax.settings.bounds import Real
from bccl_jax.system.names import shown

# As `config.eval.logit_adjustment` may be.
_ADJUST = Real(-100, 100)


def factor_of(classifier: ImageClassifier, adjust: float | None) -> float:
    """How much of the log prior is to be taken from the logits.

    Args:
      classifier: that predicts.
      adjust: as the user asks; None for what the run was evaluated with.

    Raises:
      ConfigError: it is out of bounds, or the loss has the prior in it already.
    """
    factor = classifier.config.eval.logit_adjustment if adjust is None else adjust
    if not _ADJUST.allows(factor):
        raise ConfigError(f"adjust is {shown(repr(factor))}; it must be {_ADJUST}")
    config = ml_collections.ConfigDict(classifier.config).copy_and_resolve_references()
    config.eval.logit_adjustment = float(factor)
    validate(config)
    return float(factor)


def offset_of(classifier: ImageClassifier, factor: float) -> np.ndarray:
    """What is taken from the logits, float32 [K]; see `post_hoc_offset`."""
    return np.asarray(post_hoc_offset(classifier.carried_prior, factor))
