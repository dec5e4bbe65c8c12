"""What a loss sees of a batch."""

from typing import NamedTuple

import jax


class Batch(NamedTuple):
    """What a loss sees of a batch.

    Attributes:
      views: one float [B, H, W, 3] of normalised images for each of the method's `views`.
      labels: int32 [B].
      targets: float32 [B, K], shares of the classes that sum to 1, where the run softens labels
        (`Method.soft_labels`); else None.
      others: a batch of each of the method's further `streams`, with views of its own.
      indices: int32 [B], which images of the data set's training split these are; in the place of a
        photograph that cannot be decoded its substitute's. Where nothing is held out they are the
        images of `Between.compute`. None where a step is handed images of no split.
    """

    views: tuple[jax.Array, ...]
    labels: jax.Array
    targets: jax.Array | None = None
    others: tuple["Batch", ...] = ()
    indices: jax.Array | None = None

    @property
    def truth(self) -> jax.Array:
        """What a softmax cross-entropy compares with: the targets if there are any, or labels."""
        return self.labels if self.targets is None else self.targets
