"""The figures of the long-tail protocol, from predictions on the host."""

from typing import NamedTuple

import numpy as np

from bccl_jax.data.long_tail import shot_groups


class ClassTotals(NamedTuple):
    """Images by class: what the figures of classes are made of.

    Attributes:
      tested: int64 [K], images of each true class.
      predicted: int64 [K], images that each class was predicted for.
      correct: int64 [K], images of each class that were predicted right.
    """

    tested: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray


def class_totals(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> ClassTotals:
    """Counts images by class.

    Args:
      predictions: int [N].
      labels: int [N].
      num_classes: K.

    Raises:
      ValueError: the lengths differ, or a class is not an integer of 0 to K - 1.

    Examples:
      >>> class_totals(predictions=[0, 0, 1, 0], labels=[0, 0, 1, 1], num_classes=2)
      ClassTotals(tested=array([2, 2]), predicted=array([3, 1]), correct=array([2, 1]))
    """
    predictions, labels = _checked(predictions, labels, num_classes)
    return ClassTotals(
        *(
            np.bincount(classes, minlength=num_classes)
            for classes in (labels, predictions, labels[predictions == labels])
        )
    )


def confusion_pairs(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts predictions by true class: what of a confusion matrix is not zero.

    The matrix itself would have 66 million places for 8,142 classes.

    Args:
      predictions: int [N].
      labels: int [N].
      num_classes: K.

    Returns:
      int64 [P, 3], the true class, the predicted one and their images, in the order of both
      classes.

    Raises:
      ValueError: as `class_totals`.
    """
    predictions, labels = _checked(predictions, labels, num_classes)
    flat, counts = np.unique(labels * num_classes + predictions, return_counts=True)
    return np.stack([flat // num_classes, flat % num_classes, counts], axis=-1)


def _checked(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise ValueError(
            f"predictions have shape {predictions.shape} and labels {labels.shape}; "
            "both must be [N]"
        )
    for name, values in (("predictions", predictions), ("labels", labels)):
        if values.size and values.dtype.kind not in "iu":
            raise ValueError(f"{name} have dtype {values.dtype}; they must be integers")
        if values.size and not (values.min() >= 0 and values.max() < num_classes):
            raise ValueError(
                f"{name} lie in {values.min()} to {values.max()}, outside 0 to {num_classes - 1}"
            )
    return predictions.astype(np.int64), labels.astype(np.int64)


def per_class_accuracy(totals: ClassTotals) -> np.ndarray:
    """Accuracy of each class in percent, float64 [K]; NaN for a class without images.

    Examples:
      >>> totals = class_totals(predictions=[0, 0, 1, 0], labels=[0, 0, 1, 1], num_classes=3)
      >>> per_class_accuracy(totals)
      array([100.,  50.,  nan])
    """
    tested, _, correct = totals
    return np.where(tested > 0, 100.0 * correct / np.maximum(tested, 1), np.nan)


def shot_accuracy(
    predictions: np.ndarray,
    labels: np.ndarray,
    class_counts: np.ndarray,
    many_above: int = 100,
    few_below: int = 20,
) -> dict[str, float | None]:
    """Accuracy of the images, of all classes and of each shot group (Liu et al. 2019).

    "top1" is the share of images that are predicted right. Each other figure is the mean of
    per-class accuracies, over those classes alone that have test images (`count_classes` says how
    many these are). Where every class has as many test images, "all" equals "top1".

    Args:
      predictions: int [N].
      labels: int [N].
      class_counts: int [K], training images of each class.
      many_above: many-shot classes have more training images than this.
      few_below: few-shot classes have fewer training images than this.

    Returns:
      {"top1", "all", "many", "medium", "few"} in percent; None where there is no image.

    Raises:
      ValueError: as `class_totals`.

    Examples:
      Of a test split as long-tailed as the training images, a model that always says class 0 has
      nine images of ten right, and one class of two:

      >>> labels = np.array([0] * 9 + [1])
      >>> shot_accuracy(np.zeros(10, int), labels, class_counts=[500, 5])
      {'top1': 90.0, 'all': 50.0, 'many': 100.0, 'medium': None, 'few': 0.0}
    """
    totals = class_totals(predictions, labels, len(class_counts))
    accuracies, images = per_class_accuracy(totals), totals.tested.sum()
    tested = ~np.isnan(accuracies)
    top1 = 100.0 * totals.correct.sum() / images if images else None
    return {
        "top1": None if top1 is None else float(top1),
        **{
            name: float(accuracies[group & tested].mean()) if (group & tested).any() else None
            for name, group in _groups(class_counts, many_above, few_below).items()
        },
    }


def count_classes(
    classes: np.ndarray, class_counts: np.ndarray, many_above: int = 100, few_below: int = 20
) -> dict[str, int]:
    """Counts classes by shot group: of those that have test images, over how many a mean is.

    Args:
      classes: bool [K], which classes to count.
      class_counts: int [K], training images of each class.
      many_above: as `shot_accuracy` takes it.
      few_below: as `shot_accuracy` takes it.

    Returns:
      {"all", "many", "medium", "few"}.
    """
    groups = _groups(class_counts, many_above, few_below)
    return {name: int((group & classes).sum()) for name, group in groups.items()}


def _groups(class_counts: np.ndarray, many_above: int, few_below: int) -> dict[str, np.ndarray]:
    everyone = np.ones(len(class_counts), bool)
    return {"all": everyone, **shot_groups(class_counts, many_above, few_below)}


def macro_f1(totals: ClassTotals) -> float | None:
    """F1 = 2 TP / (2 TP + FP + FN) of each class in percent, the mean over classes.

    The mean is over the classes that have test images, as that of the accuracies is. One that is
    never predicted has the F1 of 0. One without test images has no recall and is left out;
    predictions of it cost the classes of those images their recall. scikit-learn's
    `f1_score(average="macro", labels=..., zero_division=0)` of the tested classes is the same; if
    not told the labels it takes in a class that is predicted alone, as 0.

    Args:
      totals: of `class_totals`.

    Returns:
      Percent; None where there is no image.

    Examples:
      >>> macro_f1(class_totals(predictions=[0, 0, 0, 0], labels=[0, 0, 0, 1], num_classes=2))
      42.857142857142854
    """
    tested = totals.tested > 0
    if not tested.any():
        return None
    f1 = 2.0 * totals.correct[tested] / (totals.tested + totals.predicted)[tested]
    return float(100.0 * f1.mean())


def low_classes(accuracies: np.ndarray) -> dict[str, float | None]:
    """Figures that a few lost classes pull down, as LIFT (Shi et al. 2024) reports them.

    Args:
      accuracies: float [K] in percent; classes of NaN are left out.

    Returns:
      {"worst_class": the lowest accuracy, "harmonic_mean", "geometric_mean"} in percent; both means
      are 0 where one class is at 0 (LIFT's code raises it to 0.001 %), all are None where no class
      has an accuracy.

    Examples:
      >>> low_classes([100.0, 50.0])
      {'worst_class': 50.0, 'harmonic_mean': 66.66666666666667, 'geometric_mean': 70.71067811865478}
      >>> low_classes([100.0, 0.0])
      {'worst_class': 0.0, 'harmonic_mean': 0.0, 'geometric_mean': 0.0}
    """
    tested = np.asarray(accuracies, np.float64)
    tested = tested[~np.isnan(tested)]
    if not len(tested):
        return dict.fromkeys(("worst_class", "harmonic_mean", "geometric_mean"))
    worst = float(tested.min())
    if worst == 0:
        return dict.fromkeys(("worst_class", "harmonic_mean", "geometric_mean"), 0.0)
    return {
        "worst_class": worst,
        "harmonic_mean": float(1 / np.mean(1 / tested)),
        "geometric_mean": float(np.exp(np.mean(np.log(tested)))),
    }


class Reliability(NamedTuple):
    """How often predictions of a confidence are right, over bins of equal width (Guo et al. 2017).

    Attributes:
      images: int64 [bins], images whose confidence lies in each.
      confidence: float64 [bins], their mean confidence, 0 to 1; NaN for none.
      accuracy: float64 [bins], share of them that are predicted right, 0 to 1; NaN for none.
    """

    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def calibration_error(self) -> float | None:
        """Mean over the images of |accuracy - confidence| of their bin, percent; None for none."""
        if not self.images.any():
            return None
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence)) * self.images
        return float(100 * gaps.sum() / self.images.sum())

    def record(self) -> dict[str, list]:
        """As JSON values, null in an empty bin."""
        return {
            "images": self.images.tolist(),
            **{
                name: [None if np.isnan(x) else float(x) for x in values]
                for name, values in (("confidence", self.confidence), ("accuracy", self.accuracy))
            },
        }


def reliability(confidences: np.ndarray, correct: np.ndarray, num_bins: int = 15) -> Reliability:
    """Sorts predictions by confidence into bins of equal width.

    Args:
      confidences: float [N] in 0 to 1, probability of the predicted class.
      correct: bool [N], whether the prediction is right.
      num_bins: bins, closed on the right; the first holds 0 as well.

    Raises:
      ValueError: the lengths differ, or a confidence lies outside 0 to 1.

    Examples:
      Four predictions of confidence 0.9, of which three are right:

      >>> found = reliability([0.9] * 4, [True, True, True, False], num_bins=5)
      >>> found.images
      array([0, 0, 0, 0, 4])
      >>> round(found.calibration_error, 1)
      15.0
    """
    confidences, correct = np.asarray(confidences), np.asarray(correct, np.float64)
    if confidences.shape != correct.shape or confidences.ndim != 1:
        raise ValueError(
            f"confidences have shape {confidences.shape} and correct {correct.shape}; "
            "both must be [N]"
        )
    # float32 softmax may exceed 1 by a rounding.
    if len(confidences) and not (confidences.min() >= 0 and confidences.max() <= 1 + 1e-5):
        raise ValueError(
            f"confidences lie in {confidences.min()} to {confidences.max()}, outside 0 to 1"
        )
    # A float32 0.2 is above the float64 edge 0.2, so the edges take the confidences' precision.
    precision = np.float32 if confidences.dtype == np.float32 else np.float64
    edges = (np.arange(1, num_bins) / num_bins).astype(precision)  # the inner ones
    bins = np.searchsorted(edges, confidences, side="left")
    images = np.bincount(bins, minlength=num_bins)
    sums = (np.bincount(bins, weights=x, minlength=num_bins) for x in (confidences, correct))
    means = (np.where(images > 0, x / np.maximum(images, 1), np.nan) for x in sums)
    return Reliability(images, *means)
