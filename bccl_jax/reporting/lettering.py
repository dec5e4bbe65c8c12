"""Names of the user's in pictures: whatever they hold, they are drawn as they are."""

import functools
import itertools
import unicodedata
from collections.abc import Iterator

import matplotlib
from matplotlib import font_manager
from PIL import ImageFont

from bccl_jax.system.names import shortened

LONGEST = 24
# For letters that no font at hand has, as matplotlib itself draws them, with a warning for each.
MISSING = "\N{WHITE SQUARE}"
# A dollar sign is no formula's beginning.
LITERAL = {"parse_math": False}


def drawable(text: str) -> str:
    """A text in letters that the fonts of matplotlib's rcParams have, on one line.

    Args:
      text: anything.

    Returns:
      The text, to be drawn with `LITERAL`.
    """
    fonts = _fonts(tuple(matplotlib.rcParams["font.family"]))
    letters = frozenset().union(*(letters for _, letters in fonts))
    # macOS writes the accents of file names as letters of their own, which a cut would part.
    text = unicodedata.normalize("NFC", text)
    return "".join(" " if c.isspace() else c if ord(c) in letters else MISSING for c in text)


def label(name: str) -> str:
    """A class's name, `drawable` and of `LONGEST` letters at most."""
    return shortened(drawable(name), LONGEST)


def in_fonts(text: str, size: int) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """A `drawable` text in parts, each with the first of the fonts that has its letters.

    Args:
      text: the text.
      size: of the letters, in pixels.

    Yields:
      A part and its font, for Pillow.
    """
    fonts = _fonts(tuple(matplotlib.rcParams["font.family"]))

    def of(letter: str) -> str:
        return next((path for path, letters in fonts if ord(letter) in letters), fonts[0][0])

    for path, letters in itertools.groupby(text, of):
        yield "".join(letters), _pillow_font(path, size)


@functools.cache
def _fonts(families: tuple[str, ...]) -> tuple[tuple[str, frozenset[int]], ...]:
    """The file of each family, and the letters in it."""
    fonts = [font_manager.FontProperties(family=[family]) for family in families]
    paths = [font_manager.findfont(font) for font in fonts]
    return tuple((path, frozenset(font_manager.get_font(path).get_charmap())) for path in paths)


@functools.cache
def _pillow_font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
