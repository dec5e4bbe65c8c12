"""Feeding batches through grain: reader threads and processes over a random-access stream."""

import os
from collections.abc import Iterator

import grain
import numpy as np
from absl import flags

from bccl_jax.data.stream import EvaluationStream, TrainingStream


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
      An iterator of dicts of arrays [rows, ...], with `close`.
    """
    batches = grain.MapDataset.source(stream).batch(rows, drop_remainder=True)
    if workers < 0:
        workers = len(os.sched_getaffinity(0))
    workers = min(workers, len(batches))
    if not workers:
        return iter(batches.to_iter_dataset(grain.ReadOptions(threads, 2 * threads)))
    if not flags.FLAGS.is_parsed():
        # grain's processes read flags, which a notebook does not parse.
        flags.FLAGS.mark_as_parsed()
    # A process works on one batch at a time: a batch of crops may be 60 MB.
    batches = batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    return iter(batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)))
