"""JSON files of a run's directory, each there in whole or not at all."""

import json
import pathlib

from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import read_regular, write_text


def write(path: pathlib.Path, value: dict | list) -> None:
    """Writes a value as JSON."""
    unfinished = path.with_suffix(".tmp")
    write_text(unfinished, json.dumps(value, indent=1) + "\n")
    unfinished.replace(path)


def read(path: pathlib.Path, kind: type) -> dict | list:
    """Reads a value of a kind, dict or list.

    Raises:
      WorkdirError: the file is missing or broken, or holds another kind.
    """
    try:
        found = json.loads(read_regular(path))
    except (ValueError, RecursionError, FileNotFoundError):
        found = None
    except OSError as error:
        raise WorkdirError(
            f"{shown(path)} cannot be read ({error.strerror}); mend that or name another --workdir"
        ) from error
    if not isinstance(found, kind):
        raise WorkdirError(
            f"{shown(path)} is not the JSON {'object' if kind is dict else 'list'} that a run "
            "writes; restore it or name another --workdir"
        )
    return found
