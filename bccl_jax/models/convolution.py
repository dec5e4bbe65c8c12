"""Convolution without bias, whose gradients XLA's CPU compiler runs as fast as the forward pass.

That compiler's fast kernels take one layout, features last. Automatic differentiation asks for
others, which it rewrites outside of loops alone: within a scan such a gradient takes a naive path,
tens of times slower, and that of a grouped kernel takes one everywhere. Here the gradients are
written in that layout from the start; on other devices the library's own are taken.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

kaiming_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _convolve(x, kernel, padding, strides=(1, 1), **options):
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=_LAYOUT, **options
    )


def _plain(x, kernel, stride, groups):
    margin = kernel.shape[0] // 2
    return _convolve(
        x,
        kernel,
        [(margin, margin)] * 2,
        strides=(stride, stride),
        feature_group_count=groups,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: jax.Array, kernel: jax.Array, stride: int, groups: int = 1) -> jax.Array:
    """Slides an odd square kernel over zero-padded images. Reverse-mode derivatives only.

    Args:
      x: [B, H, W, I] floating.
      kernel: [k, k, I / groups, O], k odd, in the dtype of x.
      stride: of both axes.
      groups: equal parts of the channels, each of the result's made from one of the input's.

    Returns:
      [B, ceil(H / stride), ceil(W / stride), O] in the same dtype.
    """
    return _plain(x, kernel, stride, groups)


def _forward(x, kernel, stride, groups):
    return _plain(x, kernel, stride, groups), (x, kernel)


def _backward(stride, groups, kept, cotangent):
    def library(x, kernel, cotangent):
        return jax.vjp(lambda *inputs: _plain(*inputs, stride, groups), x, kernel)[1](cotangent)

    if kept[1].shape[0] == 1 and groups == 1:
        ours = functools.partial(_product_gradients, stride)
    else:
        ours = functools.partial(_features_last_gradients, stride, groups)
    return jax.lax.platform_dependent(*kept, cotangent, cpu=ours, default=library)


def _product_gradients(stride, x, kernel, cotangent):
    """Those of a 1x1 kernel, as products of matrices over all pixels."""

    def product(x, kernel):
        x = x[:, ::stride, ::stride]
        out = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]
        return out.reshape(*x.shape[:-1], -1)

    return jax.vjp(product, x, kernel)[1](cotangent)


def _features_last_gradients(stride, groups, x, kernel, cotangent):
    margin = kernel.shape[0] // 2
    # Rows and columns beyond the last stop of a strided kernel.
    rest = [(size - 1) % stride for size in x.shape[1:3]]
    # [k, k, I / groups, groups, O / groups], whose channels change places within each group.
    by_group = kernel.reshape(*kernel.shape[:3], groups, -1)[::-1, ::-1]
    x_gradient = _convolve(
        cotangent,
        by_group.transpose(0, 1, 4, 3, 2).reshape(*kernel.shape[:2], -1, x.shape[-1]),
        [(margin, margin + r) for r in rest],
        lhs_dilation=(stride, stride),
        feature_group_count=groups,
    )
    # The batch is what is summed over, so it takes the place of the features.
    padding = [(margin, margin - r) for r in rest]
    options = {"padding": padding, "rhs_dilation": (stride, stride)}
    images, taps = x.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3)
    if groups == 1:
        return x_gradient, _convolve(images, taps, **options).transpose(1, 2, 0, 3)
    # Groups are a few channels wide, too few for a fast product: of each fourth of them the
    # gradient is computed as if every channel met every other, and the groups' own is picked.
    parts = math.gcd(groups, 4)
    kernel_gradient = [
        _own_channels(_convolve(*part, **options).transpose(1, 2, 0, 3), groups // parts)
        for part in zip(jnp.split(images, parts), jnp.split(taps, parts, axis=3), strict=True)
    ]
    return x_gradient, jnp.concatenate(kernel_gradient, axis=3)


def _own_channels(dense, groups):
    """Picks of [k, k, I, O] what joins the channels of one group: [k, k, I / groups, O]."""
    size, _, channels, features = dense.shape
    blocks = dense.reshape(size, size, groups, channels // groups, groups, features // groups)
    own = jnp.moveaxis(jnp.diagonal(blocks, axis1=2, axis2=4), -1, 3)
    return own.reshape(size, size, channels // groups, features)


convolve.defvjp(_forward, _backward)


class Conv(nn.Module):
    """A convolution without bias, Kaiming-normal at the start, with the variables of Flax's own.

    Attributes:
      features: O, channels of the result.
      size: k, the side of the kernel, odd.
      stride: of both axes.
      dtype: of the computation; the kernel is float32.
      groups: equal parts of the channels, each of the result's made from one of the input's.
      fan: what the variance at the start is over, "fan_in" or "fan_out" (He et al. 2015).
    """

    features: int
    size: int = 3
    stride: int = 1
    dtype: jnp.dtype = jnp.float32
    groups: int = 1
    fan: str = "fan_in"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, I] to [B, ceil(H / stride), ceil(W / stride), features]."""
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
        init = nn.initializers.variance_scaling(2.0, self.fan, "normal")
        kernel = self.param("kernel", init, shape)
        return convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.groups)
