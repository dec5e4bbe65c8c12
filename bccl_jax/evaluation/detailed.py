"""The details of an evaluation, from arrays to the lines and pictures that are written of them."""

import csv
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from bccl_jax.data.split import Split
from bccl_jax.evaluation import metrics
from bccl_jax.evaluation.class_table import class_table, worst_first
from bccl_jax.evaluation.confused import ConfusedPairs, certain_mistakes, confused_pairs
from bccl_jax.evaluation.evaluate import Evaluation
from bccl_jax.evaluation.size_groups import by_size, group_shares, size_groups
from bccl_jax.reporting import lettering, style
from bccl_jax.reporting.confusion import confusion
from bccl_jax.reporting.palette import INK, WRONG
from bccl_jax.reporting.picture_grid import picture_grid
from bccl_jax.system.names import printable

FILES = (
    "predictions.csv",
    "classes.csv",
    "confused_pairs.csv",
    "confusion.csv",
    "confusion.png",
    "most_certain_mistakes.png",
)
_PREDICTION = (
    "image",
    "true",
    "predicted",
    "probability",
    "correct",
    "true_probability",
    "true_rank",
)
_CLASS = (
    "class",
    "label",
    "group",
    "training_images",
    "test_images",
    "predicted_images",
    "correct_images",
    "recall",
    "precision",
    "f1",
)
_PAIR = (
    "class",
    "other_class",
    "mistakes",
    "class_as_other",
    "share_of_class",
    "other_as_class",
    "share_of_other",
)
# Classes that are drawn each by itself; of more, groups are. And the groups of those.
MOST_DRAWN, GROUPS = 60, 20
# Classes up to which confusion.csv is a table; of more it lists the pairs that occur.
MOST_TABLED = 1000
# Mistakes on their sheet, how many beside each other, and how large small ones are at least.
MOST_SHOWN, COLUMNS, SIDE = 24, 6, 160


@dataclasses.dataclass(frozen=True)
class Details:
    """What is to be told of an evaluation.

    Attributes:
      title: which run and checkpoint, for pictures.
      evaluation: with `judged`.
      split: that was evaluated.
      class_counts: int [K], training images of each class.
      groups: bool [K] of each shot group.
      seen: positions in the split -> uint8 [n, H, W, 3], the images as the network sees them.
    """

    title: str
    evaluation: Evaluation
    split: Split
    class_counts: np.ndarray
    groups: Mapping[str, np.ndarray]
    seen: Callable[[np.ndarray], np.ndarray]

    def files(self) -> dict[str, Callable[[pathlib.Path], None]]:
        """What writes each of `FILES`, by its name."""
        tables = self._predictions, self._classes, self._pairs, self._confusion
        writers = *map(_csv, tables), self._draw_confusion, self._draw_mistakes
        return dict(zip(FILES, writers, strict=True))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Of the K classes, as they can be written."""
        return tuple(printable(name) for name in self.evaluation.class_names)

    @functools.cached_property
    def totals(self) -> metrics.ClassTotals:
        """Images by class."""
        judged = self.evaluation.judged
        return metrics.class_totals(judged.predictions, judged.labels, len(self.names))

    @functools.cached_property
    def confused(self) -> ConfusedPairs:
        """The most confused pairs first."""
        return confused_pairs(self.evaluation.confusion, self.totals.tested)

    def image_name(self, position: int) -> str:
        """The path of an image of the split, or its number, from 0, where it has none."""
        return printable(self.split.images.name(position)) if self.split.encoded else str(position)

    def _predictions(self) -> Iterator[Sequence]:
        yield _PREDICTION
        positions = np.flatnonzero(self.evaluation.decoded).tolist()
        columns = (column.tolist() for column in self.evaluation.judged)
        for position, true, predicted, probability, of_true, rank in zip(
            positions, *columns, strict=True
        ):
            names = self.names[true], self.names[predicted]
            shares = _number(probability), int(true == predicted), _number(of_true)
            yield self.image_name(position), *names, *shares, rank

    def _classes(self) -> Iterator[Sequence]:
        yield _CLASS
        totals, table = self.totals, class_table(self.totals)
        for k in worst_first(totals).tolist():
            group = next(name for name, members in self.groups.items() if members[k])
            counts = self.class_counts[k], totals.tested[k], totals.predicted[k], totals.correct[k]
            figures = table.recall[k], table.precision[k], table.f1[k]
            yield self.names[k], k, group, *counts, *map(_number, figures)

    def _pairs(self) -> Iterator[Sequence]:
        yield _PAIR
        for one, other, there, back, of_one, of_other in zip(*self.confused, strict=True):
            names = self.names[one], self.names[other]
            yield *names, there + back, there, _number(of_one), back, _number(of_other)

    def _confusion(self) -> Iterator[Sequence]:
        if len(self.names) > MOST_TABLED:
            yield "true", "predicted", "images"
            for true, predicted, count in self.evaluation.confusion.tolist():
                yield self.names[true], self.names[predicted], count
            return
        yield "true", *self.names
        for name, row in zip(self.names, self._matrix(), strict=True):
            yield name, *row.tolist()

    def _matrix(self) -> np.ndarray:
        matrix = np.zeros((len(self.names), len(self.names)), np.int64)
        true, predicted, counts = self.evaluation.confusion.T
        matrix[true, predicted] = counts
        return matrix

    def _draw_confusion(self, path: pathlib.Path) -> None:
        number = len(self.names)
        if number > MOST_DRAWN:
            groups = size_groups(self.class_counts, GROUPS)
            shares = group_shares(self.evaluation.confusion, groups)
            rows = [f"{_range(self.class_counts[group])} training images" for group in groups]
            columns = ["right", *(_range(self.class_counts[group]) for group in groups)]
            sizes = sorted({len(group) for group in groups})
            note = (
                f"{number:,} classes in {GROUPS} groups of {' or '.join(map(str, sizes))} by their "
                "training images, the largest first;\n"
                "right: the class itself, else the group of the class that was predicted wrongly"
            )
        else:
            order = by_size(self.class_counts)
            matrix = self._matrix()[order][:, order]
            tested = matrix.sum(axis=1, keepdims=True)
            shares = np.where(tested > 0, matrix / np.maximum(tested, 1), np.nan)
            columns = [lettering.label(self.names[k]) for k in order]
            rows = [f"{lettering.label(self.names[k])} ({self.class_counts[k]:,})" for k in order]
            note = (
                "true classes by their training images (in brackets), the largest first; "
                "grey: no image to test on"
            )
        title = f"{self.title}: which classes are taken for which"
        style.save(confusion(shares, rows, columns, title, note), path)

    def _draw_mistakes(self, path: pathlib.Path) -> None:
        judged = self.evaluation.judged
        chosen = certain_mistakes(
            judged.labels,
            judged.predictions,
            judged.confidences,
            judged.true_probabilities,
            MOST_SHOWN,
        )
        images = self.seen(np.flatnonzero(self.evaluation.decoded)[chosen])
        lines = [
            [
                (f"true: {lettering.label(self.names[judged.labels[i]])}", INK),
                (f"predicted: {lettering.label(self.names[judged.predictions[i]])}", WRONG),
                (f"probability {_percent(judged.confidences[i])},", INK),
                (f"of the true class {_percent(judged.true_probabilities[i])}", INK),
            ]
            for i in chosen
        ]
        wrong = int((judged.labels != judged.predictions).sum())
        which = f"the {len(chosen)} most certain of {wrong:,} mistakes" if wrong else "no mistake"
        title = f"{self.title}: {which} in {len(judged.labels):,} images"
        rows, captions = (
            [of[first : first + COLUMNS] for first in range(0, len(of), COLUMNS)]
            for of in (images, lines)
        )
        grid = picture_grid(rows, title, captions=captions, least=SIDE)
        Image.fromarray(grid.drawing).save(path, "PNG")


def _csv(rows: Callable[[], Iterable[Sequence]]) -> Callable[[pathlib.Path], None]:
    def write(path: pathlib.Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows())

    return write


def _number(value: float) -> float | str:
    """As many digits as float32 has; "" for NaN."""
    return "" if np.isnan(value) else float(f"{value:.6g}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(counts: np.ndarray) -> str:
    most, least = int(counts.max()), int(counts.min())
    return f"{most:,}" if most == least else f"{most:,}–{least:,}"
