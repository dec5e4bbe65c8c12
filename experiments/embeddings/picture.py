"""Columns of embeddings side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, StrMethodFormatter

from bccl_jax.evaluation.feature_space import measure, summary
from bccl_jax.reporting.lettering import LITERAL, drawable
from bccl_jax.reporting.palette import MARKERS

from .circle import draw_circle, sectors_of
from .columns import Embedded
from .marks import COLORS
from .plane import draw_plane


def draw(columns: Sequence[Embedded], samples: int) -> Figure:
    """Draws the columns side by side.

    Args:
      columns: one a run.
      samples: images of a column that are drawn as points at most, the same ones in all columns of
        one split; histograms, means and angles are of all images.

    Returns:
      The figure.
    """
    counts = np.concatenate([column.class_counts for column in columns])
    norm = LogNorm(counts.min(), max(counts.max(), counts.min() + 1))
    peak = max((sectors_of(c).sum(axis=0).max() for c in columns if c.on_circle), default=1.0)
    figure = Figure(figsize=(0.9 + 3.1 * len(columns), 4.0), layout="constrained")
    for position, column in enumerate(columns, 1):
        projection = "polar" if column.on_circle else None
        axes = figure.add_subplot(1, len(columns), position, projection=projection)
        chosen = np.random.default_rng(0).permutation(len(column.labels))[:samples]
        if column.on_circle:
            draw_circle(axes, column, chosen, norm, peak)
        else:
            draw_plane(axes, column, chosen, norm)
        axes.set_title(drawable(column.title), fontsize=9, **LITERAL)
        axes.set_xlabel(_angles(column), fontsize=7.5, labelpad=6)
    bar = figure.colorbar(
        ScalarMappable(norm, COLORS),
        ax=figure.axes,
        fraction=0.03,
        pad=0.02,
        ticks=LogLocator(subs=(1, 2, 5)),
        format=StrMethodFormatter("{x:g}"),
    )
    bar.minorticks_off()
    bar.set_label("training images of the class", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    _add_legend(figure, columns)
    return figure


def _add_legend(figure: Figure, columns: Sequence[Embedded]) -> None:
    there = [name for name in MARKERS if any(column.groups[name].any() for column in columns)]
    handles = [
        Line2D([], [], ls="", marker=MARKERS[name], color="0.45", ms=5, label=f"{name}-shot class")
        for name in there
    ]
    mean = {"marker": "o", "ms": 6, "mfc": "white", "mec": "0.45", "mew": 1.5}
    handles.append(Line2D([], [], ls="", label="mean of a class", **mean))
    wide = 2 if len(columns) == 1 else len(handles)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=wide, frameon=False, fontsize=8
    )


def _angles(column: Embedded) -> str:
    found = measure(column.features, column.labels, len(column.class_counts))
    means = summary(found.nearest_class, column.groups)
    told = ", ".join(f"{n} {means[n]:.0f}°" for n in MARKERS if means[n] is not None)
    return f"nearest class: {told}"
