"""Feeding batches through grain: reader threads and processes over a random-access stream."""

import os
import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

import cloudpickle
import grain
import numpy as np
from absl import flags

from bccl_jax.data.feeding.stream import EvaluationStream, TrainingStream
from bccl_jax.errors import DataError
from bccl_jax.system.processes import answer_to_parent_alone, starting_workers
from bccl_jax.system.shared_memory import PLACE, check_room, needed, why_it_ended


def read_batches(
    stream: TrainingStream | EvaluationStream,
    rows: int,
    workers: int,
    threads: int,
    others_need: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """A grain iterator over the batches of a stream, the same for any number of readers.

    Args:
      stream: of this process's images.
      rows: this process's images in a batch.
      workers: reader processes, which start now; -1 for one a core, 0 for threads of this one.
      threads: how many, where there are no such processes.
      others_need: bytes of shared memory that readers of other batches will take meanwhile.

    Returns:
      An iterator of dicts of arrays [rows, ...], with `close`; it raises DataError where a reader
      process was killed.

    Raises:
      DataError: the shared memory of this machine is too small for so many readers, or they
        cannot be started.
    """
    batches = grain.MapDataset.source(stream).batch(rows, drop_remainder=True)
    workers = processes(workers, len(batches))
    if not workers:
        return iter(batches.to_iter_dataset(grain.ReadOptions(threads, 2 * threads)))
    check_room(needed(workers, rows * stream.row_bytes) + others_need, workers)
    if not flags.FLAGS.is_parsed():
        # grain's processes read flags, which a notebook does not parse.
        flags.FLAGS.mark_as_parsed()
    try:
        return _FromProcesses(stream, rows, workers)
    except OSError as error:
        raise DataError(
            f"the reader processes cannot be started ({error.strerror or error}): {PLACE} and "
            f"{tempfile.gettempdir()} need free space; config.data.workers=0 does without"
        ) from error


def shared_bytes(stream: TrainingStream | EvaluationStream, rows: int, workers: int) -> int:
    """Bytes of shared memory that `read_batches` with these arguments takes."""
    workers = processes(workers, len(stream) // rows)
    return needed(workers, rows * stream.row_bytes)


def processes(workers: int, batches: int) -> int:
    """How many reader processes there are for so many batches; 0 where threads read.

    Args:
      workers: as `read_batches` takes it.
      batches: of a stream.
    """
    if workers < 0:
        workers = len(os.sched_getaffinity(0))
    # A reader takes seconds to start, so that one for a batch or two would not pay.
    return min(workers, -(-batches // 4))


class _FromFile:
    """A stream in a file, which each reader process reads once.

    Sent to each as it starts, the names of many images would keep the next one from starting.
    """

    def __init__(self, stream: TrainingStream | EvaluationStream, path: str):
        self._path, self._length = path, len(stream)
        self._stream = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> dict[str, Any]:
        if self._stream is None:
            with open(self._path, "rb") as file:
                self._stream = pickle.load(file)
        return self._stream[position]


class _FromProcesses:
    """Batches of reader processes."""

    def __init__(self, stream: TrainingStream | EvaluationStream, rows: int, workers: int):
        self._file = tempfile.NamedTemporaryFile(prefix="bccl_jax_")  # noqa: SIM115 - see close
        # Unlike pickle it knows classes of a notebook.
        cloudpickle.dump(stream, self._file)
        self._file.flush()
        batches = grain.MapDataset.source(_FromFile(stream, self._file.name))
        batches = batches.batch(rows, drop_remainder=True)
        # A process works on one batch at a time: a batch of crops may be 60 MB.
        batches = batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
        options = grain.MultiprocessingOptions(num_workers=workers)
        self._batches = iter(batches.mp_prefetch(options, answer_to_parent_alone))
        with starting_workers(workers):
            # The state makes the readers, and grain starts them from threads of its own.
            self._batches.get_state()
            self._batches.start_prefetch()

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        try:
            return next(self._batches)
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            raise DataError(why_it_ended(str(error))) from error

    def close(self) -> None:
        """Ends the processes."""
        try:
            self._batches.close()
        finally:
            self._file.close()
