"""What a run tells: console, records, pictures."""

import contextlib
import os
import sys


def _import_matplotlib() -> None:
    """Before anything here does: it ends where MPLBACKEND names what is not installed.

    Notebooks set that for the commands that are started from them too. Our pictures are files, for
    which no such thing is needed; where it can be had it stays what the user's own figures take.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    import matplotlib

    if backend is not None:
        os.environ["MPLBACKEND"] = backend
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


if "matplotlib" not in sys.modules:
    _import_matplotlib()
