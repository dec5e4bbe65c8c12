"""Denominators of contrastive losses: sums of exponentials, or averages of them within classes."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Average(NamedTuple):
    """Whether denominators are averaged within classes, and what counts as a class's member.

    Attributes:
      within_classes: average the exponentials of a class, then sum over the classes.
      one_view_counts: count the embeddings of one of the batch's two views alone.
    """

    within_classes: bool
    one_view_counts: bool

    def members(self, of_class: jax.Array, axis: int = 1) -> jax.Array:
        """How many embeddings of the batch a class has, from a mask of them."""
        return jnp.sum(of_class, axis=axis) / (2 if self.one_view_counts else 1)


def log_count(count: jax.Array) -> jax.Array:
    """Log of a number of candidates; 0 belongs to none and is clamped, lest infinities arise."""
    return jnp.log(jnp.maximum(count, 1).astype(jnp.float32))


def log_sum_exp(blocks: Sequence[jax.Array]) -> jax.Array:
    """Log-sum-exp of each row over several blocks [N, ...], without joining them.

    A row that is -inf throughout gives -inf with zero gradients.

    Args:
      blocks: float32.

    Returns:
      float32 [N].
    """
    maxima = [jnp.max(block, axis=_trailing(block), initial=-jnp.inf) for block in blocks]
    peak = functools.reduce(jnp.maximum, maxima)
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
