"""Runs epochs of compiled steps: a scan on an accelerator, a loop on the CPU, or a fed pipeline.

Each way yields (state, metrics) after one or more steps, metrics as device arrays [] or [T], so
that the caller decides when the host waits.
"""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from bccl_jax.data.resident import ResidentSplit
from bccl_jax.training.state import TrainState

# run_epoch(state, epoch, skip) -> an iterator of (state, metrics); `skip` steps are done already.
RunEpoch = Callable[[TrainState, int, int], Iterator[tuple[TrainState, dict]]]


def scanned(train_step: Callable, data: ResidentSplit, order: Callable) -> RunEpoch:
    """Whole epochs as one compiled scan over index arrays: the host does nothing per step.

    Args:
      train_step: from `make_train_step`.
      data: the training split on the device.
      order: epoch -> int32 [T, B], the indices of its batches.

    Returns:
      The function that runs an epoch; it donates the state that it is given.
    """

    def steps(state, data, indices):
        return jax.lax.scan(lambda s, row: train_step(s, data.batch(row)), state, indices)

    compiled = jax.jit(steps, donate_argnames="state")

    def run_epoch(state, epoch, skip):
        yield compiled(state, data, jax.device_put(order(epoch)[skip:]))

    return run_epoch


def looped(train_step: Callable, data: ResidentSplit, order: Callable) -> RunEpoch:
    """The same, a step at a time: where a step takes long, progress shows and a stop is prompt."""
    compiled = jax.jit(train_step, donate_argnames="state")
    gather = jax.jit(ResidentSplit.batch)

    def run_epoch(state, epoch, skip):
        for row in order(epoch)[skip:]:
            state, metrics = compiled(state, gather(data, jax.device_put(row)))
            yield state, metrics

    return run_epoch


def fed(train_step: Callable, batches: Iterator[dict[str, np.ndarray]], steps: int) -> RunEpoch:
    """A step for each batch of a pipeline.

    Args:
      train_step: from `make_train_step`.
      batches: an iterator over the whole run, standing at the state's step.
      steps: steps of an epoch.

    Returns:
      The function that runs an epoch; it donates the state that it is given.
    """
    compiled = jax.jit(train_step, donate_argnames="state")

    def run_epoch(state, epoch, skip):
        del epoch
        for _ in range(skip, steps):
            state, metrics = compiled(state, jax.device_put(next(batches)))
            yield state, metrics

    return run_epoch
