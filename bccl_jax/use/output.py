"""Files that a command writes: whether they may be, and what keeps them from being written."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence

from bccl_jax.errors import BcclError
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import shown


def file_to_write(name: str, kinds: Sequence[str], overwrite: bool) -> pathlib.Path:
    """The path of a file that can be written, as far as can be told before it is.

    Args:
      name: as the user wrote it.
      kinds: what it may end in.
      overwrite: whether a file that is there may be lost.

    Raises:
      BcclError: it ends otherwise, is there, or has no folder that can be written.
    """
    path = expanded(name)
    named = f"--output={shown(name)}"
    if path.suffix not in kinds:
        raise BcclError(f"{named} does not end in {' or '.join(kinds)}, which says what to write")
    if path.is_dir():
        raise BcclError(f"{named} is a folder; name a file")
    if path.exists() and not overwrite:
        raise BcclError(f"{named} is there already; name another file or say --overwrite")
    if not path.parent.is_dir():
        raise BcclError(f"{named} lies in no folder; make {shown(path.parent)} first")
    if not os.access(path.parent, os.W_OK):
        raise BcclError(f"{named} cannot be written (Permission denied); name another folder")
    return path


def write_whole(path: pathlib.Path, content: bytes) -> None:
    """Writes a file, whole or not at all.

    Raises:
      BcclError: it cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.tmp")
    with writing(path):
        unfinished.write_bytes(content)
        unfinished.replace(path)


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Within it what keeps a file from being written ends in a sentence.

    Raises:
      BcclError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise BcclError(
            f"--output={shown(path)} cannot be written ({error.strerror}); name another file"
        ) from error
