"""Which mistakes an evaluation found: the pairs of classes and the images."""

from typing import NamedTuple

import numpy as np

from bccl_jax.evaluation.class_table import shares


class ConfusedPairs(NamedTuple):
    """Pairs of classes that are taken for each other, the most confused first.

    Attributes:
      one: int64 [Q], the class of more of the mistakes.
      other: int64 [Q].
      one_as_other: int64 [Q], images of `one` that were taken for `other`.
      other_as_one: int64 [Q], the other way round.
      share_of_one: float64 [Q], of all images of `one` those taken for `other`, 0 to 1.
      share_of_other: float64 [Q], the other way round; NaN where there are no images of `other`.
    """

    one: np.ndarray
    other: np.ndarray
    one_as_other: np.ndarray
    other_as_one: np.ndarray
    share_of_one: np.ndarray
    share_of_other: np.ndarray


def confused_pairs(pairs: np.ndarray, tested: np.ndarray) -> ConfusedPairs:
    """Finds which classes are taken for each other, in either direction.

    Pairs are ordered by the mistakes of both directions, then by the larger sum of both shares,
    then by their labels. The classes of a pair are ordered by the mistakes, then by the shares,
    then by the labels.

    Args:
      pairs: int [P, 3], of `metrics.confusion_pairs`.
      tested: int [K], images of each class.

    Returns:
      Each pair once.
    """
    wrong = pairs[pairs[:, 0] != pairs[:, 1]]
    low, high = wrong[:, :2].min(axis=1), wrong[:, :2].max(axis=1)
    found, place = np.unique(low * len(tested) + high, return_inverse=True)
    low, high = found // len(tested), found % len(tested)
    counts = np.zeros((len(found), 2), np.int64)  # of the lower class as the higher, and back
    np.add.at(counts, (place, (wrong[:, 0] > wrong[:, 1]).astype(int)), wrong[:, 2])
    there, back = counts.T
    share_there, share_back = shares(there, tested[low]), shares(back, tested[high])
    swapped = (back > there) | ((back == there) & (share_back > share_there))
    columns = ((low, high), (there, back), (share_there, share_back))
    ordered = (
        [np.where(swapped, b, a) for a, b in columns],
        [np.where(swapped, a, b) for a, b in columns],
    )
    (one, one_as_other, share_of_one), (other, other_as_one, share_of_other) = ordered
    both = np.nan_to_num(share_of_one) + np.nan_to_num(share_of_other)
    order = np.lexsort((other, one, -both, -(there + back)))
    table = one, other, one_as_other, other_as_one, share_of_one, share_of_other
    return ConfusedPairs(*(column[order] for column in table))


def certain_mistakes(
    labels: np.ndarray,
    predictions: np.ndarray,
    confidences: np.ndarray,
    true_probabilities: np.ndarray,
    number: int,
) -> np.ndarray:
    """The mistakes that were made with the highest probability.

    Of equal ones that comes first whose true class is less probable, then the earlier image.

    Args:
      labels: int [N].
      predictions: int [N].
      confidences: float [N], probability of the predicted class.
      true_probabilities: float [N], that of the true class.
      number: how many at most.

    Returns:
      int64 [at most `number`], positions of the images.
    """
    wrong = np.flatnonzero(np.asarray(predictions) != np.asarray(labels))
    order = np.lexsort((wrong, true_probabilities[wrong], -confidences[wrong]))
    return wrong[order][:number]
