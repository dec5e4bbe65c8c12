"""What a run's network makes of pictures: figures, features, and pictures worth a look."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from bccl_jax.classifier.features import features_of
from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.reading import Saved, read
from bccl_jax.clustering.queue import QueueState, StampedQueueState
from bccl_jax.config.dataset import load_data
from bccl_jax.data.split import Split
from bccl_jax.devices.jax_settings import usual
from bccl_jax.errors import BcclError
from bccl_jax.evaluation.confused import certain_mistakes
from bccl_jax.evaluation.detailed import Details
from bccl_jax.evaluation.in_plane import tsne
from bccl_jax.evaluation.over_split import AS_EVALUATED, seen
from bccl_jax.evaluation.passes import make_pass
from bccl_jax.evaluation.saved import evaluate_checkpoints
from bccl_jax.page.nearest import candidates, nearest, unit

# Test images in the picture of embeddings, and training images that pictures are compared with:
# all of a small set, else so many of a class.
POINTS, COMPARED, OF_CLASS = 1000, 4000, 100
NEIGHBOURS = 3


class Neighbour(NamedTuple):
    """A training picture.

    Attributes:
      image: uint8 [H, W, 3].
      label: its class.
      cosine: of its features and those of the picture that it is near to.
    """

    image: np.ndarray
    label: int
    cosine: float


class Shown(NamedTuple):
    """A test picture.

    Attributes:
      image: uint8 [H, W, 3], as the network sees it.
      label: its class.
      predicted: the class that was predicted.
      confidence: probability of that one, 0 to 1.
      true_probability: probability of its class.
      neighbours: the nearest training pictures.
    """

    image: np.ndarray
    label: int
    predicted: int
    confidence: float
    true_probability: float
    neighbours: tuple[Neighbour, ...]


class Embedded(NamedTuple):
    """Test images in the plane.

    Attributes:
      points: float [N, 2].
      labels: int [N].
      predictions: int [N].
      of: how many test images there are.
    """

    points: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    of: int


class Queues(NamedTuple):
    """The queues of classes.

    Attributes:
      filled: int [K], embeddings in each.
      size: that there is room for.
      age: float [K], mean age of these in epochs, NaN for none; None where no age is kept.
    """

    filled: np.ndarray
    size: int
    age: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Looked:
    """What was seen.

    Attributes:
      details: of the evaluation, image by image.
      which: the checkpoint.
      epoch: complete epochs of it.
      embedded: some test images; None for fewer than three.
      mistakes: the most certain ones first.
      tail: of each of the smallest classes the image whose class is the least probable.
      compared_with: training images that pictures were compared with, and how many there are; None
        where they are not at hand.
      without_training: why they are not; "" where they are.
      queues: of the method; None where it has none.
    """

    details: Details
    which: str
    epoch: int
    embedded: Embedded | None
    mistakes: tuple[Shown, ...]
    tail: tuple[Shown, ...]
    compared_with: tuple[int, int] | None
    without_training: str
    queues: Queues | None


@usual()
def look(
    path: str | os.PathLike,
    config: ml_collections.ConfigDict,
    which: str | None = None,
    average: bool = False,
    imports: Sequence[str] | None = None,
    pictures: int = 12,
) -> Looked:
    """Evaluates a checkpoint and looks for pictures.

    Args:
      path: of a run's directory or a shared file.
      config: of the run; where its data lies may differ.
      which: "last", "best" or a step; None for the last one, or the one of a shared file.
      average: the averaged weights in the place of the raw ones.
      imports: files of one's own, in place of those that the run remembers.
      pictures: how many mistakes and how many of the smallest classes are shown at most.

    Raises:
      BcclError: there is no such checkpoint, or the test images are not at hand.
    """
    # A shared file has nothing of a method's own state, such as its queues.
    shared = not os.path.isdir(path)
    saved = read(path, which, average, imports=imports, to_predict=shared)
    found = evaluate_checkpoints(config, path, saved.which, judging=True)
    evaluated = found[f"{saved.which} averaged" if saved.averaged else saved.which]
    details = evaluated.details
    chosen = _chosen(details, pictures)
    sample = np.random.default_rng(0).permutation(len(details.evaluation.judged.labels))[:POINTS]
    with jax.set_mesh(saved.classifier.mesh):
        made = _Features(saved)
        features = made.of(details.split, _positions(details, np.concatenate([*chosen, sample])))
        numbers = [len(part) for part in chosen]
        shown, points = features[: sum(numbers)], features[sum(numbers) :]
        near, compared_with, why = _neighbours(made, config, details, np.concatenate(chosen), shown)
    pictured = _pictured(details, np.concatenate(chosen), near)
    return Looked(
        details,
        saved.which,
        evaluated.epoch,
        _embedded(details, sample, points),
        pictured[: numbers[0]],
        pictured[numbers[0] :],
        compared_with,
        why,
        queues_of(saved.variables.method, len(details.names)),
    )


class _Features:
    """Features of the backbone, of chosen images of any split; it compiles once a batch size."""

    def __init__(self, saved: Saved):
        self.classifier: ImageClassifier = saved.classifier
        self._variables = saved.variables
        self._run = make_pass(saved.classifier, features_of(saved.classifier))

    def of(self, split: Split, positions: np.ndarray) -> np.ndarray:
        """Float32 [n, D] of images that can be decoded."""
        return self.decoded(split, positions)[0]

    def decoded(self, split: Split, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of images that can, and bool [n], which these are."""
        features, decoded = self._run(self._variables, split.take(positions), of=len(split))
        return features, decoded


def _chosen(details: Details, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The most certain mistakes, and images of the smallest classes, among the judged images."""
    judged = details.evaluation.judged
    wrong = certain_mistakes(
        judged.labels, judged.predictions, judged.confidences, judged.true_probabilities, number
    )
    tested = np.flatnonzero(details.totals.tested)
    # Few-shot classes, or the smaller half where there are none of them.
    tail = np.count_nonzero(details.groups["few"][tested]) or max(len(tested) // 2, 1)
    smallest = tested[np.argsort(details.class_counts[tested], kind="stable")]
    smallest = smallest[: min(number, tail)]
    hardest = [
        own[np.argmin(judged.true_probabilities[own])]
        for own in (np.flatnonzero(judged.labels == k) for k in smallest)
    ]
    return wrong, np.array(hardest, np.int64)


def _positions(details: Details, judged: np.ndarray) -> np.ndarray:
    """Where judged images are in their split."""
    return np.flatnonzero(details.evaluation.decoded)[judged]


def _neighbours(
    made: _Features,
    config: ml_collections.ConfigDict,
    details: Details,
    chosen: np.ndarray,
    features: np.ndarray,
) -> tuple[list[tuple[Neighbour, ...]], tuple[int, int] | None, str]:
    """The nearest training pictures of each, how many were compared of how many, or why none."""
    judged = details.evaluation.judged
    try:
        train = load_data(config).train
    except BcclError as error:
        return [()] * len(chosen), None, str(error)
    matter = np.concatenate([judged.labels[chosen], judged.predictions[chosen]])
    there = candidates(train.labels, matter, COMPARED, OF_CLASS)
    others, decoded = made.decoded(train, there)
    there = there[decoded]
    found = nearest(features, others, NEIGHBOURS)
    needed, place = np.unique(found.candidates, return_inverse=True)
    images = seen(train, there[needed], made.classifier.config, AS_EVALUATED)
    near = [
        tuple(
            Neighbour(images[i], int(train.labels[there[c]]), float(cosine))
            for i, c, cosine in zip(*row, strict=True)
        )
        for row in zip(place.reshape(found.candidates.shape), *found, strict=True)
    ]
    return near, (len(there), len(train)), ""


def _pictured(
    details: Details, chosen: np.ndarray, near: list[tuple[Neighbour, ...]]
) -> tuple[Shown, ...]:
    judged = details.evaluation.judged
    images = details.seen(_positions(details, chosen))
    return tuple(
        Shown(
            image,
            int(judged.labels[i]),
            int(judged.predictions[i]),
            float(judged.confidences[i]),
            float(judged.true_probabilities[i]),
            neighbours,
        )
        for i, image, neighbours in zip(chosen, images, near, strict=True)
    )


def _embedded(details: Details, sample: np.ndarray, features: np.ndarray) -> Embedded | None:
    if len(sample) < 3:
        return None
    judged = details.evaluation.judged
    points = tsne(unit(features))
    return Embedded(points, judged.labels[sample], judged.predictions[sample], len(judged.labels))


def queues_of(state: Any, classes: int) -> Queues | None:
    """The queues of a method's state that has one for each class.

    Args:
      state: of the method.
      classes: K; queues that pad them are left out.
    """
    if isinstance(state, dict):  # a curriculum's, over another method's
        state = state.get("base")
    queue = getattr(state, "queue", None)
    if not isinstance(queue, QueueState) or len(queue.count) < classes:
        return None
    filled, size = np.asarray(queue.count)[:classes], queue.features.shape[1]
    if not isinstance(queue, StampedQueueState):
        return Queues(filled, size, None)
    stamps = np.asarray(queue.stamp)
    there = np.arange(size)[None] < filled[:, None]
    ages = np.where(there, stamps.max() - stamps[:classes], 0).sum(axis=1)
    return Queues(filled, size, np.where(filled > 0, ages / np.maximum(filled, 1), np.nan))
