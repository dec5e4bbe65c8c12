"""SIGTERM and Ctrl-C as a flag, so that a run can save before it stops."""

import signal

import jax
from jax.experimental import multihost_utils


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


class StopSignal:
    """Remembers the first SIGTERM or SIGINT; a second Ctrl-C acts as usual.

    SIGTERM may come more than once, from a scheduler that signals every process and from a parent
    that passes it on; it is the same request, and SIGKILL ends who is too slow.

    Where several processes make one run, a SIGTERM to any of them, which JAX passes on, stops all
    of them after the same step.

    Attributes:
      received: the signal's number, None so far.
    """

    def __init__(self):
        self.received: int | None = None
        self._shared = jax.process_count() > 1
        self._previous = {}

    def reached(self, step: int) -> int | None:
        """Whether to stop now: the signal's number or None.

        Args:
          step: done so far; every process must ask after the same ones.
        """
        if self._shared and multihost_utils.reached_preemption_sync_point(step):
            self.received = signal.SIGTERM
        return self.received

    def __enter__(self):
        if self._shared:
            return self
        for signum in (signal.SIGTERM, signal.SIGINT):
            try:
                self._previous[signum] = signal.signal(signum, self._remember)
            except ValueError:  # not the main thread, as in some notebooks: signals stay as are
                break
        return self

    def __exit__(self, *_):
        self._restore()

    def _remember(self, signum, _frame):
        self.received = self.received or signum
        if signal.SIGINT in self._previous:
            signal.signal(signal.SIGINT, self._previous.pop(signal.SIGINT))

    def _restore(self):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
