"""The prediction of a run as one layer over the backbone's features, where it is one.

Scales of classes, normalised weights and post-hoc adjustment go into its weights. It is found by
what the prediction computes, whichever method it is of.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.classifier.image_classifier import inference
from bccl_jax.errors import BcclError
from bccl_jax.models import Network
from bccl_jax.models.forward import plain_features
from bccl_jax.use.exporting.checking import checked, difference
from bccl_jax.use.exporting.predictor import Predictor

# Of the largest output: rounding of float32.
_CLOSE = 1e-5


class LastLayer(NamedTuple):
    """logits = features @ weight.T + bias, the features divided by their norm if it is a cosine's.

    Attributes:
      kind: "linear" or "cosine".
      weight: float32 [K, d]; of a cosine the scale is in it.
      bias: float32 [K].
    """

    kind: str
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features [B, d] -> float32 [B, K]."""
        features = np.asarray(features, np.float64)
        if self.kind == "cosine":
            features = features / np.linalg.norm(features, axis=1, keepdims=True)
        return (features @ self.weight.T.astype(np.float64) + self.bias).astype(np.float32)


class _Features(nn.Module):
    """A backbone of which features are given in the place of images."""

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        del train
        return images


def last_layer(predictor: Predictor) -> tuple[LastLayer, float]:
    """Finds the layer, and compares its logits with the run's own on made-up images.

    Args:
      predictor: whose prediction it is.

    Returns:
      The layer, and the largest difference of logits that was seen.

    Raises:
      BcclError: the prediction is no such layer.
    """
    classifier, variables = predictor.classifier, predictor.variables
    whole = inference(classifier.network, variables.batch_stats)

    @jax.jit
    def both(images):
        normalized = classifier.normalize(images)
        features, _ = whole(variables.params, plain_features, normalized)
        return features, predictor.logits(images)

    with jax.default_matmul_precision("highest"):
        features, wanted = map(np.asarray, both(predictor.example(4)))
        checked(predictor, wanted)
        layer = _found(predictor, features.shape[-1])
    return layer, difference(predictor, wanted, lambda _: layer.logits(features))


def _found(predictor: Predictor, width: int) -> LastLayer:
    classifier, variables = predictor.classifier, predictor.variables
    head = inference(Network(_Features(), classifier.network.heads), {})

    @jax.jit
    def logits(features):
        found = classifier.method.logits(head, variables.params, features, variables.method)
        return found.astype(jnp.float32)

    unit, zeros = jnp.eye(width), jnp.zeros((width, width))
    probe = np.random.default_rng(0).normal(1, 1, (8, width)).astype(np.float32)
    try:
        wanted = np.asarray(logits(probe))
        at_zero, slopes = map(np.asarray, jax.jvp(logits, (zeros,), (unit,)))
        layers = [
            LastLayer("linear", slopes.T, at_zero[0]),
            # A cosine is 0 at 0, and that of a unit vector is one of its weights.
            LastLayer("cosine", np.asarray(logits(unit)).T, np.zeros_like(at_zero[0])),
        ]
    except Exception as error:  # of any kind: a method may be a user's own
        raise BcclError(_REFUSED.format(predictor.name)) from error
    for layer in layers:
        if _close(layer.logits(probe), wanted):
            return LastLayer(
                layer.kind, np.ascontiguousarray(layer.weight), layer.bias - predictor.offset
            )
    raise BcclError(_REFUSED.format(predictor.name))


_REFUSED = (
    "{} does not predict by one linear or cosine layer over the backbone's features, and "
    "PyTorch's networks have nothing else; take --format=onnx or --format=stablehlo"
)


def _close(found: Any, wanted: np.ndarray) -> bool:
    return bool(np.abs(found - wanted).max() <= _CLOSE * np.abs(wanted).max(initial=1))
