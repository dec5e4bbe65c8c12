"""Signals that ask a command to stop."""

import contextlib
import signal
from collections.abc import Iterator

from bccl_jax.system.processes import REQUESTS


class Stop(Exception):
    """A signal asks to stop."""


@contextlib.contextmanager
def signals_stop() -> Iterator[None]:
    """Raises `Stop` with the first signal; Ctrl-C stays KeyboardInterrupt.

    What was ignored before, as `nohup` has it of SIGHUP, stays ignored.
    """
    previous = {
        signum: signal.getsignal(signum)
        for signum in REQUESTS
        if signum != signal.SIGINT and signal.getsignal(signum) is not signal.SIG_IGN
    }

    def stop(signum, _frame):
        # A scheduler may send it more than once; it is the same request.
        for each in previous:
            signal.signal(each, signal.SIG_IGN)
        raise Stop(signum)

    for signum in previous:
        signal.signal(signum, stop)
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
