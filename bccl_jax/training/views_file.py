"""`--mode=views`: the picture of a run's views as a file, before it is trained or later."""

import contextlib
import os
import pathlib

import jax
import ml_collections
import numpy as np
from PIL import Image

from bccl_jax.classifier.starting import start
from bccl_jax.devices.jax_settings import usual
from bccl_jax.errors import ConfigError, WorkdirError
from bccl_jax.training.assemble import Run, assemble
from bccl_jax.training.state import TrainState
from bccl_jax.training.view_sheet import view_sheet
from bccl_jax.use.output import file_to_write, writing
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir


@usual()
def views_image(config: ml_collections.ConfigDict, directory: Workdir | None) -> Image.Image:
    """Draws what the next steps of a run make of some of its images.

    Args:
      config: of the run, as for a training.
      directory: that may hold the run already; None for a new one.

    Raises:
      BcclError: as of a training.
    """
    start(config)
    if jax.process_count() > 1:
        raise ConfigError("--mode=views is for one process; start it without the others")
    there = directory is not None and directory.check(config, evaluating=True)
    run = assemble(config)
    with jax.set_mesh(run.mesh):
        return Image.fromarray(view_sheet(run, _state(run, directory if there else None)))


def write_views(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    output: str | None = None,
    overwrite: bool = False,
) -> pathlib.Path:
    """Draws what the next steps of a run make of some of its images, into a PNG file.

    Args:
      config: of the run, as for a training.
      workdir: its directory. Of a run that is there already the last checkpoint says which steps
        come next, and what has been learned of a curriculum; it need not be there, and is no run's
        afterwards.
      output: the file, views.png in the directory if None. With it the directory may hold another
        run, which is then left out of account.
      overwrite: whether a file that is there may be lost.

    Returns:
      The path of the file.

    Raises:
      BcclError: as of a training; or the file is there, with other pixels, or cannot be written.
    """
    directory = Workdir(workdir)
    path = None if output is None else file_to_write(output, (".png",), overwrite)
    of_run = directory
    if path is not None:
        try:
            directory.check(config, evaluating=True)
        except WorkdirError:
            of_run = None
    image = views_image(config, of_run)
    if path is None:
        path = directory.views
        if path.exists() and _same(path, image):
            return path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        path = file_to_write(os.fspath(path), (".png",), overwrite)
    with writing(path):
        image.save(path, "PNG")
    return path


def _state(run: Run, directory: Workdir | None) -> TrainState:
    with contextlib.ExitStack() as stack:
        if directory is not None and directory.has_checkpoint():
            checkpoints = stack.enter_context(Checkpoints(directory.checkpoints, read_only=True))
            return checkpoints.restore(checkpoints.latest(), run.abstract_state)[0]
        return run.init_state()


def _same(path: pathlib.Path, image: Image.Image) -> bool:
    """Whether a picture is there already."""
    try:
        with Image.open(path) as found:
            return np.array_equal(np.asarray(found), np.asarray(image))
    except OSError:
        return False
