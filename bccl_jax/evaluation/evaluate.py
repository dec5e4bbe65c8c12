"""Evaluates a state on a split, exactly: every image once, whatever the batch size."""

import dataclasses
from collections.abc import Callable

import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.variables import Variables
from bccl_jax.data.split import Split
from bccl_jax.errors import NonFiniteLossError
from bccl_jax.evaluation import metrics
from bccl_jax.evaluation.over_split import compute_on
from bccl_jax.losses.classification import post_hoc_offset


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
      shots: accuracy in percent: "top1" of the images, "all", "many", "medium" and "few" the means
        of classes; None for an empty group.
      macro_f1: percent, as `metrics.macro_f1` has it.
      calibration_error: expected calibration error, percent.
      per_class: accuracy of each class in percent, NaN for one without images.
      class_names: K names.
      classes: classes of "all", "many", "medium" and "few".
      classes_tested: those of them that have images here, which the means are over.
      confusion: int64 [K, K], rows the true classes.
      correct: bool [n], whether each decoded image was predicted right, in the order of the split.
      decoded: bool [N], which images of the split were decoded; the others are left out of all
        figures.
      undecoded: names of those others.
    """

    shots: dict[str, float | None]
    macro_f1: float | None
    calibration_error: float | None
    per_class: np.ndarray
    class_names: tuple[str, ...]
    classes: dict[str, int]
    classes_tested: dict[str, int]
    confusion: np.ndarray
    correct: np.ndarray
    decoded: np.ndarray
    undecoded: tuple[str, ...] = ()

    @property
    def untested(self) -> list[str]:
        """Names of the classes without images, which no figure tells of."""
        return [self.class_names[k] for k in np.flatnonzero(np.isnan(self.per_class))]

    def record(self) -> dict:
        """The figures as JSON values; class by class they are null where there is no image."""
        undecoded = {"undecoded": len(self.undecoded)} if self.undecoded else {}
        return {
            **self.shots,
            "classes": self.classes,
            "classes_tested": self.classes_tested,
            "untested": self.untested,
            **undecoded,
            "macro_f1": self.macro_f1,
            **metrics.low_classes(self.per_class),
            "calibration_error": self.calibration_error,
            "per_class": [None if np.isnan(a) else float(a) for a in self.per_class],
        }


def evaluate(
    classifier: ImageClassifier,
    variables: Variables,
    split: Split,
    advance: Callable[[int], None] | None = None,
    note_broken: Callable[[list[int]], None] | None = None,
) -> Evaluation:
    """Predicts every image of a split and counts.

    Args:
      classifier: whose predictions they are.
      variables: what to evaluate, or the state of a run.
      split: N images and labels.
      advance: called with the number of images that were done since the last call.
      note_broken: called with the positions of the pictures that cannot be decoded, if any.

    Returns:
      The figures, the same in every process.

    Raises:
      BrokenPicturesError: more than `config.data.max_broken` allows cannot be decoded, or none can.
      NonFiniteLossError: the network's outputs are not finite.
    """
    class_counts, settings = classifier.class_counts, classifier.config.eval
    # Shot groups are the data set's, whatever a method holds out; the prior is what it was taught.
    offset = post_hoc_offset(classifier.trained_counts, settings.logit_adjustment)
    (predictions, confidences), decoded = compute_on(
        split,
        lambda images: classifier.predict(variables, images, offset),
        classifier.config,
        classifier.mesh,
        advance,
        note_broken,
    )
    if not np.isfinite(confidences).all():
        raise NonFiniteLossError(
            f"the network's outputs for {np.count_nonzero(~np.isfinite(confidences))} of "
            f"{len(confidences)} images are not finite at step {int(variables.step)}; lower "
            "config.optimizer.learning_rate or lengthen config.optimizer.warmup_epochs, in a new "
            "--workdir"
        )
    labels = split.labels[decoded]
    undecoded = tuple(split.images.name(int(i)) for i in np.flatnonzero(~decoded))

    confusion = metrics.confusion_matrix(predictions, labels, len(class_counts))
    per_class = metrics.per_class_accuracy(confusion)
    bounds = {"many_above": settings.many_above, "few_below": settings.few_below}
    everyone = np.ones(len(class_counts), bool)
    return Evaluation(
        shots=metrics.shot_accuracy(predictions, labels, class_counts, **bounds),
        macro_f1=metrics.macro_f1(confusion),
        calibration_error=metrics.expected_calibration_error(
            confidences, predictions == labels, num_bins=settings.calibration_bins
        ),
        per_class=per_class,
        class_names=split.class_names,
        classes=metrics.count_classes(everyone, class_counts, **bounds),
        classes_tested=metrics.count_classes(~np.isnan(per_class), class_counts, **bounds),
        confusion=confusion,
        correct=predictions == labels,
        decoded=decoded,
        undecoded=undecoded,
    )
