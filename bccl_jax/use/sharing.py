"""A checkpoint and what belongs to it in one file, for other machines and other people."""

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from bccl_jax.classifier.reading import Saved, read
from bccl_jax.config.shared import to_share
from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.use.output import writing
from bccl_jax.workdir import shared_run
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.opened import checkpoints_of, opened
from bccl_jax.workdir.shared_run import SharedRun

KINDS = (".safetensors",)
# What of a directory goes along as it is.
_RECORDS = ("classes", "image_shape", "inputs", "splits", "results")
_MAKERS = ("bccl_jax", "jax", "flax")


class Shared(NamedTuple):
    """A file that was written.

    Attributes:
      saved: what is in it.
      bytes: its size.
      sha256: of the whole file, as sha256sum prints it.
      files: what the files of the maker's own are called that it needs and does not hold.
    """

    saved: Saved
    bytes: int
    sha256: str
    files: list[str]


def share(
    run: str | os.PathLike,
    output: pathlib.Path,
    checkpoint: str | None = None,
    average: bool = False,
    imports: Sequence[str] | None = None,
) -> Shared:
    """Writes what a run trained into one file.

    In it are what predictions read of one checkpoint, the config, the classes with their numbers of
    training images, the results, digests of the splits and of the test images, by which an
    evaluation knows them, and the versions that wrote it; no image, no absolute path and no code.

    Args:
      run: the run's directory.
      output: the file.
      checkpoint: "last", "best" or a step; None for the last one.
      average: the averaged weights in the place of the raw ones.
      imports: files of one's own, in place of those that the run remembers.

    Returns:
      What was written.

    Raises:
      BcclError: the run cannot be read, is a file already, or the file cannot be written.
    """
    directory = opened(run)
    if not isinstance(directory, Workdir):
        raise WorkdirError(f"{shown(run)} is a shared file already; copy it")
    saved = read(run, checkpoint, average, imports=imports, to_predict=True)
    config, files = to_share(directory.record("config", dict))
    document: dict[str, Any] = {
        "config": config,
        "imports": files,
        **{name: directory.record(name, _kind(name)) for name in _RECORDS if directory.has(name)},
        # Of a directory of before it recorded these.
        "image_shape": list(saved.classifier.image_shape),
        "inputs": {"photographs": saved.photographs},
        "checkpoint": {
            "step": int(saved.variables.step),
            "names": _names(directory, saved),
            "averaged": saved.averaged,
        },
        "made_by": {name: sys.modules[name].__version__ for name in _MAKERS},
    }
    with writing(output):
        shared_run.write(output, document, saved.variables, directory.recorded(["test"]))
        # Read back, for who gets it cannot ask for another one.
        SharedRun(output)
        return Shared(saved, output.stat().st_size, shared_run.sha256(output), files)


def _kind(name: str) -> type:
    return list if name in ("classes", "image_shape") else dict


def _names(directory: Workdir, saved: Saved) -> list[str]:
    """What the checkpoint may be asked for by; its step besides."""
    step = int(saved.variables.step)
    with checkpoints_of(directory) as checkpoints:
        found = [name for name in checkpoints.named() if checkpoints.resolve(name) == step]
    return found or [str(step)]
