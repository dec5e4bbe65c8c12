"""The resident path: a whole split on the device as uint8, batches gathered there by index."""

import flax.struct
import jax
import numpy as np

from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import put


@flax.struct.dataclass
class ResidentSplit:
    """A split on the device.

    Attributes:
      images: uint8 [N, H, W, 3].
      labels: int32 [N].
    """

    images: jax.Array
    labels: jax.Array

    def batch(self, indices: jax.Array) -> dict[str, jax.Array]:
        """Gathers the batch that `indices` [B] name, in the form of the grain pipeline's."""
        images, labels = self.images[indices], self.labels[indices]
        return {"image": images, "label": labels, "index": indices}


def put_on_device(split: Split, sharding: jax.sharding.Sharding | None = None) -> ResidentSplit:
    """Copies a split in memory to the devices, once.

    Args:
      split: of images in memory.
      sharding: which devices get it, in whole; None for the default one.

    Returns:
      The split on the devices.
    """
    return put(ResidentSplit(np.asarray(split.images), np.asarray(split.labels)), sharding)
