"""JSON files of a run's directory, each there in whole or not at all, and its damage noticed."""

import contextlib
import json
import pathlib
from collections.abc import Iterator

from bccl_jax.errors import WorkdirError
from bccl_jax.system import listed_files
from bccl_jax.system.names import shown


def write(path: pathlib.Path, value: dict | list) -> None:
    """Writes a value as JSON.

    Raises:
      WorkdirError: the list of digests is damaged.
    """
    with told():
        listed_files.write(path, f"{json.dumps(value, indent=1)}\n".encode())


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Damage that the digests tell of becomes a WorkdirError."""
    try:
        yield
    except listed_files.DamagedFileError as error:
        raise WorkdirError(str(error)) from error


def read(path: pathlib.Path, kind: type) -> dict | list:
    """Reads a value of a kind, dict or list.

    Raises:
      WorkdirError: the file is missing or broken, or holds another kind.
    """
    try:
        with told():
            found = json.loads(listed_files.read(path))
    except WorkdirError:
        raise
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
