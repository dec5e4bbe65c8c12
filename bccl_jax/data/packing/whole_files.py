"""Files that get their names only once they are whole and on the disk."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import numpy as np

# Ends the name of a file that is still being written.
UNFINISHED = ".partial"


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path to write to; what is there at the end gets its name once it is on the disk."""
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        yield unfinished
        _to_disk(unfinished)
        unfinished.replace(path)
        _to_disk(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _to_disk(path: pathlib.Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes an array, as `np.load` reads it."""
    with whole(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes a file of these bytes."""
    with whole(path) as unfinished:
        unfinished.write_bytes(content)
