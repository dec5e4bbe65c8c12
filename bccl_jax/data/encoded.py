"""Photographs as the bytes of their files, read one at a time where they lie.

No module that a reader process imports may import JAX: it would start a runtime in each of them.
"""

import abc
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from bccl_jax.system.regular_files import open_regular, read_regular

# Bytes of each of the three pieces of a large image that an excerpt of it has.
PIECE = 4096


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

    def excerpt(self, index: int) -> bytes:
        """What tells one image from all others and is cheaper to read than the whole.

        Returns:
          Its size in 8 bytes, and its first, middle and last `PIECE` bytes, or all of a small one:
          the same however it is kept.

        Raises:
          OSError: it cannot be read.
        """
        data = self[index]
        return _excerpt(len(data), lambda start, stop: data[start:stop])

    @abc.abstractmethod
    def take(self, indices: np.ndarray) -> "EncodedImages":
        """The images at `indices` alone, in that order; nothing is read."""


def _excerpt(size: int, read: Callable[[int, int], bytes]) -> bytes:
    pieces = [(0, size)]
    if size > 3 * PIECE:
        middle = (size - PIECE) // 2
        pieces = [(0, PIECE), (middle, middle + PIECE), (size - PIECE, size)]
    return size.to_bytes(8, "little") + b"".join(read(*piece) for piece in pieces)


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
        return read_regular(self.root / self.paths[index])

    def excerpt(self, index: int) -> bytes:
        """See `EncodedImages.excerpt`; no more is read."""
        with open_regular(os.path.join(self.root, self.paths[index])) as file:
            handle = file.fileno()
            size = os.fstat(handle).st_size
            return _excerpt(size, lambda start, stop: os.pread(handle, stop - start, start))

    def name(self, index: int) -> str:
        """See `EncodedImages.name`."""
        return os.path.join(self.root, self.paths[index])

    def take(self, indices: np.ndarray) -> "FileImages":
        """See `EncodedImages.take`."""
        return FileImages(self.root, [self.paths[i] for i in indices])
