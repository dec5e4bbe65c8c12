"""How far the embeddings of each class spread, as temperatures (SBCL)."""

import numpy as np

from bccl_jax.clustering.class_means import means_of_split


def class_temperatures(
    embeddings: np.ndarray,
    labels: np.ndarray,
    subclasses: np.ndarray,
    *,
    temperature: float,
    clip: float = 20.0,
    lowest: float = 1e-3,
) -> np.ndarray:
    """Temperatures of classes, the higher the wider their embeddings spread.

    The spread of a class is `d_c = mean ||z - mean of the class|| / log(n_c + 10)`, cut to the
    percentiles `clip` and 100 - `clip` of all classes. Its temperature is `temperature` times d_c
    over the mean of all d.

    Args:
      embeddings: [N, D] floating.
      labels: [N] integer classes in [0, K).
      subclasses: [K] integer, into how many each class is split.
      temperature: of a class that is not split, that has no embeddings, or where no class spreads.
      clip: a percentile below 50.
      lowest: that a temperature is at least, lest classes that fell together are divided by 0.

    Returns:
      float32 [K].

    Raises:
      ValueError: shapes that do not fit together.
    """
    subclasses = np.asarray(subclasses)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or subclasses.ndim != 1:
        raise ValueError(
            f"embeddings have shape {embeddings.shape}, labels {labels.shape} and subclasses "
            f"{subclasses.shape}; pass embeddings [N, D] with one label each, [N], and one number "
            "a class, [K]."
        )
    means, number = means_of_split(embeddings, labels, len(subclasses))
    distances = np.linalg.norm(embeddings - means[labels], axis=1)
    total = np.bincount(labels, weights=distances, minlength=len(subclasses))
    there = number > 0
    spread = total[there] / number[there] / np.log(number[there] + 10)
    low, high = np.percentile(spread, (clip, 100 - clip))
    spread = np.clip(spread, low, high)
    found = np.full(len(subclasses), temperature)
    if spread.mean() > 0:
        found[there] = np.maximum(temperature * spread / spread.mean(), lowest)
    return np.where(subclasses > 1, found, temperature).astype(np.float32)
