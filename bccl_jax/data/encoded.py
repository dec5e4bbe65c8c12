"""Photographs as the bytes of their files, read one at a time where they lie.

No module that a reader process imports may import JAX: it would start a runtime in each of them.
"""

import abc
import os
import pathlib
from collections.abc import Sequence

import numpy as np


class EncodedImages(abc.ABC):
    """Encoded images by position: JPEG, PNG or whatever Pillow reads. Objects can be pickled."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """N."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> bytes:
        """The bytes of one image.

        Raises:
          OSError: they cannot be read.
        """

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """What a person calls that image: a path where there is one."""

    @abc.abstractmethod
    def take(self, indices: np.ndarray) -> "EncodedImages":
        """The images at `indices` alone, in that order; nothing is read."""


def allowed_broken(max_share: float, images: int) -> float:
    """How many of so many images may be broken: a share, but one in any case unless that is 0."""
    return max(max_share * images, float(max_share > 0))


class FileImages(EncodedImages):
    """Images that are files of their own.

    Args:
      root: the folder that the paths start from.
      paths: of the images, relative to the root.
    """

    def __init__(self, root: str | pathlib.Path, paths: Sequence[str]):
        self.root = pathlib.Path(root)
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> bytes:
        return (self.root / self.paths[index]).read_bytes()

    def name(self, index: int) -> str:
        """See `EncodedImages.name`."""
        return os.path.join(self.root, self.paths[index])

    def take(self, indices: np.ndarray) -> "FileImages":
        """See `EncodedImages.take`."""
        return FileImages(self.root, [self.paths[i] for i in indices])
