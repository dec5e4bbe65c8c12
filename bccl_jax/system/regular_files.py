"""Opens files that hold something, and nothing that would be waited for, such as a pipe."""

import errno
import os
import pathlib
import stat
from typing import BinaryIO


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Opens a file to be read.

    Args:
      path: of it.

    Returns:
      The file, without a buffer.

    Raises:
      OSError: it cannot be opened, or is none: a pipe for example, whose writer may never come.
    """
    # Without waiting for a writer; of a regular file the flag means nothing.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        return os.fdopen(handle, "rb", buffering=0)
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | os.PathLike) -> bytes:
    """The bytes of a file; see `open_regular`."""
    with open_regular(pathlib.Path(path)) as file:
        return file.readall()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a file of UTF-8 text.

    Raises:
      OSError: it cannot be written, or is a pipe that nobody reads.
    """
    with open(path, "w", encoding="utf-8", opener=at_once) as file:
        file.write(text)


def at_once(path: str, flags: int) -> int:
    """An `opener` of `open` that does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)
