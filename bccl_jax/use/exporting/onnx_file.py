"""ONNX by jax2onnx, which the extra `export` brings, checked by onnxruntime."""

import itertools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.errors import BcclError
from bccl_jax.use.exporting.checking import difference, wanted_of
from bccl_jax.use.exporting.needed import check_installed, first_line, silent
from bccl_jax.use.exporting.neutral import neutral, traced
from bccl_jax.use.exporting.predictor import IMAGES, LOGITS, Predictor

NEEDED = ("jax2onnx", "onnx", "onnxruntime")
# Versions of ONNX's operators: the first is what most programs read, the second the one that the
# converter was made for, which knows all that it may write.
_OPSETS = (18, 23)


def exported(predictor: Predictor) -> tuple[bytes, float]:
    """Converts and checks a function.

    Args:
      predictor: that is exported.

    Returns:
      The content of the file, and the largest difference of logits that was seen.

    Raises:
      BcclError: a package is missing, the function cannot be converted, or computes something else.
    """
    check_installed("onnx", NEEDED)
    import onnx
    import onnxruntime

    model = _converted(predictor)
    about = {key: json.dumps(value, ensure_ascii=False) for key, value in predictor.about.items()}
    onnx.helper.set_model_props(model, about)
    content = model.SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    # As exact as the runtime, also on a GPU.
    with jax.default_matmul_precision("highest"):
        wanted = wanted_of(predictor, 2)

    def call(images):
        return session.run([LOGITS], {IMAGES: images})[0]

    # One by one as well: the number of images is not part of the graph.
    found = max(
        difference(predictor, wanted, call),
        difference(predictor, wanted, lambda images: np.concatenate([*map(call, images[:, None])])),
    )
    return content, found


def _converted(predictor: Predictor) -> Any:
    import jax2onnx
    import onnx

    images = jax.ShapeDtypeStruct(("batch", *predictor.classifier.image_shape), jnp.uint8)
    failure: Exception | None = None
    # Traced before the converter puts operations of its own in the place of layers, which it can
    # convert and not map.
    one = jax.ShapeDtypeStruct(predictor.classifier.image_shape, jnp.uint8)
    functions = neutral(predictor.logits), jax.vmap(traced(predictor.logits_of_one, one))
    for function, opset in itertools.product(functions, _OPSETS):
        try:
            with silent():
                model = jax2onnx.to_onnx(
                    function,
                    [images],
                    model_name="bccl_jax",
                    opset=opset,
                    return_mode="proto",
                    input_names=[IMAGES],
                    output_names=[LOGITS],
                )
            onnx.checker.check_model(model, full_check=True)
            return model
        except Exception as error:  # of any kind: method and backbone may be a user's own
            failure = error
    raise BcclError(
        f"{predictor.name} cannot be written as ONNX ({first_line(failure)}); take "
        "--format=stablehlo, or write its prediction of other operations"
    ) from failure
