"""Pictures in rows and columns, pixel for pixel, with words above, beside and below them."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from bccl_jax.reporting.lettering import drawable, in_fonts
from bccl_jax.reporting.palette import INK
from bccl_jax.system.names import shortened

# Small pictures are drawn with whole squares for their pixels, to this side at least.
LEAST = 96
_GAP, _MARGIN, _LETTERS, _TITLE = 6, 10, 13, 16
_LINE = _LETTERS + 4

Line = tuple[str, str]


class Grid(NamedTuple):
    """A drawing.

    Attributes:
      drawing: uint8 [H, W, 3].
      corners: row and column of each picture's first pixel, as many as there are of them in each
        row.
      zoom: how many pixels a side of one of theirs is drawn as.
    """

    drawing: np.ndarray
    corners: list[list[tuple[int, int]]]
    zoom: int


def picture_grid(
    rows: Sequence[Sequence[np.ndarray]],
    title: str,
    columns: Sequence[str] = (),
    names: Sequence[Sequence[str]] = (),
    captions: Sequence[Sequence[Sequence[Line]]] = (),
    least: int = LEAST,
) -> Grid:
    """Draws pictures.

    Args:
      rows: R rows of pictures, uint8 [H, W, 3], of any sizes; there may be none.
      title: of the whole.
      columns: above the columns, a line each, or several; none if empty.
      names: the lines beside each of the rows; none if empty.
      captions: what is written below each of the pictures, with its colour; none if empty.
      least: pixels to which the side of small pictures is enlarged, at least.

    Returns:
      The drawing. `names` make room for themselves. What is longer than a picture is wide goes on
      in the next line if it is a caption; a word that has no room loses its middle.
    """
    pictures = list(itertools.chain(*rows))
    side = max((max(picture.shape[:2]) for picture in pictures), default=least)
    zoom = -(-least // side)
    tall = side * zoom
    captions = [[_wrapped(of, tall) for of in row] for row in captions]
    below = max((len(of) for row in captions for of in row), default=0) * _LINE
    left = _MARGIN
    if names:
        left += max(_length(line) for of in names for line in of) + _MARGIN
    head = _MARGIN + _TITLE + _MARGIN
    top = head + max((len(column.splitlines()) * _LINE for column in columns), default=0)
    across = max(map(len, rows), default=0)
    width = max(left + across * (tall + _GAP) + _MARGIN, 3 * _MARGIN + _length(title, _TITLE))
    down = tall + below + _GAP + (_MARGIN if captions else 0)
    drawing = Image.new("RGB", (width, top + len(rows) * down + _MARGIN), "white")
    pen = ImageDraw.Draw(drawing)
    _write(pen, (_MARGIN, _MARGIN), title, size=_TITLE)
    for column, text in enumerate(columns):
        for i, line in enumerate(text.splitlines()):
            at = left + column * (tall + _GAP), head + i * _LINE
            _write(pen, at, _fitting(line, tall))
    corners = []
    for number, row in enumerate(rows):
        y = top + number * down
        beside = names[number] if names else ()
        for i, line in enumerate(beside):
            _write(pen, (_MARGIN, y + (tall - _LINE * len(beside)) // 2 + i * _LINE), line)
        corners.append([])
        for column, picture in enumerate(row):
            drawn = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
            x = left + column * (tall + _GAP)
            # What is written below pictures begins where they do.
            at = x + (0 if captions else (tall - drawn.shape[1]) // 2)
            corner = y + (tall - drawn.shape[0]) // 2, at
            drawing.paste(Image.fromarray(drawn), corner[::-1])
            corners[-1].append(corner)
            for i, (line, color) in enumerate(captions[number][column] if captions else ()):
                _write(pen, (x, y + tall + 3 + i * _LINE), line, color)
    return Grid(np.array(drawing), corners, zoom)


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, color: str = INK, size: int = _LETTERS
) -> None:
    x, y = at
    for part, font in in_fonts(drawable(text), size):
        # On one line, whatever the heights of the letters.
        pen.text((x, y + size), part, fill=color, font=font, anchor="ls")
        x += font.getlength(part)


def _length(text: str, size: int = _LETTERS) -> int:
    return int(sum(font.getlength(part) for part, font in in_fonts(drawable(text), size))) + 1


def _wrapped(lines: Sequence[Line], width: int) -> list[Line]:
    """Lines of which each keeps to a width, broken between words."""
    found: list[Line] = []
    for text, color in lines:
        first, *words = text.split(" ")
        broken = [first]
        for word in words:
            if _length(longer := f"{broken[-1]} {word}") <= width:
                broken[-1] = longer
            else:
                broken.append(word)
        found += [(_fitting(line, width), color) for line in broken]
    return found


def _fitting(line: str, width: int) -> str:
    """A line that keeps to a width, if need be without its middle."""
    longest = len(line)
    while longest > 1 and _length(shortened(line, longest)) > width:
        longest -= 1
    return shortened(line, longest)
