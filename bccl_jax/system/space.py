"""The room that is left on a disk."""

import errno
import os
import pathlib

# What a disk without room, or a quota, gives.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def free(path: pathlib.Path) -> tuple[int, int | None]:
    """Bytes and files for which there is room where a path lies, or will lie.

    Args:
      path: absolute; of what is not there yet the folder above is looked at.

    Returns:
      Both numbers; None for the files where the file system has no limit to them, or does not say.

    Raises:
      OSError: it cannot be found out.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def told(size: int) -> str:
    """A number of bytes for people: "3 kB", "512 MB", "2.65 GB"."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            scaled = size / unit
            return f"{scaled:.3g} {name}" if scaled < 999.5 else f"{scaled:,.0f} {name}"
    return f"{size} bytes"


def told_free(path: pathlib.Path) -> str:
    """What is free where a path lies, as a clause: "3 MB are free"."""
    try:
        size, files = free(path)
    except OSError as error:
        return f"what is free cannot be found out: {error.strerror}"
    if files == 0:
        return f"{told(size)} and room for no more files are free"
    return f"{told(size)} are free"
