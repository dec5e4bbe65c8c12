"""What keeps a run from reading or writing within its directory, in one sentence."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.space import NO_ROOM, told_free

# What no reading gives.
_OF_WRITING = (*NO_ROOM, errno.EROFS, errno.EFBIG)


@contextlib.contextmanager
def told(named: str, path: pathlib.Path) -> Iterator[None]:
    """Within it errors that only writing has end in a sentence, and those of the directory's files.

    Args:
      named: what the message calls the directory.
      path: of it, absolute.

    Raises:
      WorkdirError: in place of such an error.
    """
    try:
        yield
    except OSError as error:
        file = _within(error, path)
        if file is None and error.errno not in _OF_WRITING:
            raise
        room = f": {told_free(path)}" if error.errno in NO_ROOM else ""
        raise WorkdirError(
            f"{shown(file) if file else named} cannot be "
            f"{'written' if error.errno in _OF_WRITING else 'used'} ({error.strerror}{room}); mend "
            "that and give the same command again, which goes on from the last checkpoint if there "
            "is one"
        ) from error


def _within(error: OSError, path: pathlib.Path) -> pathlib.Path | None:
    """The file that an error is about, if it lies in the directory or is it."""
    # Of a renaming the second one is the name that users know.
    for name in (error.filename2, error.filename):
        if isinstance(name, str | bytes):
            file = pathlib.Path(os.path.abspath(os.fsdecode(name)))
            return file if file.is_relative_to(path) else None
    return None
