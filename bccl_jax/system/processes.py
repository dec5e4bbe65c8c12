"""Worker processes that answer to their parent alone.

Ctrl-C reaches every process of a terminal, and a scheduler's signals every process of a job; the
parent is to answer them.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator
from multiprocessing import resource_tracker

# What asks a run to stop: who is at the terminal, its closing, a scheduler, a limit of time.
REQUESTS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)


# Seconds for the start of a process, which takes some thousandths.
_PATIENCE = 20.0


def start_tracker() -> None:
    """Starts the process that clears up after ours, so that it says nothing of what it clears.

    Readers that end have batches in shared memory that nobody took; the tracker gives them back,
    and would warn of each at the end of a sound run. Where it runs already it stays as it is.
    """
    quiet = "ignore:resource_tracker:UserWarning"
    # They become the tracker's own, by the command line that it is started with.
    sys.warnoptions.append(quiet)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)


@contextlib.contextmanager
def starting_workers(number: int = 0) -> Iterator[None]:
    """What is started within it hears no request to stop; one that comes within it waits.

    Such processes are born deaf, so that no moment is left in which one could end them. Handlers
    stay as they are: JAX may have one of SIGTERM that Python could not set again.

    Args:
      number: of processes that are waited for at its end, where threads start them.
    """
    # Its own start would let signals through.
    start_tracker()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
    others = set(multiprocessing.active_children())
    try:
        with without_main():
            yield
            end = time.monotonic() + _PATIENCE
            while len(set(multiprocessing.active_children()) - others) < number:
                if time.monotonic() > end:  # one has ended at once, which who reads from it tells
                    break
                time.sleep(0.001)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """What is started within it does not import the main module anew.

    Python's "spawn" does, for objects that are of it, of which ours need none: a script that has no
    `if __name__ == "__main__"` would train again in each process, and one that came through a pipe
    cannot be read twice.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def answer_to_parent_alone(*_) -> None:
    """Called in a worker process: it hears no request to stop, and ends with its parent."""
    for signum in REQUESTS:
        signal.signal(signum, signal.SIG_IGN)
    follow_parent()


def follow_parent() -> None:
    """Ends a worker process as soon as its parent is gone, by SIGKILL for example."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="follow parent", daemon=True).start()
