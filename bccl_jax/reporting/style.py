"""The one look of all pictures that matplotlib draws, and how they are written.

It is `pictures.mplstyle`, above matplotlib's own defaults: what users set for figures of their own
changes none of ours, but for their fonts, which may have the letters of their classes' names. Their
settings are afterwards what they were.
"""

import contextlib
import io
import pathlib
from collections.abc import Iterator

import matplotlib
import matplotlib.style
from matplotlib.figure import Figure
from PIL import Image

_FILE = pathlib.Path(__file__).with_name("pictures.mplstyle")
# A size of the user's own would not go with the sizes of the pictures.
_FONTS = ("family", "serif", "sans-serif", "monospace", "cursive", "fantasy")


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """While it lasts, or a function that it decorates, figures are made and drawn in our look."""
    fonts = {f"font.{name}": matplotlib.rcParams[f"font.{name}"] for name in _FONTS}
    with matplotlib.style.context([_FILE, fonts], after_reset=True):
        yield


@styled()
def encoded(figure: Figure, kind: str, dpi: int | None = None) -> bytes:
    """A figure as the content of a file.

    Args:
      figure: to be drawn.
      kind: "png" or "svg".
      dpi: dots an inch of a PNG file; None for those of the style.

    Returns:
      Its bytes, the same ones for the same figure.
    """
    # A date or a version of matplotlib would make another file of the same picture.
    told = {"Date" if kind == "svg" else "Software": None}
    buffer = io.BytesIO()
    dpi = dpi or matplotlib.rcParams["savefig.dpi"]
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=told)
    return buffer.getvalue()


def save(
    figure: Figure, path: pathlib.Path, dpi: int | None = None, colors: int | None = None
) -> None:
    """Writes a figure as a PNG file, whatever the path is called.

    Args:
      figure: to be drawn.
      path: of the file.
      dpi: dots an inch; None for those of the style.
      colors: the most that a small file is to have, at most 256; None for all.
    """
    content = encoded(figure, "png", dpi)
    if colors is not None:
        few = Image.open(io.BytesIO(content)).convert("RGB")
        # By which the few marks of a colour keep it, however rare they are.
        few = few.quantize(colors, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small = io.BytesIO()
        few.save(small, "PNG", optimize=True)
        content = small.getvalue()
    path.write_bytes(content)
