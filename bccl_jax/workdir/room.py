"""Whether a disk has room for the checkpoints of a run, before it trains."""

import pathlib
from typing import Any

import jax

from bccl_jax.devices.mesh import speaks
from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.progress import say
from bccl_jax.system.space import free, told
from bccl_jax.workdir import checkpoint_folder

# The two newest, the best, and the one that is being written.
AT_MOST = 4
# Files and folders of one, generously.
_FILES = 64


def size_of(abstract: Any) -> int:
    """The bytes of the arrays of a state, given as shapes and dtypes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract))


def check_room(directory: pathlib.Path, abstract: Any) -> None:
    """Checks that one more checkpoint has room; says so where those of the whole run have none.

    Args:
      directory: of the checkpoints, absolute; it need not be there.
      abstract: shapes and dtypes of the state.

    Raises:
      WorkdirError: there is no room for the next one.
    """
    size, there = size_of(abstract), len(checkpoint_folder.steps(directory))
    try:
        left, files = free(directory)
    except OSError:  # of a file system that does not say
        return
    if size > left:
        raise WorkdirError(
            f"{shown(directory)} has no room for a checkpoint: one takes {told(size)}, and "
            f"{told(left)} are free; make room or name another --workdir"
        )
    if files is not None and files < _FILES:
        raise WorkdirError(
            f"{shown(directory)} has no room for a checkpoint, which takes up to {_FILES} files, "
            f"and {files} more can be made there; remove some or name another --workdir"
        )
    needed = (AT_MOST - min(there, AT_MOST - 1)) * size
    if needed > left and speaks():
        say(
            f"{shown(directory)} may run out of room: the checkpoints of the run grow by up to "
            f"{told(needed)}, and {told(left)} are free"
        )
