"""Names of the user's in pictures: whatever they hold, matplotlib draws them as they are."""

import functools

import matplotlib
from matplotlib import font_manager

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
    letters = _letters(tuple(matplotlib.rcParams["font.family"]))
    return "".join(" " if c.isspace() else c if ord(c) in letters else MISSING for c in text)


def label(name: str) -> str:
    """A class's name, `drawable` and cut to `LONGEST`."""
    name = drawable(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


@functools.cache
def _letters(families: tuple[str, ...]) -> frozenset[int]:
    fonts = [font_manager.FontProperties(family=[family]) for family in families]
    paths = map(font_manager.findfont, fonts)
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))
