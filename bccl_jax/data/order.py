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
    """epoch -> int32 [N // B, B], the images of its batches, of the whole run.

    Attributes:
      labels: int32 [N].
      batch_size: B.
      seed: of the run.
      parts: one after the other, from epoch 0; empty for an instance-balanced run.
    """

    labels: np.ndarray
    batch_size: int
    seed: int
    parts: tuple[Part, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of an epoch, whatever its sampler."""
        return len(self.labels) // self.batch_size

    def __call__(self, epoch: int) -> np.ndarray:
        """The images of an epoch."""
        part = next((p for p in self.parts if epoch < p.start + p.epochs), None)
        if part is None or part.sampler == INSTANCE_BALANCED:
            return epoch_order(len(self.labels), self.batch_size, self.seed, epoch)
        # The last epoch of the part is drawn by the end of what is progressive.
        progress = (epoch - part.start) / max(part.epochs - 1, 1)
        shares = class_shares(part.sampler, np.bincount(self.labels), progress)
        rng = np.random.default_rng([self.seed, epoch, _DRAWN])
        drawn = draw(self.labels, shares, self.steps * self.batch_size, rng)
        return drawn.reshape(self.steps, self.batch_size).astype(np.int32)
