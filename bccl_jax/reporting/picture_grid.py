"""Pictures in rows and columns with their names, pixel for pixel."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from bccl_jax.reporting.lettering import label

# Small pictures are drawn with whole squares for their pixels, to this side at least.
LEAST = 96
_GAP, _MARGIN, _LETTERS = 4, 8, 13


def picture_grid(
    titles: Sequence[str], names: Sequence[Sequence[str]], rows: Sequence[Sequence[np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Draws pictures.

    Args:
      titles: of the C columns; a line each, or several.
      names: of the R rows; the lines of each.
      rows: R rows of C pictures, uint8 [H, W, 3], of any sizes.

    Returns:
      The drawing, uint8 [H', W', 3]; int [R, C, 2], row and column of each picture's first pixel;
      and how many pixels a side of one of theirs is drawn as.
    """
    side = max(max(picture.shape[:2]) for row in rows for picture in row)
    zoom = -(-LEAST // side)
    cell = side * zoom
    font = ImageFont.truetype(_font(), _LETTERS)
    names = [[label(line) for line in lines] for lines in names]
    height = _LETTERS + 4
    left = _MARGIN + int(max(font.getlength(line) for lines in names for line in lines)) + _MARGIN
    top = _MARGIN + max(len(title.splitlines()) for title in titles) * height + _GAP
    shape = (
        left + len(titles) * (cell + _GAP) + _MARGIN,
        top + len(rows) * (cell + _GAP) + _MARGIN,
    )
    drawing = Image.new("RGB", shape, "white")
    pen = ImageDraw.Draw(drawing)
    for column, title in enumerate(titles):
        at = (left + column * (cell + _GAP), _MARGIN)
        pen.multiline_text(at, _fitting(title, font, cell), fill="black", font=font, spacing=4)
    corners = np.zeros((len(rows), len(titles), 2), int)
    for number, (lines, row) in enumerate(zip(names, rows, strict=True)):
        y = top + number * (cell + _GAP)
        middle = y + (cell - height * len(lines)) // 2
        for line_number, line in enumerate(lines):
            pen.text((_MARGIN, middle + line_number * height), line, fill="black", font=font)
        for column, picture in enumerate(row):
            drawn = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
            x = left + column * (cell + _GAP)
            corner = y + (cell - drawn.shape[0]) // 2, x + (cell - drawn.shape[1]) // 2
            drawing.paste(Image.fromarray(drawn), corner[::-1])
            corners[number, column] = corner
    return np.array(drawing), corners, zoom


def _fitting(title: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A title of which each line is cut to the width of its column."""
    lines = []
    for line in title.splitlines():
        while len(line) > 1 and font.getlength(line) > width:
            line = line[:-1]
        lines.append(line)
    return "\n".join(lines)


def _font() -> str:
    """The file of the font that `lettering` speaks for."""
    families = matplotlib.rcParams["font.family"]
    return font_manager.findfont(font_manager.FontProperties(family=families))
