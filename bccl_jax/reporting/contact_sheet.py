"""A contact sheet: images pixel by pixel in rows, with lines of text below each."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from bccl_jax.reporting.lettering import LITERAL, drawable

# Pixels of the sheet to an inch.
DPI = 100
COLUMNS = 6
# Pixels: room for a line of 35 letters, between tiles, of a line, above the tiles.
_NARROWEST, _GAP, _LINE, _HEAD = 240, 12, 15, 50
# Small images are enlarged to about so many pixels.
_SIDE = 160


def enlarged(images: np.ndarray) -> np.ndarray:
    """Small images by a whole factor, so that each pixel stays one colour.

    Args:
      images: uint8 [N, H, W, 3].

    Returns:
      uint8 [N, f H, f W, 3]; f is 1 where they are large already.
    """
    factor = max(_SIDE // max(images.shape[1:3]), 1)
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def places(shape: tuple[int, ...], number: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Where the images of a sheet lie.

    Args:
      shape: [N, H, W, 3] of `enlarged` images.
      number: lines below each.

    Returns:
      (height, width) of the sheet, and (top, left) of each image, in pixels.
    """
    count, height, width, _ = shape
    across, down = width, height
    wide, tall = max(across, _NARROWEST) + _GAP, down + number * _LINE + _GAP
    columns = min(max(count, 3), COLUMNS)
    rows = math.ceil(count / columns)
    corners = [
        (_HEAD + i // columns * tall, _GAP + i % columns * wide + (wide - _GAP - across) // 2)
        for i in range(count)
    ]
    return (_HEAD + rows * tall + _GAP, _GAP + columns * wide), corners


def contact_sheet(
    images: np.ndarray, lines: Sequence[Sequence[tuple[str, str]]], title: str
) -> Figure:
    """Draws images with text below each.

    Args:
      images: uint8 [N, H, W, 3], N may be 0.
      lines: of each image, as many of all: a text and its colour.
      title: of the sheet.

    Returns:
      The figure, to be saved with `DPI`.
    """
    images = enlarged(images)
    number = len(lines[0]) if lines else 0
    (height, width), corners = places(images.shape, number)
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for image, (top, left), texts in zip(images, corners, lines, strict=True):
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
        for i, (text, color) in enumerate(texts):
            x, y = left + image.shape[1] / 2, top + image.shape[0] + (i + 0.5) * _LINE
            style = {"fontsize": 8, "color": color, "ha": "center", "va": "center"}
            figure.text(x / width, 1 - y / height, drawable(text), **style, **LITERAL)
    # As it is, without a place of its own that would scale it.
    figure.figimage(canvas, origin="upper")
    x, y = _GAP / width, 1 - _HEAD / 2 / height
    figure.text(x, y, drawable(title), fontsize=11, va="center", **LITERAL)
    return figure
