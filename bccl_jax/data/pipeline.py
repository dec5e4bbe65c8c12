"""Feeding batches through grain: any random-access source, reader threads, exact iterator state."""

import functools
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np

from bccl_jax.data.order import epoch_order
from bccl_jax.data.sources import Split


class TrainingStream:
    """A run's images one after the other, as a random-access source for grain.

    Position i is image i % (steps * B) of epoch i // (steps * B), so that a position alone names
    an image and any number of readers, processes or restarts sees the same order.

    Args:
      split: the training split.
      batch_size: B, images a step over all processes.
      seed: of the run.
      epochs: length of the run.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, epochs: int):
        self._split = split
        self._per_epoch = len(split) // batch_size * batch_size
        self._epochs = epochs
        self._order = functools.lru_cache(maxsize=2)(
            lambda epoch: epoch_order(len(split), batch_size, seed, epoch).ravel()
        )

    def __len__(self) -> int:
        return self._per_epoch * self._epochs

    def __getitem__(self, position: int) -> dict[str, Any]:
        epoch, offset = divmod(int(position), self._per_epoch)
        index = int(self._order(epoch)[offset])
        return {
            "image": np.asarray(self._split.images[index]),
            "label": self._split.labels[index],
        }


def create_iterator(
    split: Split, batch_size: int, seed: int, epochs: int, threads: int
) -> Iterator[dict[str, np.ndarray]]:
    """A grain iterator over the batches of a whole run.

    With several processes each reads its own share of every batch.

    Args:
      split: the training split; all images of one size.
      batch_size: B, images a step over all processes.
      seed: of the run.
      epochs: length of the run.
      threads: readers.

    Returns:
      An iterator of {"image": uint8 [B, H, W, 3], "label": int32 [B]} with `get_state`,
      `set_state` and `close`.
    """
    processes = jax.process_count()
    stream = grain.MapDataset.source(TrainingStream(split, batch_size, seed, epochs))
    share = stream.slice(slice(jax.process_index(), None, processes))
    batches = share.batch(batch_size // processes, drop_remainder=True)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(batches.to_iter_dataset(options))
