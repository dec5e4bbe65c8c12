"""Commands as text for people, to be copied into a shell."""

import os
import shlex
import sys


def shown_command(module: str, *arguments: str) -> str:
    """A command line that runs a module of the package by this interpreter, quoted for a shell.

    Args:
      module: such as "bccl_jax.main".
      *arguments: of it.
    """
    command = shlex.join([sys.executable, "-m", module, *arguments])
    # Bytes that are not UTF-8 can only be shown.
    return os.fsencode(command).decode(errors="backslashreplace")
