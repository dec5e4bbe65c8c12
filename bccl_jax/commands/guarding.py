"""How a command ends that cannot go on."""

import gc
import io
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable

from bccl_jax.errors import BcclError, LostProcessError, StoppedAtOnce, on_one_line
from bccl_jax.system.ending import LOST_PROCESS
from bccl_jax.system.shortage import shortage


def guarded(main: Callable[[list[str]], int], argv: list[str]) -> int:
    """Calls a command so that each mistake of the user's ends in one sentence.

    Args:
      main: the command.
      argv: what it is given.

    Returns:
      The exit code; of several processes one that cannot go on ends here.
    """
    code = 1
    try:
        return main(argv)
    except BcclError as error:
        # What the loss of another process keeps from being written is not to be mended here.
        lost = _of_lost_process(error)
        print(f"error: {lost or error}", file=sys.stderr)
        code = LOST_PROCESS if lost else 1
        _say_no_more()
    except KeyboardInterrupt:
        print(StoppedAtOnce(), file=sys.stderr)
        if not _one_of_several():
            return 128 + signal.SIGINT
    except BrokenPipeError:
        raise
    except Exception as error:
        lost, lacking = _of_lost_process(error), shortage(error)
        if not _one_of_several() and lacking is None:
            raise
        if lost or lacking:
            print(f"error: {on_one_line(str(lost or lacking))}", file=sys.stderr)
            code = LOST_PROCESS if lost else 1
            _say_no_more()
        else:
            traceback.print_exc()
            print(
                "error: this process of several cannot go on; the others end too", file=sys.stderr
            )
    finally:
        # Memory shared with readers is given back before the interpreter's end complains of it.
        gc.collect()
    if _one_of_several():
        # An orderly end would wait for the others, who wait for this one's part of the next step.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _say_no_more() -> None:
    """What libraries had under way is taken down now, and would complain of it in traces."""
    sys.unraisablehook = lambda unraisable: None
    threading.excepthook = lambda failed: None
    logging.disable()
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
    # What is called at the interpreter's end prints a trace of what fails there itself.
    sys.stderr = _Nowhere()


class _Nowhere(io.TextIOBase):
    def write(self, text):
        return len(text)


def _of_lost_process(error: BaseException) -> LostProcessError | None:
    """The error to tell of where another process is gone; None where that is not the cause."""
    if isinstance(error, LostProcessError):
        return error
    if not _one_of_several():
        return None
    from bccl_jax.devices.lost import is_of_lost_process, lost_process

    # A sentence of ours may name a path, which says whatever its owner called it.
    said = (error.__cause__ or error.__context__) if isinstance(error, BcclError) else error
    return lost_process() if is_of_lost_process(said) else None


def _one_of_several() -> bool:
    if "jax" not in sys.modules:
        return False
    from bccl_jax.devices.mesh import in_several_processes

    return in_several_processes()
