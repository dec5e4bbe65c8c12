"""The crops of an encoded image, as torchvision cuts them out of Pillow's images.

A photograph is decoded once for all of its training crops. Each is cut out and then resized with
the antialiasing triangle filter of `Image.resize`.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from bccl_jax.data.photographs.decode import Box, Picture, Pixels
from bccl_jax.data.photographs.decoding import PLAIN, Decoding

_TRIES = 10
# Of a longer strip only the middle is resized: the whole of it might not fit into memory.
_LONGEST_ASPECT = 16
# With half of that the levels of an evaluated picture change three times as much.
_EVALUATION_MARGIN = 2


@dataclasses.dataclass(frozen=True)
class Crop:
    """A random resized crop (Szegedy et al. 2015).

    Attributes:
      scale: bounds of the area as a fraction of the image's.
      ratio: bounds of width over height.

    Raises:
      ValueError: bounds that are not positive or not in order.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise ValueError(
                    f"A crop's {name} is {(low, high)}: give two positive numbers, the lower first."
                )


def random_boxes(
    height: int, width: int, crops: Sequence[Crop], rng: np.random.Generator
) -> np.ndarray:
    """Draws a box for each crop, in torchvision's reading of the random resized crop.

    Ten candidates of uniform area and log-uniform aspect ratio are drawn; the first that fits is
    taken, else the largest central box of an allowed ratio.

    Args:
      height: of the image in pixels.
      width: of the image in pixels.
      crops: V of them.
      rng: of the draws.

    Returns:
      int64 [V, 4]: top, left, height, width.
    """
    return np.array([_random_box(height, width, crop, rng) for crop in crops], np.int64)


def _random_box(height: int, width: int, crop: Crop, rng: np.random.Generator) -> Box:
    low, high = map(math.log, crop.ratio)
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*crop.scale)
        aspect = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    w, h = width, height
    if width / height < crop.ratio[0]:
        h = max(round(width / crop.ratio[0]), 1)
    elif width / height > crop.ratio[1]:
        w = max(round(height * crop.ratio[1]), 1)
    return (height - h) // 2, (width - w) // 2, h, w


def training_crops(
    data: bytes,
    crops: Sequence[Crop],
    size: int,
    rng: np.random.Generator,
    *,
    reduced: bool = True,
    decoding: Decoding = PLAIN,
) -> np.ndarray:
    """Decodes an image once and cuts random boxes out of it, each resized to a square.

    Args:
      data: the bytes of the image file.
      crops: V of them, at least one.
      size: side of the squares in pixels.
      rng: of the boxes.
      reduced: whether a JPEG is decoded at a fraction of its size that leaves every box at least
        as many pixels as needed on both sides. The crops are then close to those of the full
        size, else equal bit for bit to Pillow's.
      decoding: by which settings of a run.

    Returns:
      uint8 [V, size, size, 3].

    Raises:
      BrokenImageError: the image cannot be decoded.
    """
    picture = Picture(data, decoding)
    boxes = random_boxes(picture.height, picture.width, crops, rng)
    pixels = picture.decode(boxes[:, 2:].min() / size if reduced else 1)
    squares = np.empty((len(crops), size, size, 3), np.uint8)
    for square, box in zip(squares, boxes.tolist(), strict=True):
        part, inner = pixels.cut(box)
        square[...] = part.resize((size, size), Image.Resampling.BILINEAR, inner)
    return squares


def evaluation_crop(
    data: bytes, resize: int, size: int, *, reduced: bool = True, decoding: Decoding = PLAIN
) -> np.ndarray:
    """Resizes an image to a length of its short side and cuts out the central square.

    Args:
      data: the bytes of the image file.
      resize: length of the short side in pixels.
      size: side of the square in pixels, no more than that.
      reduced: whether a JPEG is decoded at a fraction of its size that leaves at least twice as
        many pixels as needed. The crop is then within a level of that of the full size in the
        mean, else equal bit for bit to torchvision's `Resize` and `CenterCrop` on a Pillow
        image of aspect ratio up to 16.
      decoding: as of `training_crops`.

    Returns:
      uint8 [size, size, 3].

    Raises:
      BrokenImageError: the image cannot be decoded.
      ValueError: the square is larger than the resized image, or has no pixels.
    """
    if not 0 < size <= resize:
        raise ValueError(f"A central square of {size} pixels is none of an image of {resize}.")
    picture = Picture(data, decoding)
    height, width = picture.height, picture.width
    most = min(height, width) / (_EVALUATION_MARGIN * resize)
    return central_square(picture.decode(most if reduced else 1), (height, width), resize, size)


def central_square(pixels: Pixels, sides: tuple[int, int], resize: int, size: int) -> np.ndarray:
    """Resizes a picture to a length of its short side and cuts out the central square.

    Args:
      pixels: of the picture.
      sides: height and width of the full picture.
      resize: see `evaluation_crop`.
      size: see `evaluation_crop`.

    Returns:
      uint8 [size, size, 3].
    """
    height, width = sides
    h, w = min(height, _LONGEST_ASPECT * width), min(width, _LONGEST_ASPECT * height)
    part, (x0, y0, x1, y1) = pixels.cut(((height - h) // 2, (width - w) // 2, h, w))
    short = min(h, w)
    rows, columns = int(resize * h / short), int(resize * w / short)
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    # Pillow resizes columns first and then rows: cutting in between is the same with less work.
    bilinear, tall = Image.Resampling.BILINEAR, part.height
    part = part.resize((columns, tall), bilinear, (x0, 0, x1, tall))
    part = part.crop((left, 0, left + size, tall))
    part = part.resize((size, rows), bilinear, (0, y0, size, y1))
    return np.array(part.crop((0, top, size, top + size)))


def fitted(pixels: Pixels, sides: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Scales the largest central part of a picture that has the proportions of a shape.

    A picture of that very shape stays as it is, bit for bit.

    Args:
      pixels: of the picture.
      sides: height and width of the full picture.
      shape: height and width of the result.

    Returns:
      uint8 [*shape, 3].
    """
    (height, width), (rows, columns) = sides, shape
    h = min(height, max(round(width * rows / columns), 1))
    w = min(width, max(round(height * columns / rows), 1))
    part, inner = pixels.cut(((height - h) // 2, (width - w) // 2, h, w))
    return np.array(part.resize((columns, rows), Image.Resampling.BILINEAR, inner))
