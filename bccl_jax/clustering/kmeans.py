"""K-means within every class at once: masked points, a fixed number of steps, bounded memory.

Greedy k-means++ starts (Arthur and Vassilvitskii, 2007, with scikit-learn's candidate trials) or
points drawn at random, then Lloyd iterations; the best of several restarts is kept. All arithmetic
is float32.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

# Squared distances below this share of a class's largest squared norm count as zero: two such
# points differ by rounding alone and are one distinct point.
_SAME_POINT = 1e-12

STARTS = ("plus_plus", "random")


@partial(
    jax.jit,
    static_argnames=(
        "num_clusters",
        "num_iters",
        "spherical",
        "start",
        "num_restarts",
        "chunk_size",
    ),
)
def kmeans(
    points: jax.Array,
    mask: jax.Array,
    num_clusters: int,
    key: jax.Array,
    num_iters: int = 20,
    spherical: bool = True,
    *,
    start: str = "plus_plus",
    num_restarts: int = 4,
    chunk_size: int = 128,
    first_class: int | jax.Array = 0,
    cluster_counts: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Cluster every class's points into at most `num_clusters` clusters (Eq. 4).

    A class with fewer distinct points than `num_clusters` has as many valid centroids as distinct
    points; an empty class has none. With a start of random points copies count as points of their
    own. The result of a class depends on its points, on its index and on the key alone, not on
    `chunk_size`.

    Args:
      points: [K, M, D] floating.
      mask: [K, M] bool, which points exist. What the others hold is never read.
      num_clusters: C, static.
      key: a JAX random key.
      num_iters: Lloyd iterations, static.
      spherical: cluster by cosine: points and, after every iteration, centroids are scaled to
        unit norm. Renormalising in every iteration makes each of them an ascent step of the cosine
        objective; doing it only at the end optimises another one. A zero vector has no direction
        and is left out.
      start: one of `STARTS`: "plus_plus" is greedy k-means++, "random" takes C different points,
        each as likely as any other.
      num_restarts: starts per class, of which the one with the smallest inertia is kept.
      chunk_size: classes clustered at a time; bounds the memory beside the points themselves.
      first_class: index of the first of these classes where they are a part of all.
      cluster_counts: [K] integer, how many clusters each class is to have, from 1 to
        `num_clusters`; None for `num_clusters` each.

    Returns:
      Centroids, float32 [K, C, D], zero where invalid, and their mask, bool [K, C].

    Raises:
      ValueError: shapes that do not fit together, a count below 1, or an unknown start.

    Examples:
      Four points of one class, in two groups. Without `spherical` centroids are plain means:

      >>> points = jnp.array([[[0.0, 0.0], [0.0, 2.0], [9.0, 0.0], [9.0, 2.0]]])
      >>> mask = jnp.ones((1, 4), bool)
      >>> centroids, valid = kmeans(points, mask, 2, jax.random.key(0), spherical=False)
      >>> sorted(centroids[0].tolist()), valid.tolist()
      ([[0.0, 1.0], [9.0, 1.0]], [[True, True]])
    """
    if start not in STARTS:
        raise ValueError(f"got start={start!r}; it must be one of {', '.join(STARTS)}.")
    if points.ndim != 3 or mask.shape != points.shape[:2]:
        raise ValueError(
            f"points have shape {points.shape} and the mask {mask.shape}; "
            "pass points [K, M, D] with a mask [K, M]."
        )
    if cluster_counts is None:
        cluster_counts = jnp.full(points.shape[0], num_clusters, jnp.int32)
    elif jnp.shape(cluster_counts) != points.shape[:1]:
        raise ValueError(
            f"cluster_counts has shape {jnp.shape(cluster_counts)} and points {points.shape}; "
            "pass one count a class, [K]."
        )
    if min(num_clusters, num_restarts, chunk_size) < 1:
        raise ValueError(
            f"got num_clusters={num_clusters}, num_restarts={num_restarts}, "
            f"chunk_size={chunk_size}; each must be at least 1."
        )

    def cluster_class(class_points, class_mask, class_index, count):
        class_points = jnp.where(class_mask[:, None], class_points, 0).astype(jnp.float32)
        keys = jax.random.split(jax.random.fold_in(key, class_index), num_restarts)
        choose = _plus_plus if start == "plus_plus" else _random_points

        def chosen(points, mask, num_clusters, key):
            centroids, valid = choose(points, mask, num_clusters, key)
            return centroids, valid & (jnp.arange(num_clusters) < count)

        return _cluster(class_points, class_mask, keys, num_clusters, num_iters, spherical, chosen)

    num_classes = points.shape[0]
    which = first_class + jnp.arange(num_classes)
    items = (points, mask.astype(bool), which, jnp.asarray(cluster_counts))
    if chunk_size >= num_classes:
        return jax.vmap(cluster_class)(*items)

    def cluster_chunk(chunk, results):
        # Not `lax.map` over batches: for a smaller last one it copies all points. Here the last
        # chunk reaches back to be whole, and clusters a few classes twice.
        begin = jnp.minimum(chunk * chunk_size, num_classes - chunk_size)
        part = [jax.lax.dynamic_slice_in_dim(item, begin, chunk_size) for item in items]
        return [
            jax.lax.dynamic_update_slice_in_dim(result, new, begin, 0)
            for result, new in zip(results, jax.vmap(cluster_class)(*part), strict=True)
        ]

    shape = (num_classes, num_clusters)
    results = [jnp.zeros((*shape, points.shape[2]), jnp.float32), jnp.zeros(shape, bool)]
    chunks = math.ceil(num_classes / chunk_size)
    return tuple(jax.lax.fori_loop(0, chunks, cluster_chunk, results))


def _cluster(points, mask, keys, num_clusters, num_iters, spherical, choose):
    """The best of `len(keys)` runs on one class: [M, D], [M] -> [C, D], [C]."""
    # Distances on the sphere are small beside 1 already; elsewhere a common offset of all points
    # would drown them in rounding.
    offset = jnp.zeros_like(points[0])
    if spherical:
        points = _to_sphere(points, jnp.zeros_like(points))
        mask = mask & jnp.any(points != 0, axis=1)
    else:
        offset = jnp.sum(points, axis=0) / jnp.maximum(jnp.sum(mask), 1)
        points = jnp.where(mask[:, None], points - offset[None, :], 0.0)

    def run(key):
        start, valid = choose(points, mask, num_clusters, key)

        def iterate(_, centroids):
            return _lloyd(points, mask, centroids, valid, spherical)

        centroids = jax.lax.fori_loop(0, num_iters, iterate, start)
        _, distance = _assign(points, centroids, valid)
        return centroids, valid, jnp.sum(jnp.where(mask, distance, 0.0))

    centroids, valid, inertia = jax.vmap(run)(keys)  # [R, C, D], [R, C], [R]
    best = jnp.argmin(inertia)
    centroids, valid = centroids[best], valid[best]
    return jnp.where(valid[:, None], centroids + offset[None, :], 0.0), valid


def _plus_plus(points, mask, num_clusters, key):
    """Greedy k-means++: centroids [C, D], drawn from the points, and which of them exist [C].

    Each further centroid is the best of a few points drawn with probability proportional to their
    squared distance to the nearest centroid so far. Where all of these are zero no distinct point
    is left.
    """
    trials = 2 + int(math.log(num_clusters))
    same_point = _SAME_POINT * jnp.max(jnp.sum(points**2, axis=1))
    # Adding these to log-weights and taking the largest draws points in proportion to the weights.
    # Drawn flat: XLA compiles that much faster than a draw of three axes.
    shape = (num_clusters, trials, points.shape[0])
    gumbel = jax.random.gumbel(key, (math.prod(shape),)).reshape(shape)
    first = points[jnp.argmax(jnp.where(mask, gumbel[0, 0], -jnp.inf))]
    centroids = jnp.zeros((num_clusters, points.shape[1])).at[0].set(first)
    valid = jnp.zeros((num_clusters,), bool).at[0].set(jnp.any(mask))

    def squared_distance(point):
        # By differences: a point's distance to its copies must be exactly zero.
        distance = jnp.sum((points - point[None, :]) ** 2, axis=1)
        return jnp.where(mask & (distance > same_point), distance, 0.0)

    def add(index, carry):
        centroids, valid, distance = carry
        candidates = jnp.argmax(gumbel[index] + jnp.log(distance)[None, :], axis=1)
        to_candidates = jax.vmap(squared_distance)(points[candidates])
        remaining = jnp.minimum(distance[None, :], to_candidates)  # [trials, M]
        best = jnp.argmin(jnp.sum(remaining, axis=1))
        centroids = centroids.at[index].set(points[candidates[best]])
        valid = valid.at[index].set(jnp.any(distance > 0))
        return centroids, valid, remaining[best]

    carry = (centroids, valid, squared_distance(first))
    centroids, valid, _ = jax.lax.fori_loop(1, num_clusters, add, carry)
    return centroids, valid


def _random_points(points, mask, num_clusters, key):
    """Centroids [C, D] at points drawn without replacement, and which of them exist [C]."""
    draw = jnp.where(mask, jax.random.uniform(key, mask.shape), -1.0)
    # A class may have room for fewer points than centroids are asked for.
    draw = jnp.pad(draw, (0, max(0, num_clusters - len(mask))), constant_values=-1.0)
    largest, chosen = jax.lax.top_k(draw, num_clusters)
    valid = largest >= 0
    return jnp.where(valid[:, None], points[jnp.where(valid, chosen, 0)], 0.0), valid


def _lloyd(points, mask, centroids, valid, spherical):
    """One iteration: assign, then move each centroid to its cluster's mean [C, D].

    A cluster that lost all its points keeps its centroid. After a greedy start this is so rare that
    starting it anew at a far point gives no smaller inertia.
    """
    nearest, _ = _assign(points, centroids, valid)
    clusters = jnp.arange(centroids.shape[0])
    members = (nearest[:, None] == clusters[None, :]) & mask[:, None]  # [M, C]
    size = jnp.sum(members, axis=0)[:, None]
    means = _dot(members.astype(jnp.float32).T, points) / jnp.maximum(size, 1)
    means = jnp.where(size > 0, means, centroids)
    # Opposite points cancel to a mean without direction: their centroid stays where it is.
    return _to_sphere(means, centroids) if spherical else means


def _assign(points, centroids, valid):
    """The nearest valid centroid of each point and its squared distance: [M], [M]."""
    cross = _dot(points, centroids.T)  # [M, C]
    partial_distance = jnp.sum(centroids**2, axis=1)[None, :] - 2.0 * cross
    partial_distance = jnp.where(valid[None, :], partial_distance, jnp.inf)
    nearest = jnp.argmin(partial_distance, axis=1)
    squared_norm = jnp.sum(points**2, axis=1)
    return nearest, jnp.maximum(jnp.min(partial_distance, axis=1) + squared_norm, 0.0)


def _to_sphere(vectors, otherwise):
    """Each row scaled to unit norm, or the row of `otherwise` where it has no direction."""
    norm = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    directed = norm > 1e-6
    return jnp.where(directed, vectors / jnp.where(directed, norm, 1.0), otherwise)


def _dot(left, right):
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
