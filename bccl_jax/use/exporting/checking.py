"""Whether an exported function computes what the run does, on a few generated images."""

from collections.abc import Callable

import jax
import numpy as np

from bccl_jax.errors import BcclError, NonFiniteLossError
from bccl_jax.use.exporting.predictor import Predictor

# Of the largest logit. Rounding is a thousandth of it, a layer that is wrong a thousand times more.
_TOLERANCE = 1e-3


def wanted_of(predictor: Predictor, number: int) -> np.ndarray:
    """The run's own logits of `predictor.example(number)`, float32 [number, K].

    Raises:
      NonFiniteLossError: some are not finite.
    """
    return checked(predictor, np.asarray(jax.jit(predictor.logits)(predictor.example(number))))


def checked(predictor: Predictor, logits: np.ndarray) -> np.ndarray:
    """Logits of the run, float32 [B, K], as they are.

    Raises:
      NonFiniteLossError: some are not finite. Minus infinity is allowed: it is that of a class
        without training images, adjusted.
    """
    if not (np.isfinite(logits) | np.isneginf(logits)).all():
        epoch = predictor.about["checkpoint"]["epoch"]
        raise NonFiniteLossError(
            f"the network's logits are not finite, as its weights of epoch {epoch} may not be; "
            "take another checkpoint, or a run that ended well"
        )
    return logits


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
        if np.array_equal(found[~finite], wanted[~finite]):
            distance = np.abs(found[finite] - wanted[finite]).max(initial=0)
            largest = np.abs(wanted[finite]).max(initial=1)
            if distance <= _TOLERANCE * largest:
                return float(distance)
    raise BcclError(
        f"what was exported of {predictor.name} gives other logits than the run does; export it in "
        "another format, and report this"
    )
