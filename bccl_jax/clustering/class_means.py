"""Means and directions of every class: running ones under jit, or means of a whole split."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class ClassMeans:
    """The mean of what was seen of each class, and how much that was.

    Attributes:
      means: float32 [K, D]. Of a class of which nothing was seen it says nothing: it counts for
        nothing in `merged`.
      counts: int32 [K], embeddings that the mean is of.
    """

    means: jax.Array
    counts: jax.Array


def no_means(num_classes: int, dim: int) -> ClassMeans:
    """Nothing seen of any class; all means are 0.

    Args:
      num_classes: K.
      dim: D.

    Raises:
      ValueError: a size below 1.
    """
    if min(num_classes, dim) < 1:
        raise ValueError(f"got num_classes={num_classes}, dim={dim}; each must be at least 1.")
    return ClassMeans(
        jnp.zeros((num_classes, dim), jnp.float32), jnp.zeros((num_classes,), jnp.int32)
    )


def class_means(embeddings: jax.Array, labels: jax.Array, num_classes: int) -> ClassMeans:
    """The means of a batch.

    Args:
      embeddings: [N, D] floating; they enter without gradient.
      labels: [N] integer classes in [0, K).
      num_classes: K.

    Returns:
      The mean of each class; 0 of one that is not in the batch.

    Raises:
      ValueError: shapes that do not fit together.

    Examples:
      >>> embeddings = jnp.array([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0]])
      >>> found = class_means(embeddings, jnp.array([0, 0, 1]), num_classes=3)
      >>> found.means.tolist(), found.counts.tolist()
      ([[0.5, 0.5], [4.0, 4.0], [0.0, 0.0]], [2, 1, 0])
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings have shape {embeddings.shape} and labels {labels.shape}; "
            "pass embeddings [N, D] with one label each, [N]."
        )
    of_class = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)  # [N, K]
    embeddings = jax.lax.stop_gradient(embeddings).astype(jnp.float32)
    # A product and not a scatter, whose order of adding differs from run to run on a GPU; in an
    # accelerator's default precision means of unit vectors would be off by 0.001.
    sums = jnp.matmul(of_class.T, embeddings, precision=jax.lax.Precision.HIGHEST)
    counts = jnp.sum(of_class, axis=0)
    return ClassMeans(sums / jnp.maximum(counts, 1)[:, None], counts.astype(jnp.int32))


def merged(kept: ClassMeans, new: ClassMeans) -> ClassMeans:
    """The means of what two have seen, class by class.

    `mean = (1 - w) kept + w new` with `w = n_new / (n_kept + n_new)`: exactly the one where the
    other has seen nothing, and the kept one where neither has.

    Args:
      kept: one.
      new: another one, of the same classes.

    Returns:
      Their means weighted by their counts, and the sum of these.
    """
    counts = kept.counts + new.counts
    weight = (new.counts / jnp.maximum(counts, 1)).astype(jnp.float32)[:, None]
    return ClassMeans((1 - weight) * kept.means + weight * new.means, counts)


def means_of_split(
    embeddings: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each class over a split that lies on the host, however large it is.

    Args:
      embeddings: [N, D] floating.
      labels: [N] integer classes in [0, K).
      num_classes: K.

    Returns:
      float32 [K, D], summed in float64, 0 of a class without embeddings; and int64 [K], how many
      each is of.

    Raises:
      ValueError: shapes that do not fit together.
    """
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings have shape {embeddings.shape} and labels {labels.shape}; "
            "pass embeddings [N, D] with one label each, [N]."
        )
    counts = np.bincount(labels, minlength=num_classes)
    means = np.zeros((num_classes, embeddings.shape[1]), np.float32)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    for k in np.flatnonzero(counts):
        means[k] = embeddings[members[k]].mean(axis=0, dtype=np.float64)
    return means, counts


def followed_directions(
    directions: jax.Array, embeddings: jax.Array, labels: jax.Array, kept: float
) -> jax.Array:
    """Lets the direction of each class follow the mean of its embeddings in a batch.

    `d = unit(kept d + (1 - kept) unit(mean))`: the mean's direction at once for a class of which
    nothing was seen before, as it was for one that is not in the batch.

    Args:
      directions: float32 [K, D], of unit norm, or 0 for a class that was not seen yet.
      embeddings: [N, D] floating; they enter without gradient.
      labels: [N] integer classes in [0, K).
      kept: the share that stays, from 0 to below 1.

    Returns:
      float32 [K, D], of unit norm or 0.

    Raises:
      ValueError: shapes that do not fit together.
    """
    new = class_means(embeddings, labels, len(directions))
    moved = _unit(kept * directions + (1 - kept) * _unit(new.means))
    # A batch whose members cancel each other says nothing either.
    seen = (new.counts > 0)[:, None] & jnp.any(moved != 0, axis=1, keepdims=True)
    return jnp.where(seen, moved, directions)


def _unit(vectors):
    norm = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / jnp.where(norm > 0, norm, 1.0)
