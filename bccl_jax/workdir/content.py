"""The images that a run was begun with, as numbers that are compared whenever it goes on."""

import io
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from bccl_jax.data.fingerprint import UNREADABLE, image_name
from bccl_jax.data.photographs.decode import why_broken
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import read_regular

# Which pictures are too large is the run's to say; a changed one that decodes is another one.
_OF_ANY_SIZE = Decoding(max_pixels=sys.maxsize)


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The numbers that a run recorded, by split; none of one of a time before there were any.

    Raises:
      WorkdirError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        with np.load(io.BytesIO(read_regular(path)), allow_pickle=False) as arrays:
            numbers = dict(arrays)
    except Exception as error:  # a damaged archive raises nearly anything
        raise WorkdirError(
            f"{shown(path)} is not the record of images that a run writes; restore it, or delete "
            "it to go on without a look at whether the images are the same"
        ) from error
    return {part: found.astype(np.uint64) for part, found in numbers.items()}


def write(path: pathlib.Path, numbers: dict[str, np.ndarray]) -> None:
    """Records numbers, whole or not at all."""
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        np.savez(file, **numbers)
    unfinished.replace(path)


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two records say the same."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def compare(
    then: dict[str, np.ndarray],
    now: dict[str, np.ndarray],
    dataset: Dataset,
    broken: Mapping[str, Sequence[int]],
    workdir: pathlib.Path,
) -> dict[str, np.ndarray]:
    """Checks that images are those that a run was begun with.

    A picture that was broken then may have been mended, and one that is broken now is skipped as
    any such one is.

    Args:
      then: the numbers that the run recorded.
      now: those of the images that there are, of the splits that matter.
      dataset: of these images.
      broken: positions of the pictures that the run could not decode, by split.
      workdir: of the run, for the message.

    Returns:
      What the run is to record from now on.

    Raises:
      WorkdirError: images of a split are other ones.
    """
    kept = dict(then)
    for part, found in now.items():
        recorded, split = then.get(part, found), dataset.splits[part]
        if len(found) != len(recorded):
            _refuse(f"the files that hold the {part} images have", workdir)
        differs = (found != recorded) & (found != UNREADABLE) & (recorded != UNREADABLE)
        changed, named = np.flatnonzero(differs), len(found) == len(split)
        if named:
            changed = np.setdiff1d(changed, broken.get(part, []))
        other = next((i for i in changed if not (named and _is_skipped(split, i))), None)
        if other is not None:
            what = "images" if named else "files of images"
            first = f", the first {image_name(split, part, other)}," if named else ""
            _refuse(f"{len(changed):,} of {len(found):,} {part} {what}{first} have", workdir)
        kept[part] = found.copy()
        unknown = found == UNREADABLE
        unknown[changed] = True
        kept[part][unknown] = recorded[unknown]
    return kept


def _is_skipped(split: Split, position: int) -> bool:
    """Whether a picture is one that a run skips, so that it takes no other one in its place."""
    return split.encoded and bool(why_broken(split.images, position, _OF_ANY_SIZE))


def _refuse(what: str, workdir: pathlib.Path) -> None:
    raise WorkdirError(
        f"{what} other content than those that --workdir={shown(workdir)} was started with; "
        "restore them or name another directory"
    )
