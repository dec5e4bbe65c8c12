"""Evaluates a state on a split, exactly: every image once, whatever the batch size."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.variables import Variables
from bccl_jax.data.encoded import allowed_broken
from bccl_jax.data.feeding.pipeline import read_batches, shared_bytes
from bccl_jax.data.feeding.stream import EvaluationStream
from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import gather_rows, local_rows, put, split_over
from bccl_jax.errors import BrokenPicturesError, NonFiniteLossError
from bccl_jax.evaluation import metrics
from bccl_jax.losses.classification import post_hoc_offset
from bccl_jax.system.names import shown


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
    offset = post_hoc_offset(class_counts, settings.logit_adjustment)
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


def compute_on(
    split: Split,
    compute: Callable,
    config: ml_collections.ConfigDict,
    mesh: Mesh,
    advance: Callable[[int], None] | None = None,
    note_broken: Callable[[list[int]], None] | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Computes something of every image of a split, batch by batch.

    Args:
      split: N images.
      compute: images uint8 [B, H, W, 3] -> a tuple of arrays [B, ...] that every process has in
        whole. They stay on the devices until all of the split is done.
      config: of the run.
      mesh: whose devices share each batch.
      advance: called with the number of images that were done since the last call.
      note_broken: called with the positions of the pictures that cannot be decoded, if any.

    Returns:
      Those arrays of the images that are decoded, in the order of the split, and bool [N], which
      images these are; the same in every process.

    Raises:
      BrokenPicturesError: more than `config.data.max_broken` allows cannot be decoded, or none can.
    """
    batch_size = _batch_size(split, config, mesh)
    rows = local_rows(batch_size)
    found = []
    with contextlib.closing(_batches(split, batch_size, rows, config)) as batches:
        for batch in batches:
            images = put(batch["image"], split_over(mesh))
            found.append((*compute(images), gather_rows(batch["decoded"])))
            if advance is not None and len(found) > 1:
                # Of the batch before, so that the devices have this one to go on with.
                jax.block_until_ready(found[-2][:-1])
                advance(batch_size)
    *outputs, decoded = (
        np.concatenate(column)[: len(split)] for column in zip(*jax.device_get(found), strict=True)
    )
    if advance is not None:
        advance(len(split) - (len(found) - 1) * batch_size)
    undecoded = np.flatnonzero(~decoded)
    if len(undecoded) and note_broken is not None:
        note_broken(undecoded.tolist())
    share = config.data.max_broken
    if len(undecoded) > allowed_broken(share, len(split)) or not decoded.any():
        limit = f"more than config.data.max_broken={share:g} allows"
        limit = limit if decoded.any() else "which leaves nothing to evaluate"
        raise BrokenPicturesError(
            f"{len(undecoded)} of {len(split)} pictures to evaluate on cannot be decoded, "
            f"{shown(split.images.name(int(undecoded[0])))} the first, {limit}; mend them "
            "(--mode=inspect --verify lists them) and give the same command again"
        )
    return [output[decoded] for output in outputs], decoded


def readers_need(split: Split, config: ml_collections.ConfigDict, mesh: Mesh) -> int:
    """Bytes of shared memory that the reader processes of an evaluation take."""
    if not split.encoded:
        return 0
    batch_size = _batch_size(split, config, mesh)
    rows = local_rows(batch_size)
    return shared_bytes(_stream(split, batch_size, rows, config), len(rows), config.data.workers)


def _batch_size(split: Split, config: ml_collections.ConfigDict, mesh: Mesh) -> int:
    # One shape is compiled; the devices share it evenly, and what is too much is cut off.
    return -(-min(config.eval.batch_size, len(split)) // mesh.size) * mesh.size


def _stream(
    split: Split, batch_size: int, rows: range, config: ml_collections.ConfigDict
) -> EvaluationStream:
    size, resize = config.augment.size, config.augment.eval_resize
    return EvaluationStream(split.images, batch_size, rows, resize, size, config.data.background)


def _batches(
    split: Split, batch_size: int, rows: range, config: ml_collections.ConfigDict
) -> Iterator[dict[str, np.ndarray]]:
    """This process's rows of each batch, the last one filled up: images, and which are decoded."""
    if split.encoded:
        data, stream = config.data, _stream(split, batch_size, rows, config)
        return _closing(read_batches(stream, len(rows), data.workers, data.threads))
    return _slices(split.images, batch_size, rows)


def _closing(iterator) -> Iterator[dict[str, np.ndarray]]:
    try:
        yield from iterator
    finally:
        iterator.close()


def _slices(images: np.ndarray, batch_size: int, rows: range) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(images), batch_size):
        own = images[start + rows.start : start + rows.stop]
        missing = len(rows) - len(own)
        yield {
            "image": np.pad(own, ((0, missing), (0, 0), (0, 0), (0, 0))),
            "decoded": np.arange(len(rows)) < len(own),
        }
