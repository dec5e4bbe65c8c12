"""Directories to write to, as a user names them."""

import os
import pathlib
import re

from bccl_jax.errors import ConfigError, WorkdirError
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import shown

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def directory_to_write(path: str | os.PathLike, option: str) -> pathlib.Path:
    """The path of a directory, with what `~` stands for; nothing is looked at.

    Args:
      path: as the user wrote it.
      option: that it was named by, for the message.

    Raises:
      WorkdirError: it cannot be the path of a directory.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise WorkdirError(f"{option}={shown(text)} has a zero byte, which no path has; mend it")
    if _ADDRESS.match(text):
        raise WorkdirError(
            f"{option}={shown(text)} is an address and no directory; mount the place and name the "
            "directory that it is mounted on, by its whole path"
        )
    try:
        return expanded(path)
    except ConfigError as error:
        raise WorkdirError(f"{option}={error}") from error
