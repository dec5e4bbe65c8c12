"""A run by its path, be that of its directory or of a shared file: what reads it does not care."""

import os
import pathlib
from collections.abc import Sequence

import ml_collections

from bccl_jax.config.files import no_run, of_run
from bccl_jax.config.shared import config_in
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.shared_run import SharedCheckpoint, SharedRun

Run = Workdir | SharedRun


def opened(path: str | os.PathLike) -> Run:
    """What a run's directory or a shared file has.

    Raises:
      DataError: it is a file, but none that was shared, or damaged.
      WorkdirError: it is no path.
    """
    directory = Workdir(pathlib.Path(path))
    return SharedRun(directory.path) if directory.path.is_file() else directory


def config_of(run: Run, imports: Sequence[str] | None = None) -> ml_collections.ConfigDict:
    """The config of a run.

    Args:
      run: that is read.
      imports: files of one's own, in place of those that a directory remembers; of a shared file
        none is imported but these.

    Raises:
      ConfigError: it is damaged, of another version of the project, or needs a file of one's own.
      WorkdirError: the directory holds no run, or is not there.
    """
    if isinstance(run, SharedRun):
        return config_in(run.file, imports)
    if not run.config.is_file():
        raise no_run(run.path)
    return of_run(run.config, imports)


def checkpoints_of(run: Run) -> Checkpoints | SharedCheckpoint:
    """The checkpoints of a run, to be read alone, within a `with`."""
    if isinstance(run, SharedRun):
        return SharedCheckpoint(run.file)
    return Checkpoints(run.checkpoints, read_only=True)
