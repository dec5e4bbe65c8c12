"""Figures as files."""

import pathlib

from matplotlib.figure import Figure

from bccl_jax.reporting.style import encoded


def save(figure: Figure, stem: pathlib.Path, dpi: int | None = None) -> list[pathlib.Path]:
    """Writes a figure as PNG and as SVG, without a date, so that the same one has the same bytes.

    Args:
      figure: to write.
      stem: path without suffix; its folder is made.
      dpi: dots an inch of the PNG file; None for those of the style.

    Returns:
      The two paths.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in ("png", "svg"):
        path = stem.parent / f"{stem.name}.{kind}"
        path.write_bytes(encoded(figure, kind, dpi))
        paths.append(path)
        # Laying a figure out takes most of the time, and it is laid out now.
        figure.set_layout_engine("none")
    return paths
