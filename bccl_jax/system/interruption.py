"""Signals that ask a run to stop as a flag, so that it can save before it stops."""

import contextlib
import os
import signal
import threading

import jax
from jax.experimental import multihost_utils

from bccl_jax.system.output import lasting
from bccl_jax.system.processes import REQUESTS


class Interrupted(Exception):
    """A signal stopped the run after a checkpoint was written.

    Attributes:
      signum: the signal.
    """

    def __init__(self, signum: int, step: int):
        super().__init__(
            f"stopped by {signal.Signals(signum).name} after step {step}, which is saved; "
            "the same command goes on from there"
        )
        self.signum = signum

    def _render_traceback_(self) -> list[str]:
        """What IPython and with it a notebook shows in place of a traceback."""
        return [f"{self}: run the cell again"]


class StopSignal:
    """Remembers the first signal that asks to stop; a second Ctrl-C acts as usual.

    Such are Ctrl-C, SIGTERM, the SIGHUP of a terminal that is closed, and what schedulers send
    before the end of a job's time, SIGUSR1, SIGUSR2 and SIGXCPU. What was ignored before, as
    `nohup` has it of SIGHUP, stays ignored. A closed pipe of the output counts as SIGPIPE.

    They may come more than once, from a scheduler that signals every process and from a parent
    that passes them on; it is the same request, and SIGKILL ends who is too slow.

    Where several processes make one run, any of these in any of them counts as SIGTERM, which JAX
    passes on, so that all of them stop after the same step. Ctrl-C there ends one as usual.

    Attributes:
      received: the signal's number, None so far.
      ends_process: set for the class by a command that ends with its run: requests that come once
        more are then ignored to the end, and do not end it by another exit code.
    """

    ends_process = False

    def __init__(self):
        self.received: int | None = None
        self._shared = jax.process_count() > 1
        self._previous = {}
        self._output = contextlib.ExitStack()

    def reached(self, step: int) -> int | None:
        """Whether to stop now: the signal's number or None.

        Args:
          step: done so far; every process must ask after the same ones.
        """
        if self._shared and multihost_utils.reached_preemption_sync_point(step):
            self.received = signal.SIGTERM
        return self.received

    def __enter__(self):
        self._output.enter_context(lasting(lambda: self._remember(signal.SIGPIPE)))
        # JAX's own handler of SIGTERM, which Python knows nothing of, tells the other processes.
        answered = {signal.SIGTERM, signal.SIGINT} if self._shared else set()
        for signum in REQUESTS:
            if signum in answered or signal.getsignal(signum) is signal.SIG_IGN:
                continue
            try:
                self._previous[signum] = signal.signal(signum, self._remember)
            except ValueError:  # not the main thread, as in some notebooks: signals stay as are
                break
        return self

    def __exit__(self, *_):
        if self.received and self.ends_process:
            _ignore_repeats()
        else:
            for signum, handler in self._previous.items():
                _restore(signum, handler)
        self._previous = {}
        self._output.close()

    def _remember(self, signum, _frame=None):
        if self._shared:
            signal.raise_signal(signal.SIGTERM)
            return
        first = self.received is None
        self.received = self.received or signum
        # A pipe may be found closed by another thread, which may not set what signals do.
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.SIGINT in self._previous:
            _restore(signal.SIGINT, self._previous.pop(signal.SIGINT))
        if first and signum != signal.SIGPIPE:
            _acknowledge(signum)


def _acknowledge(signum: int) -> None:
    """Says at once that a request was heard: a step, or an epoch in one program, may take long."""
    name = signal.Signals(signum).name
    text = (
        f"\n{name}: the run saves itself when the step under way is done; Ctrl-C ends it at once\n"
    )
    # A print could interrupt another one half-way.
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


def _ignore_repeats() -> None:
    for signum in REQUESTS:
        # Ctrl-C ends at once what is saved already, without a trace.
        to = signal.SIG_DFL if signum == signal.SIGINT else signal.SIG_IGN
        with contextlib.suppress(ValueError):  # as when it began
            signal.signal(signum, to)


def _restore(signum: int, handler) -> None:
    # A handler that is not Python's cannot be set again.
    signal.signal(signum, signal.SIG_DFL if handler is None else handler)
