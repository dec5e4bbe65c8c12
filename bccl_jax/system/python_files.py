"""Python files of a user's by path: run, or the sentence that says why they cannot be."""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import pathlib
import sys
import traceback
import types
import zlib
from collections.abc import Iterator

from bccl_jax.errors import BcclError, ConfigError

# The name of a file's module, by its real path.
_FOUND: dict[str, str] = {}


def execute(path: str) -> types.ModuleType:
    """Runs a file anew and returns its module.

    The file can import its neighbours, as a script can.

    Args:
      path: of the file.
    """
    full = os.path.abspath(path)
    # Neither two files of one name nor a file and a package are to be taken for each other.
    name = f"bccl_jax_file_{pathlib.Path(full).stem}_{zlib.crc32(os.fsencode(full)):08x}"
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    _find_in(os.path.dirname(full))
    # Dataclasses look their module up.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def imported(path: str) -> types.ModuleType:
    """The module of a file, which is run if it was not in this process.

    Args:
      path: of the file, absolute; that of a package's part is imported as such.
    """
    real = os.path.realpath(path)
    # Thousands of modules: the one found last time comes first.
    known = sys.modules.get(_FOUND.get(real, ""))
    for module in (known, *sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and _is(file, path, real):
            _FOUND[real] = module.__name__
            return module
    folder = pathlib.Path(path).parent
    if not (folder / "__init__.py").is_file():
        return execute(path)
    parts = [pathlib.Path(path).stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    _find_in(str(folder))
    module = importlib.import_module(".".join(parts))
    if not _is(module.__file__ or "", path, real):
        raise ImportError(f"{'.'.join(parts)} is {module.__file__} to Python")
    return module


@contextlib.contextmanager
def in_one_sentence(named: str, path: str) -> Iterator[None]:
    """Turns whatever the code of a file raises into a ConfigError that names the file.

    Args:
      named: what to call the file before a sentence of ours.
      path: of the file.

    Raises:
      ConfigError: in place of any other error, with its line in the file where it has one.
    """
    try:
        yield
    except BcclError as error:
        raise ConfigError(f"{named}: {_text(error)}") from error
    except (Exception, SystemExit) as error:  # a config file is code: it may raise anything
        text = " ".join(_text(error).split())[:300]
        kind = type(error).__name__
        raise ConfigError(
            f"{path} cannot be used: {_line(error, path)}{kind}{text and f': {text}'}"
        ) from error


def _find_in(folder: str) -> None:
    """Lets modules be imported from a folder; it comes last, so that it hides none."""
    if folder not in map(os.path.abspath, sys.path):
        sys.path.append(folder)


def _is(file: str, path: str, real: str) -> bool:
    same_name = os.path.basename(file) == os.path.basename(path)
    return file == path or (same_name and os.path.realpath(file) == real)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except (Exception, SystemExit):  # an exception's own code may fail as well
        return ""


def _line(error: BaseException, path: str) -> str:
    """Where in the file an error arose, to stand before it."""
    if isinstance(error, SyntaxError) and error.lineno:
        where = "" if error.filename == path else f"{error.filename}, "
        return f"{where}line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if frame.filename == path]
    return f"line {numbers[-1]}: " if numbers else ""
