"""Whether a run can fit at all: what it holds for certain, against what there is."""

import math
import os

import jax
import ml_collections
from jax.sharding import NamedSharding

from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method
from bccl_jax.training.state import TrainState


def check_memory(
    config: ml_collections.ConfigDict,
    method: Method,
    shapes: TrainState,
    shardings: TrainState,
    image_shape: tuple[int, int, int],
) -> None:
    """Refuses settings whose state and one batch are larger than a device's memory.

    Activations are not counted, so that no run is refused that could be made.

    Args:
      config: sized; `batch_size`, `accumulation` and `eval.batch_size` are read.
      method: whose views a batch has.
      shapes: shapes and dtypes of the state's arrays.
      shardings: of the same over the devices.
      image_shape: of a view.

    Raises:
      ConfigError: they do not fit; named are the keys that make them large.
    """
    there = device_memory()
    if there is None:
        return
    devices = jax.tree.leaves(shardings.params)[0].num_devices
    own = bytes_on_device(shapes.method, shardings.method)
    network = bytes_on_device(shapes, shardings) - own
    image = math.prod(image_shape)
    views = len(method.views) * (1 + len(method.streams))
    batch = 4 * image * views * config.batch_size // config.accumulation
    batch = max(batch, image * config.eval.batch_size) // devices
    if own + network + batch <= there:
        return
    sizes = ("queue_size", "projector_hidden", "projector_dim")
    settings = (
        " or ".join(f"config.method.{key}" for key in sizes if key in config.method)
        or "the sizes in config.method"
    )
    bytes_of, what, keys = max(
        (own, "the method's own state", settings),
        (network, "the network with its momentum", f"config.model.backbone or {settings}"),
        (
            batch,
            "a batch of images",
            "config.batch_size, config.eval.batch_size or config.augment.size",
        ),
    )
    raise ConfigError(
        f"{what} would take {_gigabytes(bytes_of)} of the {_gigabytes(there)} of a device; lower "
        f"{keys}"
    )


def bytes_on_device(shapes, shardings) -> int:
    """Bytes of arrays on one device."""

    def of_leaf(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> int:
        return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    return sum(jax.tree.leaves(jax.tree.map(of_leaf, shapes, shardings)))


def device_memory() -> int | None:
    """Bytes of a device, or of the machine where devices are its cores; None if not known."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (device.memory_stats() or {}).get("bytes_limit")


def _gigabytes(number: int) -> str:
    return f"{number / 2**30:,.1f} GiB"
