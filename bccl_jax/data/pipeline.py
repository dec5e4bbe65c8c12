"""Feeding batches through grain: reader threads and processes over a random-access stream."""

import os
from collections.abc import Iterator

import grain
import numpy as np
from absl import flags

from bccl_jax.data.processes import answer_to_parent_alone
from bccl_jax.data.stream import EvaluationStream, TrainingStream
from bccl_jax.errors import DataError


def read_batches(
    stream: TrainingStream | EvaluationStream, rows: int, workers: int, threads: int
) -> Iterator[dict[str, np.ndarray]]:
    """A grain iterator over the batches of a stream, the same for any number of readers.

    Args:
      stream: of this process's images.
      rows: this process's images in a batch.
      workers: reader processes; -1 for one a core, 0 for threads of this one.
      threads: how many, where there are no such processes.

    Returns:
      An iterator of dicts of arrays [rows, ...], with `close`; it raises DataError where a reader
      process was killed.
    """
    batches = grain.MapDataset.source(stream).batch(rows, drop_remainder=True)
    if workers < 0:
        workers = len(os.sched_getaffinity(0))
    # A reader takes seconds to start, so that one for a batch or two would not pay.
    workers = min(workers, -(-len(batches) // 4))
    if not workers:
        return iter(batches.to_iter_dataset(grain.ReadOptions(threads, 2 * threads)))
    if not flags.FLAGS.is_parsed():
        # grain's processes read flags, which a notebook does not parse.
        flags.FLAGS.mark_as_parsed()
    # A process works on one batch at a time: a batch of crops may be 60 MB.
    batches = batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    options = grain.MultiprocessingOptions(num_workers=workers)
    return _FromProcesses(iter(batches.mp_prefetch(options, answer_to_parent_alone)))


class _FromProcesses:
    """Batches of reader processes."""

    def __init__(self, batches: grain.DatasetIterator):
        self._batches = batches

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        try:
            return next(self._batches)
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            raise DataError(
                "a reader process of the photographs was killed, perhaps for want of memory; lower "
                "config.data.workers: the same command goes on from the last checkpoint"
            ) from error

    def close(self) -> None:
        """Ends the processes."""
        self._batches.close()
