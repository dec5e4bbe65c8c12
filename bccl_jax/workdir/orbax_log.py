"""What Orbax says in its log: what is expected is left out, what failed in the background is kept.

A failure there is raised only once the other processes of a run were waited for, or at the next
save; the log has it at once.
"""

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


def _unexpected(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_EXPECTED)


_LOG.addFilter(_unexpected)


def _without_late_arrays(before: Callable[[Any], None]) -> Callable[[Any], None]:
    """Arrays that are still on their way when Orbax has given up find its event loop closed.

    What made it give up is told; of these each one would print a trace.
    """

    def hook(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            before(unraisable)

    return hook


sys.unraisablehook = _without_late_arrays(sys.unraisablehook)
