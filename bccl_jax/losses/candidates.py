"""Comparing a batch with all its candidates: itself and, beside it, several centroids a class.

Similarities and log-sum-exp are a float32 island whatever dtype the embeddings come in.

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
from bccl_jax.losses.denominators import Average, log_count, log_sum_exp
from bccl_jax.losses.subclasses import (
    check_batch,
    check_centroids,
    dot,
    nearest_own,
    own_centroids,
    valid,
)


class OwnTerms(NamedTuple):
    """What the anchors have of the valid centroids of their classes; zeros where there is none.

    Attributes:
      count: [N], how many these are.
      logit_sum: [N].
      subclass: int32 [N], the nearest one, counted from 1.
      subclass_logit: [N].
    """

    count: jax.Array
    logit_sum: jax.Array
    subclass: jax.Array
    subclass_logit: jax.Array


class Candidates(NamedTuple):
    """All that the losses need of a batch; they differ in the positives.

    Attributes:
      logits: [N, N].
      same_label: [N, N] bool.
      log_denominator: [N], -inf for an anchor without any candidate.
      own: None without centroids.
    """

    logits: jax.Array
    same_label: jax.Array
    log_denominator: jax.Array
    own: OwnTerms | None


def compare(
    embeddings: jax.Array,
    labels: jax.Array,
    temperature: float,
    bank: tuple[jax.Array, jax.Array | None] | None,
    average: Average,
    chunk_size: int | None,
    mesh: Mesh | AbstractMesh | None,
    learned: bool = False,
) -> Candidates:
    """Compares a batch with itself and with the centroids.

    Args:
      embeddings: [N, D] floating, of unit norm.
      labels: [N] integer classes.
      temperature: what the similarities are divided by.
      bank: centroids [K, C, D] and the mask [K, C] of the valid ones, None where all are; None for
        the batch alone.
      average: of the denominators.
      chunk_size: classes whose centroid logits are in memory at a time; None for all.
      mesh: over whose devices the classes are split; None for no split.
      learned: whether the centroids carry a gradient.

    Returns:
      The candidates of each embedding, in float32.

    Raises:
      ValueError: shapes that do not fit together, a chunk below 1, an odd N where the views are
        counted, or a mesh that does not divide the classes.
    """
    check_batch(embeddings, labels)
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; it must be at least 1, or None.")
    if average.within_classes and average.one_view_counts and len(labels) % 2:
        raise ValueError(
            f"one_view_counts was given with {len(labels)} embeddings; pass both views of a batch."
        )
    features, labels = embeddings.astype(jnp.float32), labels.astype(jnp.int32)
    anchors = features / temperature
    logits = dot("nd,md->nm", anchors, features)
    same_label = labels[:, None] == labels[None, :]
    own, bank_block = None, []
    if bank is not None:
        centroids, mask = check_centroids(embeddings, *bank)
        own, block = _centroid_candidates(
            jax.lax.stop_gradient(features),
            anchors,
            labels,
            centroids if learned else jax.lax.stop_gradient(centroids),
            mask,
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
            same_label, log_count(of_label - 1)[:, None], log_count(of_label)[None, :]
        )
    itself = jnp.eye(labels.shape[0], dtype=bool)
    batch_block = jnp.where(itself, -jnp.inf, logits - shift)
    return Candidates(logits, same_label, log_sum_exp([batch_block, *bank_block]), own)


def _centroid_candidates(features, anchors, labels, centroids, mask, *, average, chunk_size, mesh):
    """Compare with the centroids: `OwnTerms`, and logits [N, ...] or their log-sum-exps."""
    options = {"average": average, "chunk_size": chunk_size}
    if mesh is None:
        return _compare_classes(features, anchors, labels, centroids, mask, **options, axis=None)
    mesh, axis = class_mesh(mask.shape[0], mesh)
    whole, split = PartitionSpec(), PartitionSpec(axis)
    # Left to itself, XLA's partitioner sends all centroids to every device where it thinks that
    # cheap, and reduces between devices within the loop over chunks.
    return jax.shard_map(
        partial(_compare_classes, **options, axis=axis),
        mesh=mesh,
        in_specs=(whole, whole, whole, split, split),
        out_specs=(whole, PartitionSpec(None, axis)),
    )(features, anchors, labels, centroids, mask)


def _compare_classes(features, anchors, labels, centroids, mask, *, average, chunk_size, axis):
    """`_centroid_candidates` of the classes of one device, of all where `axis` is None."""
    num_classes, first_class = mask.shape[0], 0
    if axis is not None:
        first_class = jax.lax.axis_index(axis) * num_classes
        # Here and not where they are used, so that their gradient is summed over devices once.
        anchors = jax.lax.pcast(anchors, axis, to="varying")
    own, own_mask = own_centroids(labels - first_class, centroids, mask)
    nearest = nearest_own(features, own, own_mask)
    index = jnp.maximum(nearest - 1, 0)[:, None, None]
    terms = OwnTerms(
        count=jnp.sum(own_mask, axis=1),
        logit_sum=dot("nd,nd->n", anchors, jnp.sum(own, axis=1)),
        subclass=nearest,
        subclass_logit=dot("nd,nd->n", anchors, jnp.take_along_axis(own, index, axis=1)[:, 0]),
    )
    if axis is not None:
        # Every class is on one device, and the terms are zero on the others.
        terms = jax.lax.psum(terms, axis)
    own_shift = None
    if average.within_classes:
        of_label = average.members(labels[:, None] == labels[None, :])
        own_shift = log_count(of_label + terms.count - 1)
    arguments = average, anchors, labels, own_shift, centroids, mask, first_class
    if chunk_size is not None and chunk_size < num_classes:
        return terms, _chunked_log_sum_exp(*arguments, chunk_size)
    block = _centroid_logits(*arguments)
    return terms, block if axis is None else log_sum_exp([block])[:, None]


def _centroid_logits(average, anchors, labels, own_shift, centroids, mask, first_class):
    """Logits of the centroids of the classes from `first_class` on: [N, K, C], -inf where invalid.

    For a class average the log of each class's number of candidates is subtracted, which turns its
    sum of exponentials into their mean. The anchor's own class has one candidate less, the anchor
    itself: `own_shift` [N], None for no average.
    """
    logits = dot("nd,kcd->nkc", anchors, valid(centroids, mask))
    if own_shift is not None:
        classes = first_class + jnp.arange(mask.shape[0])
        own_class = labels[:, None] == classes[None, :]
        of_class = jnp.sum(mask, axis=1) + average.members(own_class, axis=0)
        shift = jnp.where(own_class, own_shift[:, None], log_count(of_class)[None, :])
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
        return log_sum_exp(
            [
                _centroid_logits(
                    average, anchors, labels, own_shift, chunk, chunk_mask, first_class + begin
                )
            ]
        )

    starts = jnp.arange(0, num_classes, chunk_size)
    # Within a loop nothing can be shared with the forward pass, so `prevent_cse` only costs.
    return jax.lax.map(jax.checkpoint(of_chunk, prevent_cse=False), starts).T
