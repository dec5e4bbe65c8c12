"""The class prior that the logits of a trained network carry."""

from typing import Any

import numpy as np

from bccl_jax.data.sampling import class_shares

# Shares that differ by no more than this factor are rounding, or as good as it.
_FLAT = 1 + 1e-6


def over_prior(shares: np.ndarray, class_counts: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """Class shares over a power of the class counts; 0 for a class without images.

    Args:
      shares: float64 [K].
      class_counts: int [K].
      factor: of the log prior that a loss adds to the logits.

    Returns:
      float64 [K], of any sum.
    """
    return np.where(class_counts > 0, shares / np.maximum(class_counts, 1.0) ** factor, 0.0)


def carried_prior(method: Any, epochs: int, sampler: str, class_counts: np.ndarray) -> np.ndarray:
    """The class prior that the logits carry at the end of a run.

    Args:
      method: a `base.Method`.
      epochs: of the run.
      sampler: `config.data.sampler`, of stages that name none.
      class_counts: int [K], images that the first stream is drawn from.

    Returns:
      float64 [K], sum 1; 0 for a class without training images.
    """
    last = ""
    for stage in method.stages(epochs):
        if stage.epochs and not stage.continues:
            last = stage.sampler
    drawn = class_shares(last or sampler, class_counts, progress=1.0)
    carried = np.asarray(method.carried_prior(drawn, np.asarray(class_counts)), np.float64)
    return carried / carried.sum()


def is_flat(prior: np.ndarray) -> bool:
    """Whether a prior [K] is the same for all classes that have images."""
    there = prior[prior > 0]
    return bool(there.max() <= _FLAT * there.min())
