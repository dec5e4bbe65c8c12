"""What a run's directory says of its classes, of the images of its network, and of how it ended."""

from typing import Any

import ml_collections
import numpy as np

from bccl_jax.errors import WorkdirError
from bccl_jax.workdir import identity
from bccl_jax.workdir.opened import Run

# Data sets of images in memory at the time when this was not recorded.
_ARRAYS = ("digits", "cifar10", "cifar100")
# No network sees so large images; a file may say anything.
_LONGEST_SIDE = 2**14


def read_classes(run: Run) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes and int [K], training images of each, as the run has them.

    Raises:
      BcclError: the record of them is missing or broken.
    """
    return identity.read_table(run.record("classes", list), run.place("classes"))


def read_image_shape(run: Run, config: ml_collections.ConfigDict) -> tuple[int, int, int]:
    """(H, W, 3) of what the run's network sees.

    Args:
      run: that is read.
      config: of the run, for one of a time when the shape was not recorded.

    Raises:
      BcclError: the record is broken.
    """
    if not run.has("image_shape"):
        # Any will do: no backbone of that time has parameters that depend on it.
        side = config.augment.size or config.data.pixels or 32
        return side, side, 3
    shape = run.record("image_shape", list)
    sides = all(type(n) is int and 0 < n <= _LONGEST_SIDE for n in shape)
    if len(shape) != 3 or not sides or shape[2] != 3:
        raise WorkdirError(
            f"{run.place('image_shape')} is not height, width and channels; restore it or name "
            "another --workdir"
        )
    return tuple(shape)


def read_photographs(run: Run, config: ml_collections.ConfigDict) -> bool:
    """Whether the run's images are photographs, which are cropped, or arrays of one size.

    Args:
      run: that is read.
      config: of the run, for one of a time when this was not recorded.

    Raises:
      BcclError: the record is broken.
    """
    if not run.has("inputs"):
        return config.data.name not in _ARRAYS and config.augment.size > 0
    found = run.record("inputs", dict).get("photographs")
    if not isinstance(found, bool):
        raise WorkdirError(
            f"{run.place('inputs')} does not say whether images are photographs; restore it or "
            "name another --workdir"
        )
    return found


def read_results(run: Run) -> dict[str, Any]:
    """What the run ended with; {} of one that did not end yet.

    Raises:
      BcclError: the record is broken.
    """
    return run.record("results", dict) if run.has("results") else {}
