"""The photographs that turned out broken in a run: named once, counted, and a limit to them."""

import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from bccl_jax.data.encoded import EncodedImages, FileImages, allowed_broken
from bccl_jax.data.photographs.decode import why_broken
from bccl_jax.data.photographs.decoding import PLAIN, Decoding
from bccl_jax.devices.mesh import gather_rows
from bccl_jax.errors import BrokenPicturesError
from bccl_jax.system.names import printable
from bccl_jax.workdir import broken_list

# Enough to hide a slow disk.
_THREADS = 16


class SkippedImages:
    """Keeps the list of the training photographs that were skipped, across restarts.

    What an earlier start listed is looked at again: who mended a picture is not to hear of it, nor
    to be stopped by it.

    Args:
      path: of the list; a line for each picture.
      images: of the training split.
      max_share: of the split, above which the run stops; one picture is let pass unless it is 0.
      writes: False leaves the list and the console to another process.
      decoding: by which settings of the run they are decoded.

    Raises:
      BrokenPicturesError: more than the share are broken still.
    """

    def __init__(
        self,
        path: pathlib.Path,
        images: EncodedImages,
        max_share: float,
        writes: bool = True,
        decoding: Decoding = PLAIN,
    ):
        self._path, self._images, self._writes = path, images, writes
        self._decoding = decoding
        self._max_share = max_share
        self._limit = allowed_broken(max_share, len(images))
        listed = broken_list.listed(path, images)
        self._broken = _still_broken(images, listed, decoding)
        if writes and listed:
            self._rewrite()
            mended = len(listed) - len(self._broken)
            if mended:
                self._tell(f"{mended} of {len(listed)} pictures that {path} named decode again")
        self.check()

    def add(self, broken: np.ndarray) -> None:
        """Takes the `broken` of a whole batch: indices of pictures, -1 for a sound one.

        Every process takes the same ones.
        """
        for index in map(int, np.unique(broken[broken >= 0])):
            if index in self._broken:
                continue
            self._broken.add(index)
            if not self._writes:
                continue
            broken_list.add(self._path, self._images, [index])
            name = printable(self._images.name(index))
            # None where it can be by now, as where a disk failed for a moment.
            why = why_broken(self._images, index, self._decoding)
            reason = f" ({why})" if why else ""
            self._tell(
                f"skipped {name}, which cannot be decoded{reason}: {len(self._broken)} of "
                f"{len(self._images)} training pictures so far (list: {self._path})"
            )

    def check(self) -> None:
        """Checks that not too many are broken, which every process finds after the same step.

        Raises:
          BrokenPicturesError: more than the share are.
        """
        if len(self._broken) > self._limit:
            where = "where they were packed from, and pack anew"
            if isinstance(self._images, FileImages):
                where = "under the same names"
            raise BrokenPicturesError(
                f"{len(self._broken)} of {len(self._images)} training pictures cannot be decoded "
                f"({self._path} names them), more than config.data.max_broken="
                f"{self._max_share:g} allows; --mode=inspect --verify names all that are broken; "
                f"replace them {where}, or raise it: the run goes on from its last checkpoint if "
                "it has one"
            )

    def _rewrite(self) -> None:
        names = [printable(self._images.name(index)) for index in sorted(self._broken)]
        unfinished = self._path.with_suffix(".tmp")
        unfinished.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        unfinished.replace(self._path)

    def _tell(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)


def _still_broken(images: EncodedImages, indices: list[int], decoding: Decoding) -> set[int]:
    """Which of these pictures cannot be decoded, as any of the run's processes finds."""
    found = np.zeros(len(images), bool)
    with ThreadPoolExecutor(_THREADS) as pool:
        reasons = pool.map(lambda index: why_broken(images, index, decoding), indices)
        found[indices] = [bool(reason) for reason in reasons]
    return set(np.flatnonzero(gather_rows(found).reshape(-1, len(found)).any(0)).tolist())
