"""Running covariances of the features of every class, of fixed shape and renewed under jit."""

import flax.struct
import jax
import jax.numpy as jnp

from bccl_jax.clustering.class_means import ClassMeans, class_means, merged, no_means

# An accelerator's default (TF32) would round what the sums are of to three digits.
_EXACT = jax.lax.Precision.HIGHEST


@flax.struct.dataclass
class ClassCovariances:
    """Mean and covariance of what was seen of each class.

    The covariances are over all that was seen, divided by its number and not by one less.

    Attributes:
      means: of the features, and how many there were.
      covariances: float32 [K, D, D], or [K, D] of variances alone; 0 of a class of which nothing
        or one feature was seen.
    """

    means: ClassMeans
    covariances: jax.Array


def no_covariances(num_classes: int, dim: int, diagonal: bool = False) -> ClassCovariances:
    """Nothing seen of any class; all means and covariances are 0.

    Args:
      num_classes: K.
      dim: D.
      diagonal: whether variances are kept alone.

    Raises:
      ValueError: a size below 1.
    """
    means = no_means(num_classes, dim)
    shape = (num_classes, dim) if diagonal else (num_classes, dim, dim)
    return ClassCovariances(means, jnp.zeros(shape, jnp.float32))


def class_covariances(
    features: jax.Array, labels: jax.Array, num_classes: int, diagonal: bool = False
) -> ClassCovariances:
    """The means and covariances of a batch.

    Args:
      features: [N, D] floating; they enter without gradient.
      labels: [N] integer classes in [0, K).
      num_classes: K.
      diagonal: whether variances are wanted alone.

    Returns:
      Those of each class; 0 of one that is not in the batch.

    Raises:
      ValueError: shapes that do not fit together.
    """
    means = class_means(features, labels, num_classes)
    of_class = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)  # [N, K]
    features = jax.lax.stop_gradient(features).astype(jnp.float32)
    # Differences before squares: of features far from 0 a difference of squares has no digits left.
    centred = features - jnp.matmul(of_class, means.means, precision=_EXACT)
    if diagonal:
        sums = jnp.matmul(of_class.T, centred**2, precision=_EXACT)
    else:
        sums = jnp.einsum("nk,nd,ne->kde", of_class, centred, centred, precision=_EXACT)
    counts = _beside(jnp.maximum(means.counts, 1), sums)
    return ClassCovariances(means, sums / counts)


def merged_covariances(kept: ClassCovariances, new: ClassCovariances) -> ClassCovariances:
    """Those of what two have seen, class by class (Chan, Golub & LeVeque 1979).

    With `w = n_new / (n_kept + n_new)` and the difference d of the means it is
    `(1 - w) kept + w new + w (1 - w) d d'`: exactly the one where the other has seen nothing, and
    the kept one where neither has.

    Args:
      kept: one.
      new: another one, of the same classes, both with variances alone or both without.

    Returns:
      The means and covariances over both.
    """
    counts = kept.means.counts + new.means.counts
    weight = _beside(new.means.counts / jnp.maximum(counts, 1), kept.covariances)
    weight = weight.astype(jnp.float32)
    apart = new.means.means - kept.means.means
    if kept.covariances.ndim == 2:
        between = apart**2
    else:
        between = apart[:, :, None] * apart[:, None, :]
    covariances = (1 - weight) * kept.covariances + weight * new.covariances
    return ClassCovariances(
        merged(kept.means, new.means), covariances + weight * (1 - weight) * between
    )


def _beside(of_class, like):
    """One number a class, [K], to be multiplied with arrays of each."""
    return of_class.reshape(-1, *(1 for _ in like.shape[1:]))
