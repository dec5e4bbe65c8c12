"""What a data set is to the rest of the package: labelled images by position."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and labels of one split.

    Attributes:
      images: uint8 [N, H, W, 3], or any object with `__len__` and `__getitem__` over positions
        and slices that gives such arrays.
      labels: int32 [N].
      class_names: K names.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        """The split of the images at `indices` alone, in that order."""
        return Split(self.images[indices], self.labels[indices], self.class_names)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training split and the split that it is evaluated on.

    Attributes:
      name: of the data set.
      train: the long-tailed training split.
      test: the test split, or the validation part of the training split where one was set aside.
    """

    name: str
    train: Split
    test: Split

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.train.class_names)
