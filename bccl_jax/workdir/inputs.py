"""What a run's directory says of its classes, of the images of its network, and of how it ended."""

from typing import Any

import ml_collections
import numpy as np

from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.workdir import json_files
from bccl_jax.workdir.directory import Workdir

# Data sets of images in memory at the time when this was not recorded.
_ARRAYS = ("digits", "cifar10", "cifar100")


def read_classes(directory: Workdir) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes and int [K], training images of each, as the run has them.

    Raises:
      WorkdirError: the record of them is missing or broken.
    """
    table = json_files.read(directory.classes, list)
    try:
        names = tuple(str(row["name"]) for row in table)
        return names, np.array([row["images"] for row in table], np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkdirError(
            f"{shown(directory.classes)} is not the table of classes that a run writes; restore it "
            "or name another --workdir"
        ) from error


def read_image_shape(directory: Workdir, config: ml_collections.ConfigDict) -> tuple[int, int, int]:
    """(H, W, 3) of what the run's network sees.

    Args:
      directory: of the run.
      config: of the run, for one of a time when the shape was not recorded.

    Raises:
      WorkdirError: the record is broken.
    """
    path = directory.image_shape
    if not path.exists():
        # Any will do: no backbone of that time has parameters that depend on it.
        side = config.augment.size or config.data.pixels or 32
        return side, side, 3
    shape = json_files.read(path, list)
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise WorkdirError(
            f"{shown(path)} is not height, width and channels; restore it or name another --workdir"
        )
    return tuple(shape)


def read_photographs(directory: Workdir, config: ml_collections.ConfigDict) -> bool:
    """Whether the run's images are photographs, which are cropped, or arrays of one size.

    Args:
      directory: of the run.
      config: of the run, for one of a time when this was not recorded.

    Raises:
      WorkdirError: the record is broken.
    """
    path = directory.inputs
    if not path.exists():
        return config.data.name not in _ARRAYS and config.augment.size > 0
    found = json_files.read(path, dict).get("photographs")
    if not isinstance(found, bool):
        raise WorkdirError(
            f"{shown(path)} does not say whether images are photographs; restore it or name "
            "another --workdir"
        )
    return found


def read_results(directory: Workdir) -> dict[str, Any]:
    """What the run ended with; {} of one that did not end yet.

    Raises:
      WorkdirError: the record is broken.
    """
    return json_files.read(directory.results, dict) if directory.results.exists() else {}
