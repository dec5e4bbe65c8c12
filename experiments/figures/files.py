"""Figures as files."""

import io
import pathlib

import matplotlib
from matplotlib.figure import Figure


def save(figure: Figure, stem: pathlib.Path, dpi: int = 110) -> list[pathlib.Path]:
    """Writes a figure as PNG and as SVG, without a date, so that the same one has the same bytes.

    Args:
      figure: to write.
      stem: path without suffix; its folder is made.
      dpi: dots an inch of the PNG file.

    Returns:
      The two paths.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    with matplotlib.rc_context({"svg.hashsalt": "bccl_jax"}):
        for suffix, options in {".png": {"dpi": dpi}, ".svg": {"metadata": {"Date": None}}}.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], **options)
            path = stem.parent / (stem.name + suffix)
            path.write_bytes(buffer.getvalue())
            paths.append(path)
            # Laying a figure out takes most of the time, and it is laid out now.
            figure.set_layout_engine("none")
    return paths
