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
    config, train = run.config, run.dataset.train
    where = (run.mesh, run.state_shardings)
    if config.data.resident and not train.encoded:
        resident = put_on_device(train, replicated(run.mesh))
        automatic = "loop" if jax.default_backend() == "cpu" else "scan"
        kinds = {"loop": engine.looped, "scan": engine.scanned}
        kind = kinds[automatic if config.engine == "auto" else config.engine]
        return engine.staged(
            run.stage_of,
            [
                functools.partial(kind, stage.train_step, resident, run.order, *where)
                for stage in run.stages
            ],
        )
    rows = local_rows(run.order.rows)
    stream = TrainingStream(
        train.images,
        run.order,
        config.epochs,
        rows,
        first_step=done,
        crops=run.crops,
        size=config.augment.size,
        decoding=Decoding.of(config),
    )
    workers = config.data.workers if train.encoded else 0
    evaluation = readers_need(run.dataset.monitored, config, run.mesh)
    batches = read_batches(stream, len(rows), workers, config.data.threads, evaluation)
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
