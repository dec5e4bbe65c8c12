"""The order of training images: a pure function of seed and epoch, however they are fed."""

import dataclasses
import functools

import numpy as np

from bccl_jax.data.sampling import INSTANCE_BALANCED, class_shares, draw
from bccl_jax.data.subset import BalancedSubset, Source, held_out

# Tells the random numbers of a drawn epoch from those of a permuted one.
_DRAWN = 0x5A3D


def epoch_order(num_examples: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Which images an epoch takes, batch by batch, each once.

    Args:
      num_examples: N, size of the training split.
      batch_size: B.
      seed: of the run.
      epoch: epochs completed before this one.

    Returns:
      int32 [N // B, B], indices without repetition; the N % B images left out are other ones in
      each epoch.
    """
    steps = num_examples // batch_size
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(num_examples)[: steps * batch_size]
    return order.reshape(steps, batch_size).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Part:
    """Epochs whose images are drawn in one way.

    Attributes:
      start: the first epoch.
      epochs: how many.
      sampler: one of `sampling.SAMPLERS`.
    """

    start: int
    epochs: int
    sampler: str = INSTANCE_BALANCED


@dataclasses.dataclass(frozen=True)
class Order:
    """epoch -> int32 [T, B (1 + S)], the images of its batches, of the whole run.

    With S further streams each image of a batch has one of each beside it, so that devices that
    share a batch share each stream of it. T is N // B, of N images that are not held out.

    Attributes:
      labels: int32, of the training split.
      batch_size: B.
      seed: of the run.
      parts: one after the other, from epoch 0; empty for an instance-balanced run.
      streams: of each of the S further streams its sampler, or the part that it is drawn from.
    """

    labels: np.ndarray
    batch_size: int
    seed: int
    parts: tuple[Part, ...] = ()
    streams: tuple[Source, ...] = ()

    @property
    def rows(self) -> int:
        """Images of a batch, of all its streams."""
        return self.batch_size * (1 + len(self.streams))

    @property
    def steps(self) -> int:
        """Steps of an epoch, whatever its sampler."""
        return len(self.trained) // self.batch_size

    @functools.cached_property
    def held_out(self) -> np.ndarray:
        """int64, the images that the first stream never has; empty where nothing is held out."""
        part = held_out(self.streams)
        return np.zeros(0, np.int64) if part is None else part.choose(self.labels, self.seed)

    @functools.cached_property
    def trained(self) -> np.ndarray:
        """int64 [N], the images that the first stream is drawn from."""
        return np.setdiff1d(np.arange(len(self.labels)), self.held_out, assume_unique=True)

    @functools.cached_property
    def pools(self) -> tuple[np.ndarray, ...]:
        """Which images each of the 1 + S streams is drawn from, int64; row r is of r % (1 + S)."""
        chosen = [
            source.choose(self.labels, self.seed)
            if isinstance(source, BalancedSubset)
            else self.trained
            for source in self.streams
        ]
        return (self.trained, *chosen)

    def __call__(self, epoch: int) -> np.ndarray:
        """The images of an epoch."""
        part = next((p for p in self.parts if epoch < p.start + p.epochs), Part(0, 1))
        # The last epoch of the part is drawn by the end of what is progressive.
        progress = min((epoch - part.start) / max(part.epochs - 1, 1), 1.0)
        first, *others = self.pools
        if part.sampler == INSTANCE_BALANCED:
            order = epoch_order(len(first), self.batch_size, self.seed, epoch)
        else:
            order = self._drawn(part.sampler, first, progress, [self.seed, epoch, _DRAWN])
        orders = [first[order]]
        for number, (source, pool) in enumerate(zip(self.streams, others, strict=True), 1):
            sampler = source.sampler if isinstance(source, BalancedSubset) else source
            seed = [self.seed, epoch, _DRAWN, number]
            orders.append(pool[self._drawn(sampler, pool, progress, seed)])
        return np.stack(orders, axis=-1).reshape(self.steps, self.rows).astype(np.int32)

    def _drawn(
        self, sampler: str, pool: np.ndarray, progress: float, seed: list[int]
    ) -> np.ndarray:
        """Positions in a pool, int64 [T, B]."""
        labels = self.labels[pool]
        shares = class_shares(sampler, np.bincount(labels), progress)
        number = self.steps * self.batch_size
        drawn = draw(labels, shares, number, np.random.default_rng(seed))
        return drawn.reshape(self.steps, self.batch_size)
