"""What Orbax says in its log: what is expected is left out, what failed in the background is kept.

A failure there is raised only once the other processes of a run were waited for, or at the next
save; the log has it at once.
"""

import inspect
import logging
import sys
from collections.abc import Callable
from typing import Any

# What Orbax warns of: each checkpoint between evaluations, for it has no figures to give, and what
# reading alone means.
_EXPECTED = (
    "Requested `tracked_metric`",
    "CheckpointManagerOptions.read_only=True",
    "Given directory is read only",
)
_LOG = logging.getLogger("absl")


class Failures(logging.Filter):
    """Takes errors of Orbax's background out of the log, whose traces nobody is helped by.

    Attributes:
      found: the errors, the first one first.
    """

    def __init__(self):
        super().__init__()
        self.found: list[BaseException] = []
        _LOG.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be seen."""
        if record.levelno < logging.ERROR or not record.exc_info or "orbax" not in record.pathname:
            return True
        self.found.append(record.exc_info[1])
        return False

    def close(self) -> None:
        """Listens no longer."""
        _LOG.removeFilter(self)


class _WithoutLateAnswers:
    """What Python calls for errors that nobody can catch, without those that are expected."""

    def __init__(self, before: Callable[[Any], None]):
        self._before = before

    def __call__(self, unraisable: Any) -> None:
        if not _is_late(unraisable):
            self._before(unraisable)


def leave_out_late_answers() -> None:
    """What still comes of a read or a write that has failed is not told from now on.

    Orbax closes its event loop at the first array that fails, while TensorStore has the others
    under way: each of them then finds the loop closed, and coroutines end that nobody waits for.
    Python would print a trace of each, until the process ends.
    """
    if not isinstance(sys.unraisablehook, _WithoutLateAnswers):
        sys.unraisablehook = _WithoutLateAnswers(sys.unraisablehook)


def _is_late(unraisable: Any) -> bool:
    if inspect.iscoroutine(unraisable.object):
        return "orbax" in unraisable.object.cr_code.co_filename
    # It comes from a thread of TensorStore's and belongs to no object.
    return unraisable.object is None and str(unraisable.exc_value) == "Event loop is closed"


def _unexpected(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_EXPECTED)


_LOG.addFilter(_unexpected)
