"""Worker processes that answer to their parent alone.

Ctrl-C reaches every process of a terminal, and a scheduler's SIGTERM every process of a job; the
parent is to answer them.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """What is started within it ignores Ctrl-C for good; one that comes within it is lost.

    Not for SIGTERM in a run: JAX may have a handler of it that Python knows nothing of and could
    not set again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set what signals do
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def answer_to_parent_alone(*_) -> None:
    """Called in a worker process: it ignores Ctrl-C and SIGTERM, and ends with its parent."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    follow_parent()


def follow_parent() -> None:
    """Ends a worker process as soon as its parent is gone, by SIGKILL for example."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="follow parent", daemon=True).start()
