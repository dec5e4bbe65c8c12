"""Whether an exported function computes what the run does, on a few images that are made up."""

from collections.abc import Callable

import numpy as np

from bccl_jax.errors import BcclError
from bccl_jax.use.exporting.predictor import Predictor

# Of the largest logit. Rounding is a thousandth of it, a layer that is wrong a thousand times more.
_TOLERANCE = 1e-3


def difference(
    predictor: Predictor, wanted: np.ndarray, call: Callable[[np.ndarray], np.ndarray]
) -> float:
    """The largest difference of logits.

    Args:
      predictor: that was exported.
      wanted: float32 [B, K], the logits of `predictor.example(B)`.
      call: images uint8 [B, H, W, 3] -> float32 [B, K], read back from the export.

    Raises:
      BcclError: it computes something else.
    """
    found = np.asarray(call(predictor.example(len(wanted))))
    if found.shape == wanted.shape:
        finite = np.isfinite(wanted)
        if np.array_equal(found[~finite], wanted[~finite], equal_nan=True):
            distance = np.abs(found - wanted, where=finite, out=np.zeros_like(wanted)).max()
            largest = np.abs(wanted[finite]).max(initial=1)
            if distance <= _TOLERANCE * largest:
                return float(distance)
    raise BcclError(
        f"what was exported of {predictor.name} gives other logits than the run does; export it in "
        "another format, and report this"
    )
