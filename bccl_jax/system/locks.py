"""Locks of files between processes, as far as the file system has them.

The kernel drops a lock with its process, however that ends.
"""

import contextlib
import fcntl
import os
import sys
import time

from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import open_regular

_TRIES, _MOMENT = 4, 0.02


def lock(handle: int, path: str | os.PathLike, wait: bool = False) -> bool:
    """Locks an open file or directory for this process alone, until it is closed.

    A file system that gives no lock (Lustre, some NFS) is told on the console, and the process goes
    on as if it had got one: nobody can be kept out there.

    Args:
      handle: of what is open.
      path: of the same, for the message.
      wait: until whoever has the lock gives it up.

    Returns:
      Whether nobody else is known to have it.
    """
    try:
        for _ in range(_TRIES - 1):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            # Who only asks has it for a moment (`is_held`).
            time.sleep(_MOMENT)
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        print(
            f"warning: the file system of {shown(path)} gives no lock "
            f"({error.strerror or error}), so that a second process there would not be noticed; "
            "start no other one",
            file=sys.stderr,
        )
    return True


def is_held(path: str | os.PathLike) -> bool:
    """Whether a process is known to have the lock of a file; one that cannot be read is free."""
    try:
        with open_regular(path) as file:
            # Let go of at once: who begins in this very moment asks again.
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
