"""Standard output and error, so that no encoding, lost terminal or closed pipe ends a run."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator

# What a program ends with that is told of a closed pipe by SIGPIPE, as `| head` closes it.
PIPE_CLOSED = 128 + signal.SIGPIPE


class Output:
    """A text stream that takes every text and outlives its reader.

    Letters that its encoding lacks are written as Python's escapes. What a terminal that is gone or
    a full disk does not take is dropped.

    Args:
      stream: to write to; whatever is not about writing is its own.
      closed: called where the pipe was closed at the other end; None raises BrokenPipeError.

    Attributes:
      lost: why text was lost that somebody may still want, as that on a full disk; None so far.
    """

    def __init__(self, stream, closed: Callable[[], None] | None = None):
        self._stream, self._closed = stream, closed
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Writes as much of a text as can be written; returns its length."""
        try:
            with self._dropping():
                self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            escaped = text.encode(encoding, "backslashreplace").decode(encoding)
            with self._dropping():
                self._stream.write(escaped)
        return len(text)

    def writelines(self, lines) -> None:
        """Writes texts one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hands on what was written."""
        with self._dropping():
            self._stream.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._leave()
            if self._closed is None:
                raise
            self._closed()
        except OSError as error:
            if error.errno != errno.EIO:  # not a terminal that is gone
                self.lost = self.lost or error
            # What lies in the buffer would be tried, and fail, again at the interpreter's end.
            self._leave()

    def _leave(self) -> None:
        """Sends what comes later, of libraries and of the interpreter's end too, nowhere."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __iter__(self):
        return iter(self._stream)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


@contextlib.contextmanager
def lasting(closed: Callable[[], None] | None = None) -> Iterator[None]:
    """Within it standard output and error are `Output`.

    Args:
      closed: as `Output` takes it.
    """
    kept = sys.stdout, sys.stderr
    # Python has none where the descriptor was closed before it started.
    sys.stdout, sys.stderr = (stream and Output(stream, closed) for stream in kept)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


@contextlib.contextmanager
def of_a_command() -> Iterator[None]:
    """Around all that a command does: a closed pipe ends it without a traceback, a full disk too.

    Raises:
      SystemExit: with `PIPE_CLOSED`, where whoever read the output reads no more; with 1 where
        what it printed is lost for another reason, and it has not failed by itself.
    """
    _open_closed_descriptors()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        # As the package set it, until there is somebody to answer.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with lasting():
        ended = None
        try:
            try:
                yield
            except SystemExit as end:
                ended = end
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
        except BrokenPipeError:
            raise SystemExit(PIPE_CLOSED) from None
        if isinstance(sys.stdout, Output) and sys.stdout.lost is not None:
            _tell_lost(sys.stdout.lost)
            if ended is None or not ended.code:
                raise SystemExit(1)
        if ended is not None:
            raise ended


def _tell_lost(error: OSError) -> None:
    print(
        f"error: what was to be printed is lost, for standard output cannot be written "
        f"({error.strerror})",
        file=sys.stderr,
    )


def _open_closed_descriptors() -> None:
    """Else the first files of the run would become its standard output and error."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for ever
