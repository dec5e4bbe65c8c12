"""The order of training images: a pure function of seed and epoch, however they are fed."""

import numpy as np


def epoch_order(num_examples: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Which images an epoch takes, batch by batch.

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
