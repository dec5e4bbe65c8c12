"""Supervised contrastive losses over a batch and, beside it, several centroids a class.

Both losses are one quantity with different positives, computed by `_contrastive_loss`: every
embedding of the batch is an anchor, every other embedding and every valid centroid a candidate.
Similarities and log-sum-exp are a float32 island whatever dtype the embeddings come in, and they
ask for full float32 products, because an accelerator's default (TF32) is not enough at a small
temperature.
"""

import jax
import jax.numpy as jnp


def supervised_contrastive_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    temperature: float,
    centroids: jax.Array | None = None,
    centroid_mask: jax.Array | None = None,
    class_average: bool = False,
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

    Returns:
      The loss, a float32 scalar; 0 with zero gradients where no anchor has a positive.

    Raises:
      ValueError: shapes that do not fit together, or a mask without centroids.
    """
    _check_batch(embeddings, labels)
    positives = _other_than_self(labels[:, None] == labels[None, :])
    if centroids is None:
        if centroid_mask is not None:
            raise ValueError("centroid_mask was given without centroids; pass both or neither.")
        return _contrastive_loss(embeddings, labels, positives, temperature, class_average)
    centroids, mask = _constant_centroids(embeddings, centroids, centroid_mask)
    return _contrastive_loss(
        embeddings,
        labels,
        positives,
        temperature,
        class_average,
        centroids=centroids,
        mask=mask,
        target_sum=jnp.sum(centroids, axis=1)[labels],
        target_count=jnp.sum(mask, axis=1)[labels],
    )


def centroid_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    centroids: jax.Array,
    centroid_mask: jax.Array,
    *,
    temperature: float,
    class_average: bool = False,
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

    Returns:
      The loss, a float32 scalar; 0 with zero gradients where no class of the batch has a valid
      centroid.

    Raises:
      ValueError: shapes that do not fit together.
    """
    _check_batch(embeddings, labels)
    centroids, mask = _constant_centroids(embeddings, centroids, centroid_mask)
    subclasses = assign_subclasses(embeddings, labels, centroids, mask)
    assigned = subclasses >= 0
    same_label = labels[:, None] == labels[None, :]
    same_subclass = same_label & (subclasses[:, None] == subclasses[None, :]) & assigned[:, None]
    target = jnp.where(assigned[:, None], centroids[labels, jnp.maximum(subclasses, 0)], 0.0)
    return _contrastive_loss(
        embeddings,
        labels,
        _other_than_self(same_subclass),
        temperature,
        class_average,
        centroids=centroids,
        mask=mask,
        target_sum=target,
        target_count=assigned,
    )


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
    own, valid = centroids[labels], mask[labels]  # [N, C, D], [N, C]
    similarity = jnp.einsum(
        "nd,ncd->nc",
        jax.lax.stop_gradient(embeddings).astype(jnp.float32),
        own,
        precision=jax.lax.Precision.HIGHEST,
    )
    norm = jnp.linalg.norm(own, axis=-1)
    cosine = similarity / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny)
    nearest = jnp.argmax(jnp.where(valid, cosine, -jnp.inf), axis=1).astype(jnp.int32)
    return jnp.where(jnp.any(valid, axis=1), nearest, -1)


def _contrastive_loss(
    embeddings,  # [N, D]
    labels,  # [N]
    positives,  # [N, N] bool, False on the diagonal
    temperature,
    class_average,
    *,
    centroids=None,  # [K, C, D] float32, zero where invalid
    mask=None,  # [K, C] bool
    target_sum=None,  # [N, D] sum of each anchor's positive centroids
    target_count=None,  # [N] how many these are
):
    """Mean over anchors of log-sum-exp over candidates less the mean logit of the positives."""
    features = embeddings.astype(jnp.float32)
    anchors = features / temperature
    logits = _dot("nd,md->nm", anchors, features)
    positive_sum = jnp.sum(jnp.where(positives, logits, 0.0), axis=1)
    positive_count = jnp.sum(positives, axis=1)

    sample_shift, centroid_shift = 0.0, 0.0
    if class_average:
        sample_shift, centroid_shift = _log_candidate_counts(labels, mask)
    itself = jnp.eye(labels.shape[0], dtype=bool)
    blocks = [jnp.where(itself, -jnp.inf, logits - sample_shift)]
    if centroids is not None:
        # The positives' logits need only their sum: no gather from the [N, K, C] block.
        positive_sum += _dot("nd,nd->n", anchors, target_sum)
        positive_count += target_count
        centroid_logits = _dot("nd,kcd->nkc", anchors, centroids) - centroid_shift
        blocks.append(jnp.where(mask[None, :, :], centroid_logits, -jnp.inf))

    loss = _log_sum_exp(blocks) - positive_sum / jnp.maximum(positive_count, 1)
    counted = positive_count > 0
    return jnp.sum(jnp.where(counted, loss, 0.0)) / jnp.maximum(jnp.sum(counted), 1)


def _log_candidate_counts(labels, mask):
    """Log of the candidates of a candidate's class as its anchor sees them: [N, N], [N, K, 1].

    Subtracted from the logits, this turns each class's sum of exponentials into their mean. The
    anchor's own class counts one less, since the anchor is no candidate. A count of 0 belongs to no
    candidate at all and is clamped so that no infinity arises.
    """
    same = labels[:, None] == labels[None, :]
    of_label = jnp.sum(same, axis=1)
    if mask is not None:
        of_label += jnp.sum(mask, axis=1)[labels]
    own = _log_count(of_label - 1)[:, None]
    sample_shift = jnp.where(same, own, _log_count(of_label)[None, :])
    if mask is None:
        return sample_shift, None
    classes = jnp.arange(mask.shape[0])
    of_class = jnp.sum(mask, axis=1).at[labels].add(1)
    own_class = labels[:, None] == classes[None, :]
    centroid_shift = jnp.where(own_class, own, _log_count(of_class)[None, :])
    return sample_shift, centroid_shift[:, :, None]


def _log_count(count):
    return jnp.log(jnp.maximum(count, 1).astype(jnp.float32))


def _log_sum_exp(blocks):
    """Log-sum-exp of each row over several blocks [N, ...], without joining them.

    A row that is -inf throughout gives 0 with zero gradients; its anchor has no positive either.
    """
    maxima = [jnp.max(block, axis=_trailing(block), initial=-jnp.inf) for block in blocks]
    peak = maxima[0] if len(maxima) == 1 else jnp.maximum(*maxima)
    # Compared with -inf alone, so that a NaN of diverged training is passed on and not hidden.
    peak = jax.lax.stop_gradient(jnp.where(peak == -jnp.inf, 0.0, peak))
    total = sum(
        jnp.sum(jnp.exp(block - jnp.expand_dims(peak, _trailing(block))), axis=_trailing(block))
        for block in blocks
    )
    return jnp.log(jnp.where(total == 0.0, 1.0, total)) + peak


def _trailing(block):
    return tuple(range(1, block.ndim))


def _dot(subscripts, left, right):
    return jnp.einsum(subscripts, left, right, precision=jax.lax.Precision.HIGHEST)


def _other_than_self(pairs):
    return pairs & ~jnp.eye(pairs.shape[0], dtype=bool)


def _constant_centroids(embeddings, centroids, mask):
    """Check the centroids, cut their gradient, and zero the invalid ones (they may hold NaN)."""
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
    mask = mask.astype(bool)
    centroids = jnp.where(mask[:, :, None], centroids, 0).astype(jnp.float32)
    return jax.lax.stop_gradient(centroids), mask


def _check_batch(embeddings, labels):
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings have shape {embeddings.shape} and labels {labels.shape}; "
            "pass embeddings [N, D] with one label each, [N]."
        )
