"""Runs epochs of compiled steps: a scan on an accelerator, a loop on the CPU, or a fed pipeline.

Each way yields (state, metrics) after one or more steps, metrics as device arrays [] or [T], so
that the caller decides when the host waits.
"""

from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from bccl_jax.data.feeding.resident import ResidentSplit
from bccl_jax.devices.mesh import local_rows, put, replicated, split_over
from bccl_jax.training.state import TrainState

# run_epoch(state, epoch, skip) -> an iterator of (state, metrics); `skip` steps are done already.
RunEpoch = Callable[[TrainState, int, int], Iterator[tuple[TrainState, dict]]]


def compile_step(train_step: Callable, mesh: Mesh, state_shardings) -> Callable:
    """Jits (state, ...) -> (state, metrics): the state is donated and stays where it lies.

    Args:
      train_step: the function.
      mesh: of the run.
      state_shardings: of the state, a pytree or one for all of it.

    Returns:
      The jitted function.
    """
    return jax.jit(
        train_step,
        donate_argnames="state",
        out_shardings=(state_shardings, replicated(mesh)),
    )


def staged(stage_of: Callable[[int], int], create: Sequence[Callable[[], RunEpoch]]) -> RunEpoch:
    """Each epoch by the engine of its stage, which is made when it is first needed.

    Args:
      stage_of: epoch -> which stage it is of.
      create: makes the engine of each stage.

    Returns:
      The function that runs an epoch.
    """
    made: dict[int, RunEpoch] = {}

    def run_epoch(state, epoch, skip):
        stage = stage_of(epoch)
        if stage not in made:
            made[stage] = create[stage]()
        return made[stage](state, epoch, skip)

    return run_epoch


def scanned(
    train_step: Callable, data: ResidentSplit, order: Callable, mesh: Mesh, state_shardings
) -> RunEpoch:
    """Whole epochs as one compiled scan over index arrays: the host does nothing per step.

    Args:
      train_step: from `make_train_step`.
      data: the training split on the devices.
      order: epoch -> int32 [T, B], the indices of its batches.
      mesh: whose devices share each batch.
      state_shardings: as `compile_step` takes them.

    Returns:
      The function that runs an epoch; it donates the state that it is given.
    """
    compiled = compile_step(scan_of(train_step), mesh, state_shardings)

    def run_epoch(state, epoch, skip):
        yield compiled(state, data, put_rows(order(epoch)[skip:], mesh, axis=1))

    return run_epoch


def scan_of(train_step: Callable) -> Callable:
    """(state, split on the devices, indices [T, B]) -> the state after T steps, their metrics."""

    def steps(state, data, indices):
        return jax.lax.scan(lambda s, row: train_step(s, data.batch(row)), state, indices)

    return steps


def looped(
    train_step: Callable, data: ResidentSplit, order: Callable, mesh: Mesh, state_shardings
) -> RunEpoch:
    """The same, a step at a time: where a step takes long, progress shows and a stop is prompt."""
    compiled = compile_step(train_step, mesh, state_shardings)
    gather = jax.jit(ResidentSplit.batch)

    def run_epoch(state, epoch, skip):
        for row in order(epoch)[skip:]:
            state, metrics = compiled(state, gather(data, put_rows(row, mesh)))
            yield state, metrics

    return run_epoch


def put_rows(order: np.ndarray, mesh: Mesh, axis: int = 0) -> jax.Array:
    """Sends indices [..., B, ...], which every process has in whole, split over the batch axis."""
    rows = local_rows(order.shape[axis])
    own = order[(slice(None),) * axis + (slice(rows.start, rows.stop),)]
    return put(own, split_over(mesh, axis))


def fed(
    train_step: Callable,
    batches: Iterator[dict[str, np.ndarray]],
    steps: int,
    mesh: Mesh,
    state_shardings,
) -> RunEpoch:
    """A step for each batch of a pipeline.

    Args:
      train_step: from `make_train_step`.
      batches: an iterator over the whole run, standing at the state's step, of this process's
        rows.
      steps: steps of an epoch.
      mesh: whose devices share each batch.
      state_shardings: as `compile_step` takes them.

    Returns:
      The function that runs an epoch; it donates the state that it is given.
    """
    compiled = compile_step(train_step, mesh, state_shardings)
    sharding = split_over(mesh)

    def run_epoch(state, epoch, skip):
        del epoch
        for _ in range(skip, steps):
            state, metrics = compiled(state, put(next(batches), sharding))
            yield state, metrics

    return run_epoch
