"""The engine of a run: its steps, and how batches reach them."""

import contextlib
import functools

import jax

from bccl_jax.data.feeding.pipeline import read_batches
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.data.feeding.stream import TrainingStream
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.devices.mesh import local_rows, replicated
from bccl_jax.evaluation.over_split import readers_need
from bccl_jax.training import engine
from bccl_jax.training.assemble import Run
from bccl_jax.workdir.checkpoint import Checkpoints


def engine_kind(run: Run) -> str:
    """How the steps of a run get their batches.

    Returns:
      "scan" or "loop" over images on the device, or "fed" by readers.
    """
    config = run.config
    if not config.data.resident or run.dataset.train.encoded:
        return "fed"
    automatic = "loop" if jax.default_backend() == "cpu" else "scan"
    return automatic if config.engine == "auto" else config.engine


def training_stream(run: Run, done: int) -> TrainingStream:
    """This process's images of all steps of a run, from the step after so many on."""
    config = run.config
    return TrainingStream(
        run.dataset.train.images,
        run.order,
        config.epochs,
        local_rows(run.order.rows),
        first_step=done,
        crops=run.crops,
        size=config.augment.size,
        decoding=Decoding.of(config),
    )


def reader_processes(run: Run) -> int:
    """How many read the training images, as `read_batches` takes it."""
    return run.config.data.workers if run.dataset.train.encoded else 0


def create_engine(
    run: Run, done: int, checkpoints: Checkpoints, stack: contextlib.ExitStack
) -> engine.RunEpoch:
    """Chooses the engine that the config, the data and the backend ask for.

    Args:
      run: whose steps and images they are.
      done: steps that are done already.
      checkpoints: of the run, waited for before readers are ended.
      stack: on which what has to be closed at the end is put.

    Returns:
      What runs an epoch, whatever its stage.
    """
    config, where = run.config, (run.mesh, run.state_shardings)
    if (kind := engine_kind(run)) != "fed":
        resident = put_on_device(run.dataset.train, replicated(run.mesh))
        create = {"loop": engine.looped, "scan": engine.scanned}[kind]
        return engine.staged(
            run.stage_of,
            [
                functools.partial(create, stage.train_step, resident, run.order, *where)
                for stage in run.stages
            ],
        )
    stream, rows = training_stream(run, done), len(local_rows(run.order.rows))
    evaluation = readers_need(run.dataset.monitored, config, run.mesh)
    batches = read_batches(stream, rows, reader_processes(run), config.data.threads, evaluation)
    stack.callback(batches.close)
    # Before that, for readers take a while to end and a scheduler may not wait for them.
    stack.callback(checkpoints.wait)
    return engine.staged(
        run.stage_of,
        [
            functools.partial(engine.fed, stage.train_step, batches, run.steps_per_epoch, *where)
            for stage in run.stages
        ],
    )
