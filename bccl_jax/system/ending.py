"""The end of a process that failed, which no thread of a library may put off."""

import os
import signal
import sys
import threading
import time

# The exit code of a process that ends because another one of its run is gone, as of one that JAX
# itself aborts then.
LOST_PROCESS = 128 + signal.SIGABRT
# Seconds for what is still to be cleared up.
PATIENCE = 10.0


def end_within(seconds: float, code: int) -> None:
    """Has this process end soon, whatever its threads wait for.

    Python waits at its end for threads that are not daemons, of which libraries leave some behind
    that wait for something that will not come.

    Args:
      seconds: until it is ended, if it has not by then.
      code: that it then ends with.
    """

    def wait() -> None:
        time.sleep(seconds)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue
        os._exit(code)

    threading.Thread(target=wait, name="end of the process", daemon=True).start()
