"""Mean-shift and affinity propagation of the queues (Figure 4), by scikit-learn on the host.

These find their own number of clusters, while the losses need a fixed one. Of each class the
`num_clusters` largest clusters are kept and the rest left out: small clusters hold outliers, and
merging them would put centroids where no feature is. A cluster's centroid is the mean direction of
its members, as in spherical k-means, so that the methods differ in their partition alone.

scikit-learn takes as long to import as JAX: it is where it is needed alone.
"""

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def mean_shift(
    points: jax.Array, mask: jax.Array, num_clusters: int, *, quantile: float = 0.3
) -> tuple[jax.Array, jax.Array]:
    """Cluster every class's points by mean-shift with a flat kernel.

    The bandwidth is scikit-learn's estimate for each class, at its default quantile; a smaller one
    finds more clusters. Where it is zero (mostly repeated points) each distinct point is a cluster.

    Args:
      points: [K, M, D] floating, of unit norm.
      mask: [K, M] bool, which points exist. What the others hold is never read.
      num_clusters: C, how many clusters of a class are kept, the largest.
      quantile: the share of a class's points that a bandwidth reaches, in (0, 1].

    Returns:
      Centroids, float32 [K, C, D] of unit norm and zero where invalid, largest cluster first, and
      their mask, bool [K, C].

    Raises:
      ValueError: shapes that do not fit together, or a cap below 1.
    """
    from sklearn.cluster import MeanShift, estimate_bandwidth

    def partition(features):
        bandwidth = estimate_bandwidth(features, quantile=quantile)
        if bandwidth == 0:
            return _distinct(features)[1]
        return MeanShift(bandwidth=bandwidth).fit(features).labels_

    return _cluster_classes(points, mask, num_clusters, partition)


def affinity_propagation(
    points: jax.Array, mask: jax.Array, num_clusters: int
) -> tuple[jax.Array, jax.Array]:
    """Cluster every class's points by affinity propagation.

    Damping 0.5 is tried first, scikit-learn's default, then 0.9; a class on which neither converges
    is one cluster. Repeated points enter once, since their ties keep the messages from settling.

    Args:
      points: [K, M, D] floating, of unit norm.
      mask: [K, M] bool, which points exist. What the others hold is never read.
      num_clusters: C, how many clusters of a class are kept, the largest.

    Returns:
      Centroids, float32 [K, C, D] of unit norm and zero where invalid, largest cluster first, and
      their mask, bool [K, C].

    Raises:
      ValueError: shapes that do not fit together, or a cap below 1.
    """

    def partition(features):
        distinct, index = _distinct(features)
        return _propagate(distinct)[index]

    return _cluster_classes(points, mask, num_clusters, partition)


def _propagate(features):
    """Affinity propagation's cluster of each row, all 0 where it does not converge."""
    from sklearn.cluster import AffinityPropagation
    from sklearn.exceptions import ConvergenceWarning

    for damping, max_iter in ((0.5, 200), (0.9, 1000)):
        model = AffinityPropagation(damping=damping, max_iter=max_iter, random_state=0)
        with warnings.catch_warnings():
            # Two points have one similarity, of which scikit-learn warns; either answer will do.
            warnings.filterwarnings("ignore", "All samples have mutually equal", UserWarning)
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                return model.fit(features).labels_
            except ConvergenceWarning:
                continue
    return np.zeros(len(features), int)


def _cluster_classes(
    points: jax.Array,
    mask: jax.Array,
    num_clusters: int,
    partition: Callable[[np.ndarray], np.ndarray],
) -> tuple[jax.Array, jax.Array]:
    if points.ndim != 3 or mask.shape != points.shape[:2]:
        raise ValueError(
            f"points have shape {points.shape} and the mask {mask.shape}; "
            "pass points [K, M, D] with a mask [K, M]."
        )
    if num_clusters < 1:
        raise ValueError(f"got num_clusters={num_clusters}; it must be at least 1.")
    points, mask = np.asarray(points), np.asarray(mask, dtype=bool)
    centroids = np.zeros((points.shape[0], num_clusters, points.shape[2]), np.float32)
    valid = np.zeros(centroids.shape[:2], bool)
    for k in np.flatnonzero(mask.any(axis=1)):
        features = points[k][mask[k]].astype(np.float32)
        _, clusters = np.unique(partition(features), return_inverse=True)
        largest = np.argsort(-np.bincount(clusters), kind="stable")[:num_clusters]
        for slot, cluster in enumerate(largest):
            centroids[k, slot] = _mean_direction(features[clusters == cluster])
            valid[k, slot] = True
    return jnp.asarray(centroids), jnp.asarray(valid)


def _mean_direction(members):
    """Unit mean of the rows; the first row where they cancel."""
    mean = members.mean(axis=0)
    norm = np.linalg.norm(mean)
    return mean / norm if norm > 1e-6 else members[0]


def _distinct(features):
    """The distinct rows, and each row's index among them."""
    rows, index = np.unique(features, axis=0, return_inverse=True)
    return rows, index.reshape(-1)
