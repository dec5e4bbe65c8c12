"""Evaluates a state on a split, exactly: every image once, whatever the batch size."""

import dataclasses
from collections.abc import Callable

import ml_collections
import numpy as np

from bccl_jax.data.sources import Split
from bccl_jax.evaluation import metrics
from bccl_jax.losses.classification import log_class_prior
from bccl_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
      shots: accuracy in percent of "all", "many", "medium" and "few"; None for an empty group.
      calibration_error: expected calibration error, percent.
      per_class: accuracy of each class in percent, NaN for one without images.
      confusion: int64 [K, K], rows the true classes.
    """

    shots: dict[str, float | None]
    calibration_error: float
    per_class: np.ndarray
    confusion: np.ndarray

    def record(self) -> dict:
        """The figures as JSON values; class by class they are null where there is no image."""
        return {
            **self.shots,
            "calibration_error": self.calibration_error,
            "per_class": [None if np.isnan(a) else float(a) for a in self.per_class],
        }


def evaluate(
    predict: Callable,
    state: TrainState,
    split: Split,
    class_counts: np.ndarray,
    settings: ml_collections.ConfigDict,
) -> Evaluation:
    """Predicts every image of a split and counts.

    Args:
      predict: from `make_predict`.
      state: what to evaluate.
      split: N images and labels.
      class_counts: int [K], training images of each class.
      settings: `config.eval`.

    Returns:
      The figures.
    """
    offset = settings.logit_adjustment * log_class_prior(class_counts)
    predictions, confidences = [], []
    for start in range(0, len(split), settings.batch_size):
        images = np.asarray(split.images[start : start + settings.batch_size])
        # The last batch is filled up to the one shape that is compiled; the rest is cut off below.
        missing = settings.batch_size - len(images)
        padded = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        prediction, confidence = predict(state, padded, offset)
        predictions.append(prediction)
        confidences.append(confidence)
    predictions = np.concatenate(predictions)[: len(split)]
    confidences = np.concatenate(confidences)[: len(split)]

    confusion = metrics.confusion_matrix(predictions, split.labels, len(class_counts))
    return Evaluation(
        shots=metrics.shot_accuracy(
            predictions,
            split.labels,
            class_counts,
            many_above=settings.many_above,
            few_below=settings.few_below,
        ),
        calibration_error=metrics.expected_calibration_error(
            confidences, predictions == split.labels, num_bins=settings.calibration_bins
        ),
        per_class=metrics.per_class_accuracy(confusion),
        confusion=confusion,
    )
