"""What hangs on a backbone: classifiers and the contrastive projector."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bccl_jax.models.convolution import kaiming_normal
from bccl_jax.models.normalization import BatchNorm
from bccl_jax.models.rescaling import aligned, weight_scaled

CLASSIFIERS = ("linear", "cosine")
# Of the cosine classifier's weights: of unit norm, or uniform in (-1, 1) and of norm 5 at most.
CLASSIFIER_STARTS = ("unit", "uniform")
# Of the projector: Kaiming's normal without a bias below the normalisation, or PyTorch's default.
PROJECTOR_STARTS = ("kaiming", "pytorch")
# Of DisAlign's confidence, every weight of its linear layer, as its authors have it.
_CONFIDENCE_START = 0.1
# To which the released code cuts a class's weights at the start.
_LARGEST_NORM = 5.0


def l2_normalize(x: jax.Array, axis: int = -1) -> jax.Array:
    """Scales vectors to length 1, in float32; those shorter than 1e-6 are multiplied by 1e6."""
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


def _uniform_cut(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
    weights = jax.random.uniform(key, shape, dtype, -1.0, 1.0)
    norm = jnp.linalg.norm(weights, axis=0, keepdims=True)
    return weights * jnp.minimum(1.0, _LARGEST_NORM / norm)


# PyTorch's kaiming_uniform_(a=sqrt(5)): uniform within 1 / sqrt(fan in), as its biases are.
_pytorch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def _pytorch_bias(fan_in: int):
    def init(key, shape, dtype=jnp.float32):
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class ScaledClassifier(nn.Module):
    """A classifier and a learned scale for each class's logit (LWS of Kang et al. 2020).

    Attributes:
      classifier: features [B, d] -> logits [B, K].
      num_classes: K.
    """

    classifier: nn.Module
    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps features [B, d] to float32 logits [B, K]."""
        scale = self.param("scale", nn.initializers.ones, (self.num_classes,))
        return weight_scaled(self.classifier(features), scale)


class AlignedClassifier(nn.Module):
    """A classifier and a map of its logits by class and image (DisAlign of Zhang et al. 2021).

    Attributes:
      classifier: features [B, d] -> logits [B, K].
      num_classes: K.
      magnitude_start: of the magnitudes; with 0 the logits start as the classifier's own.
    """

    classifier: nn.Module
    num_classes: int
    magnitude_start: float = 0.0

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps features [B, d] to float32 logits [B, K]."""
        start = nn.initializers.constant(self.magnitude_start)
        magnitude = self.param("magnitude", start, (self.num_classes,))
        margin = self.param("margin", nn.initializers.zeros, (self.num_classes,))
        confidence = nn.Dense(
            1,
            kernel_init=nn.initializers.constant(_CONFIDENCE_START),
            bias_init=_pytorch_bias(features.shape[-1]),
            name="confidence",
        )(features)
        return aligned(
            self.classifier(features), jax.nn.sigmoid(confidence[:, 0]), magnitude, margin
        )

    def unaligned(self, features: jax.Array) -> jax.Array:
        """The logits [B, K] of the classifier itself."""
        return self.classifier(features)


class CosineClassifier(nn.Module):
    """Logits are `scale` times the cosine between feature and class weight (NormedLinear of LDAM).

    Attributes:
      num_classes: K.
      scale: s, the length of the logits' range; 30 in the field's recipes.
      start: one of `CLASSIFIER_STARTS`. The logits do not depend on the norm of a class's weights,
        but the shorter they are, the further a step of the optimizer turns them.
    """

    num_classes: int
    scale: float = 30.0
    start: str = "unit"

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps features [B, d] to float32 logits [B, K] in [-scale, scale]."""
        init = _uniform_cut if self.start == "uniform" else _uniform_directions
        kernel = self.param("kernel", init, (features.shape[-1], self.num_classes))
        directions = l2_normalize(kernel, axis=0)
        # An accelerator's default (TF32) would be off by 0.03 at this scale.
        cosine = jnp.dot(l2_normalize(features), directions, precision=jax.lax.Precision.HIGHEST)
        return self.scale * cosine


def class_weights(classifier: nn.Module) -> jax.Array:
    """The weights of each class of a bound linear or cosine classifier, as they are: [K, d].

    A gradient through them is the classifier's.
    """
    params = classifier.variables["params"]
    return params.get("Dense_0", params)["kernel"].T


class Projector(nn.Module):
    """The contrastive projector, dense - batch normalisation - ReLU - dense.

    Attributes:
      hidden: width of the hidden layer.
      out: D, the dimension of the embeddings.
      dtype: of the computation.
      norm_groups: `groups` of the normalisation.
      start: one of `PROJECTOR_STARTS`. PyTorch's has a bias in the hidden layer too.
      start_scale: of the last layer's first weights.
    """

    hidden: int
    out: int
    dtype: jnp.dtype = jnp.float32
    norm_groups: int = 1
    start: str = "kaiming"
    start_scale: float = 1.0

    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Maps features [N, d] to float32 unit vectors [N, D]."""
        return l2_normalize(self.unnormalized(features, train))

    @nn.compact
    def unnormalized(self, features: jax.Array, train: bool) -> jax.Array:
        """Maps features [N, d] to [N, D], of any length, as they are computed."""
        pytorch = self.start == "pytorch"

        def dense(width, fan_in, use_bias, scale=1.0):
            kernel = _pytorch_kernel if pytorch else kaiming_normal
            bias = _pytorch_bias(fan_in) if pytorch else nn.initializers.zeros
            return nn.Dense(
                width,
                use_bias=use_bias,
                kernel_init=_scaled(kernel, scale),
                bias_init=_scaled(bias, scale),
                dtype=self.dtype,
            )

        x = dense(self.hidden, features.shape[-1], use_bias=pytorch)(features)
        x = BatchNorm(self.dtype, groups=self.norm_groups)(x, train)
        return dense(self.out, self.hidden, True, self.start_scale)(nn.relu(x))


def _scaled(init, scale):
    return init if scale == 1 else lambda *arguments: scale * init(*arguments)


def create_classifier(kind: str, num_classes: int, scale: float, start: str = "unit") -> nn.Module:
    """Returns the classifier that `kind` ("linear" or "cosine") names.

    Args:
      kind: one of `CLASSIFIERS`.
      num_classes: K.
      scale: s of the cosine classifier.
      start: of the cosine classifier, one of `CLASSIFIER_STARTS`.
    """
    if kind == "cosine":
        return CosineClassifier(num_classes, scale, start)
    return LinearClassifier(num_classes)
