"""Locks of files between processes, as far as the file system has them.

The kernel drops a lock with its process, however that ends.
"""

import fcntl
import os
import sys

from bccl_jax.system.names import shown


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
