"""The photographs that turned out broken in a run: named once, counted, and a limit to them."""

import pathlib
import sys

import numpy as np
from tqdm import tqdm

from bccl_jax.data.encoded import EncodedImages, allowed_broken
from bccl_jax.errors import DataError


class SkippedImages:
    """Keeps the list of the training photographs that were skipped, across restarts.

    Args:
      path: of the list; a line for each picture.
      images: of the training split.
      max_share: of the split, above which the run stops; one picture is let pass unless it is 0.
      writes: False leaves the list and the console to another process.
    """

    def __init__(
        self, path: pathlib.Path, images: EncodedImages, max_share: float, writes: bool = True
    ):
        self._path, self._images, self._writes = path, images, writes
        self._max_share = max_share
        self._limit = allowed_broken(max_share, len(images))
        # Half a last line, of a run that was killed as it wrote, names its picture once more.
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        self._names = {line.rstrip("\n") for line in lines if line.endswith("\n")}

    def add(self, broken: np.ndarray) -> None:
        """Takes the `broken` of a whole batch: indices of pictures, -1 for a sound one.

        Every process takes the same ones, so that all of them stop after the same step.

        Raises:
          DataError: more than the share are broken.
        """
        for index in np.unique(broken[broken >= 0]):
            name = self._images.name(int(index))
            if name in self._names:
                continue
            self._names.add(name)
            if not self._writes:
                continue
            with self._path.open("a") as file:
                file.write(f"{name}\n")
            tqdm.write(
                f"skipped {name}, which cannot be decoded: {len(self._names)} of "
                f"{len(self._images)} training pictures so far (list: {self._path})",
                file=sys.stderr,
            )
        if len(self._names) > self._limit:
            raise DataError(
                f"{len(self._names)} of {len(self._images)} training pictures cannot be decoded "
                f"({self._path} names them), more than config.data.max_broken="
                f"{self._max_share:g} allows; replace them under the same names, or raise it: the "
                "run goes on from its last checkpoint if it has one"
            )
