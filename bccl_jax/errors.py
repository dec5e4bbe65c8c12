"""Errors that a user can mend: one sentence each, which names the thing and the mend."""

# Characters of a message. What is longer loses its middle: the mend stands at its end.
_LONGEST, _END = 1600, 500


def on_one_line(text: str) -> str:
    """A text as one line that a terminal shows and does not obey, cut where it is long."""
    if not text.isprintable():
        shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        text = "".join(shown)
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - _END]}...{text[-_END:]}"


class BcclError(Exception):
    """Base of all errors that the command line prints as one sentence, without a traceback.

    A message may quote what a file says, so that it is made one line, of bounded length.
    """

    def __str__(self) -> str:
        return on_one_line(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """What IPython and with it a notebook shows: that sentence too."""
        return [f"error: {self}"]


class ConfigError(BcclError, ValueError):
    """A config value that cannot work, named by its key."""


class WorkdirError(BcclError, ValueError):
    """A working directory that holds something else than this run."""


class DamagedCheckpointError(WorkdirError):
    """A checkpoint that is not what was written."""


class NonFiniteLossError(BcclError, FloatingPointError):
    """The training loss became NaN or infinite."""


class DataError(BcclError, ValueError):
    """A data set that is missing, broken, or not what the config says."""


class BrokenPicturesError(DataError):
    """More pictures than may be skipped cannot be decoded; all processes of a run find the same."""


class LostProcessError(BcclError, RuntimeError):
    """Another process of a run of several is gone."""


class DeviceError(BcclError, RuntimeError):
    """A device that computes wrong."""


class StoppedAtOnce(KeyboardInterrupt):
    """Ctrl-C, or the button of a notebook, before or after a run can save itself."""

    def __init__(self):
        super().__init__("stopped; a run goes on from its last checkpoint if it has one")

    def _render_traceback_(self) -> list[str]:
        """What IPython and with it a notebook shows in place of a traceback."""
        return [f"{self}: run the cell again"]
