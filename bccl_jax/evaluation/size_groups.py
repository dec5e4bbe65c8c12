"""Confusion of many classes: of groups of them by the number of their training images."""

import numpy as np

from bccl_jax.evaluation.class_table import shares


def by_size(class_counts: np.ndarray) -> np.ndarray:
    """The classes in the order of their training images, int64 [K]: the largest class first."""
    return np.argsort(-np.asarray(class_counts), kind="stable")


def size_groups(class_counts: np.ndarray, number: int) -> list[np.ndarray]:
    """Groups of as many classes each, by quantiles of the number of training images.

    Args:
      class_counts: int [K], training images of each class.
      number: of groups, of at most K.

    Returns:
      The classes of each group, int64, of the largest classes first; the first groups have one
      class more where K is no multiple.
    """
    return np.array_split(by_size(class_counts), number)


def group_shares(pairs: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Where the images of each group went.

    Args:
      pairs: int [P, 3], of `metrics.confusion_pairs`.
      groups: the classes of each of G groups; each class in one.

    Returns:
      float64 [G, 1 + G]: the share of the group's images that were predicted right, then those that
      were taken for another class, by the group of that one: the own group is among them. A row
      sums to 1; it is NaN where no image is of the group.
    """
    group_of = np.zeros(sum(map(len, groups)), np.int64)
    for number, classes in enumerate(groups):
        group_of[classes] = number
    true, predicted, counts = pairs.T
    column = np.where(true == predicted, 0, 1 + group_of[predicted])
    found = np.zeros((len(groups), 1 + len(groups)), np.int64)
    np.add.at(found, (group_of[true], column), counts)
    return shares(found, found.sum(axis=1, keepdims=True))
