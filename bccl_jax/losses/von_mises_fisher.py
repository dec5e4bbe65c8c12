"""The von Mises-Fisher distribution on the unit sphere, its normaliser in float32 at any kappa.

Its density at the unit vector z is `C_p(kappa) exp(kappa mu.z)`, with p the dimension and

    C_p(kappa) = kappa^v / ((2 pi)^(p/2) I_v(kappa)),    v = p/2 - 1.

I_v overflows, underflows and, as a power of kappa, loses its start at 0; `H_v(x) = I_v(x) / x^v`
does none of that as a function of x squared. Its logarithm is taken from the expansion that holds
uniformly in x (DLMF 10.41), with `w = sqrt(v^2 + x^2)`:

    log H_v = w - v log(v + w) - log(2 pi w) / 2 + log S_v(w),    S_v = 1 + sum_k V_k(v^2/w^2) / w^k

Four terms of S are exact to 1e-7 from v = 12 on. A smaller order is reached from there by
`r_n = H_{n+1} / H_n = 1 / (2 (n + 1) + x^2 r_{n+1})`, Gauss's continued fraction, whose steps add
positive numbers alone. `x r_v = I_{v+1} / I_v` is the derivative of log H_v.

What a loss needs is a difference of two normalisers. Each is of the size of kappa, so that in
float32 their difference would be off by 0.01 at 1e5: `log_normalizer_drop` never makes them.
"""

import functools
import math

import jax
import jax.numpy as jnp

# Of S: V_k by powers of v^2/w^2 (DLMF 10.41.10, each divided by (v/w)^k).
_TERMS = (
    (1 / 8, -5 / 24),
    (9 / 128, -77 / 192, 385 / 1152),
    (75 / 1024, -4563 / 5120, 17017 / 9216, -85085 / 82944),
    (3675 / 32768, -96833 / 40960, 144001 / 16384, -7436429 / 663552, 37182145 / 7962624),
)
# From this order on they are exact to rounding.
_LEAST_ORDER = 12.0


def log_normalizer(kappa: jax.Array, dim: int) -> jax.Array:
    """Log of C_p(kappa), the density's factor.

    Its derivative is `-mean_resultant_length(kappa, dim)`, also at 0, where
    `C_p(0) = Gamma(p/2) / (2 pi^(p/2))` is one over the sphere's area.

    Args:
      kappa: any shape, floating; concentration, not negative.
      dim: p, of the vectors.

    Returns:
      float32, of the shape of `kappa`.

    Raises:
      ValueError: a dimension below 1.
    """
    kappa = jnp.asarray(kappa, jnp.float32)
    _check(dim)
    uniform = math.lgamma(dim / 2) - math.log(2) - dim / 2 * math.log(math.pi)
    return uniform - log_normalizer_drop(jnp.zeros_like(kappa), kappa * kappa, dim)


def mean_resultant_length(kappa: jax.Array, dim: int) -> jax.Array:
    """Length of the mean of unit vectors, `A_p(kappa) = I_{p/2}(kappa) / I_{p/2-1}(kappa)`.

    Args:
      kappa: any shape, floating; concentration, not negative.
      dim: p, of the vectors.

    Returns:
      float32 in [0, 1], of the shape of `kappa`.

    Raises:
      ValueError: a dimension below 1.
    """
    kappa = jnp.asarray(kappa, jnp.float32)
    _check(dim)
    return jnp.minimum(kappa * _ratios(kappa * kappa, dim)[-1], 1.0)


def log_normalizer_drop(squared: jax.Array, change: jax.Array, dim: int) -> jax.Array:
    """`log C_p(kappa) - log C_p(kappa')`, where `kappa' ^ 2 = kappa ^ 2 + change`.

    As exact as its arguments, however small the difference is beside the normalisers. Of squares
    because these are what products of vectors give, and because the function is smooth in them:
    its derivative by `change` is `A_p(kappa') / (2 kappa')`, which is 1 / (2 p) at 0.

    Args:
      squared: floating; the square of kappa, not negative.
      change: floating, of a shape that goes with it; not below -squared but for rounding.
      dim: p, of the vectors.

    Returns:
      float32, of the shape of both.

    Raises:
      ValueError: a dimension below 1.
    """
    _check(dim)
    return _drop(jnp.asarray(squared, jnp.float32), jnp.asarray(change, jnp.float32), dim)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _drop(squared, change, dim):
    order = _expanded(dim)
    end = _end(squared, change)
    start_w, end_w = jnp.sqrt(order**2 + squared), jnp.sqrt(order**2 + end)
    rise = change / (start_w + end_w)  # of w
    start_s, _ = _series(start_w, order)
    end_s, _ = _series(end_w, order)
    logs = order * jnp.log1p(rise / (order + start_w)) + jnp.log1p(rise / start_w) / 2
    logs -= jnp.log1p((end_s - start_s) / (1 + start_s))
    # None where the order is not small. Each by itself: their product may overflow.
    pairs = zip(_ratios(squared, dim)[1:], _ratios(end, dim)[1:], strict=True)
    for start_ratio, end_ratio in pairs:
        logs -= jnp.log(start_ratio / end_ratio)
    return rise - logs


@_drop.defjvp
def _drop_derivative(dim, at, along):
    (squared, change), (of_squared, of_change) = at, along
    start, end = _ratios(squared, dim)[-1], _ratios(_end(squared, change), dim)[-1]
    slope = (end * (of_squared + of_change) - start * of_squared) / 2
    return _drop(squared, change, dim), slope


def _end(squared, change):
    # Opposite vectors of one length leave a rest of rounding.
    return jnp.maximum(squared + change, 0.0)


def _ratios(squared: jax.Array, dim: int) -> list[jax.Array]:
    """r_n at kappa squared, from the expanded order down to that of the dimension."""
    order = _expanded(dim)
    w = jnp.sqrt(order**2 + squared)
    correction, slope = _series(w, order)
    # The derivative of log H by w, over w.
    ratios = [(w / (order + w) - 1 / (2 * w) - slope / (w * (1 + correction))) / w]
    while order > dim / 2 - 1:
        ratios.append(1 / (2 * order + squared * ratios[-1]))
        order -= 1
    return ratios


def _series(w: jax.Array, order: float) -> tuple[jax.Array, jax.Array]:
    """S - 1, and minus its derivative by log w."""
    share = (order / w) ** 2
    value = slope = jnp.zeros_like(w)
    for number in range(len(_TERMS), 0, -1):
        powers = _TERMS[number - 1]
        value = (value + _polynomial(powers, share)) / w
        # V_k / w^k is a sum of powers w^-(k + 2 e).
        falls = [(number + 2 * e) * factor for e, factor in enumerate(powers)]
        slope = (slope + _polynomial(falls, share)) / w
    return value, slope


def _polynomial(factors, x):
    """By Horner's rule, the constant first."""
    total = jnp.zeros_like(x)
    for factor in reversed(factors):
        total = total * x + factor
    return total


def _expanded(dim: int) -> float:
    """The order of the expansion: that of the dimension, or whole steps above it."""
    order = dim / 2 - 1
    return order + max(0, math.ceil(_LEAST_ORDER - order))


def _check(dim):
    if dim < 1:
        raise ValueError(f"dim is {dim}; pass the dimension of the vectors, at least 1.")
