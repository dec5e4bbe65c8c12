"""What keeps a run from writing within its directory, in one sentence."""

import contextlib
import errno
from collections.abc import Iterator

from bccl_jax.errors import WorkdirError

# What no reading gives.
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@contextlib.contextmanager
def told(named: str) -> Iterator[None]:
    """Within it errors that only writing has end in a sentence.

    Args:
      named: what the message calls the directory.

    Raises:
      WorkdirError: in place of such an error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_WRITING:
            raise
        raise WorkdirError(
            f"{named} cannot be written ({error.strerror}); mend that and give the same "
            "command again, which goes on from the last checkpoint if there is one"
        ) from error
