"""Batch normalisation (Ioffe & Szegedy 2015) with fused statistics and a hand-derived backward.

The same function, variables and names as `flax.linen.BatchNorm`. Differentiated automatically, that
one keeps two arrays of the activation's size for the backward pass; the gradient in closed form
needs the input alone.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from bccl_jax.errors import ConfigError


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises each channel over all other axes: (x - mean) / sqrt(var + epsilon) * scale + bias.

    Reverse-mode derivatives only, and none through the returned statistics.

    Args:
      x: [..., C] floating.
      scale: [C], float32 or the type of x if that is wider.
      bias: [C].
      epsilon: added to the variance.

    Returns:
      The normalised x, [..., C] in its dtype; the mean and the biased variance, [C], computed in
      float32 or the type of x if that is wider.
    """
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x, scale, bias, epsilon):
    wide = _widened(x)
    mean = jnp.mean(wide, _batch_axes(x))
    # As the difference of two means, both of which one pass over x gives; rounding may take it
    # below zero.
    var = jnp.maximum(jnp.mean(wide * wide, _batch_axes(x)) - mean * mean, 0)
    inverse = jax.lax.rsqrt(var + epsilon)
    y = (wide - _rowed(mean, x)) * _rowed(scale * inverse, x) + _rowed(bias, x)
    return (y.astype(x.dtype), mean, var), (x, scale, mean, inverse)


def _backward(epsilon, kept, cotangents):
    """With x^ = (x - mean) / sqrt(var + epsilon): dx = scale / sqrt(...) (g - <g> - x^ <g x^>)."""
    del epsilon
    x, scale, mean, inverse = kept
    gradient = _widened(cotangents[0])
    centred = _widened(x) - _rowed(mean, x)
    count = x.size // x.shape[-1]
    bias_gradient = jnp.sum(gradient, _batch_axes(x))
    scale_gradient = jnp.sum(gradient * centred, _batch_axes(x)) * inverse
    slope = -inverse * scale_gradient / count
    x_gradient = _rowed(scale * inverse, x) * (
        gradient + centred * _rowed(slope, x) - _rowed(bias_gradient / count, x)
    )
    return x_gradient.astype(x.dtype), scale_gradient, bias_gradient


batch_normalize.defvjp(_forward, _backward)


def _widened(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _batch_axes(x):
    return tuple(range(x.ndim - 1))


def _rowed(channels, x):
    return channels.reshape((1,) * (x.ndim - 1) + (-1,))


def _normalize_by_groups(x, scale, bias, epsilon, groups):
    """`batch_normalize` of `groups` equal parts of the batch; means of their statistics."""
    parts = x.reshape(groups, -1, *x.shape[1:])
    y, mean, var = jax.vmap(lambda part: batch_normalize(part, scale, bias, epsilon))(parts)
    return y.reshape(x.shape), jnp.mean(mean, axis=0), jnp.mean(var, axis=0)


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last.

    Attributes:
      dtype: of the result; parameters and statistics are float32.
      momentum: weight of the old running statistics at each step.
      epsilon: added to the variance.
      groups: contiguous equal parts of the batch, each normalised by its own statistics; with as
        many as devices that share the batch, no pixel's statistics cross devices. The running
        statistics move by the mean over the parts.
      scale_init: of the scale.
    """

    dtype: jnp.dtype = jnp.float32
    momentum: float = 0.9
    epsilon: float = 1e-5
    groups: int = 1
    scale_init: nn.initializers.Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalises [..., C] by its own statistics in training, by the running ones otherwise.

        Raises:
          ConfigError: in training, a batch that cannot be split into equal groups.
        """
        channels = (x.shape[-1],)
        scale = self.param("scale", self.scale_init, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        x = x.astype(self.dtype)
        if not train:
            factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
            y = (_widened(x) - _rowed(running_mean.value, x)) * _rowed(factor, x) + _rowed(bias, x)
            return y.astype(self.dtype)
        # Parameters are made with a batch of any size.
        groups = 1 if self.is_initializing() else self.groups
        if len(x) % groups:
            raise ConfigError(
                f"batch normalisation in {groups} groups needs a batch that they divide, and this "
                f"one has {len(x)}; set config.batch_size to a multiple of {groups}"
            )
        if groups == 1:
            y, mean, var = batch_normalize(x, scale, bias, self.epsilon)
        else:
            y, mean, var = _normalize_by_groups(x, scale, bias, self.epsilon, groups)
        if not self.is_initializing():
            for running, new in ((running_mean, mean), (running_var, var)):
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        return y


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0), computed once and kept.

    XLA's CPU compiler would compute it, and the normalisation before it, once more for each
    convolution that reads it, within that one's transposing copy: several times slower.
    """
    kept = jax.lax.optimization_barrier
    return jax.lax.platform_dependent(nn.relu(x), cpu=kept, default=lambda y: y)
