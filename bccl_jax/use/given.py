"""What a user gives to be predicted, as a list: files, folders, patterns, arrays, Pillow's images.

Files are found here and read later, so that a broken one among thousands stops nothing.
"""

import glob
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bccl_jax.data.formats.tree import SUFFIXES, Tree
from bccl_jax.errors import DataError
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import from_printable, shown
from bccl_jax.system.text_files import read_lines
from bccl_jax.use.arrays import images_of

_GIVE = (
    "give paths of files or folders, arrays [height, width, 3] of uint8, images of Pillow, the "
    "bytes of image files, or a list of these"
)


class Item(NamedTuple):
    """An image that is to be predicted.

    Attributes:
      name: its path, or "image 3" for the fourth of what has none.
      source: a path, the bytes of a file, an image of Pillow, or an array uint8 [H, W, C].
    """

    name: str
    source: str | bytes | Image.Image | np.ndarray


def items_of(images: Any) -> list[Item]:
    """Lists the images that a user gives.

    Args:
      images: the path of a file, of a folder, all of whose images are meant, or a pattern such as
        "photos/*.jpg"; the bytes of a file; an image of Pillow; an array of one image or of
        several, as `arrays.images_of` takes it; or several of these.

    Returns:
      At least one image, in the order given; those of folders and patterns by their names.

    Raises:
      DataError: it is none of these, there is no such file, or no image is among them.
    """
    found: list[Item] = []
    _add(images, found)
    if not found:
        raise DataError(f"no image was given; {_GIVE}")
    return found


def _add(images: Any, found: list[Item], within: bool = False) -> None:
    """Adds images to those that were found; `within` a list."""
    name = f"image {len(found)}"
    if isinstance(images, str | os.PathLike):
        path = os.fspath(images)
        found += paths_of(os.fsdecode(path))
    elif isinstance(images, bytes | bytearray | memoryview):
        found.append(Item(name, bytes(images)))
    elif isinstance(images, Image.Image):
        found.append(Item(name, images))
    elif (array := _array(images)) is not None:
        if array.dtype.kind in "OUS":
            for each in array.ravel().tolist():
                _add(each, found, within=True)
            return
        if array.ndim == 0 or (within and array.ndim == 1):
            raise DataError(f"{name} is {shown(repr(images))}, which is no image; {_GIVE}")
        stack = images_of(array, name if within else "what was given")
        found += [Item(f"image {len(found) + i}", image) for i, image in enumerate(stack)]
    elif isinstance(images, Iterable) and not isinstance(images, dict | set | frozenset):
        for each in images:
            _add(each, found, within=True)
    else:
        raise DataError(f"{name} is {shown(repr(images))}, which is no image; {_GIVE}")


def _array(value: Any) -> np.ndarray | None:
    """An array of NumPy, JAX, PyTorch or pandas, or a number; None of anything else."""
    if hasattr(value, "__array__") or isinstance(value, int | float | complex):
        try:
            return np.asarray(value)
        except Exception as error:  # of another library, for an array of a GPU or with gradients
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"{type(value).__name__} does not become an array of NumPy ({first}); {_GIVE}"
            ) from error
    return None


def paths_of(given: str) -> list[Item]:
    """The files that a path of a file or a folder or a pattern means.

    Raises:
      DataError: it means none.
    """
    path = os.fspath(expanded(given))
    if os.path.isdir(path):
        tree = Tree(path)
        found = [tree.path(below) for below in tree.images_below("")]
        if not found:
            raise DataError(
                f"the folder {shown(path)} holds no image, which must end in "
                f"{', '.join(SUFFIXES)}; name another one or the files"
            )
        return [Item(name, name) for name in found]
    if os.path.exists(path):
        return [Item(path, path)]
    if glob.has_magic(path) and "\0" not in path:
        try:
            matches = sorted(glob.glob(path, recursive=True))
        except RecursionError:  # more folders than a path can have
            matches = []
        found = [match for match in matches if not os.path.isdir(match)]
        if not found:
            raise DataError(f"no file is named like {shown(path)}; correct the pattern")
        return [Item(name, name) for name in found]
    raise DataError(f"there is no file {shown(path)}; correct the path, or restore it")


def listed_in(path: str) -> list[Item]:
    """The files that a text file names, one in each line, from the folder where the command runs.

    One that is not there is no matter here: it turns out when it is to be read.

    Raises:
      DataError: the list cannot be read or names none.
    """
    names = [from_printable(line) for line in read_lines(expanded(path)) if line.strip()]
    if not names:
        raise DataError(f"the list {shown(path)} names no file; write one path in each line")
    return [Item(name, os.fspath(expanded(name))) for name in names]
