"""Soft labels of a batch: what the options of a run make of it before the loss sees it."""

from collections.abc import Callable

import jax
import ml_collections

from bccl_jax.losses.classification import smoothed
from bccl_jax.methods.base import Batch


def make_soften(config: ml_collections.ConfigDict, num_classes: int) -> Callable | None:
    """Closes over the options of a config that soften labels.

    Args:
      config: of the run; `label_smoothing` is read.
      num_classes: K.

    Returns:
      (batch, key) -> the batch with its `targets`; None where no option asks for them.
    """
    if not config.label_smoothing:
        return None

    def soften(batch: Batch, key: jax.Array) -> Batch:
        del key
        return batch._replace(targets=smoothed(batch.labels, num_classes, config.label_smoothing))

    return soften
