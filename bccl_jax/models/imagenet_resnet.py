"""The residual networks for photographs: ResNet (He et al. 2015) and ResNeXt (Xie et al. 2017).

As torchvision builds and initialises them: bottleneck blocks whose 3x3 convolution has the stride
("v1.5"), projection shortcuts, convolutions Kaiming-normal over the fan out.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from bccl_jax.models.convolution import Conv
from bccl_jax.models.normalization import BatchNorm, relu

# Channels of a block's result over those of its 3x3 convolution in a plain ResNet.
EXPANSION = 4


def max_pool(x: jax.Array) -> jax.Array:
    """The maximum of 3x3 pixels at stride 2, from [B, H, W, C] to [B, ceil(H/2), ceil(W/2), C].

    The gradient goes to the first of equal maxima. The library's own pooling has a gradient that
    XLA refuses to compile for a GPU that is to be deterministic.
    """
    height, width = (-(-size // 2) for size in x.shape[1:3])

    def windows(x):
        margin = ((0, 0), (1, 1), (1, 1), (0, 0))
        padded = jnp.pad(x, margin, constant_values=-jnp.inf)
        return [
            padded[:, row : row + 2 * height - 1 : 2, column : column + 2 * width - 1 : 2]
            for row in range(3)
            for column in range(3)
        ]

    largest, *others = windows(jax.lax.stop_gradient(x))
    which = jnp.zeros(largest.shape, jnp.int32)
    for place, other in enumerate(others, 1):
        which = jnp.where(other > largest, place, which)
        largest = jnp.maximum(largest, other)
    return jax.lax.select_n(which, *windows(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch normalisation around a shortcut.

    Attributes:
      inner: channels of the first two convolutions.
      features: channels of the result.
      stride: of the 3x3 convolution and of the shortcut.
      groups: of the 3x3 convolution.
      zero_init: start the last normalisation's scale at zero.
      dtype: of the computation.
      norm_groups: `groups` of every normalisation.
    """

    inner: int
    features: int
    stride: int
    groups: int
    zero_init: bool
    dtype: jnp.dtype
    norm_groups: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps [B, H, W, c] to [B, ceil(H / stride), ceil(W / stride), features]."""
        conv = functools.partial(Conv, dtype=self.dtype, fan="fan_out")
        norm = functools.partial(BatchNorm, self.dtype, groups=self.norm_groups)
        last_scale = nn.initializers.zeros if self.zero_init else nn.initializers.ones
        y = relu(norm()(conv(self.inner, size=1)(x), train))
        y = conv(self.inner, stride=self.stride, groups=self.groups)(y)
        y = relu(norm()(y, train))
        y = norm(scale_init=last_scale)(conv(self.features, size=1)(y), train)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = conv(self.features, size=1, stride=self.stride, name="shortcut_conv")(x)
            x = norm(name="shortcut_norm")(x, train)
        return relu(y + x)


class ImageNetResNet(nn.Module):
    """A residual network of bottlenecks for images of any size, 224 pixels in the literature.

    Attributes:
      stage_sizes: blocks of each stage; (3, 4, 6, 3) is the network of 50 layers.
      width: channels of the stem; stage s gives 4 * width * 2**s.
      inner_factor: channels of the 3x3 convolutions over those of a plain ResNet, 1; 2 for
        ResNeXt's 32x4d.
      groups: of the 3x3 convolutions; ResNeXt's cardinality.
      dtype: of the computation; parameters and batch statistics are float32.
      zero_init_residual: start the last normalisation of each block at zero, so that the block
        is its shortcut (Goyal et al. 2017).
      remat: keep of each block its input alone for the backward pass, and compute the rest anew.
      norm_groups: `groups` of every normalisation.
    """

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    width: int = 64
    inner_factor: int = 1
    groups: int = 1
    dtype: jnp.dtype = jnp.float32
    zero_init_residual: bool = False
    remat: bool = False
    norm_groups: int = 1

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Maps normalised images [B, H, W, 3] to float32 features [B, d], 2048 of 50 layers."""
        x = Conv(self.width, size=7, stride=2, dtype=self.dtype, fan="fan_out")(images)
        x = relu(BatchNorm(self.dtype, groups=self.norm_groups)(x, train))
        x = max_pool(x)
        block_class = nn.remat(Bottleneck, static_argnums=(2,)) if self.remat else Bottleneck
        for number, (stage, block) in enumerate(blocks(self.stage_sizes)):
            channels = self.width * 2**stage
            x = block_class(
                inner=channels * self.inner_factor,
                features=channels * EXPANSION,
                stride=2 if stage > 0 and block == 0 else 1,
                groups=self.groups,
                zero_init=self.zero_init_residual,
                dtype=self.dtype,
                norm_groups=self.norm_groups,
                # Flax would name it after its class, another one under `remat`.
                name=f"Bottleneck_{number}",
            )(x, train)
        return x.astype(jnp.float32).mean(axis=(1, 2))


def blocks(stage_sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Returns (stage, place within the stage) of each block, in order, both from 0."""
    return [(stage, block) for stage, size in enumerate(stage_sizes) for block in range(size)]
