"""The shared memory through which reader processes hand batches over."""

import multiprocessing
import os
import re
import signal

from bccl_jax.errors import DataError

PLACE = "/dev/shm"
_MENDS = (
    "give the container more (docker run --shm-size=8g), or lower config.data.workers; 0 reads in "
    "threads, which need none"
)


def needed(workers: int, batch_bytes: int) -> int:
    """Bytes that the batches in flight take.

    Args:
      workers: reader processes; 0 for none.
      batch_bytes: of the arrays of a batch.
    """
    # Of each reader two read ahead, one that is handed over and one that waits; and the one in use.
    return (4 * workers + 1) * batch_bytes if workers else 0


def check_room(needed: int, workers: int) -> None:
    """Refuses readers who would be killed as soon as shared memory is full.

    Args:
      needed: bytes.
      workers: reader processes.

    Raises:
      DataError: fewer bytes are free.
    """
    try:
        place = os.statvfs(PLACE)
    except OSError:  # no such place, as on macOS
        return
    free = place.f_bavail * place.f_frsize
    if needed > free:
        raise DataError(
            f"{PLACE} has {_megabytes(free)} MB free, but the reader processes ({workers}) need "
            f"{_megabytes(needed)} MB there to hand batches over; {_MENDS}"
        )


def check_locks() -> None:
    """Refuses to begin where not even a lock between processes can be made.

    Raises:
      DataError: shared memory is full or missing.
    """
    try:
        multiprocessing.Lock()
    except OSError as error:
        raise DataError(
            f"{PLACE} takes no lock ({error.strerror or error}); make room there, or give the "
            "container such a place (docker run --shm-size=8g)"
        ) from error


def why_it_ended(message: str) -> str:
    """What to tell of a reader process that ended.

    Args:
      message: of grain's error, which holds the exit code.
    """
    found = re.search(r"exit code (-?\d+)", message)
    code = int(found[1]) if found else 0
    again = "the same command goes on from the last checkpoint"
    if code == -signal.SIGBUS:
        # The kernel's answer to a write where shared memory is full.
        return f"a reader process of the photographs found {PLACE} full; {_MENDS}: {again}"
    if code == -signal.SIGKILL:
        return (
            "a reader process of the photographs was killed, perhaps for want of memory; lower "
            f"config.data.workers: {again}"
        )
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return (
        f"a reader process of the photographs ended {how}, for a reason that it may have told "
        f"above; config.data.workers=0 does without such processes: {again}"
    )


def _megabytes(number: int) -> str:
    return f"{-(-number // 10**6):,}"
