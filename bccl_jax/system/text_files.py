"""Text files that any system may have written, read with a sentence for what is wrong."""

import os
import re

from bccl_jax.errors import DataError
from bccl_jax.system.names import shown


def read_text(path: str | os.PathLike) -> str:
    """Reads a UTF-8 text file, with or without a byte order mark.

    Raises:
      DataError: the file cannot be read, or is not UTF-8; the message names the line.
    """
    try:
        with open(path, "rb") as file:
            content = file.read().removeprefix(b"\xef\xbb\xbf")
        return content.decode()
    except UnicodeDecodeError as error:
        line = len(re.split(b"\r\n|\r|\n", content[: error.start]))
        raise DataError(
            f"{shown(path)}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the "
            "file as UTF-8 text"
        ) from error
    except OSError as error:
        raise DataError(
            f"{shown(path)} cannot be read ({error.strerror}); put a readable text file there"
        ) from error


def read_lines(path: str | os.PathLike) -> list[str]:
    """Reads the lines of a UTF-8 text file that any system may have written.

    Raises:
      DataError: see `read_text`.
    """
    # Not str.splitlines, which takes characters that a name may have for line ends.
    return re.split("\r\n|\r|\n", read_text(path))
