"""Contrast with all embeddings that a class might have: ProCo's loss (Du et al. 2024).

Of each class the embeddings are taken to follow a von Mises-Fisher distribution, with the direction
mu_c of their mean and the concentration kappa_c. The expectation of `exp(z.z' / tau)` over z' of
class c is then in closed form `C_p(kappa_c) / C_p(||kappa_c mu_c + z / tau||)`: the loss of
infinitely many contrasted samples, weighted by the classes' priors, is a cross-entropy of its
logarithms (Eq. 20 of the paper).
"""

import jax
import jax.numpy as jnp

from bccl_jax.losses.classification import logit_compensation_loss
from bccl_jax.losses.von_mises_fisher import log_normalizer_drop

LARGEST_KAPPA = 1e5


def concentrations(means: jax.Array, largest: float = LARGEST_KAPPA) -> jax.Array:
    """Concentration of each class by the length R of its mean, `p R / (1 - R^2)`.

    The paper has the estimate of Banerjee et al. 2005, `R (p - R^2) / (1 - R^2)`, which is nearly
    the same in high dimensions; its code has this one.

    Args:
      means: [K, D] floating, of unit vectors; 0 of a class that nothing is known of, which makes
        its distribution uniform.
      largest: what kappa is at most, and is where 1 - R^2 is 0, as for a single embedding, or
        below 0 by rounding.

    Returns:
      float32 [K] from 0 to `largest`.
    """
    return _factors(means, largest) * jnp.linalg.norm(means.astype(jnp.float32), axis=-1)


def contrast_logits(
    embeddings: jax.Array,
    means: jax.Array,
    *,
    temperature: float,
    largest_kappa: float = LARGEST_KAPPA,
) -> jax.Array:
    """Log of the expected `exp(z.z' / tau)` over the embeddings z' of each class.

    `log C_p(kappa_c) - log C_p(||kappa_c mu_c + z / tau||)` with mu_c and kappa_c by the mean of
    class c (`concentrations`). Where kappa_c is 0 it is `log C_p(0) - log C_p(||z|| / tau)`, where
    it is large nearly `mu_c.z / tau`.

    Args:
      embeddings: [N, D] floating, of unit norm.
      means: [K, D] floating, of unit vectors; they carry no gradient.
      temperature: tau, positive.
      largest_kappa: what a concentration is at most.

    Returns:
      float32 [N, K].

    Raises:
      ValueError: shapes that do not fit together.
    """
    if embeddings.ndim != 2 or means.ndim != 2 or embeddings.shape[1] != means.shape[1]:
        raise ValueError(
            f"embeddings have shape {embeddings.shape} and means {means.shape}; "
            "pass embeddings [N, D] and means [K, D]."
        )
    scaled = embeddings.astype(jnp.float32) / temperature
    means = jax.lax.stop_gradient(means).astype(jnp.float32)
    factors = _factors(means, largest_kappa)
    # An accelerator's default (TF32) would be off by 0.01 in a logit.
    products = jnp.matmul(scaled, means.T, precision=jax.lax.Precision.HIGHEST)
    squared = factors**2 * jnp.sum(means * means, axis=-1)  # kappa^2
    # What z / tau adds to the square of the length of kappa mu.
    own = jnp.sum(scaled * scaled, axis=-1)
    change = 2 * factors[None, :] * products + own[:, None]
    return log_normalizer_drop(squared[None, :], change, embeddings.shape[1])


def probabilistic_contrastive_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    means: jax.Array,
    class_counts: jax.Array,
    *,
    temperature: float,
    largest_kappa: float = LARGEST_KAPPA,
) -> jax.Array:
    """Cross-entropy of the contrast logits plus the log prior, averaged over the batch.

    Args:
      embeddings: [N, D] floating, of unit norm.
      labels: [N] integer classes in [0, K).
      means: [K, D], of unit vectors, as `contrast_logits` has them.
      class_counts: [K] training images per class, not all zero. A class without any drops out.
      temperature: tau, positive.
      largest_kappa: what a concentration is at most.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together, or labels that are no integers.
    """
    logits = contrast_logits(
        embeddings, means, temperature=temperature, largest_kappa=largest_kappa
    )
    return logit_compensation_loss(logits, labels, class_counts)


def _factors(means, largest):
    """What turns a mean into kappa mu: kappa / R."""
    means = means.astype(jnp.float32)
    squared = jnp.sum(means * means, axis=-1)
    length, rest, dim = jnp.sqrt(squared), 1 - squared, means.shape[-1]
    capped = dim * length >= largest * rest
    # Of the branch that is not taken neither may divide by 0.
    return jnp.where(capped, largest, dim) / jnp.where(capped, length, rest)
