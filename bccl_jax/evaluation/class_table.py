"""What is known of each class after an evaluation, and which classes are the worst."""

from typing import NamedTuple

import numpy as np

from bccl_jax.evaluation.metrics import ClassTotals


class ClassTable(NamedTuple):
    """Shares of images from 0 to 1, as scikit-learn's `precision_recall_fscore_support` has them.

    What has no images to be a share of is NaN.

    Attributes:
      precision: float64 [K], of the images that the class was predicted for those that are of it.
      recall: float64 [K], of the images of the class those that were predicted right; NaN of a
        class without images.
      f1: float64 [K], 2 TP / (2 TP + FP + FN); NaN of a class without images, though it may have
        been predicted.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def class_table(totals: ClassTotals) -> ClassTable:
    """Precision, recall and F1 of each class.

    Args:
      totals: of `metrics.class_totals`.
    """
    tested, predicted, correct = totals
    f1 = shares(2 * correct, tested + predicted)
    return ClassTable(
        shares(correct, predicted), shares(correct, tested), np.where(tested > 0, f1, np.nan)
    )


def shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part over whole, float64; NaN where the whole is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def worst_first(totals: ClassTotals) -> np.ndarray:
    """The order of the classes, int64 [K], the one of the lowest recall first.

    Of equal recall the lower F1 comes first, then the class of more images, which says more, then
    the lower label. Classes without images come last, by their labels.

    Args:
      totals: of `metrics.class_totals`.
    """
    table = class_table(totals)
    # NaN sorts behind all numbers.
    return np.lexsort((np.arange(len(table.f1)), -totals.tested, table.f1, table.recall))
