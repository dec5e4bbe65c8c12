"""Arrays that a user gives for images, as uint8 levels with their channels last.

The dtype alone decides what the numbers mean, never the values: a dark image of 16 bits has the
levels of a bright one of 8.
"""

import numpy as np

from bccl_jax.errors import DataError

# Grey, red green and blue, and the same with opacity.
CHANNELS = (1, 3, 4)
_GIVE = "give uint8 levels from 0 to 255 or floating numbers from 0 to 1"
# Of integers x, by what is white in them.
_BY_WHITE = "x.astype(np.uint8) where 255 is white, or x / 65535 where that is"


def images_of(array: np.ndarray, named: str) -> np.ndarray:
    """The images of an array.

    Args:
      array: one image, [H, W] or [H, W, C], or several, [N, H, W, C], of C = 1, 3 or 4 channels;
        uint8 are levels from 0, black, to 255, white; floating numbers of any width go from 0,
        black, to 1, white. All other integers are refused, for their dtype does not say which
        number is white: in uint16 that may be 255, 4095 or 65535.
      named: what a message calls it.

    Returns:
      uint8 [N, H, W, C]; floating numbers are rounded to the nearest of 256 levels.

    Raises:
      DataError: the array has other axes, another dtype, or numbers outside of 0 to 1.
    """
    return _levels(_stacked(array, named), named)


def _stacked(array: np.ndarray, named: str) -> np.ndarray:
    shape = list(array.shape)
    if array.ndim == 2:
        array = array[None, :, :, None]
    elif array.ndim == 3:
        array = array[None]
    if array.ndim != 4:
        raise DataError(
            f"{named} is an array {shape}; give one image as [height, width, channels] or several "
            "as [images, height, width, channels]"
        )
    if array.shape[-1] not in CHANNELS:
        first = array.shape[1] in CHANNELS
        mend = "move that axis to the end, np.moveaxis(x, -3, -1)"
        grey = "give grey ones as [images, height, width, 1]"
        raise DataError(
            f"{named} is an array {shape}, whose last axis is none of 1, 3 or 4 channels; "
            f"{mend if first and len(shape) == 4 else grey if not first else f'{mend}, or {grey}'}"
        )
    if 0 in array.shape[1:]:
        raise DataError(f"{named} is an array {shape}, which has no pixels; give images")
    return array


def _levels(images: np.ndarray, named: str) -> np.ndarray:
    if images.dtype == np.uint8 or not images.size:
        return images.astype(np.uint8, copy=False)
    kind = images.dtype.kind
    if kind in "iu":
        raise DataError(
            f"{named} is an array of {images.dtype}, which does not say what is white; {_GIVE}: "
            f"{_BY_WHITE}"
        )
    # bfloat16 of JAX is of no kind that NumPy knows.
    if kind != "f":
        raise DataError(f"{named} is an array of {images.dtype}; {_GIVE}")
    # A comparison with NaN is False.
    if not (images.min() >= 0 and images.max() <= 1):
        raise DataError(
            f"{named} is an array of {images.dtype} from {images.min():.6g} to {images.max():.6g},"
            f" of which nothing says what is white; {_GIVE}"
        )
    return np.rint(images * images.dtype.type(255)).astype(np.uint8)
