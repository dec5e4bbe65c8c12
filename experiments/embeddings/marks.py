"""Images and class means as marks, coloured by the size of the class."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm

from bccl_jax.reporting.lettering import LITERAL, label
from bccl_jax.reporting.palette import MARKERS
from bccl_jax.system.names import printable

from .columns import Embedded

# From few images to many; the lightest part would be lost on white.
COLORS = LinearSegmentedColormap.from_list(
    "class_size", matplotlib.colormaps["plasma_r"](np.linspace(0.15, 0.95, 256))
)
# Classes whose names can still be read beside each other.
_NAMED = 20


def scatter(
    axes: Axes, points: np.ndarray, labels: np.ndarray, column: Embedded, norm: LogNorm
) -> None:
    """Marks images of labels [n] at points [n, 2], by shot group and size of their classes."""
    for name, marker in MARKERS.items():
        own = column.groups[name][labels]
        axes.scatter(
            *points[own].T,
            c=column.class_counts[labels[own]],
            s=9,
            marker=marker,
            norm=norm,
            cmap=COLORS,
            alpha=0.75,
            linewidths=0,
        )


def mark_means(
    axes: Axes,
    points: np.ndarray,
    classes: np.ndarray,
    column: Embedded,
    norm: LogNorm,
    names_at: np.ndarray | None = None,
) -> None:
    """Marks the means of classes [k] at points [k, 2], their names there or at points of theirs."""
    named = len(column.class_counts) <= _NAMED
    names_at = points if names_at is None else names_at
    # The largest class first: where means lie on each other, the smallest one's is seen.
    for rank, i in enumerate(np.argsort(-column.class_counts[classes], kind="stable")):
        color = COLORS(norm(column.class_counts[classes[i]]))
        look = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": color}
        zorder = 4 + rank / len(points)
        axes.plot(*points[i], markersize=5, markeredgewidth=1.5, zorder=zorder, **look)
        if named:
            axes.plot(*names_at[i], markersize=9, markeredgewidth=1.2, zorder=zorder, **look)
            axes.text(
                *names_at[i],
                label(printable(column.class_names[classes[i]])),
                ha="center",
                va="center_baseline",
                fontsize=6,
                zorder=zorder,
                **LITERAL,
            )
