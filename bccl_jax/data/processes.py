"""Worker processes that answer to their parent alone."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def deaf_to(*signals: int) -> Iterator[None]:
    """What is started within it ignores these signals for good.

    Ctrl-C reaches every process of a terminal, and a scheduler's SIGTERM every process of a job;
    the parent alone is to answer them. One that comes within this block is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set what signals do
        return
    handlers = {signum: signal.signal(signum, signal.SIG_IGN) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


@functools.cache
def follow_parent() -> None:
    """In a worker process: ends it as soon as its parent is gone, by SIGKILL for example."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="follow parent", daemon=True).start()
