"""A data set into a directory, whatever of it lies there: nothing is ever overwritten."""

import os
import pathlib
from collections.abc import Callable, Sequence

from bccl_jax.data.downloading import transfer, unpacking
from bccl_jax.data.downloading.archives import Archive
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown


def fetch(
    archive: Archive,
    directory: pathlib.Path,
    addresses: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> pathlib.Path:
    """Downloads what is missing, unpacks it, and checks what is there.

    Args:
      archive: of the data set.
      directory: is made if it is not there.
      addresses: to ask in place of the archive's own.
      say: takes what is done, a line each.

    Returns:
      The unpacked folder.

    Raises:
      DataError: it cannot be had, or something else lies there; the message names the mend.
    """
    folder, packed = directory / archive.folder, directory / archive.file
    if os.path.lexists(folder):
        _check(folder, archive)
        say(f"{archive.name} is there already, as it was published: {shown(folder)}")
        return folder
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{shown(directory)} cannot be made ({error.strerror or error}); name another folder "
            "by --dir"
        ) from error
    if os.path.lexists(packed):
        transfer.check(packed, archive)
        say(f"{shown(packed)} is there already, as it was published")
    else:
        say(f"{archive.name} is downloaded into {shown(directory)}, {archive.megabytes}")
        transfer.download(archive, packed, addresses or archive.addresses)
    unpacking.unpack(packed, archive, directory)
    say(f"unpacked into {shown(folder)}; {shown(packed)} is no longer needed")
    return folder


def _check(folder: pathlib.Path, archive: Archive) -> None:
    wrong = list(unpacking.changed(folder, archive))
    if wrong:
        raise DataError(
            f"{shown(folder)} is there already, but {', '.join(wrong)}; nothing is overwritten: "
            "move it away and give the command again"
        )
