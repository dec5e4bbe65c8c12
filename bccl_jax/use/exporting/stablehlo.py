"""StableHLO by `jax.export`: the whole function, for JAX of this and later versions.

The file is a zip archive, for the function's own format has no room for class names: FUNCTION is
what `jax.export.deserialize` takes, ABOUT is JSON. Equal runs make equal archives, and a reader of
archives checks their checksums.
"""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from bccl_jax.errors import BcclError
from bccl_jax.use.exporting.checking import difference, wanted_of
from bccl_jax.use.exporting.needed import check_installed, first_line
from bccl_jax.use.exporting.predictor import Predictor

# By which `jax.export` writes and reads.
NEEDED = ("flatbuffers",)
FUNCTION, ABOUT = "function.jax_export", "about.json"
# The code for each of them is in one file; what is no matter to the network is there once.
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def exported(predictor: Predictor) -> tuple[bytes, float]:
    """Exports and checks a function.

    Args:
      predictor: that is exported.

    Returns:
      The content of the file, and the largest difference of logits that was seen.

    Raises:
      BcclError: the function cannot be exported, or computes something else.
    """
    check_installed("stablehlo", NEEDED)
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *predictor.classifier.image_shape), jnp.uint8)
    failure: Exception | None = None
    for function in (predictor.logits, jax.vmap(predictor.logits_of_one)):
        try:
            with _without_places():
                found = jax.export.export(jax.jit(function), platforms=PLATFORMS)(images)
                content = found.serialize()
            break
        except Exception as error:  # of any kind: method and backbone may be a user's own
            failure = error
    else:
        raise BcclError(
            f"{predictor.name} cannot be exported ({first_line(failure)}); write its prediction of "
            "operations that JAX exports for all platforms"
        ) from failure
    wanted = wanted_of(predictor, 2)
    distance = difference(predictor, wanted, jax.export.deserialize(content).call)
    return _archived(bytes(content), predictor), distance


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
    """Within it what is lowered does not say which lines of which files it comes from.

    These have the paths of this machine, and are others where the same is exported again.
    """
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def _archived(function: bytes, predictor: Predictor) -> bytes:
    about = json.dumps(predictor.about, indent=1, ensure_ascii=False)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        # Without the time of writing.
        archive.writestr(zipfile.ZipInfo(ABOUT), about)
        archive.writestr(zipfile.ZipInfo(FUNCTION), function)
    return file.getvalue()
