"""The picture of a confusion table: where the images of each class, or group of classes, went."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bccl_jax.reporting import drawing, style
from bccl_jax.reporting.lettering import LITERAL, drawable

# Rows up to which each share is written into its cell, too.
_WRITTEN = 20
# Inches of a row.
_ROW = 0.22


@style.styled()
def confusion(
    shares: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, note: str
) -> Figure:
    """Draws shares of images.

    Args:
      shares: float [R, C] from 0 to 1, of the images of a row those of a column; NaN where a row
        has no images, which is left grey.
      rows: R names, of true classes.
      columns: C names, of predicted ones.
      title: of the picture.
      note: what rows and columns are, below the title.

    Returns:
      The figure.
    """
    written = len(rows) <= _WRITTEN
    row = 2 * _ROW if written else _ROW
    size = max(4 + row * len(columns), 8), 2.8 + max(row * len(rows), 3.2)
    figure = Figure(figsize=size)
    drawing.titled(figure, title)
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    # Most mistakes are rare: the root shows one in a hundred.
    drawn = axes.imshow(shares, norm=PowerNorm(0.5, 0, 1), aspect="auto")
    if written:
        for (i, j), share in np.ndenumerate(shares):
            if share > 0:
                color = "white" if share > 0.4 else "black"
                text = f"{100 * share:.0f}" if share >= 0.01 else "<1"
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=color)
    size = 8 if written else 7
    for axis, names in ((axes.yaxis, rows), (axes.xaxis, columns)):
        axis.set_ticks(range(len(names)), [drawable(name) for name in names], fontsize=size)
        for tick in axis.get_ticklabels():
            tick.set(**LITERAL)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="true")
    drawing.noted(figure, note)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(
        drawn, ax=axes, fraction=0.04, pad=0.02, ticks=(0, 0.01, 0.1, 0.25, 0.5, 1)
    )
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure
