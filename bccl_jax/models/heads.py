"""What hangs on a backbone: classifiers and the contrastive projector."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bccl_jax.models.convolution import kaiming_normal
from bccl_jax.models.normalization import BatchNorm

CLASSIFIERS = ("linear", "cosine")


def l2_normalize(x: jax.Array, axis: int = -1) -> jax.Array:
    """Scales float32 vectors to unit length; a vector of zeros stays zero, with zero gradient."""
    x = x.astype(jnp.float32)
    squared = jnp.sum(x * x, axis=axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squared, 1e-12))


class LinearClassifier(nn.Module):
    """One dense layer from features [B, d] to logits [B, K], float32 whatever the network computes.

    In bfloat16 logits of several classes would be equal, and the first of them predicted.
    """

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps features [B, d] to logits [B, K]."""
        return nn.Dense(self.num_classes, kernel_init=kaiming_normal)(features)


def _uniform_directions(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
    return l2_normalize(jax.random.uniform(key, shape, dtype, -1.0, 1.0), axis=0)


class CosineClassifier(nn.Module):
    """Logits are `scale` times the cosine between feature and class weight (NormedLinear of LDAM).

    Attributes:
      num_classes: K.
      scale: s, the length of the logits' range; 30 in the field's recipes.
    """

    num_classes: int
    scale: float = 30.0

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps features [B, d] to float32 logits [B, K] in [-scale, scale]."""
        kernel = self.param("kernel", _uniform_directions, (features.shape[-1], self.num_classes))
        directions = l2_normalize(kernel, axis=0)
        # An accelerator's default (TF32) would be off by 0.03 at this scale.
        cosine = jnp.dot(l2_normalize(features), directions, precision=jax.lax.Precision.HIGHEST)
        return self.scale * cosine


class Projector(nn.Module):
    """The contrastive projector, dense - batch normalisation - ReLU - dense.

    Attributes:
      hidden: width of the hidden layer.
      out: D, the dimension of the embeddings.
      dtype: of the computation.
      norm_groups: `groups` of the normalisation.
    """

    hidden: int
    out: int
    dtype: jnp.dtype = jnp.float32
    norm_groups: int = 1

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Maps features [N, d] to float32 unit vectors [N, D]."""
        x = nn.Dense(self.hidden, use_bias=False, kernel_init=kaiming_normal, dtype=self.dtype)(
            features
        )
        x = BatchNorm(self.dtype, groups=self.norm_groups)(x, train)
        x = nn.Dense(self.out, kernel_init=kaiming_normal, dtype=self.dtype)(nn.relu(x))
        return l2_normalize(x)


def create_classifier(kind: str, num_classes: int, scale: float) -> nn.Module:
    """Returns the classifier that `kind` ("linear" or "cosine") names."""
    if kind == "cosine":
        return CosineClassifier(num_classes, scale)
    return LinearClassifier(num_classes)
