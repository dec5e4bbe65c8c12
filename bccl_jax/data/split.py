"""What a data set is to the rest of the package: labelled images by position."""

import dataclasses
from typing import NamedTuple

import numpy as np

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and labels of one split.

    Attributes:
      images: uint8 [N, H, W, 3] in memory, or `EncodedImages` to be read and decoded as needed.
      labels: int32 [N].
      class_names: K names.
    """

    images: np.ndarray | EncodedImages
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def encoded(self) -> bool:
        """Whether the images are files to be decoded, of any size."""
        return isinstance(self.images, EncodedImages)

    def take(self, indices: np.ndarray) -> "Split":
        """The split of the images at `indices` alone, in that order."""
        images = self.images.take(indices) if self.encoded else self.images[indices]
        return Split(images, self.labels[indices], self.class_names)

    def of_classes(self, kept: np.ndarray) -> "Split":
        """The split of the classes int [k] alone, in file order; class kept[i] becomes label i."""
        part = self.take(np.flatnonzero(np.isin(self.labels, kept)))
        renumbered = np.searchsorted(kept, part.labels).astype(self.labels.dtype)
        return Split(part.images, renumbered, tuple(self.class_names[k] for k in kept))

    def reduced(self, pixels: int) -> "Split":
        """The split with square images of `pixels`, which divides theirs: means, half up."""
        count, side, _, channels = self.images.shape
        edge = side // pixels
        squares = self.images.reshape(count, pixels, edge, pixels, edge, channels)
        sums = squares.sum(axis=(2, 4), dtype=np.int32)
        means = (2 * sums + edge**2) // (2 * edge**2)
        return Split(means.astype(np.uint8), self.labels, self.class_names)


class Splits(NamedTuple):
    """The splits of a data set as its origin has them, before any draw.

    Attributes:
      train: the training split.
      test: the test split.
      validation: the data set's own validation split, None if it has none.
      notes: sentences on how it was read, for a person.
    """

    train: Split
    test: Split
    validation: Split | None = None
    notes: tuple[str, ...] = ()


def keep(splits: Splits, classes: int, name: str) -> Splits:
    """The splits of every K / `classes`-th class alone."""
    total = len(splits.train.class_names)
    parts = (split and kept_classes(split, classes, name) for split in splits[:3])
    note = f"{classes} of {total} classes are kept (config.data.classes)"
    return Splits(*parts, (*splits.notes, note))


def kept_classes(split: Split, classes: int, name: str) -> Split:
    """A split of every K / `classes`-th class alone.

    Raises:
      ConfigError: there are fewer classes.
    """
    total = len(split.class_names)
    if not 2 <= classes <= total:
        raise ConfigError(
            f"config.data.classes is {classes} and {name} has {total}; choose 2 to {total}, or 0, "
            "which keeps all"
        )
    return split.of_classes(np.arange(classes) * total // classes)


def reduce(splits: Splits, pixels: int, name: str) -> Splits:
    """The splits with images of `pixels` x `pixels`, each the mean of a square."""
    if splits.train.encoded:
        raise ConfigError(
            f"config.data.pixels is {pixels}; the photographs of {name} are resized by "
            "config.augment.size instead"
        )
    side = splits.train.images.shape[1]
    if side % pixels:
        raise ConfigError(
            f"config.data.pixels is {pixels}, which does not divide the {side} pixels of {name}"
        )
    parts = (split and split.reduced(pixels) for split in splits[:3])
    note = f"images are reduced from {side} to {pixels} pixels (config.data.pixels)"
    return Splits(*parts, (*splits.notes, note))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training split and the splits that it is evaluated on.

    Attributes:
      name: of the data set.
      train: the long-tailed training split; None where a run is only evaluated.
      test: the test split, or the validation part of the training split where one was set aside.
      validation: the data set's own validation split, None if it has none.
      notes: sentences on how it was read, for a person.
      set_aside: whether `test` is a part of the training split that was set aside.
    """

    name: str
    train: Split | None
    test: Split
    validation: Split | None = None
    notes: tuple[str, ...] = ()
    set_aside: bool = False

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.test.class_names)

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that there are, by name."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in found.items() if split is not None}

    @property
    def by_role(self) -> dict[str, Split]:
        """The same by what they are for: a test split that was set aside is "validation"."""
        found = self.splits
        return found | {"validation": self.test} if self.set_aside else found

    @property
    def monitored(self) -> Split:
        """The split that is evaluated during a run: validation if there is one, else test."""
        return self.test if self.validation is None else self.validation

    @property
    def chosen_on(self) -> str:
        """What a best epoch is chosen on: "validation" or "test"."""
        return "validation" if self.set_aside or self.validation is not None else "test"
