"""What a reader makes of an input: read, refused in one sentence, or a failure."""

import resource
import signal
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

from faults.fuzzing.surface import Input, Surface

# Characters of a message that is one line.
LONGEST = 2000
# Of the processor, for one input; the machine's other work does not count.
SECONDS = 10.0
_TRACES = ("Traceback", 'File "', " object at 0x", "<class '", "<function ")


class Outcome(NamedTuple):
    """What became of an input.

    Attributes:
      what: "read", "refused" or "fail".
      why: of a failure, where the same faults have the same; of a refusal, its message.
      told: of a failure, all that is known.
    """

    what: str
    why: str = ""
    told: str = ""


class _TooSlow(BaseException):
    pass


def judge(surface: Surface, entry: Input) -> Outcome:
    """Has an input read, and judges what came of it."""
    before = _peak()
    try:
        _within(SECONDS, lambda: surface.read(entry))
    except surface.refusals as error:
        if _out_of_memory(error):
            return Outcome("fail", "takes more memory than there is", traceback.format_exc())
        wrong = fault_of(str(error), surface.names)
        if wrong:
            return Outcome("fail", f"{wrong} ({_place(error)})", str(error)[: 2 * LONGEST])
        what = Outcome("refused", str(error))
    except _TooSlow as error:
        return Outcome("fail", f"hangs ({_place(error)})", traceback.format_exc())
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__} ({_place(error)})"
        return Outcome("fail", why, traceback.format_exc()[-3000:])
    else:
        what = Outcome("read")
    if (grown := _peak() - before) > surface.megabytes:
        return Outcome("fail", "takes too much memory", f"{grown} MB more than before")
    return what


def fault_of(message: str, names: Sequence[str]) -> str:
    """What is wrong with an error's message; "" where nothing is."""
    if len(message) > LONGEST:
        return "the message is too long"
    if "\n" in message or not message.isprintable():
        return "the message is not one line that can be printed"
    if any(trace in message for trace in _TRACES):
        return "the message has the inside of Python in it"
    if not any(name in message for name in names):
        return "the message does not name the thing"
    return ""


def _within(seconds: float, read: Callable[[], None]) -> None:
    def late(*_):
        raise _TooSlow

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        read()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _place(error: BaseException) -> str:
    """The last line of the project that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "bccl_jax/" in f.filename or "experiments/" in f.filename]
    found = (own or frames)[-1]
    name = found.filename.rpartition("bccl_jax/")[2].rpartition("experiments/")[2]
    return f"{name}:{found.lineno}"
