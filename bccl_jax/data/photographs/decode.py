"""The bytes of an image file to RGB pixels, upright, by Pillow.

Whatever is wrong with a file ends in one exception type with one line. JPEG is decoded at a half, a
quarter or an eighth of its size where the caller can do with less.

Pillow warns of things that no one can act on in the middle of a training run. Its warnings are
ignored in this process from the first file on: `warnings.catch_warnings` would do so for a single
call, but threads that overlap in it restore each other's filters.
"""

import contextlib
import dataclasses
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence

from PIL import ExifTags, Image, UnidentifiedImageError

from bccl_jax.data.photographs import levels
from bccl_jax.data.photographs.decoding import PLAIN, Decoding
from bccl_jax.data.photographs.levels import Look

Box = tuple[int, int, int, int]

_PILLOW = re.compile(r"PIL\.")
_REDUCTIONS = (8, 4, 2)
_LONGEST_REASON = 200

# Bytes of memory for a pixel as it is decoded, where they are many; others have about 4, and
# 10 at most, of the 179 million pixels that Pillow allows.
_COSTS = {"JPEG2000": 25, "WEBP": 22}
_COST_OF_ALPHA = 15
_MOST_MEMORY = 2**31

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPED = (5, 6, 7, 8)
_FROM_THE_RIGHT = (2, 3, 6, 7)
_FROM_THE_BOTTOM = (3, 4, 7, 8)


class BrokenImageError(Exception):
    """An image that cannot be decoded; the message is the reason, one line without a full stop."""


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The pixels of a picture, decoded at its size or at a fraction of it.

    Attributes:
      image: RGB, upright.
      reduction: full pixels to a side of one of these: 1, 2, 4 or 8.
      left: where the picture begins in `image`, in its pixels: below 1, and 0 without a reduction.
      top: the same from above.
    """

    image: Image.Image
    reduction: int = 1
    left: float = 0.0
    top: float = 0.0

    def cut(self, box: Box) -> tuple[Image.Image, tuple[float, float, float, float]]:
        """The part that holds a box and as little else as whole pixels allow.

        Args:
          box: top, left, height, width in pixels of the full picture, inside of it.

        Returns:
          The part, and the box in it: left, top, right, bottom, as Pillow has it.
        """
        top, left, height, width = box
        x0 = self.left + left / self.reduction
        y0 = self.top + top / self.reduction
        x1 = x0 + width / self.reduction
        y1 = y0 + height / self.reduction
        outer = (math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1))
        part = self.image
        if outer != (0, 0, *part.size):
            part = part.crop(outer)
        return part, (x0 - outer[0], y0 - outer[1], x1 - outer[0], y1 - outer[1])


class Picture:
    """An image file of which the size is known before its pixels are decoded.

    Of a JPEG only the header is read at first. Threads may decode pictures at the same time.

    Args:
      data: the bytes of the file, in any format that Pillow reads but PostScript.
      decoding: by which settings.

    Attributes:
      height: in pixels, of the upright picture.
      width: the same.

    Raises:
      BrokenImageError: the file is none, or broken, or has too many pixels.
    """

    def __init__(self, data: bytes, decoding: Decoding = PLAIN):
        self._data, self._background = data, decoding.background
        with _as_broken_image():
            self._image = _open(data)
            _check_size(self._image, decoding.max_pixels)
            self._encoding = levels.encoding(self._image)
            self._reducible = self._image.format in ("JPEG", "MPO")
            if not self._reducible:
                # A PNG may have its EXIF behind the pixels; a TIFF turns itself as it is loaded.
                self._image.load()
            self._orientation = _orientation(self._image)
            width, height = self._image.size
        if self._orientation in _SWAPPED:
            width, height = height, width
        self.height, self.width = height, width

    def decode(self, at_most: float = 1.0) -> Pixels:
        """Decodes the pixels, of an animation those of the first frame.

        16-bit grey is scaled to 8 bits.

        Args:
          at_most: by how much the sides may be divided. Only 2, 4 and 8 are possible, and only
            of a JPEG.

        Returns:
          The pixels.

        Raises:
          BrokenImageError: the file is cut short or broken, or has levels of unknown scale.
        """
        with _as_broken_image():
            image, reduction = self._image, 1
            if self._reducible:
                most = min(at_most, *image.size)
                reduction = next((step for step in _REDUCTIONS if step <= most), 1)
            if reduction > 1:
                # The draft stays with the image, so that this one must not be the picture's own.
                image = _open(self._data)
                image.draft("RGB", tuple(side // reduction for side in image.size))
            image.load()
            image = levels.to_rgb(image, self._encoding, self._background)
            if self._orientation in _UPRIGHT:
                image = image.transpose(_UPRIGHT[self._orientation])
        # The last pixel may be a part of one; turned, it is the first.
        left, top = image.width - self.width / reduction, image.height - self.height / reduction
        return Pixels(
            image,
            reduction,
            left if self._orientation in _FROM_THE_RIGHT else 0.0,
            top if self._orientation in _FROM_THE_BOTTOM else 0.0,
        )


def decode(data: bytes, decoding: Decoding = PLAIN) -> Image.Image:
    """Decodes an image file at its full size.

    Args:
      data: its bytes.
      decoding: by which settings.

    Returns:
      An upright RGB image.

    Raises:
      BrokenImageError: the file is no image, or broken, or has too many pixels.
    """
    return Picture(data, decoding).decode().image


def upright_rgb(image: Image.Image, decoding: Decoding = PLAIN) -> Image.Image:
    """An image that is open already as `decode` would give it of its file.

    Args:
      image: of any mode; it is loaded if it was not.
      decoding: by which settings.

    Returns:
      An upright RGB image.

    Raises:
      BrokenImageError: it cannot be loaded, has no pixels or too many, or levels of unknown scale.
    """
    with _as_broken_image():
        _check_size(image, decoding.max_pixels)
        encoding = levels.encoding(image)
        image.load()
        orientation = _orientation(image)
        image = levels.to_rgb(image, encoding, decoding.background)
        return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def why_broken(images: Sequence[bytes], index: int, decoding: Decoding = PLAIN) -> str:
    """Why an encoded image cannot be read or not be decoded, on one line; "" of a sound one."""
    try:
        decode(images[index], decoding)
    except OSError as error:
        return " ".join((error.strerror or str(error)).split())
    except BrokenImageError as error:
        return str(error)
    return ""


def look(data: bytes, image: Image.Image) -> Look:
    """Looks at the levels of an image file.

    Args:
      data: its bytes.
      image: what `decode` makes of them, so that most files need not be decoded again.

    Returns:
      What there is to know.

    Raises:
      BrokenImageError: the file is no image, or broken.
    """
    with _as_broken_image():
        there = _open(data)
        encoding = levels.encoding(there)
        if not there.has_transparency_data:
            return levels.look(image, encoding)
        there.load()
        return levels.look(there, encoding)


@contextlib.contextmanager
def _as_broken_image() -> Iterator[None]:
    if not warnings.filters or warnings.filters[0][3] != _PILLOW:
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)
    try:
        yield
    except BrokenImageError:
        raise
    # A broken file makes Pillow raise almost anything: SyntaxError, struct.error, KeyError.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BrokenImageError(reason[:_LONGEST_REASON].rstrip(".")) from error


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BrokenImageError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise BrokenImageError(
            f"Pillow finds no image in its {len(data)} bytes, which begin with {data[:12]!r}"
        ) from error
    if image.format == "EPS":
        raise BrokenImageError("PostScript is a program to be run and not an image")
    cost = _COSTS.get(image.format, _COST_OF_ALPHA if image.has_transparency_data else 0)
    if cost * image.width * image.height > _MOST_MEMORY:
        raise BrokenImageError(
            f"its {image.width} x {image.height} pixels take more than "
            f"{_MOST_MEMORY // 2**20:,} MB to decode in {image.format}"
        )
    return image


def _check_size(image: Image.Image, most: int) -> None:
    if min(image.size) < 1:
        raise BrokenImageError("the image has no pixels")
    pixels = image.width * image.height
    if pixels > most:
        raise BrokenImageError(
            f"it has {pixels:,} pixels, more than config.data.max_pixels={most} allows"
        )


def _orientation(image: Image.Image) -> int:
    """EXIF's number, 1 where there is none or the EXIF is broken."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1
