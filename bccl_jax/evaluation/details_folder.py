"""Where the details of an evaluation are written: they replace older ones and nothing else."""

import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bccl_jax.errors import BcclError
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import plain, printable, shown
from bccl_jax.system.regular_files import read_regular

# What says whose the files of a folder are.
MARK = "details.json"
_OTHER = "name another folder by --output=DIR"


class DetailsFolder:
    """The folder of the details of some checkpoints, each of which has a folder of its own in it.

    Args:
      path: of the folder; it need not exist.
      of: what the details are of, JSON values; only details of the same are replaced.

    Attributes:
      path: as given.
    """

    def __init__(self, path: pathlib.Path, of: Mapping[str, Any]):
        self.path, self._of = path, dict(of)

    def check(self, name: str, files: Iterable[str]) -> None:
        """Checks that the details of a checkpoint may be written, before there are any.

        Args:
          name: of the checkpoint.
          files: names of what will be written.

        Raises:
          BcclError: the folder cannot be written, or has files of such names that are not older
            details of the same.
        """
        folder = self.path / name
        there = folder
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise BcclError(f"{shown(there)} is a file and no folder; {_OTHER}")
        if not os.access(there, os.W_OK | os.X_OK):
            raise BcclError(f"{shown(there)} cannot be written; {_OTHER}")
        taken = [file for file in (MARK, *files) if os.path.lexists(folder / file)]
        if not taken:
            return
        if (marked := self._marked(folder)) is None:
            raise BcclError(
                f"{shown(folder / taken[0])} is there and no details of an evaluation; {_OTHER}"
            )
        if marked != self._of:
            raise BcclError(f"{shown(folder)} holds details of {_told(marked)}; {_OTHER}")

    def write(
        self,
        name: str,
        files: Mapping[str, Callable[[pathlib.Path], None]],
        about: Mapping[str, Any],
    ) -> pathlib.Path:
        """Writes the details of a checkpoint; each file is there in whole or not at all.

        Args:
          name: of the checkpoint.
          files: what writes each file to a path that it is given, by the file's name.
          about: what else the folder's `MARK` says, JSON values.

        Returns:
          The folder.

        Raises:
          BcclError: it cannot be written, or has files that must stay.
        """
        self.check(name, files)
        folder, unfinished = self.path / name, []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            mark = json.dumps({"of": self._of, **about}, indent=1) + "\n"
            writers = {MARK: lambda path: path.write_text(mark, encoding="utf-8"), **files}
            for file, write in writers.items():
                unfinished.append((folder / f".{file}.{os.getpid()}.tmp", folder / file))
                write(unfinished[-1][0])
            # The mark first, so that what an interruption leaves is known to be ours.
            for path, place in unfinished:
                path.replace(place)
        except OSError as error:
            raise BcclError(
                f"{shown(folder)} cannot be written ({error.strerror or error}); {_OTHER}"
            ) from error
        finally:
            for path, _ in unfinished:
                path.unlink(missing_ok=True)
        return folder

    def _marked(self, folder: pathlib.Path) -> dict | None:
        try:
            found = json.loads(read_regular(folder / MARK))["of"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found, dict) else None


def details_folder(
    run: pathlib.Path, output: str | None = None, test: str | None = None
) -> DetailsFolder:
    """The folder for the details of a run's evaluation.

    Args:
      run: the run's directory, or a shared file.
      output: the folder that the user names; None for one in the run's directory.
      test: the other folder or list that the run is evaluated on; None for its own split.

    Raises:
      BcclError: the run is a file, in which no folder has room, or the name is no folder's.
    """
    run = directory_to_write(run, "--workdir").absolute()
    of: dict[str, Any] = {"test": None if test is None else printable(_absolute(test))}
    if output is not None:
        path = directory_to_write(output, "--output").absolute()
        return DetailsFolder(path, of | {"run": printable(os.path.normpath(run))})
    if run.is_file():
        raise BcclError(
            f"{shown(run)} is a file, where details have no place; name a folder by --output=DIR"
        )
    # The run may move with its details.
    path = run / "details"
    return DetailsFolder(path if test is None else path / _named(test), of | {"run": None})


def folder_of(which: str) -> str:
    """The folder of a checkpoint that is called "last", "best averaged" or by its step."""
    name, _, average = which.partition(" ")
    name = name if name in ("last", "best") else f"step_{name}"
    return f"{name}_{average}" if average else name


def _absolute(path: str) -> str:
    return os.path.abspath(expanded(path))


def _named(test: str) -> str:
    name = pathlib.Path(_absolute(test))
    return plain(name.stem if name.suffix.lower() == ".csv" else name.name) or "test"


def _told(of: dict) -> str:
    whose = f"the run {shown(str(of['run']))}" if of.get("run") else "this run"
    return f"{whose} on {shown(str(of['test'])) if of.get('test') else 'its own test images'}"
