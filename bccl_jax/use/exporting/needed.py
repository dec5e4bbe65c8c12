"""Other projects' packages that a format needs: whether they are there, and what they say."""

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator, Sequence

from bccl_jax.errors import BcclError


def check_installed(kind: str, names: Sequence[str]) -> None:
    """Imports what a format needs beside what the project does.

    Args:
      kind: the format.
      names: of modules.

    Raises:
      BcclError: one is missing or broken.
    """
    for name in names:
        try:
            with silent():
                importlib.import_module(name)
        except ImportError as error:
            raise BcclError(
                f"--format={kind} needs {name}, which cannot be imported ({first_line(error)}); "
                'pip install "bccl_jax[export]", or -r requirements/export.txt of the repository'
            ) from error


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Within it libraries warn of nothing: of their extensions for others, which are of no use."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def first_line(error: Exception | None) -> str:
    """The first line of what an error says, short."""
    line = (str(error).strip().splitlines() or [""])[0].rstrip(".:")
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__
