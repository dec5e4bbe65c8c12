"""Targets spread over the sphere, one a class, and which class takes which (Li et al. 2022)."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

# The repulsion of two targets is exp(cosine / _TEMPERATURE), as in the authors' code.
_TEMPERATURE = 0.07
# Of the optimisation: steps, and the learning rate that falls to 0 over them.
_STEPS, _LEARNING_RATE = 1000, 0.1
# Targets that are compared with all others at a time.
_ROWS = 1024


@functools.lru_cache(maxsize=8)
def spread_targets(num_classes: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit vectors that are as far from each other as can be, the same for the same arguments.

    Up to K = D + 1 they are the corners of a regular simplex, in closed form: no others are so far
    apart. For more they minimise `log sum_{i != j} exp(t_i . t_j / 0.07)` by Adam on the sphere
    from random directions. The authors minimise `mean_i log sum_j exp(.)` with j = i among them:
    beside exp(1 / 0.07) all else is rounding in float32, and in few dimensions that mean is least
    where targets coincide (ten in the plane). Beyond D + 1 no minimum is known to be the best one;
    `largest_cosine_bound` tells how far any could get.

    Found ones are kept in memory, for this process. 1,000 targets of 128 dimensions take 8 seconds
    of a core, and end at a largest cosine of 0.126, where the bound is 0.037 and random ones have
    0.38. The time grows with the square of K.

    Args:
      num_classes: K.
      dim: D.
      seed: of the first directions, and of which way a simplex is turned.

    Returns:
      float32 [K, D] of unit norm, read-only.

    Raises:
      ValueError: a size below 1.
      RuntimeError: what was computed breaks that bound, so that it is no set of unit vectors.
    """
    if min(num_classes, dim) < 1:
        raise ValueError(f"got num_classes={num_classes}, dim={dim}; each must be at least 1.")
    if num_classes <= dim + 1:
        found = _simplex(num_classes, dim, seed)
    else:
        start = jax.random.normal(jax.random.key(seed), (num_classes, dim), jnp.float32)
        found = np.array(_repelled(start))
    if num_classes > 1:
        _check(found)
    found.setflags(write=False)
    return found


def largest_cosine_bound(num_classes: int, dim: int) -> float:
    """What the largest cosine between two of K unit vectors of D dimensions cannot be below.

    Rankin (1955) up to 2 D: -1 / (K - 1) for K <= D + 1, which the simplex reaches, then 0. Beyond,
    Levenshtein's (1979) bound of degree 3, the s of `K = D (1 - s) (2 + (D + 1) s) / (1 - D s^2)`,
    up to the K of D (D + 3) / 2 that it is one for, and no more after that.

    Args:
      num_classes: K, at least 2.
      dim: D.

    Raises:
      ValueError: fewer than two vectors or no dimension.
    """
    if num_classes < 2 or dim < 1:
        raise ValueError(f"got num_classes={num_classes}, dim={dim}; pass at least 2 and 1.")
    if num_classes <= dim + 1:
        return -1 / (num_classes - 1)
    if num_classes <= 2 * dim:
        return 0.0
    number = min(num_classes, dim * (dim + 3) / 2)
    # A quadratic in s, of which the bound is the root from 0 on.
    square = dim * (number - dim - 1)
    linear = dim * (dim - 1)
    constant = 2 * dim - number
    if not square:
        return 0.0
    return (-linear + math.sqrt(linear**2 - 4 * square * constant)) / (2 * square)


def largest_cosine(vectors: np.ndarray) -> float:
    """The largest cosine between two of several unit vectors [K, D], K at least 2."""
    vectors = np.asarray(vectors, np.float64)
    most = -1.0
    for start in range(0, len(vectors), _ROWS):
        cosines = vectors[start : start + _ROWS] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        most = max(most, float(cosines.max()))
    return most


def match_targets(directions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Gives each class a target of its own, so that the sum of their cosines is the largest.

    Exactly so, by scipy's `linear_sum_assignment`, on the host: 8,142 classes of 128 dimensions
    take 1 to 7 seconds of a core. A class of direction 0, of which nothing was seen, takes what is
    left over.

    Args:
      directions: floating [K, D], of unit norm or 0. What is not finite counts as 0.
      targets: floating [T, D] of unit norm, T at least K.

    Returns:
      int64 [K], the row of each class's target, each at most once.

    Raises:
      ValueError: shapes that do not fit together.
    """
    # It takes as long to import as NumPy.
    from scipy.optimize import linear_sum_assignment

    directions, targets = np.asarray(directions), np.asarray(targets)
    if directions.ndim != 2 or directions.shape[1:] != targets.shape[1:]:
        raise ValueError(
            f"directions have shape {directions.shape} and targets {targets.shape}; "
            "pass directions [K, D] for targets [T, D]."
        )
    if len(targets) < len(directions):
        raise ValueError(
            f"there are {len(targets)} targets for {len(directions)} classes; pass one each."
        )
    known = np.nan_to_num(directions.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    seen = np.any(known != 0, axis=1)
    cosines = known[seen] @ targets.T.astype(np.float64)
    if len(targets) == len(cosines):
        # Each target is taken, so that no matching is the better for what all classes have of it;
        # of directions that lie close together, which is most of it, the search is ten times as
        # fast without.
        cosines -= cosines.mean(axis=0)
    found = np.empty(len(directions), np.int64)
    _, found[seen] = linear_sum_assignment(cosines, maximize=True)
    left = np.setdiff1d(np.arange(len(targets)), found[seen])
    found[~seen] = left[: np.sum(~seen)]
    return found


def _check(targets):
    most, bound = largest_cosine(targets), largest_cosine_bound(*targets.shape)
    # Of float32 vectors.
    if not bound - 1e-5 <= most <= 1 + 1e-5:
        raise RuntimeError(
            f"the largest cosine of {len(targets)} targets of {targets.shape[1]} dimensions is "
            f"{most:.3g}, which no unit vectors have (from {bound:.3g} to 1); is the device in "
            "order?"
        )


def _simplex(num_classes: int, dim: int, seed: int) -> np.ndarray:
    """The corners of a regular simplex around the origin, turned at random: float32 [K, D]."""
    rng = np.random.default_rng(seed)
    if num_classes == 1:
        first = rng.normal(size=(1, dim))
        return np.float32(first / np.linalg.norm(first))
    # The unit vectors of K dimensions less their mean span K - 1, of which these are a basis.
    centred = np.eye(num_classes) - 1 / num_classes
    basis = np.linalg.qr(centred[:, 1:])[0]  # [K, K - 1]
    turned = np.linalg.qr(rng.normal(size=(dim, num_classes - 1)))[0]  # [D, K - 1]
    corners = basis @ turned.T
    return np.float32(corners / np.linalg.norm(corners, axis=1, keepdims=True))


@jax.jit
def _repelled(start: jax.Array) -> jax.Array:
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, _STEPS))

    def step(_, carry):
        vectors, state = carry
        updates, state = optimizer.update(_repulsion(vectors), state)
        return _unit(vectors + updates), state

    vectors = _unit(start)
    return jax.lax.fori_loop(0, _STEPS, step, (vectors, optimizer.init(vectors)))[0]


def _repulsion(vectors: jax.Array) -> jax.Array:
    """The gradient along the sphere of `log sum_{i != j} exp(t_i . t_j / temperature)`, [K, D]."""

    def of_row(index):
        cosines = jnp.matmul(vectors, vectors[index], precision=jax.lax.Precision.HIGHEST)
        # Of 1 at most: exponentials lie between exp(-29) and 1 without another shift.
        weights = jnp.exp((cosines - 1) / _TEMPERATURE).at[index].set(0.0)
        pushed = jnp.matmul(weights, vectors, precision=jax.lax.Precision.HIGHEST)
        return pushed, jnp.sum(weights)

    pushed, sums = jax.lax.map(of_row, jnp.arange(len(vectors)), batch_size=_ROWS)
    gradient = (2 / _TEMPERATURE) * pushed / jnp.sum(sums)
    return gradient - jnp.sum(gradient * vectors, axis=1, keepdims=True) * vectors


def _unit(vectors: jax.Array) -> jax.Array:
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
