"""The residual networks for 32-pixel images (He et al. 2015, section 4.2) of the long-tail field.

The field's ResNet-32 is `ResNet_s` of Cao et al. 2019 (LDAM-DRW): three stages at strides 1, 2 and
2 of post-activation basic blocks, option-A shortcuts (subsample, pad channels with zeros; no
parameters), Kaiming-normal convolutions.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from bccl_jax.models.convolution import Conv
from bccl_jax.models.normalization import BatchNorm, relu


def option_a_shortcut(x: jax.Array, width: int, stride: int) -> jax.Array:
    """Subsamples [B, H, W, C] by `stride` and pads the channels to `width` with zeros."""
    missing = width - x.shape[-1]
    if stride == 1 and missing == 0:
        return x
    before = missing // 2
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (before, missing - before)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around an option-A shortcut."""

    width: int
    stride: int
    dtype: jnp.dtype
    norm_groups: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps [B, H, W, c] to [B, H / stride, W / stride, width]."""
        norm = functools.partial(BatchNorm, self.dtype, groups=self.norm_groups)
        y = Conv(self.width, stride=self.stride, dtype=self.dtype)(x)
        y = relu(norm()(y, train))
        y = norm()(Conv(self.width, dtype=self.dtype)(y), train)
        return relu(y + option_a_shortcut(x, self.width, self.stride))


class CifarResNet(nn.Module):
    """A ResNet of 6 * blocks + 2 layers for small images.

    Attributes:
      blocks: basic blocks in each of the three stages (5 for ResNet-32).
      width: channels of the first stage; the later ones have 2 and 4 times as many.
      dtype: of the computation; parameters and batch statistics are float32.
      remat: keep of each block its input alone for the backward pass, and compute the rest anew.
      norm_groups: `groups` of every normalisation.
    """

    blocks: int
    width: int = 16
    dtype: jnp.dtype = jnp.float32
    remat: bool = False
    norm_groups: int = 1

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Maps normalised images [B, H, W, 3] to float32 features [B, 4 * width]."""
        x = Conv(self.width, dtype=self.dtype)(images)
        x = relu(BatchNorm(self.dtype, groups=self.norm_groups)(x, train))
        block_class = nn.remat(BasicBlock, static_argnums=(2,)) if self.remat else BasicBlock
        for stage in range(3):
            for block in range(self.blocks):
                x = block_class(
                    self.width * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    dtype=self.dtype,
                    norm_groups=self.norm_groups,
                    # Flax would name it after its class, another one under `remat`.
                    name=f"BasicBlock_{stage * self.blocks + block}",
                )(x, train)
        return x.astype(jnp.float32).mean(axis=(1, 2))
