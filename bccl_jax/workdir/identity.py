"""Which classes and images a run is of: what its directory keeps, compared with what is there."""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import WorkdirError

# No class has so many images; a file may say anything.
_MOST = 2**40


def class_table(dataset: Dataset) -> list[dict]:
    """Label, name and number of training images of each class, as JSON values."""
    counts = np.bincount(dataset.train.labels, minlength=dataset.num_classes)
    return [
        {"label": label, "name": name, "images": int(count)}
        for label, (name, count) in enumerate(zip(dataset.train.class_names, counts, strict=True))
    ]


def read_table(table: Sequence, named: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes and int [K], training images of each, of a `class_table`.

    Args:
      table: as it was read.
      named: the file, for the message.

    Raises:
      WorkdirError: it is no such table.
    """
    try:
        names = tuple(str(row["name"]) for row in table)
        counts = [row["images"] for row in table]
        sound = all(type(count) is int and 0 <= count < _MOST for count in counts) and any(counts)
    except (KeyError, TypeError):
        sound = False
    if not sound:
        raise WorkdirError(
            f"{named} is not the table of classes that a run writes; restore it or name another "
            "--workdir"
        )
    return names, np.array(counts, np.int64)


def digests(dataset: Dataset) -> dict[str, str]:
    """A digest of labels and, of photographs, names of each split, wherever they all lie."""
    names = {part: _names(split) for part, split in dataset.splits.items()}
    shared = _shared(name for of_part in names.values() for name in of_part)
    return {
        part: _digest(split, [name[shared:].lstrip(os.sep) for name in names[part]])
        for part, split in dataset.splits.items()
    }


def check_classes(saved: Sequence, dataset: Dataset, named: str) -> None:
    """Checks that a data set has the classes and numbers of images that a run had.

    Args:
      saved: the `class_table` of the run.
      dataset: that there is.
      named: the run's directory, for the message.

    Raises:
      WorkdirError: it has not.
    """
    for then, now in itertools.zip_longest(saved, class_table(dataset)):
        if then != now:
            raise WorkdirError(
                f"the training images are not those that {named} was started "
                f"with: {now} instead of {then}; restore them or name another directory"
            )


def check_splits(saved: dict, dataset: Dataset, named: str) -> None:
    """Checks that splits have the names, order and labels that a run's had.

    Args:
      saved: the `digests` of the run.
      dataset: that there is.
      named: the run's directory, for the message.

    Raises:
      WorkdirError: one has not.
    """
    for part, now in digests(dataset).items():
        if saved.get(part) != now:
            _refuse(part, named)


def check_split(saved: dict, part: str, split: Split, named: str) -> None:
    """The same of one split, where the others are not there to say what all names share."""
    if saved.get(part) not in _possible_digests(split):
        _refuse(part, named)


def _refuse(part: str, named: str) -> None:
    raise WorkdirError(
        f"the {part} images have other names, order or labels than those that "
        f"{named} was started with, so that images could be trained on "
        "and tested with; restore them or name another directory"
    )


def _names(split: Split) -> list[str]:
    return [split.images.name(i) for i in range(len(split))] if split.encoded else []


def _shared(names: Iterable[str]) -> int:
    """Characters of the folder that all names share."""
    folders = {os.path.dirname(name) for name in names}
    return len(os.path.commonpath(folders)) if folders else 0


def _digest(split: Split, names: list[str]) -> str:
    digest = hashlib.blake2b(split.labels.astype("<i4").tobytes(), digest_size=16)
    digest.update("\0".join(names).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _possible_digests(split: Split) -> Iterator[str]:
    """Digests of names from their common folder, from the folder above it, and so on."""
    names = _names(split)
    shared = _shared(names)
    yield _digest(split, [name[shared:].lstrip(os.sep) for name in names])
    root = names[0][:shared] if names else ""
    while root:
        parent = os.path.dirname(root.rstrip(os.sep))
        if parent == root:
            return
        root = parent
        yield _digest(split, [name[len(root) :].lstrip(os.sep) for name in names])
