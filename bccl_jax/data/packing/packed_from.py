"""What the files of photographs held as packing began: it goes on with the very same ones.

Beside each split lies `SPLIT.numbers.npy`, uint64 [N], as `fingerprint` finds them. A folder that
an earlier version began has none, nor has one that is packed from anything else than single files.
"""

import pathlib

import numpy as np

from bccl_jax.data.encoded import FileImages
from bccl_jax.data.fingerprint import UNREADABLE, image_numbers
from bccl_jax.data.split import Split
from bccl_jax.errors import ConfigError
from bccl_jax.system.array_files import read_array
from bccl_jax.system.names import shown


def find_numbers(parts: dict[str, Split]) -> dict[str, np.ndarray]:
    """Looks at the files of the splits that consist of such."""
    files = {part: split for part, split in parts.items() if isinstance(split.images, FileImages)}
    return image_numbers(files)


def numbers_path(directory: pathlib.Path, part: str) -> pathlib.Path:
    """Where the numbers of a split lie."""
    return directory / f"{part}.numbers.npy"


def check_unchanged(
    directory: pathlib.Path,
    parts: dict[str, Split],
    numbers: dict[str, np.ndarray],
    packed: dict[str, int],
) -> None:
    """Checks that the images that are packed already are still what their files hold.

    Args:
      directory: that they are packed into.
      parts: the splits.
      numbers: of their images, now.
      packed: how many of each split are packed, the first ones.

    Raises:
      ConfigError: a file holds another image.
    """
    for part, now in numbers.items():
        path = numbers_path(directory, part)
        if not path.exists():
            continue
        try:
            then = read_array(path)
        except (OSError, ValueError):
            then = now[:0]
        if then.shape != now.shape or then.dtype != np.uint64:
            raise ConfigError(
                f"{shown(path)} is damaged; delete it to go on without a look at whether the "
                "images are the same"
            )
        differs = (then != now) & (now != UNREADABLE)
        changed = np.flatnonzero(differs[: packed[part]])
        if len(changed):
            first = shown(parts[part].images.name(int(changed[0])))
            raise ConfigError(
                f"{shown(directory)} holds other images than there are now, {len(changed):,} of "
                f"{len(now):,} {part} ones, the first {first}; restore them, or name a new folder "
                "by --output"
            )
