"""The order of training images: a pure function of seed and epoch, however they are fed."""

import dataclasses

import numpy as np

from bccl_jax.data.sampling import INSTANCE_BALANCED, class_shares, draw

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
    """epoch -> int32 [N // B, B (1 + S)], the images of its batches, of the whole run.

    With S further streams each image of a batch has one of each beside it, so that devices that
    share a batch share each stream of it.

    Attributes:
      labels: int32 [N].
      batch_size: B.
      seed: of the run.
      parts: one after the other, from epoch 0; empty for an instance-balanced run.
      streams: samplers of the S further streams.
    """

    labels: np.ndarray
    batch_size: int
    seed: int
    parts: tuple[Part, ...] = ()
    streams: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Images of a batch, of all its streams."""
        return self.batch_size * (1 + len(self.streams))

    @property
    def steps(self) -> int:
        """Steps of an epoch, whatever its sampler."""
        return len(self.labels) // self.batch_size

    def __call__(self, epoch: int) -> np.ndarray:
        """The images of an epoch."""
        part = next((p for p in self.parts if epoch < p.start + p.epochs), Part(0, 1))
        # The last epoch of the part is drawn by the end of what is progressive.
        progress = min((epoch - part.start) / max(part.epochs - 1, 1), 1.0)
        if part.sampler == INSTANCE_BALANCED:
            first = epoch_order(len(self.labels), self.batch_size, self.seed, epoch)
        else:
            first = self._drawn(part.sampler, progress, [self.seed, epoch, _DRAWN])
        others = [
            self._drawn(sampler, progress, [self.seed, epoch, _DRAWN, number])
            for number, sampler in enumerate(self.streams, 1)
        ]
        return np.stack([first, *others], axis=-1).reshape(self.steps, self.rows)

    def _drawn(self, sampler: str, progress: float, seed: list[int]) -> np.ndarray:
        shares = class_shares(sampler, np.bincount(self.labels), progress)
        number = self.steps * self.batch_size
        drawn = draw(self.labels, shares, number, np.random.default_rng(seed))
        return drawn.reshape(self.steps, self.batch_size).astype(np.int32)
