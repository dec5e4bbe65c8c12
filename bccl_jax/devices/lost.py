"""Processes of a run that are lost or never come: told in a sentence, within a time to be set."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

import jax

from bccl_jax.errors import LostProcessError
from bccl_jax.system.ending import LOST_PROCESS

# What JAX and what is under it say where another process is gone.
_SAID = (
    "Gloo",
    "NCCL",
    "Connection closed by peer",
    "Connection reset by peer",
    "heartbeat",
    "coordination service",
    "coordination agent",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
    "barrier",
)


def is_of_lost_process(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, says that another process of the run is gone."""
    if not jax.distributed.is_initialized() or jax.process_count() == 1:
        return False
    seen = []
    while error is not None and error not in seen:
        text = str(error)
        if isinstance(error, LostProcessError) or any(word in text for word in _SAID):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def lost_process() -> LostProcessError:
    """The error of a process that cannot go on, for another one of its run is gone."""
    return LostProcessError(
        "another process of this run was lost; start all of them again, and the run goes on from "
        "its last checkpoint"
    )


@contextlib.contextmanager
def joined_within(seconds: float, processes: str) -> Iterator[None]:
    """Ends this process, by `ending.LOST_PROCESS`, where what is within takes longer.

    JAX waits for the others in a call that nothing interrupts, and aborts with a trace.

    Args:
      seconds: to wait.
      processes: of the run, in words.
    """
    joined = threading.Event()

    def wait() -> None:
        if joined.wait(seconds):
            return
        print(
            f"error: not all of {processes} have joined this run within {seconds:g} s; start all "
            "of them again, or set BCCL_JAX_JOIN_SECONDS to wait longer",
            file=sys.stderr,
            flush=True,
        )
        os._exit(LOST_PROCESS)

    threading.Thread(target=wait, name="joining processes", daemon=True).start()
    try:
        yield
    finally:
        joined.set()
