"""Soft labels of a batch: what the options of a run make of it before the loss sees it."""

from collections.abc import Callable

import jax
import ml_collections

from bccl_jax.augment.mixing import Mixing, mix
from bccl_jax.losses.classification import smoothed
from bccl_jax.methods.base import Batch


def make_soften(config: ml_collections.ConfigDict, num_classes: int) -> Callable | None:
    """Closes over the options of a config that soften labels.

    Args:
      config: of the run; `label_smoothing` and the mixing of `augment` are read.
      num_classes: K.

    Returns:
      (batch, key) -> the batch with its `targets`; None where no option asks for them.
    """
    smoothing, settings = config.label_smoothing, config.augment
    mixing = Mixing(settings.mixup_alpha, settings.cutmix_alpha, settings.mix_probability)
    mixes = settings.mixup_alpha or settings.cutmix_alpha
    if not smoothing and not mixes:
        return None

    def soften(batch: Batch, key: jax.Array) -> Batch:
        # Smoothing before mixing is the same as after it: both are linear.
        targets = smoothed(batch.labels, num_classes, smoothing)
        if not mixes:
            return batch._replace(targets=targets)
        # What is contrasted stays as it is.
        classified, *contrasted = batch.views
        classified, targets = mix(classified, targets, key, mixing)
        return batch._replace(views=(classified, *contrasted), targets=targets)

    return soften
