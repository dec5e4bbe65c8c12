"""What BCCL keeps of each class: a queue of embeddings, and the centroids of their clusters."""

import functools
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.clustering import host, sharded
from bccl_jax.clustering.kmeans import kmeans
from bccl_jax.clustering.queue import QueueState, filled_mask, init_queue, push


@flax.struct.dataclass
class BCCLState:
    """The method's own state.

    Attributes:
      queue: the embeddings seen last, class by class.
      centroids: float32 [K, C, D], zero where not valid; of unit norm with `centroids_on_sphere`.
      centroid_mask: bool [K, C]; all False until the first refresh.
      class_counts: int32, one for each class; K is larger where the classes are padded.
    """

    queue: QueueState
    centroids: jax.Array
    centroid_mask: jax.Array
    class_counts: jax.Array


def init_state(
    class_counts: np.ndarray,
    num_centroids: int,
    queue_size: int,
    dim: int,
    *,
    dtype: jnp.dtype,
    stamped: bool,
    split_over: int | None,
) -> BCCLState:
    """Empty queues, and no centroid.

    Args:
      class_counts: int [K], training images of each class.
      num_centroids: C, centroids per class.
      queue_size: M, embeddings kept per class.
      dim: D, of an embedding.
      dtype: of the stored embeddings.
      stamped: whether the queues keep the epoch of each embedding.
      split_over: devices that the classes are split over, for which they are padded; None where
        each has all.
    """
    classes = len(class_counts)
    if split_over is not None:
        classes = sharded.padded_classes(classes, split_over)
    return BCCLState(
        queue=init_queue(classes, queue_size, dim, dtype, stamped=stamped),
        centroids=jnp.zeros((classes, num_centroids, dim), jnp.float32),
        centroid_mask=jnp.zeros((classes, num_centroids), bool),
        class_counts=jnp.asarray(class_counts, jnp.int32),
    )


def enqueue(
    state: BCCLState,
    embeddings: jax.Array,
    labels: jax.Array,
    stamp: jax.Array | None,
    *,
    split_classes: bool,
) -> BCCLState:
    """Puts each embedding into its class's queue.

    Args:
      state: as it was.
      embeddings: [N, D].
      labels: [N] integer classes.
      stamp: the epoch, where the queues keep it.
      split_classes: whether each device keeps the queues of its part of the classes.
    """
    enter = sharded.push if split_classes else push
    return state.replace(queue=enter(state.queue, embeddings, labels, stamp=stamp))


def cluster_queues(
    state: BCCLState,
    key: jax.Array,
    num_centroids: int,
    *,
    clustering: str,
    max_age: int,
    start: str,
    num_iters: int,
    spherical: bool,
    split_classes: bool,
    cluster_counts: jax.Array | None = None,
) -> tuple[BCCLState, dict[str, float]]:
    """Clusters every class's queue (Eq. 4).

    Args:
      state: whose queues are clustered.
      key: of the draws of k-means.
      num_centroids: C, centroids per class.
      clustering: "kmeans", or the name of a function of `clustering.host`.
      max_age: epochs after which an embedding is no longer clustered; 0 for no limit.
      start: of k-means.
      num_iters: of k-means.
      spherical: of k-means.
      split_classes: whether each device clusters the queues of its part of the classes.
      cluster_counts: int32 [K], how many centroids each class is to have at most, for k-means on
        whole queues; None for `num_centroids`.

    Returns:
      The state with new centroids, and figures: how many centroids there are, how many classes
      have none, how much of the queues is filled (percent), and how far centroids moved
      (`centroid_shift`), where there were some before.
    """
    since = None
    if max_age:
        # Of the epoch that has just ended, whatever class it was.
        since = jnp.max(state.queue.stamp) - max_age + 1
    points, mask = state.queue.features, filled_mask(state.queue, since)
    if clustering == "kmeans":
        cluster = sharded.kmeans if split_classes else kmeans
        if cluster_counts is not None:
            cluster = functools.partial(cluster, cluster_counts=cluster_counts)
        centroids, centroid_mask = cluster(
            points,
            mask,
            num_centroids,
            key,
            num_iters=num_iters,
            spherical=spherical,
            start=start,
            num_restarts=1 if start == "random" else 4,
        )
    else:
        cluster = getattr(host, clustering)
        centroids, centroid_mask = cluster(points, mask, num_centroids)
    slots = points.shape[1]
    clustered = jnp.sum(jnp.any(centroid_mask, axis=1))
    report = {
        "centroids": float(jnp.sum(centroid_mask)),
        # Of the data's classes, and not of those that pad them.
        "classes_without_centroid": float(len(state.class_counts) - clustered),
        "queue_fill": 100 * float(jnp.sum(state.queue.count)) / (len(state.class_counts) * slots),
    }
    shift = float(centroid_shift(state.centroids, state.centroid_mask, centroids, centroid_mask))
    report |= {} if math.isnan(shift) else {"centroid_shift": shift}
    return state.replace(centroids=centroids, centroid_mask=centroid_mask), report


@jax.jit
def centroid_shift(
    before: jax.Array, mask_before: jax.Array, after: jax.Array, mask_after: jax.Array
) -> jax.Array:
    """How far centroids moved.

    k-means numbers them anew each time, so that each is compared with the nearest one that its
    class had before.

    Args:
      before: float32 [K, C, D].
      mask_before: bool [K, C], which of them there are.
      after: float32 [K, C, D].
      mask_after: bool [K, C].

    Returns:
      float32 [], degrees, the mean over the centroids whose class had some before; NaN for none.
    """
    before, after = (
        x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12) for x in (before, after)
    )
    cosines = jnp.einsum("kad,kbd->kab", after, before, precision="highest")
    nearest = jnp.max(cosines, axis=-1, initial=-1, where=mask_before[:, None, :])
    counted = mask_after & jnp.any(mask_before, axis=-1, keepdims=True)
    degrees = jnp.degrees(jnp.arccos(jnp.clip(nearest, -1, 1)))
    return jnp.mean(degrees, where=counted)
