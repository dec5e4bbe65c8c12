"""What is exported of a run: one function from images to logits, and what others must know of it.

It computes in float32, whatever the run trained in: the weights are float32, and few readers of
these formats can do anything else.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from bccl_jax.classifier.image_classifier import ImageClassifier, create_classifier, inference
from bccl_jax.classifier.reading import Saved
from bccl_jax.classifier.variables import Variables
from bccl_jax.use.adjusting import factor_of, offset_of
from bccl_jax.use.seeing import Sight

IMAGES, LOGITS = "images", "logits"
# Of the description; a later version may have another one.
_FORMAT = 1
_MAKERS = ("bccl_jax", "jax", "flax")


@dataclasses.dataclass(frozen=True)
class Predictor:
    """What a run predicts with, on the host and without its devices.

    Attributes:
      classifier: that computes in float32.
      variables: its arrays, of NumPy.
      offset: float32 [K], what post-hoc adjustment takes from the logits; zeros without one.
      logits: images uint8 [B, H, W, 3] -> float32 [B, K], adjusted; to be traced.
      about: what others must know of it, JSON values: classes, input, output, preprocessing.
    """

    classifier: ImageClassifier
    variables: Variables
    offset: np.ndarray
    logits: Callable[[jax.Array], jax.Array]
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Method and backbone, for a person."""
        config = self.classifier.config
        return f"{config.method.name} over {config.model.backbone}"

    def logits_of_one(self, image: jax.Array) -> jax.Array:
        """An image uint8 [H, W, 3] -> float32 [K].

        The number of images is not known as a function is exported. Mapped over them this serves a
        backbone that asks for it, as `len(images)` does.
        """
        return self.logits(image[None])[0]

    def example(self, number: int) -> np.ndarray:
        """Made-up images, uint8 [number, H, W, 3], always the same ones."""
        rng = np.random.default_rng(0)
        height, width, _ = self.classifier.image_shape
        # Slopes in all directions under a little noise: pixels of pictures are alike nearby.
        rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
        slopes = rng.normal(0, 60, (number, 2, 1, 1, 3))
        images = 128 + slopes[:, 0] * rows[..., None] + slopes[:, 1] * columns[..., None]
        return np.clip(images + rng.normal(0, 25, images.shape), 0, 255).astype(np.uint8)


def predictor(saved: Saved, adjust: float | None = None) -> Predictor:
    """Takes from a checkpoint what is exported.

    Args:
      saved: the checkpoint.
      adjust: of post-hoc logit adjustment, how much of the log prior is taken from the logits; None
        for what the run was evaluated with.

    Raises:
      ConfigError: the loss has the prior in it already, so that adjusting would correct twice.
    """
    factor = factor_of(saved.classifier, adjust)
    classifier = _in_float32(saved.classifier)
    variables = jax.device_get(saved.variables)
    offset = offset_of(classifier, factor)
    apply = inference(classifier.network, variables.batch_stats)

    def logits(images):
        normalized = classifier.normalize(images)
        found = classifier.method.logits(apply, variables.params, normalized, variables.method)
        found = found.astype(jnp.float32)
        return found - offset[None, :] if factor else found

    about = _about(saved, classifier, factor)
    return Predictor(classifier, variables, offset, logits, about)


def _in_float32(classifier: ImageClassifier) -> ImageClassifier:
    config = ml_collections.ConfigDict(classifier.config).copy_and_resolve_references()
    config.dtype = "float32"
    # Without a backward pass nothing is computed anew.
    config.model.remat = False
    return create_classifier(
        config,
        classifier.class_names,
        classifier.class_counts,
        classifier.image_shape,
        classifier.mesh,
    )


def _about(saved: Saved, classifier: ImageClassifier, factor: float) -> dict[str, Any]:
    config, (height, width, channels) = classifier.config, classifier.image_shape
    return {
        "format": _FORMAT,
        "classes": list(classifier.class_names),
        "training_images": classifier.trained_counts.tolist(),
        "input": {
            "name": IMAGES,
            "dtype": "uint8",
            "layout": "NHWC",
            "shape": ["batch", height, width, channels],
            "channels": "RGB",
        },
        "output": {
            "name": LOGITS,
            "dtype": "float32",
            "shape": ["batch", len(classifier.class_names)],
        },
        "resizing": _resizing(Sight.of(saved)),
        "normalizing": {
            "where": "in the file",
            "divide_by": 255,
            "mean": list(config.augment.mean),
            "std": list(config.augment.std),
        },
        "logit_adjustment": factor,
        "backbone": config.model.backbone,
        "method": config.method.name,
        "checkpoint": {
            "which": saved.which,
            "step": int(saved.variables.step),
            "epoch": saved.epoch,
            "averaged": saved.averaged,
        },
        "made_by": {name: sys.modules[name].__version__ for name in _MAKERS},
    }


def _resizing(sight: Sight) -> dict[str, Any]:
    """How a picture of any size becomes one of the network's."""
    if sight.photographs:
        rule: dict[str, Any] = {"short_side": sight.resize, "then": "central crop"}
    else:
        rule = {"of": "the largest central part of these proportions"}
        if sight.pixels:
            rule["averaged_to"] = sight.pixels
    return {
        **rule,
        "size": list(sight.shape),
        "interpolation": "bilinear, antialiased (Pillow's)",
        "transparent_on": list(sight.decoding.background),
    }
