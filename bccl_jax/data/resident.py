"""The resident path: a whole split on the device as uint8, batches gathered there by index."""

import flax.struct
import jax
import numpy as np

from bccl_jax.data.sources import Split


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
        return {"image": self.images[indices], "label": self.labels[indices]}


def put_on_device(split: Split) -> ResidentSplit:
    """Copies a split to the default device, once."""
    images = np.asarray(split.images[:])
    return ResidentSplit(jax.device_put(images), jax.device_put(split.labels))
