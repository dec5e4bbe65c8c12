"""A plain path to any directory, for libraries that read a meaning into some names.

Orbax takes brackets, stars and backslashes anywhere in a path for a pattern of file names, so that
the arrays of a checkpoint are lost without a word; `gs:` and `/s3` for a bucket; and what is not
UTF-8 it cannot write at all.
"""

import os
import pathlib
import re

from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown

# Signs of which no library in use makes anything, and first folders that etils takes for buckets.
_PLAIN = re.compile(r"[\w /.,+=@~&$!'()-]*")
_BUCKETS = ("gs", "s3", "az", "hf")
_OPEN_FILES = pathlib.Path("/proc/self/fd")


def is_plain(directory: pathlib.Path) -> bool:
    """Whether every library takes an absolute path for what it is."""
    # A name that is not UTF-8 has surrogates, which are no letters.
    return bool(_PLAIN.fullmatch(str(directory))) and directory.parts[1:2] not in [
        (name,) for name in _BUCKETS
    ]


class PlainPath:
    """A directory under a path of plain letters, its own one if that is such.

    Args:
      directory: absolute; it must exist unless its path is plain.

    Attributes:
      path: the plain one, good until `close`, in this process alone.

    Raises:
      WorkdirError: there is no way to it by plain letters.
    """

    def __init__(self, directory: pathlib.Path):
        self._handle = None
        self.path = directory
        if is_plain(directory):
            return
        if not _OPEN_FILES.is_dir():
            raise WorkdirError(
                f"checkpoints cannot be kept in {shown(directory)} on this system, for they would "
                "be lost where a name has other signs than letters, digits, blanks and -_.,+=@; "
                "name another --workdir"
            )
        # Linux shows an open directory under its number, with all that is in it.
        self._handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self.path = _OPEN_FILES / str(self._handle)

    def close(self) -> None:
        """Gives the path up."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
