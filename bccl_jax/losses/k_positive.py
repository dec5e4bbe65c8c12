"""K-positive contrast: an anchor's positives are its own key and a few of its class (KCL, TSC).

What is a candidate and what a positive comes as masks, [N, M] for N anchors and M keys, so that the
loss knows nothing of queues and draws nothing. Memory is a few arrays of that shape, never
[N, M, D].
"""

import jax
import jax.numpy as jnp

from bccl_jax.losses.denominators import log_sum_exp
from bccl_jax.losses.subclasses import dot


def k_positive_contrastive_loss(
    anchors: jax.Array,
    own_keys: jax.Array,
    keys: jax.Array,
    *,
    candidates: jax.Array,
    positives: jax.Array,
    temperature: float,
    targets: jax.Array | None = None,
    own_targets: jax.Array | None = None,
    target_candidates: jax.Array | None = None,
    target_weight: float = 0.0,
) -> jax.Array:
    """The loss of KCL (Kang et al. 2021) and, with targets, of TSC (Li et al. 2022).

    With v_j = z_i . x_j / temperature, where x_j is the anchor's own key, one of its other
    candidates or a target,

        D_i = exp(v_own) + sum_{j candidate} exp(v_j) + sum_{t target} exp(v_t)
        loss_i = - (log(exp(v_own) / D_i) + sum_{j in P(i)} log(exp(v_j) / D_i)
                    + w sum_{t in T(i)} log(exp(v_t) / D_i)) / (1 + |P(i)| + |T(i)|)

    and the loss is the mean over the anchors. A key of the anchor's class that was not drawn as a
    positive stays a candidate: it is in D_i alone. A target counts as one of the positives whatever
    its weight w, as in the authors' code. With w = 0 targets are left out altogether, which makes
    it KCL; where P(i) are all keys of the class it is supervised contrast.

    Args:
      anchors: [N, D] floating, of unit norm.
      own_keys: [N, D], of another view of each anchor's image. Gradients go into them, and into
        `keys`; cut those that should not.
      keys: [M, D], further candidates; M may be 0.
      candidates: bool [N, M], which keys an anchor is compared with; its own key is none of them.
        A key that is no anchor's candidate is never read.
      positives: bool [N, M]; those that are no candidates do not count.
      temperature: what the similarities are divided by, positive.
      targets: [T, D] of unit norm, candidates of every anchor; None for none.
      own_targets: bool [N, T], which targets an anchor is drawn to; given with `targets`.
      target_candidates: bool [T], which targets there are; None for all. The others are never read.
      target_weight: w, a number and no array.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together, or a weight below 0.
    """
    _check(anchors, own_keys, keys, candidates, positives)
    if target_weight < 0:
        raise ValueError(f"target_weight is {target_weight}; it may not be below 0.")
    scaled = anchors.astype(jnp.float32) / temperature
    own = dot("nd,nd->n", scaled, own_keys.astype(jnp.float32))
    similarities = _compare(scaled, keys, jnp.any(candidates, axis=0))
    blocks = [own[:, None], jnp.where(candidates, similarities, -jnp.inf)]
    positives = positives & candidates
    positive_sum = own + jnp.sum(jnp.where(positives, similarities, 0.0), axis=1)
    # Of log D_i each positive takes its weight, and the mean goes by their number.
    weight = 1 + jnp.sum(positives, axis=1)
    number = weight
    if target_weight and targets is not None:
        there, own_targets = _check_targets(anchors, targets, own_targets, target_candidates)
        to_targets = _compare(scaled, targets, there)
        blocks.append(jnp.where(there[None, :], to_targets, -jnp.inf))
        own_count = jnp.sum(own_targets, axis=1)
        positive_sum += target_weight * jnp.sum(jnp.where(own_targets, to_targets, 0.0), axis=1)
        weight = weight + target_weight * own_count
        number = number + own_count
    return jnp.mean((weight * log_sum_exp(blocks) - positive_sum) / number)


def draw_positives(key: jax.Array, pool: jax.Array, count: int) -> jax.Array:
    """Draws some members of each row's pool, every set of so many equally likely.

    By Floyd's algorithm (Bentley & Floyd 1987) over the members' ranks: `count` draws a row, none
    of them rejected, and no row of random numbers.

    Args:
      key: of the draws; rows are drawn apart from each other.
      pool: bool [N, M].
      count: k, how many; 0 for all.

    Returns:
      bool [N, M], in each row k of the pool without repetition, all of it where it has fewer.

    Raises:
      ValueError: a count below 0, or a pool of other than two axes.
    """
    if pool.ndim != 2 or count < 0:
        raise ValueError(
            f"the pool has shape {pool.shape} and count is {count}; pass a mask [N, M] and a "
            "number from 0."
        )
    if not count or count >= pool.shape[1]:
        return pool
    size = jnp.sum(pool, axis=1, dtype=jnp.int32)
    rank = jnp.cumsum(pool, axis=1, dtype=jnp.int32) - 1

    def draw(index, carry):
        drawn, chosen = carry
        # The last rank that may be drawn now; below 0 where the pool is too small for this draw.
        last = size - count + index
        guess = jax.random.randint(
            jax.random.fold_in(key, index), size.shape, 0, jnp.maximum(last, 0) + 1
        )
        taken = jnp.any(drawn == guess[:, None], axis=1)
        new = jnp.where(last < 0, -1, jnp.where(taken, last, guess))
        return drawn.at[:, index].set(new), chosen | (rank == new[:, None])

    start = jnp.full((len(pool), count), -1, jnp.int32), jnp.zeros_like(pool)
    _, chosen = jax.lax.fori_loop(0, count, draw, start)
    return chosen & pool


def _compare(scaled, others, there):
    """Similarities [N, M]; 0 with those that are not there, which may hold NaN."""
    others = jnp.where(there[:, None], others, 0).astype(jnp.float32)
    return dot("nd,md->nm", scaled, others)


def _check(anchors, own_keys, keys, candidates, positives):
    if anchors.ndim != 2 or own_keys.shape != anchors.shape:
        raise ValueError(
            f"anchors have shape {anchors.shape} and own_keys {own_keys.shape}; "
            "pass both as [N, D]."
        )
    if keys.ndim != 2 or keys.shape[1:] != anchors.shape[1:]:
        raise ValueError(
            f"keys have shape {keys.shape} and anchors {anchors.shape}; "
            "pass keys [M, D] for anchors [N, D]."
        )
    shape = (len(anchors), len(keys))
    for name, mask in (("candidates", candidates), ("positives", positives)):
        if mask.shape != shape or mask.dtype != bool:
            raise ValueError(
                f"{name} are {mask.dtype} of shape {mask.shape} for {shape[0]} anchors and "
                f"{shape[1]} keys; pass bool {list(shape)}."
            )


def _check_targets(anchors, targets, own_targets, there):
    if targets.ndim != 2 or targets.shape[1:] != anchors.shape[1:]:
        raise ValueError(
            f"targets have shape {targets.shape} and anchors {anchors.shape}; "
            "pass targets [T, D] for anchors [N, D]."
        )
    shape = (len(anchors), len(targets))
    if own_targets is None or own_targets.shape != shape or own_targets.dtype != bool:
        given = None if own_targets is None else (own_targets.dtype.name, own_targets.shape)
        raise ValueError(f"own_targets are {given}; pass bool {list(shape)}.")
    if there is None:
        there = jnp.ones(len(targets), bool)
    if there.shape != shape[1:]:
        raise ValueError(f"target_candidates have shape {there.shape}; pass bool [{len(targets)}].")
    return there, own_targets & there[None, :]
