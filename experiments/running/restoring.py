"""A run read back from its directory alone."""

import pathlib

import jax

from bccl_jax.config.files import no_run, of_run
from bccl_jax.config.validation import validate
from bccl_jax.data.fingerprint import fingerprint
from bccl_jax.errors import WorkdirError
from bccl_jax.training.assemble import Run, assemble
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir


def restore(path: pathlib.Path, data_dir: str | None = None) -> tuple[Run, TrainState]:
    """Reads a run back from its directory alone.

    Args:
      path: of a run.
      data_dir: where its data lies now; None for where it was.

    Returns:
      The objects of the run and the state of its last checkpoint.

    Raises:
      BcclError: there is no run, no checkpoint or no data, or not that of the run.
    """
    directory = Workdir(path)
    if not directory.config.is_file():
        raise no_run(path)
    config = of_run(directory.config)
    if not directory.has_checkpoint():
        raise WorkdirError(f"{path} has no checkpoint; let that run go on until it has saved one")
    if data_dir is not None:
        config.data.dir = data_dir
    if config.model.batch_norm == "global":
        config.devices = 0  # which this machine may have fewer of
    validate(config)
    run = assemble(config)
    directory.check_classes(run.dataset)
    directory.check_images(run.dataset, fingerprint(run.dataset))
    with (
        jax.set_mesh(run.mesh),
        Checkpoints(directory.checkpoints, read_only=True) as checkpoints,
    ):
        _, (state, _) = checkpoints.taking(
            "last", lambda step: checkpoints.restore(step, run.abstract_state)
        )
    return run, state
