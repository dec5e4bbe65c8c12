"""Images through a network, of any number, in batches of few sizes: little is compiled.

Threads read and decode the next batch while the devices have this one; no process is started, so
that notebooks, threads and scripts of any shape can do it.
"""

import collections
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from bccl_jax.data.photographs.decode import BrokenImageError
from bccl_jax.devices.mesh import split_over
from bccl_jax.use.given import Item
from bccl_jax.use.seeing import Sight

# A lone image would wait for all places of a large batch, and a few would.
_SMALL = (8, 1)
_MOST_THREADS = 16


def parts(images: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """Cuts a number of images into batches.

    Args:
      images: N.
      batch_size: the largest.

    Yields:
      (images of the batch, its places), of which at most three kinds of places.
    """
    sizes = [batch_size, *(size for size in _SMALL if size < batch_size)]
    while images:
        places = next((size for size in sizes if 1 < size <= images), 1)
        if places == 1:
            # No batch is full: the smallest that holds the rest.
            places = min((size for size in sizes if size >= images), default=1)
        number = min(images, places)
        yield number, places
        images -= number


def compute(
    run: Callable[[jax.Array], Any],
    items: Sequence[Item],
    sight: Sight,
    mesh: Mesh,
    batch_size: int,
    advance: Callable[[int], None] | None = None,
) -> tuple[Any, dict[int, str]]:
    """Computes something of images, each once.

    Args:
      run: images uint8 [B, H, W, 3] -> a pytree of arrays [B, ...], row by row; behind the last
        image is black.
      items: N of them.
      sight: how the network sees them.
      mesh: whose devices share each batch.
      batch_size: the largest batch, over all devices.
      advance: called with the number of images that were done since the last call.

    Returns:
      The arrays [n, ...] of the images that could be decoded, in their order, on the host; and of
      each of the others its position and the reason.
    """
    found, broken = [], {}
    batches = _batches(items, sight, batch_size, broken)
    waiting: collections.deque[tuple[Any, np.ndarray, int]] = collections.deque()

    def finish() -> None:
        outputs, kept, number = waiting.popleft()
        found.append(jax.tree.map(lambda output: output[kept], jax.device_get(outputs)))
        if advance is not None:
            advance(number)

    for images, kept, number in batches:
        images = np.pad(images, ((0, -len(images) % mesh.size), (0, 0), (0, 0), (0, 0)))
        waiting.append((run(jax.device_put(images, split_over(mesh))), kept, number))
        if len(waiting) > 1:
            # Of the batch before, so that the devices have this one to go on with.
            finish()
    finish()
    return jax.tree.map(lambda *rows: np.concatenate(rows), *found), broken


def _batches(
    items: Sequence[Item], sight: Sight, batch_size: int, broken: dict[int, str]
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Images uint8 [B, H, W, 3], which rows hold one that was decoded, and how many were meant."""
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS, len(items))
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        begun: collections.deque[tuple[int, int, list[Future]]] = collections.deque()
        start = 0
        try:
            for number, places in parts(len(items), batch_size):
                chosen = items[start : start + number]
                begun.append((start, places, [pool.submit(sight.see, i.source) for i in chosen]))
                start += number
                if len(begun) > 2:
                    yield _joined(*begun.popleft(), sight, broken)
            while begun:
                yield _joined(*begun.popleft(), sight, broken)
        finally:
            for _, _, futures in begun:
                for future in futures:
                    future.cancel()


def _joined(
    start: int, places: int, futures: list[Future], sight: Sight, broken: dict[int, str]
) -> tuple[np.ndarray, np.ndarray, int]:
    images, kept = np.zeros((places, *sight.shape, 3), np.uint8), []
    for row, future in enumerate(futures):
        try:
            images[row] = future.result()
            kept.append(row)
        except BrokenImageError as error:
            broken[start + row] = str(error)
        except OSError as error:
            broken[start + row] = error.strerror or str(error)
    return images, np.array(kept, np.intp), len(futures)
