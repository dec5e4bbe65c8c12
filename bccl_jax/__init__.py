"""Balanced clustering contrastive learning (BCCL) for long-tailed images, in JAX and Flax.

    model = bccl_jax.load("runs/digits_lt")
    model.predict("photos/*.jpg")

Importing it costs nothing: JAX is imported by the first use of a name below.
"""

import importlib
import signal
import sys
import threading

__version__ = "0.1.0"
__all__ = ["Callback", "__version__", "load", "train", "views"]

# Where what the package itself is asked for lies.
_PLACES = {
    "Callback": "bccl_jax.tracking.callback",
    "load": "bccl_jax.use.model",
    "train": "bccl_jax.training.called",
    "views": "bccl_jax.training.called",
}


def __getattr__(name: str):
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _end_by_ctrl_c_alone() -> None:
    """Ctrl-C while a command still loads its libraries ends it without a trace.

    `python -m` has its name in place of the program's only while it looks for the module; the
    command sets the usual answer once it can give one (`system.output.of_a_command`).
    """
    loading = sys.argv[:1] == ["-m"] and threading.current_thread() is threading.main_thread()
    if loading and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


_end_by_ctrl_c_alone()


def __dir__() -> list[str]:
    return sorted(__all__)
