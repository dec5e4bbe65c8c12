"""Columns of embeddings side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bccl_jax.evaluation.feature_space import measure, summary
from bccl_jax.reporting.drawing import titled
from bccl_jax.reporting.lettering import LITERAL, drawable
from bccl_jax.reporting.palette import MARKERS, SHOTS
from bccl_jax.reporting.style import styled

from .circle import draw_circle, sectors_of
from .columns import Embedded
from .marks import name_means
from .plane import draw_plane

# Inches of a column, and columns beside each other.
_WIDE, _BESIDE = 3.6, 4


@styled()
def draw(columns: Sequence[Embedded], samples: int) -> Figure:
    """Draws the columns side by side.

    Args:
      columns: one a run.
      samples: images of a column that are drawn as points at most, the same ones in all columns of
        one split; histograms, means and angles are of all images.

    Returns:
      The figure.
    """
    peak = max((sectors_of(c).sum(axis=0).max() for c in columns if c.on_circle), default=1.0)
    beside = min(len(columns), _BESIDE)
    lines = -(-len(columns) // beside)
    figure = Figure(figsize=(max(_WIDE * beside, 6), 1.1 + (_WIDE + 0.4) * lines))
    titled(figure, "Embeddings of test images by shot group")
    drawn = []
    for position, column in enumerate(columns, 1):
        projection = "polar" if column.on_circle else None
        axes = figure.add_subplot(lines, beside, position, projection=projection)
        axes.grid(False)
        chosen = np.random.default_rng(0).permutation(len(column.labels))[:samples]
        if column.on_circle:
            drawn.append(draw_circle(axes, column, chosen, peak))
        else:
            drawn.append(draw_plane(axes, column, chosen))
        axes.set_title("\n".join(map(drawable, column.title.split("\n"))), **LITERAL)
        axes.set_xlabel(_angles(column), fontsize=8.5)
    _add_legend(figure, columns)
    for axes, column, (means, others) in zip(figure.axes, columns, drawn, strict=True):
        name_means(axes, column, means, others)
    return figure


def _add_legend(figure: Figure, columns: Sequence[Embedded]) -> None:
    there = [name for name in MARKERS if any(column.groups[name].any() for column in columns)]
    handles = [
        Line2D([], [], ls="", marker=MARKERS[n], color=SHOTS[n], label=f"image of a {n}-shot class")
        for n in there
    ]
    mean = {"marker": "o", "ms": 6, "mfc": "white", "mec": "0.3", "mew": 1.6}
    handles.append(Line2D([], [], ls="", label="mean of a class", **mean))
    wide = 2 if len(columns) <= 2 else len(handles)
    figure.legend(handles=handles, loc="outside lower left", ncols=wide)


def _angles(column: Embedded) -> str:
    found = measure(column.features, column.labels, len(column.class_counts))
    means = summary(found.nearest_class, column.groups)
    told = ", ".join(f"{n} {means[n]:.0f}°" for n in MARKERS if means[n] is not None)
    return f"nearest class: {told}"
