"""What the host can feed: python -m benchmarks.pipeline.

Batches of the grain pipeline, as training takes them: images in memory by reader threads, and
photographs, decoded and cut into their crops, by reader processes. What one core does with one
photograph is told by `benchmarks.decode`.
"""

import os
import pathlib
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.feeding.pipeline import read_batches
from bccl_jax.data.feeding.stream import TrainingStream
from bccl_jax.data.order import Order
from bccl_jax.data.photographs.crops import Crop
from benchmarks.common import parser, report
from benchmarks.decode import files_below, photographs


class InMemory(EncodedImages):
    """Encoded images whose bytes are held in memory: no disk is measured."""

    def __init__(self, files: Sequence[bytes]):
        self._files = list(files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> bytes:
        return self._files[index]

    def name(self, index: int) -> str:
        """See `EncodedImages.name`."""
        return f"photograph {index}"

    def take(self, indices: np.ndarray) -> "InMemory":
        """See `EncodedImages.take`."""
        return InMemory([self._files[i] for i in indices])


def fed_seconds(
    stream: TrainingStream, batch: int, batches: int, workers: int, threads: int
) -> float:
    """Seconds for so many batches of the grain pipeline, once it runs steadily.

    Args:
      stream: of the images.
      batch: images a batch.
      batches: how many are timed.
      workers: reader processes.
      threads: reader threads, where there are no such processes.

    Returns:
      Seconds.
    """
    iterator = read_batches(stream, batch, workers, threads)
    # What the readers fetch ahead while the first batch is waited for is not counted.
    ahead = 1 + (4 * workers or 2 * threads)
    try:
        for _ in range(ahead):
            next(iterator)
        started = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        return time.perf_counter() - started
    finally:
        iterator.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a pipeline and number of readers."""
    flags = parser(__doc__, "pipeline")
    flags.add_argument("--batch", type=int, default=128, help="images (default: %(default)s)")
    flags.add_argument("--batches", type=int, default=200, help="of arrays in one timing")
    flags.add_argument("--images", type=int, default=10847, help="arrays (default: %(default)s)")
    flags.add_argument("--side", type=int, default=32, help="of the arrays, in pixels")
    flags.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="of grain")
    cores = len(os.sched_getaffinity(0))
    flags.add_argument(
        "--workers", type=int, nargs="+", default=sorted({1, cores}), help="reader processes"
    )
    flags.add_argument("--dir", type=pathlib.Path, help="of photographs (default: generated)")
    flags.add_argument("--photographs", type=int, default=256, help="files (%(default)s)")
    flags.add_argument("--photograph-batches", type=int, default=20, help="in one timing")
    flags.add_argument("--smallest", type=int, default=375, help="side of a generated photograph")
    flags.add_argument("--largest", type=int, default=500, help="side of a generated photograph")
    flags.add_argument("--size", type=int, default=224, help="of a crop (default: %(default)s)")
    flags.add_argument("--crops", type=int, default=3, help="of a photograph (%(default)s)")
    options = flags.parse_args(argv)

    def stream(images: np.ndarray | EncodedImages, crops: Sequence[Crop] = ()) -> TrainingStream:
        rows, labels = range(options.batch), np.zeros(max(len(images), options.batch), np.int32)
        order = Order(labels[: len(images)], options.batch, 0)
        return TrainingStream(images, order, 10**6, rows, 0, crops, options.size)

    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 256, (options.images, options.side, options.side, 3), np.uint8)
    if options.dir:
        files = files_below(options.dir, options.photographs)
    else:
        files = photographs(options.photographs, options.smallest, options.largest)
    # An epoch has to have a batch.
    files *= -(-options.batch // len(files))
    of_arrays, of_files = stream(arrays), stream(InMemory(files), [Crop()] * options.crops)

    ways = {
        (f"uint8 arrays of {options.side} px", "threads", threads): (
            of_arrays,
            options.batches,
            0,
            threads,
        )
        for threads in options.threads
    } | {
        (f"photographs, {options.crops} crops of {options.size} px", "processes", workers): (
            of_files,
            options.photograph_batches,
            workers,
            1,
        )
        for workers in options.workers
    }
    # The readers of one iterator must be gone before the next is timed, so that `in_turn`, which
    # would count their start, cannot be used.
    spent = {way: [] for way in ways}
    for _ in range(options.repeats):
        for way, (images, batches, workers, threads) in ways.items():
            seconds = fed_seconds(images, options.batch, batches, workers, threads)
            spent[way].append(seconds / batches)
    rows = [_row(*way, options.batch, statistics.median(seconds)) for way, seconds in spent.items()]
    settings = {
        "batch": options.batch,
        "images": options.images,
        "photographs": len(files),
        "mean_bytes": sum(map(len, files)) // len(files),
    }
    report(rows, settings, options.json)


def _row(what: str, kind: str, readers: int, batch: int, seconds: float) -> dict[str, Any]:
    cores = min(readers, len(os.sched_getaffinity(0)))
    return {
        "what": what,
        "readers": f"{readers} {kind}",
        "images/s": batch / seconds,
        "images/s a core": batch / seconds / cores,
        "batches/s": 1 / seconds,
    }


if __name__ == "__main__":
    main()
