"""Which training pictures are nearest to a picture, as a network's features see them."""

from typing import NamedTuple

import numpy as np


class Nearest(NamedTuple):
    """The nearest of some candidates.

    Attributes:
      candidates: int64 [Q, k], the nearest first.
      cosines: float64 [Q, k].
    """

    candidates: np.ndarray
    cosines: np.ndarray


def nearest(queries: np.ndarray, candidates: np.ndarray, number: int) -> Nearest:
    """Finds the candidates of the largest cosines.

    Args:
      queries: float [Q, D].
      candidates: float [N, D].
      number: k, at most; fewer where there are fewer candidates.

    Returns:
      The candidates of each query; of equal cosines the earlier one comes first.
    """
    cosines = unit(queries) @ unit(candidates).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :number]
    return Nearest(order, np.take_along_axis(cosines, order, axis=1))


def unit(features: np.ndarray) -> np.ndarray:
    """Features [N, D] as unit vectors, float64; zeros stay zero."""
    features = np.asarray(features, np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)


def candidates(labels: np.ndarray, classes: np.ndarray, most: int, of_class: int) -> np.ndarray:
    """Which images are compared: all where they are few, else some of the classes that matter.

    Args:
      labels: int [N].
      classes: int, those that matter.
      most: images up to which all are taken.
      of_class: images of a class else, at most: the first ones of a fixed draw.

    Returns:
      int64 [n], positions in rising order.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:of_class] for k in np.unique(classes)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)
