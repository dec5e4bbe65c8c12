"""Supervised contrastive losses over a batch and, beside it, several centroids a class.

The losses are one quantity with different positives: every embedding of the batch is an anchor,
every other embedding and every valid centroid a candidate. `candidates.py` compares them.
"""

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh

from bccl_jax.losses.candidates import compare
from bccl_jax.losses.denominators import Average
from bccl_jax.losses.subclasses import assign_subclasses

__all__ = [
    "assign_subclasses",
    "balanced_contrastive_loss",
    "centroid_loss",
    "complement_and_centroid_loss",
    "supervised_contrastive_loss",
]


def supervised_contrastive_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    temperature: float,
    centroids: jax.Array | None = None,
    centroid_mask: jax.Array | None = None,
    class_average: bool = False,
    one_view_counts: bool = False,
    chunk_size: int | None = None,
    mesh: Mesh | AbstractMesh | None = None,
    learned: bool = False,
) -> jax.Array:
    """Supervised contrastive loss (Eq. 2), with centroids the class complement (Eq. 6).

    The positives of an anchor are the other embeddings of its label and, with centroids, the valid
    centroids of its own class. The loss is averaged over the positives, then over the anchors that
    have any. Centroids are never anchors, and carry no gradient unless they are learned. With a
    mask that is all False the value is that of the same call without centroids.

    Args:
      embeddings: [N, D] floating, of unit norm; both contrastive views of a batch.
      labels: [N] integer classes, in [0, K) where centroids are given.
      temperature: what the similarities are divided by, positive.
      centroids: [K, C, D] of unit norm, or None for Eq. 2.
      centroid_mask: [K, C] bool, which centroids are valid; None where all are. What the others
        hold is never read.
      class_average: average the exponentials of the denominator within each class over that
        class's candidates (the anchor itself is not one), then sum over the classes present, as
        in "Balanced Contrastive Learning for Long-Tailed Visual Recognition" (2022).
      one_view_counts: for that average count the embeddings of one of the batch's two views alone,
        as the code released with Kim & Ko 2025 does: an exponential of class k is divided by the
        n_k labels of one view (and the centroids of k, if any), less 1 where it is one of the
        anchor's positives, and by 1 where that leaves nothing. Unused without `class_average`.
      chunk_size: classes whose centroid logits are in memory at a time, on each device; None for
        all. The backward pass computes them once more.
      mesh: of one axis, over whose devices the classes of the centroids are split; K must be a
        multiple of their number. None where each device has all of them.
      learned: whether the centroids carry a gradient.

    Returns:
      The loss, a float32 scalar; 0 with zero gradients where no anchor has a positive.

    Raises:
      ValueError: shapes that do not fit together, a mask without centroids, a chunk below 1, an
        odd N with `one_view_counts`, or a mesh that does not divide the classes.

    Examples:
      Two classes on opposite sides of the circle have nearly no loss. The same embeddings with
      mixed labels have a large one:

      >>> embeddings = jnp.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
      >>> loss = jax.jit(lambda y: supervised_contrastive_loss(embeddings, y, temperature=0.5))
      >>> apart, mixed = loss(jnp.array([0, 0, 1, 1])), loss(jnp.array([0, 1, 0, 1]))
      >>> print(round(float(apart), 3), round(float(mixed), 3))
      0.036 4.036
    """
    if centroids is None and centroid_mask is not None:
        raise ValueError("centroid_mask was given without centroids; pass both or neither.")
    bank = None if centroids is None else (centroids, centroid_mask)
    average = Average(class_average, one_view_counts)
    return _class_loss(
        compare(embeddings, labels, temperature, bank, average, chunk_size, mesh, learned)
    )


def balanced_contrastive_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    prototypes: jax.Array,
    *,
    temperature: float,
    chunk_size: int | None = None,
) -> jax.Array:
    """Balanced contrastive loss of "Balanced Contrastive Learning ..." (Zhu et al. 2022), Eq. 5.

    Supervised contrast with one prototype a class, which every anchor has among its candidates and
    that of its own class among its positives. The exponentials of the denominator are averaged
    within each class over that class's candidates, its prototype among them and the anchor not,
    and summed over all K classes. It is `supervised_contrastive_loss` with `class_average` and one
    centroid a class, but that prototypes are learned: their gradient is that of the loss.

    Args:
      embeddings: [N, D] floating, of unit norm; both contrastive views of a batch.
      labels: [N] integer classes in [0, K).
      prototypes: [K, D] floating, of unit norm.
      temperature: what the similarities are divided by, positive.
      chunk_size: classes whose logits are in memory at a time; None for all.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together, or a chunk below 1.
    """
    if prototypes.ndim != 2:
        raise ValueError(f"prototypes have shape {prototypes.shape}; pass one a class, [K, D].")
    bank, average = (prototypes[:, None, :], None), Average(True, False)
    return _class_loss(
        compare(embeddings, labels, temperature, bank, average, chunk_size, None, learned=True)
    )


def centroid_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    centroids: jax.Array,
    centroid_mask: jax.Array,
    *,
    temperature: float,
    class_average: bool = False,
    one_view_counts: bool = False,
    chunk_size: int | None = None,
    mesh: Mesh | AbstractMesh | None = None,
) -> jax.Array:
    """Centroid loss (Eq. 5): each anchor is drawn to its subclass.

    The candidates are those of the class complement (Eq. 6). The positives of an anchor are the
    other embeddings of its subclass (`assign_subclasses`) and the centroid of that subclass.
    Anchors whose class has no valid centroid do not enter the mean. Centroids carry no gradient.

    Args:
      embeddings: [N, D] floating, of unit norm; both contrastive views of a batch.
      labels: [N] integer classes in [0, K).
      centroids: [K, C, D] of unit norm.
      centroid_mask: [K, C] bool, which centroids are valid. What the others hold is never read.
      temperature: what the similarities are divided by, positive.
      class_average: as in `supervised_contrastive_loss`; the average is taken within classes, not
        within subclasses.
      one_view_counts: as in `supervised_contrastive_loss`.
      chunk_size: as in `supervised_contrastive_loss`.
      mesh: as in `supervised_contrastive_loss`.

    Returns:
      The loss, a float32 scalar; 0 with zero gradients where no class of the batch has a valid
      centroid.

    Raises:
      ValueError: shapes that do not fit together, a chunk below 1, or a mesh that does not divide
        the classes.

    Examples:
      >>> embeddings = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
      >>> centroids = jnp.array([[[1.0, 0.0]], [[-1.0, 0.0]]])  # one a class
      >>> there = jnp.ones((2, 1), bool)
      >>> labels = jnp.array([0, 1])
      >>> loss = jax.jit(lambda z: centroid_loss(z, labels, centroids, there, temperature=0.5))
      >>> print(round(float(loss(embeddings)), 3), round(float(loss(-embeddings)), 3))
      0.036 4.036
    """
    bank = centroids, centroid_mask
    average = Average(class_average, one_view_counts)
    return _subclass_loss(compare(embeddings, labels, temperature, bank, average, chunk_size, mesh))


def complement_and_centroid_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    centroids: jax.Array,
    centroid_mask: jax.Array,
    *,
    temperature: float,
    class_average: bool = False,
    one_view_counts: bool = False,
    chunk_size: int | None = None,
    mesh: Mesh | AbstractMesh | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The class complement (Eq. 6) and the centroid loss (Eq. 5) of the same candidates.

    Their denominators are the same, and so is most of the work. Of the two functions apart XLA
    shares the forward pass alone: they take three products with all centroids where this takes
    two, and in chunks five instead of three.

    Args:
      embeddings: as in `centroid_loss`, like all that follows.
      labels: [N] integer classes in [0, K).
      centroids: [K, C, D] of unit norm.
      centroid_mask: [K, C] bool.
      temperature: of both losses.
      class_average: of both losses.
      one_view_counts: of both losses.
      chunk_size: classes whose centroid logits are in memory at a time.
      mesh: over which the classes are split.

    Returns:
      What `supervised_contrastive_loss` with these centroids and `centroid_loss` return.

    Raises:
      ValueError: shapes that do not fit together, a chunk below 1, or a mesh that does not divide
        the classes.
    """
    bank = centroids, centroid_mask
    average = Average(class_average, one_view_counts)
    candidates = compare(embeddings, labels, temperature, bank, average, chunk_size, mesh)
    return _class_loss(candidates), _subclass_loss(candidates)


def _class_loss(candidates):
    """Eq. 2 and 6: the positives are of the anchor's class."""
    own = candidates.own
    if own is None:
        return _mean_over_anchors(candidates, candidates.same_label, None, 0)
    return _mean_over_anchors(candidates, candidates.same_label, own.logit_sum, own.count)


def _subclass_loss(candidates):
    """Eq. 5: the positives are of the anchor's subclass."""
    subclass, assigned = candidates.own.subclass, candidates.own.subclass > 0
    same_subclass = candidates.same_label & (subclass[:, None] == subclass[None, :])
    return _mean_over_anchors(
        candidates, same_subclass & assigned[:, None], candidates.own.subclass_logit, assigned
    )


def _mean_over_anchors(candidates, positives, centroid_logit_sum, centroid_count):
    """Mean over anchors of the log-denominator less the mean logit of the positives."""
    positives = positives & ~jnp.eye(positives.shape[0], dtype=bool)
    positive_sum = jnp.sum(jnp.where(positives, candidates.logits, 0.0), axis=1)
    positive_count = jnp.sum(positives, axis=1) + centroid_count
    if centroid_logit_sum is not None:
        positive_sum += centroid_logit_sum
    loss = candidates.log_denominator - positive_sum / jnp.maximum(positive_count, 1)
    # An anchor without candidates, whose log-denominator is -inf, has no positive either.
    counted = positive_count > 0
    return jnp.sum(jnp.where(counted, loss, 0.0)) / jnp.maximum(jnp.sum(counted), 1)
