"""Supervised contrastive losses over a batch and, beside it, several centroids a class.

The losses are one quantity with different positives: every embedding of the batch is an anchor,
every other embedding and every valid centroid a candidate. Similarities and log-sum-exp are a
float32 island whatever dtype the embeddings come in, and they ask for full float32 products,
because an accelerator's default (TF32) is not enough at a small temperature.

With many classes the logits of the centroids, [N, K, C], are what takes the memory. `chunk_size`
bounds it, at the price of computing them again in the backward pass; `mesh` splits the classes, and
with them the centroids and their logits, over devices.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from bccl_jax.clustering.sharded import class_mesh


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
) -> jax.Array:
    """Supervised contrastive loss (Eq. 2), with centroids the class complement (Eq. 6).

    The positives of an anchor are the other embeddings of its label and, with centroids, the valid
    centroids of its own class. The loss is averaged over the positives, then over the anchors that
    have any. Centroids are never anchors and carry no gradient. With a mask that is all False the
    value is that of the same call without centroids.

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

    Returns:
      The loss, a float32 scalar; 0 with zero gradients where no anchor has a positive.

    Raises:
      ValueError: shapes that do not fit together, a mask without centroids, a chunk below 1, an
        odd N with `one_view_counts`, or a mesh that does not divide the classes.
    """
    if centroids is None and centroid_mask is not None:
        raise ValueError("centroid_mask was given without centroids; pass both or neither.")
    bank = None if centroids is None else (centroids, centroid_mask)
    average = _Average(class_average, one_view_counts)
    return _class_loss(
        _candidates(embeddings, labels, temperature, bank, average, chunk_size, mesh)
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
    """
    bank = centroids, centroid_mask
    average = _Average(class_average, one_view_counts)
    return _subclass_loss(
        _candidates(embeddings, labels, temperature, bank, average, chunk_size, mesh)
    )


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
    average = _Average(class_average, one_view_counts)
    candidates = _candidates(embeddings, labels, temperature, bank, average, chunk_size, mesh)
    return _class_loss(candidates), _subclass_loss(candidates)


def assign_subclasses(
    embeddings: jax.Array, labels: jax.Array, centroids: jax.Array, centroid_mask: jax.Array
) -> jax.Array:
    """The valid centroid of its own class that each embedding has the largest cosine with.

    Args:
      embeddings: [N, D] floating.
      labels: [N] integer classes in [0, K).
      centroids: [K, C, D], of any norm.
      centroid_mask: [K, C] bool, which centroids are valid.

    Returns:
      int32 [N] in [0, C), the first of equals; -1 where the class has no valid centroid.

    Raises:
      ValueError: shapes that do not fit together.
    """
    _check_batch(embeddings, labels)
    centroids, mask = _constant_centroids(embeddings, centroids, centroid_mask)
    own, own_mask = _own(labels.astype(jnp.int32), centroids, mask)
    features = jax.lax.stop_gradient(embeddings).astype(jnp.float32)
    return _nearest(features, own, own_mask) - 1


class _Average(NamedTuple):
    """Whether denominators are averaged within classes, and what counts as a class's member."""

    within_classes: bool
    one_view_counts: bool

    def members(self, of_class, axis=1):
        """How many embeddings of the batch a class has, from a mask of them."""
        return jnp.sum(of_class, axis=axis) / (2 if self.one_view_counts else 1)


class _OwnTerms(NamedTuple):
    """What the anchors have of the valid centroids of their classes; zeros where there is none."""

    count: jax.Array  # [N] how many these are
    logit_sum: jax.Array  # [N]
    subclass: jax.Array  # int32 [N], the nearest one, counted from 1
    subclass_logit: jax.Array  # [N]


class _Candidates(NamedTuple):
    """All that the losses need of a batch; they differ in the positives."""

    logits: jax.Array  # [N, N]
    same_label: jax.Array  # [N, N] bool
    log_denominator: jax.Array  # [N], -inf for an anchor without any candidate
    own: _OwnTerms | None  # None without centroids


def _candidates(embeddings, labels, temperature, bank, average, chunk_size, mesh):
    """Compare the batch with itself and with the bank, (centroids, mask) or None."""
    _check_batch(embeddings, labels)
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; it must be at least 1, or None.")
    if average.within_classes and average.one_view_counts and len(labels) % 2:
        raise ValueError(
            f"one_view_counts was given with {len(labels)} embeddings; pass both views of a batch."
        )
    features, labels = embeddings.astype(jnp.float32), labels.astype(jnp.int32)
    anchors = features / temperature
    logits = _dot("nd,md->nm", anchors, features)
    same_label = labels[:, None] == labels[None, :]
    own, bank_block = None, []
    if bank is not None:
        own, block = _centroid_candidates(
            jax.lax.stop_gradient(features),
            anchors,
            labels,
            *_constant_centroids(embeddings, *bank),
            average=average,
            chunk_size=chunk_size,
            mesh=mesh,
        )
        bank_block = [block]
    shift = 0.0
    if average.within_classes:
        of_label = average.members(same_label)
        if own is not None:
            of_label += own.count
        shift = jnp.where(
            same_label, _log_count(of_label - 1)[:, None], _log_count(of_label)[None, :]
        )
    itself = jnp.eye(labels.shape[0], dtype=bool)
    batch_block = jnp.where(itself, -jnp.inf, logits - shift)
    return _Candidates(logits, same_label, _log_sum_exp([batch_block, *bank_block]), own)


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


def _centroid_candidates(features, anchors, labels, centroids, mask, *, average, chunk_size, mesh):
    """Compare with the centroids: `_OwnTerms`, and logits [N, ...] or their log-sum-exps."""
    options = {"average": average, "chunk_size": chunk_size}
    if mesh is None:
        return _compare(features, anchors, labels, centroids, mask, **options, axis=None)
    mesh, axis = class_mesh(mask.shape[0], mesh)
    whole, split = PartitionSpec(), PartitionSpec(axis)
    # Left to itself, XLA's partitioner sends all centroids to every device where it thinks that
    # cheap, and reduces between devices within the loop over chunks.
    return jax.shard_map(
        partial(_compare, **options, axis=axis),
        mesh=mesh,
        in_specs=(whole, whole, whole, split, split),
        out_specs=(whole, PartitionSpec(None, axis)),
    )(features, anchors, labels, centroids, mask)


def _compare(features, anchors, labels, centroids, mask, *, average, chunk_size, axis):
    """`_centroid_candidates` of the classes of one device, of all where `axis` is None."""
    num_classes, first_class = mask.shape[0], 0
    if axis is not None:
        first_class = jax.lax.axis_index(axis) * num_classes
        # Here and not where they are used, so that their gradient is summed over devices once.
        anchors = jax.lax.pcast(anchors, axis, to="varying")
    own, own_mask = _own(labels - first_class, centroids, mask)
    nearest = _nearest(features, own, own_mask)
    index = jnp.maximum(nearest - 1, 0)[:, None, None]
    terms = _OwnTerms(
        count=jnp.sum(own_mask, axis=1),
        logit_sum=_dot("nd,nd->n", anchors, jnp.sum(own, axis=1)),
        subclass=nearest,
        subclass_logit=_dot("nd,nd->n", anchors, jnp.take_along_axis(own, index, axis=1)[:, 0]),
    )
    if axis is not None:
        # Every class is on one device, and the terms are zero on the others.
        terms = jax.lax.psum(terms, axis)
    own_shift = None
    if average.within_classes:
        of_label = average.members(labels[:, None] == labels[None, :])
        own_shift = _log_count(of_label + terms.count - 1)
    arguments = average, anchors, labels, own_shift, centroids, mask, first_class
    if chunk_size is not None and chunk_size < num_classes:
        return terms, _chunked_log_sum_exp(*arguments, chunk_size)
    block = _centroid_logits(*arguments)
    return terms, block if axis is None else _log_sum_exp([block])[:, None]


def _own(labels, centroids, mask):
    """The centroids of each label, zero where invalid or no class here, and their mask."""
    here = (labels >= 0) & (labels < mask.shape[0])
    labels = jnp.where(here, labels, 0)
    own_mask = mask[labels] & here[:, None]
    return _valid(centroids[labels], own_mask), own_mask  # [N, C, D], [N, C]


def _nearest(features, own, own_mask):
    """The valid own centroid of the largest cosine, counted from 1; 0 without any: int32 [N]."""
    similarity = _dot("nd,ncd->nc", features, own)
    norm = jnp.linalg.norm(own, axis=-1)
    cosine = similarity / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny)
    nearest = jnp.argmax(jnp.where(own_mask, cosine, -jnp.inf), axis=1).astype(jnp.int32)
    return jnp.where(jnp.any(own_mask, axis=1), nearest + 1, 0)


def _centroid_logits(average, anchors, labels, own_shift, centroids, mask, first_class):
    """Logits of the centroids of the classes from `first_class` on: [N, K, C], -inf where invalid.

    For a class average the log of each class's number of candidates is subtracted, which turns its
    sum of exponentials into their mean. The anchor's own class has one candidate less, the anchor
    itself: `own_shift` [N], None for no average.
    """
    logits = _dot("nd,kcd->nkc", anchors, _valid(centroids, mask))
    if own_shift is not None:
        classes = first_class + jnp.arange(mask.shape[0])
        own_class = labels[:, None] == classes[None, :]
        of_class = jnp.sum(mask, axis=1) + average.members(own_class, axis=0)
        shift = jnp.where(own_class, own_shift[:, None], _log_count(of_class)[None, :])
        logits -= shift[:, :, None]
    return jnp.where(mask[None, :, :], logits, -jnp.inf)


def _chunked_log_sum_exp(
    average, anchors, labels, own_shift, centroids, mask, first_class, chunk_size
):
    """Log-sum-exp over the centroids of one chunk of classes after another: [N, chunks]."""
    num_classes = mask.shape[0]

    def of_chunk(start):
        # No padding, which would copy all centroids: the last chunk reaches back to be whole, and
        # leaves out what the one before has counted.
        begin = jnp.minimum(start, num_classes - chunk_size)
        chunk = jax.lax.dynamic_slice_in_dim(centroids, begin, chunk_size)
        chunk_mask = jax.lax.dynamic_slice_in_dim(mask, begin, chunk_size)
        chunk_mask &= (begin + jnp.arange(chunk_size) >= start)[:, None]
        return _log_sum_exp(
            [
                _centroid_logits(
                    average, anchors, labels, own_shift, chunk, chunk_mask, first_class + begin
                )
            ]
        )

    starts = jnp.arange(0, num_classes, chunk_size)
    # Within a loop nothing can be shared with the forward pass, so `prevent_cse` only costs.
    return jax.lax.map(jax.checkpoint(of_chunk, prevent_cse=False), starts).T


def _log_count(count):
    """Log of a number of candidates; 0 belongs to none and is clamped, lest infinities arise."""
    return jnp.log(jnp.maximum(count, 1).astype(jnp.float32))


def _log_sum_exp(blocks):
    """Log-sum-exp of each row over several blocks [N, ...], without joining them.

    A row that is -inf throughout gives -inf with zero gradients.
    """
    maxima = [jnp.max(block, axis=_trailing(block), initial=-jnp.inf) for block in blocks]
    peak = maxima[0] if len(maxima) == 1 else jnp.maximum(*maxima)
    # Compared with -inf alone, so that a NaN of diverged training is passed on and not hidden.
    peak = jax.lax.stop_gradient(jnp.where(peak == -jnp.inf, 0.0, peak))
    total = sum(
        jnp.sum(jnp.exp(block - jnp.expand_dims(peak, _trailing(block))), axis=_trailing(block))
        for block in blocks
    )
    empty = total == 0.0
    return jnp.where(empty, -jnp.inf, jnp.log(jnp.where(empty, 1.0, total)) + peak)


def _trailing(block):
    return tuple(range(1, block.ndim))


def _dot(subscripts, left, right):
    return jnp.einsum(subscripts, left, right, precision=jax.lax.Precision.HIGHEST)


def _valid(centroids, mask):
    """In float32, zero where invalid: these may hold NaN."""
    return jnp.where(mask[..., None], centroids, 0).astype(jnp.float32)


def _constant_centroids(embeddings, centroids, mask):
    """Check the centroids and cut their gradient."""
    if centroids.ndim != 3 or centroids.shape[2] != embeddings.shape[1]:
        raise ValueError(
            f"centroids have shape {centroids.shape} and embeddings {embeddings.shape}; "
            "pass centroids [K, C, D] for embeddings [N, D]."
        )
    if mask is None:
        mask = jnp.ones(centroids.shape[:2], dtype=bool)
    if mask.shape != centroids.shape[:2]:
        raise ValueError(
            f"centroid_mask has shape {mask.shape} and centroids {centroids.shape}; "
            "pass a mask [K, C] for centroids [K, C, D]."
        )
    return jax.lax.stop_gradient(jnp.asarray(centroids)), jnp.asarray(mask, bool)


def _check_batch(embeddings, labels):
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings have shape {embeddings.shape} and labels {labels.shape}; "
            "pass embeddings [N, D] with one label each, [N]."
        )
