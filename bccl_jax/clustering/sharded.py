"""Queues and centroids whose classes are split over devices.

Device i of n holds the i-th of n contiguous, equal parts of the classes: of the queues [K, M, D]
and of the centroids [K, C, D]. Features and labels go to every device, and each keeps what is its
own; queues and centroids never travel. What comes out is what one device would have computed.

K must be a multiple of n: `padded_classes` gives one. No label names the classes that it adds, so
that their queues stay empty and they have no valid centroid.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from bccl_jax.clustering import kmeans as one_device
from bccl_jax.clustering import queue as one_queue
from bccl_jax.clustering.queue import QueueState

_MULTIPLE = 128


def padded_classes(num_classes: int, num_devices: int = 1) -> int:
    """How many classes to make room for.

    Rounded up to a multiple of 128, not merely of the devices, so that the arrays have the same
    shape on 1, 2, 4 ... 128 devices and a checkpoint of one number can be read on another.

    Args:
      num_classes: of the data.
      num_devices: that share the classes.

    Returns:
      K, the smallest multiple of both 128 and `num_devices` that is not below `num_classes`.

    Raises:
      ValueError: a count below 1.
    """
    if min(num_classes, num_devices) < 1:
        raise ValueError(
            f"got num_classes={num_classes}, num_devices={num_devices}; each must be at least 1."
        )
    multiple = math.lcm(_MULTIPLE, num_devices)
    return math.ceil(num_classes / multiple) * multiple


def class_mesh(
    num_classes: int, mesh: Mesh | AbstractMesh | None = None
) -> tuple[Mesh | AbstractMesh, str]:
    """The mesh that classes are split over, and the name of its axis.

    Args:
      num_classes: K.
      mesh: None for that of the context (`jax.set_mesh`).

    Returns:
      The mesh and its axis.

    Raises:
      ValueError: no mesh, one of several axes, or one that does not divide the classes.
    """
    if mesh is None:
        mesh = jax.sharding.get_abstract_mesh()
    if len(mesh.axis_names) != 1:
        raise ValueError(
            f"the mesh has the axes {mesh.axis_names}; pass one of a single axis, or set it by "
            "jax.set_mesh."
        )
    if num_classes % mesh.size:
        raise ValueError(
            f"{num_classes} classes cannot be split over {mesh.size} devices; make room for "
            f"{padded_classes(num_classes, mesh.size)}, as padded_classes says."
        )
    return mesh, mesh.axis_names[0]


def push(
    queue: QueueState,
    features: jax.Array,
    labels: jax.Array,
    mesh: Mesh | AbstractMesh | None = None,
    stamp: int | jax.Array | None = None,
) -> QueueState:
    """`queue.push` where each device pushes what belongs to its classes.

    Args:
      queue: K queues of M features, split by class over the mesh.
      features: [N, D] floating, split by sample or not at all; they are sent to every device.
      labels: [N] integer classes; those outside [0, K) are ignored.
      mesh: of one axis; None for that of the context (`jax.set_mesh`).
      stamp: as in `queue.push`.

    Returns:
      The queue after the push, split in the same way.

    Raises:
      ValueError: as `queue.push`, or no mesh, or a K that it does not divide.
    """
    mesh, axis = class_mesh(queue.count.shape[0], mesh)

    def of_device(queue, features, labels, stamp):
        first_class = jax.lax.axis_index(axis) * queue.count.shape[0]
        return one_queue.push(queue, features, labels.astype(jnp.int32) - first_class, stamp)

    split, whole = PartitionSpec(axis), PartitionSpec()
    return jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(split, whole, whole, whole),
        out_specs=split,
        check_vma=False,
    )(queue, features, labels, stamp)


def kmeans(
    points: jax.Array,
    mask: jax.Array,
    num_clusters: int,
    key: jax.Array,
    num_iters: int = 20,
    spherical: bool = True,
    *,
    mesh: Mesh | AbstractMesh | None = None,
    start: str = "plus_plus",
    num_restarts: int = 4,
    chunk_size: int = 128,
) -> tuple[jax.Array, jax.Array]:
    """`kmeans.kmeans` where each device clusters its classes.

    Args:
      points: [K, M, D] floating, split by class over the mesh.
      mask: [K, M] bool, which points exist; split in the same way.
      num_clusters: C, static.
      key: a JAX random key.
      num_iters: as in `kmeans.kmeans`.
      spherical: as in `kmeans.kmeans`.
      mesh: of one axis; None for that of the context (`jax.set_mesh`).
      start: as in `kmeans.kmeans`.
      num_restarts: as in `kmeans.kmeans`.
      chunk_size: classes that each device clusters at a time.

    Returns:
      Centroids, float32 [K, C, D], zero where invalid, and their mask, bool [K, C], both split by
      class.

    Raises:
      ValueError: shapes that do not fit together, a count below 1, no mesh, or a K that it does not
        divide.
    """
    mesh, axis = class_mesh(points.shape[0], mesh)
    options = {
        "num_clusters": num_clusters,
        "num_iters": num_iters,
        "spherical": spherical,
        "start": start,
        "num_restarts": num_restarts,
        "chunk_size": chunk_size,
    }
    return _kmeans(points, mask, key, mesh, axis, tuple(options.items()))


@partial(jax.jit, static_argnames=("mesh", "axis", "options"))
def _kmeans(points, mask, key, mesh, axis, options):
    def of_device(points, mask, key):
        first_class = jax.lax.axis_index(axis) * points.shape[0]
        return one_device.kmeans(points, mask, key=key, first_class=first_class, **dict(options))

    split, whole = PartitionSpec(axis), PartitionSpec()
    return jax.shard_map(
        of_device, mesh=mesh, in_specs=(split, split, whole), out_specs=split, check_vma=False
    )(points, mask, key)
