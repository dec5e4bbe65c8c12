"""The levels of a decoded picture of any mode as 8-bit RGB, and what of it is transparent."""

from typing import NamedTuple

import numpy as np
from PIL import Image

Color = tuple[int, int, int]

# What viewers and browsers put transparent pictures on.
WHITE: Color = (255, 255, 255)

_TIFF_BITS_PER_SAMPLE = 258
# Of a grey PNG of few bits the levels are spread over 8 bits, the clear one is not.
_SPREAD = {"L;2": 85, "L;4": 17}
_DEEP_FORMATS = ("PNG", "TIFF", "PPM")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# Levels of 255 that 14 bits reach in a file of 16, and 12 bits; what ends there looks black.
_FAINT_OF_16_BITS, _FAINT = 64, 16


class UnknownScaleError(Exception):
    """Levels of which nothing says what is white."""


class Encoding(NamedTuple):
    """How the pixels lie in a file: known before they are loaded, forgotten then.

    Attributes:
      packing: Pillow's raw mode, such as "RGB;16B"; "" where a format has none.
      bits: of a grey level that is deeper than 8 bits.
      deep: whether levels have 16 bits.
    """

    packing: str
    bits: int
    deep: bool


def encoding(image: Image.Image) -> Encoding:
    """The encoding of an image that is open and not loaded; of one of no file there is little."""
    tile = getattr(image, "tile", None)
    arguments = tile[0][3] if tile else ""
    packing = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    packing = packing if isinstance(packing, str) else ""
    bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE, (16,))[0]
    deep = ";16" in packing and image.format in _DEEP_FORMATS
    return Encoding(packing, bits, deep)


def to_rgb(image: Image.Image, coding: Encoding, ground: Color = WHITE) -> Image.Image:
    """A loaded image as RGB of 8 bits, what is transparent put on a ground.

    Args:
      image: of any mode.
      coding: of the file that it was loaded from.
      ground: red, green and blue.

    Returns:
      The image.

    Raises:
      UnknownScaleError: its levels are 32-bit integers or floating-point numbers.
    """
    opacity = opacity_of(image, coding)
    opaque = without_opacity(image, coding)
    if opacity is None:
        return opaque
    on_ground = Image.new("RGB", opaque.size, ground)
    on_ground.paste(opaque, mask=opacity)
    return on_ground


def without_opacity(image: Image.Image, coding: Encoding) -> Image.Image:
    """The same as `to_rgb`, but that hidden pixels show whatever the file has there."""
    mode = image.mode
    if mode == "RGB":
        return image
    if _wide_grey(image):
        most = 2**coding.bits - 1
        levels = np.asarray(image).astype(np.uint32)
        grey = (levels.clip(0, most) * 255 + most // 2) // most
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if mode in ("I", "F"):
        what = "32-bit integers" if mode == "I" else "floating-point numbers"
        raise UnknownScaleError(f"its levels are {what}, of which nothing says what is white")
    if mode in _WITH_ALPHA or (mode == "P" and image.has_transparency_data):
        # Only by way of RGBA the colors of a palette and premultiplied ones come out right.
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def opacity_of(image: Image.Image, coding: Encoding) -> Image.Image | None:
    """The alpha of a loaded image, mode "L"; None where all of it is opaque."""
    clear = image.info.get("transparency")
    if image.mode in _WITH_ALPHA or (image.mode == "P" and image.has_transparency_data):
        alpha = image.convert("RGBA").getchannel("A")
    elif isinstance(clear, int | tuple) and (image.mode in ("1", "L", "RGB") or _wide_grey(image)):
        # Not by Pillow, which compares 8 bits of either, whatever they mean.
        alpha = _all_but(np.array(clear), image, coding)
    else:
        return None
    return alpha if alpha.getextrema()[0] < 255 else None


def _all_but(clear: np.ndarray, image: Image.Image, coding: Encoding) -> Image.Image:
    """The alpha of an image of which one color is transparent."""
    if image.mode == "1":
        clear = clear != 0
    elif coding.packing in _SPREAD:
        clear = clear * _SPREAD[coding.packing]
    elif image.mode == "RGB" and coding.deep:
        # Pillow keeps the upper 8 bits of the pixels alone.
        clear = clear >> 8
    pixels = np.asarray(image)
    hidden = (pixels.reshape(*pixels.shape[:2], -1) == clear).all(-1)
    return Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8))


class Look(NamedTuple):
    """What a person should know of the levels of a picture.

    Attributes:
      transparent: whether parts of it are.
      deep: whether levels have 16 bits in the file.
      highest: the highest level that shows once it is read, of 255; -1 where nothing shows.
    """

    transparent: bool
    deep: bool
    highest: int

    @property
    def faint(self) -> bool:
        """Whether its levels hardly reach into the scale, as of 12 bits in a file of 16."""
        return self.highest <= (_FAINT_OF_16_BITS if self.deep else _FAINT)


def look(image: Image.Image, coding: Encoding) -> Look:
    """Looks at the levels of a loaded image; see `to_rgb`."""
    opacity, opaque = opacity_of(image, coding), without_opacity(image, coding)
    if opacity is None:
        return Look(False, coding.deep, max(high for _, high in opaque.getextrema()))
    shown = np.asarray(opaque)[np.asarray(opacity) > 0]
    return Look(True, coding.deep, int(shown.max()) if len(shown) else -1)


def _wide_grey(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
