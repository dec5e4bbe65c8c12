"""PyTorch's names and layout in a safetensors file, for the networks that PyTorch has too."""

import hashlib
import json
from typing import Any

import numpy as np
import safetensors.numpy

from bccl_jax.errors import BcclError
from bccl_jax.models import BACKBONES, create_backbone
from bccl_jax.models.torch_names import is_known, last_layer_name, to_torch
from bccl_jax.use.exporting.last_layer import last_layer
from bccl_jax.use.exporting.predictor import IMAGES, Predictor


def check_backbone(backbone: str) -> None:
    """Checks that PyTorch has such a network.

    Raises:
      BcclError: it has not.
    """
    if not is_known(create_backbone(backbone)):
        able = [name for name in BACKBONES if is_known(create_backbone(name))]
        raise BcclError(
            f"--format=safetensors has PyTorch's names of {', '.join(able)}, and "
            f"config.model.backbone is {backbone!r}; take --format=onnx or --format=stablehlo"
        )


def exported(predictor: Predictor) -> tuple[bytes, float]:
    """Names, transposes and checks the weights.

    Args:
      predictor: that is exported.

    Returns:
      The content of the file, and the largest difference of logits that was seen, between the last
      layer of the file and the run's own.

    Raises:
      BcclError: PyTorch has no such network, or the prediction is no layer over its features.
    """
    check_backbone(predictor.classifier.config.model.backbone)
    layer, found = last_layer(predictor)
    backbone, variables = predictor.classifier.network.backbone, predictor.variables
    tensors = to_torch(
        {
            "params": variables.params["backbone"],
            "batch_stats": variables.batch_stats["backbone"],
        },
        backbone,
    )
    name = last_layer_name(backbone)
    # Under the name of weights those of a cosine would be loaded as a linear layer's, whose
    # probabilities are others, without a word.
    weight = "weight" if layer.kind == "linear" else "directions"
    tensors |= {f"{name}.{weight}": layer.weight, f"{name}.bias": layer.bias}
    return _with_metadata(tensors, _about(predictor, layer.kind)), found


def _about(predictor: Predictor, kind: str) -> dict[str, Any]:
    about = dict(predictor.about)
    height, width, channels = predictor.classifier.image_shape
    return about | {
        "input": {
            "name": IMAGES,
            "dtype": "float32",
            "layout": "NCHW",
            "shape": ["batch", channels, height, width],
            "channels": "RGB",
        },
        "normalizing": about["normalizing"] | {"where": "before the network"},
        "last_layer": kind,
    }


def _with_metadata(tensors: dict[str, np.ndarray], about: dict[str, Any]) -> bytes:
    content = safetensors.numpy.save(tensors)
    begin = 8 + int.from_bytes(content[:8], "little")
    about["sha256"] = hashlib.sha256(memoryview(content)[begin:]).hexdigest()
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in about.items()}
    # As PyTorch's own files say; readers of some libraries ask for it.
    metadata["format"] = "pt"
    return safetensors.numpy.save(tensors, metadata)
