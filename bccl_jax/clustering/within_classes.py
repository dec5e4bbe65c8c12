"""Clusters each class into a number of clusters of its own: which cluster every point is in.

Classes differ in size by hundreds of times. Those of about the same size are clustered together, a
part of them at a time, so that memory is bounded and few programs are compiled.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.clustering.kmeans import kmeans

# Numbers of one part of the classes, points and draws. With all that k-means holds these are 0.7 GB
# at most by the compiler's account, of ImageNet-LT's 64 clusters in 1,280 points.
_NUMBERS = 2**26
# k-means draws some numbers for each point and cluster.
_DRAWS = 8


def subclass_counts(class_counts: np.ndarray, fewest: int) -> np.ndarray:
    """How many subclasses each class is split into, so that all are about as large as the rarest.

    Args:
      class_counts: int [K], images; not all zero.
      fewest: images of a subclass on average, at least, where the rarest class has fewer.

    Returns:
      int [K], `n_c // max(n of the rarest class, fewest)` and 1 at least.
    """
    counts = np.asarray(class_counts)
    rarest = counts[counts > 0].min()
    return np.maximum(counts // max(int(rarest), fewest), 1)


def cluster_within_classes(
    points: np.ndarray,
    labels: np.ndarray,
    cluster_counts: np.ndarray,
    key: jax.Array,
    *,
    num_iters: int = 20,
    most_numbers: int = _NUMBERS,
) -> np.ndarray:
    """The cluster of each point among those of its class, by cosine k-means.

    A class with fewer distinct points than clusters has as many clusters as distinct points.

    Args:
      points: [N, D] floating.
      labels: [N] integer classes in [0, K).
      cluster_counts: [K] integer, clusters of each class, at least 1.
      key: a JAX random key.
      num_iters: Lloyd iterations.
      most_numbers: that a part of the classes takes, its largest class apart.

    Returns:
      int32 [N], from 0 to below the class's count; 0 throughout a class of one cluster.

    Raises:
      ValueError: shapes that do not fit together, or a count below 1.
    """
    points, labels, counts = np.asarray(points), np.asarray(labels), np.asarray(cluster_counts)
    if points.ndim != 2 or labels.shape != points.shape[:1]:
        raise ValueError(
            f"points have shape {points.shape} and labels {labels.shape}; pass points [N, D] with "
            "one label each, [N]."
        )
    if counts.ndim != 1 or counts.min() < 1:
        raise ValueError(
            f"cluster_counts has shape {counts.shape}; pass one count a class, [K], each at least "
            "1."
        )
    found = np.zeros(len(points), np.int32)
    members = np.split(np.argsort(labels, kind="stable"), _ends(labels, len(counts)))
    room = np.array([1 << max(len(rows) - 1, 0).bit_length() for rows in members])
    split = (counts > 1) & (room > 1)
    for size in np.unique(room[split]):
        classes = np.flatnonzero(split & (room == size))
        most = int(counts[classes].max())
        part = max(most_numbers // (int(size) * (points.shape[1] + _DRAWS * most)), 1)
        part = min(part, len(classes))
        for first in range(0, len(classes), part):
            chosen = classes[first : first + part]
            # The last part is filled up with classes of no points, so that it is the same program.
            batch = np.zeros((part, size, points.shape[1]), points.dtype)
            mask = np.zeros((part, size), bool)
            own = np.ones(part, np.int32)
            own[: len(chosen)] = counts[chosen]
            for place, k in enumerate(chosen):
                batch[place, : len(members[k])] = points[members[k]]
                mask[place, : len(members[k])] = True
            part_key = jax.random.fold_in(key, int(chosen[0]))
            clusters = np.asarray(_clustered(batch, mask, own, part_key, most, num_iters))
            for place, k in enumerate(chosen):
                found[members[k]] = clusters[place, : len(members[k])]
    return found


def _ends(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Where in sorted labels each class but the last ends."""
    return np.cumsum(np.bincount(labels, minlength=num_classes))[:-1]


@partial(jax.jit, static_argnames=("most", "num_iters"))
def _clustered(points, mask, counts, key, most, num_iters):
    """[k, M, D], [k, M], [k] -> the cluster of each point, int32 [k, M]."""
    # One start: subclasses need not be the best of several.
    centroids, valid = kmeans(
        points,
        mask,
        most,
        key,
        num_iters=num_iters,
        num_restarts=1,
        chunk_size=len(points),
        cluster_counts=counts,
    )
    cosines = jnp.einsum("kmd,kcd->kmc", points, centroids, precision=jax.lax.Precision.HIGHEST)
    nearest = jnp.argmax(jnp.where(valid[:, None, :], cosines, -jnp.inf), axis=-1)
    return nearest.astype(jnp.int32)
