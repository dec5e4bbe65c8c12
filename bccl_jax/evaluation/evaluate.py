"""Evaluates a state on a split, exactly: every image once, whatever the batch size."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.variables import Variables
from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import put, split_over
from bccl_jax.errors import NonFiniteLossError
from bccl_jax.evaluation import metrics
from bccl_jax.evaluation.label_shift import corrections, under_test_priors
from bccl_jax.evaluation.over_split import (
    AS_EVALUATED,
    Reading,
    batch_of,
    compute_on,
    rows_of_batch,
)
from bccl_jax.losses.classification import post_hoc_offset


class Judged(NamedTuple):
    """What was found of each of the n images that are decoded, in the order of the split.

    Attributes:
      labels: int32 [n], the true classes.
      predictions: int32 [n].
      confidences: float32 [n], probability of the predicted class.
      true_probabilities: float32 [n], that of the true class.
      ranks: int32 [n], place of the true class among all by their probability: 1 where the
        prediction is right.
    """

    labels: np.ndarray
    predictions: np.ndarray
    confidences: np.ndarray
    true_probabilities: np.ndarray
    ranks: np.ndarray


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
      confusion: int64 [P, 3], as `metrics.confusion_pairs` has it.
      correct: bool [n], whether each decoded image was predicted right, in the order of the split.
      decoded: bool [N], which images of the split were decoded; the others are left out of all
        figures.
      test_priors: accuracies as `label_shift.under_test_priors` has them.
      reliability: of the predicted probabilities, bin by bin.
      undecoded: names of those others.
      judged: what was found of each image; None unless it was asked for.
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
    test_priors: dict[str, dict[str, float | None]]
    reliability: metrics.Reliability
    undecoded: tuple[str, ...] = ()
    judged: Judged | None = None

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
            "reliability": self.reliability.record(),
            "test_priors": self.test_priors,
            "per_class": [None if np.isnan(a) else float(a) for a in self.per_class],
        }


def evaluate(
    classifier: ImageClassifier,
    variables: Variables,
    split: Split,
    advance: Callable[[int], None] | None = None,
    note_broken: Callable[[list[int]], None] | None = None,
    *,
    judging: bool = False,
    reading: Reading = AS_EVALUATED,
) -> Evaluation:
    """Predicts every image of a split and counts.

    Args:
      classifier: whose predictions they are.
      variables: what to evaluate, or the state of a run.
      split: N images and labels.
      advance: called with the number of images that were done since the last call.
      note_broken: called with the positions of the pictures that cannot be decoded, if any.
      judging: whether each image is told of, in `Evaluation.judged`.
      reading: how the images are read.

    Returns:
      The figures, the same in every process.

    Raises:
      BrokenPicturesError: more than `config.data.max_broken` allows cannot be decoded, or none can.
      NonFiniteLossError: the network's outputs are not finite.
    """
    class_counts, settings = classifier.class_counts, classifier.config.eval
    # Shot groups are the data set's, whatever a method holds out; the prior is what it was taught.
    offset = post_hoc_offset(classifier.carried_prior, settings.logit_adjustment)
    # On the device once, not with each batch.
    offsets = offset, jnp.asarray(corrections(class_counts, classifier.carried_prior))
    if judging:
        of_batch = _judge(classifier, variables, split, offsets, reading)
    else:

        def of_batch(images):
            return classifier.predict(variables, images, *offsets)

    (predictions, confidences, corrected, *of_true), decoded = compute_on(
        split,
        of_batch,
        classifier.config,
        classifier.mesh,
        advance,
        note_broken,
        reading=reading,
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

    totals = metrics.class_totals(predictions, labels, len(class_counts))
    per_class = metrics.per_class_accuracy(totals)
    bounds = {"many_above": settings.many_above, "few_below": settings.few_below}
    everyone = np.ones(len(class_counts), bool)
    reliability = metrics.reliability(
        confidences, predictions == labels, num_bins=settings.calibration_bins
    )
    return Evaluation(
        shots=metrics.shot_accuracy(predictions, labels, class_counts, **bounds),
        macro_f1=metrics.macro_f1(totals),
        calibration_error=reliability.calibration_error,
        per_class=per_class,
        class_names=split.class_names,
        classes=metrics.count_classes(everyone, class_counts, **bounds),
        classes_tested=metrics.count_classes(~np.isnan(per_class), class_counts, **bounds),
        confusion=metrics.confusion_pairs(predictions, labels, len(class_counts)),
        correct=predictions == labels,
        decoded=decoded,
        test_priors=under_test_priors(corrected, predictions, labels, class_counts),
        reliability=reliability,
        undecoded=undecoded,
        judged=Judged(labels, predictions, confidences, *of_true) if judging else None,
    )


def _judge(
    classifier: ImageClassifier,
    variables: Variables,
    split: Split,
    offsets: tuple[jax.Array, jax.Array],
    reading: Reading,
) -> Callable:
    """Images of a batch, which come in order -> what `ImageClassifier.judge` says of them."""
    numbers = itertools.count()
    size, filled = batch_of(split, classifier.config, classifier.mesh, reading)

    def of_batch(images):
        own = rows_of_batch(split.labels, number=next(numbers), size=size, filled=filled)
        labels = put(own, split_over(classifier.mesh))
        return classifier.judge(variables, images, labels, *offsets)

    return of_batch
