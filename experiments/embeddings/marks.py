"""Images and class means as marks, in the colours of their shot groups."""

import numpy as np
from matplotlib.axes import Axes

from bccl_jax.reporting.lettering import label
from bccl_jax.reporting.name_places import name_points
from bccl_jax.reporting.palette import MARKERS, SHOTS
from bccl_jax.system.names import printable

from .columns import Embedded

# Classes whose names can still be read beside each other.
_NAMED = 20
# And classes whose means can be told from images.
_MARKED = 200


def scatter(axes: Axes, points: np.ndarray, labels: np.ndarray, column: Embedded) -> None:
    """Marks images of labels [n] at points [n, 2], by the shot group of their classes."""
    for name, marker in MARKERS.items():
        own = column.groups[name][labels]
        look = {"s": 11, "marker": marker, "color": SHOTS[name], "alpha": 0.55, "linewidths": 0}
        axes.scatter(*points[own].T, **look)


def mark_means(axes: Axes, points: np.ndarray, classes: np.ndarray, column: Embedded) -> None:
    """Marks the means of classes [k] at points [k, 2], where there are not too many to be seen."""
    if len(column.class_counts) > _MARKED:
        return
    # The largest class first: where means lie on each other, the smallest one's is seen.
    for rank, i in enumerate(np.argsort(-column.class_counts[classes], kind="stable")):
        color = color_of(column, classes[i])
        look = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": color}
        axes.plot(*points[i], markersize=5, markeredgewidth=1.6, zorder=4 + rank / 1e4, **look)


def name_means(axes: Axes, column: Embedded, points: np.ndarray, others: np.ndarray) -> None:
    """Writes the names of classes beside their means, the largest class first.

    Args:
      axes: of a figure that is complete otherwise.
      column: what is drawn there; of many classes none is named.
      points: float [K, 2], the means of all classes, NaN where there is none.
      others: float [n, 2], what else is drawn there.
    """
    if len(points) > _NAMED:
        return
    order = np.argsort(-column.class_counts, kind="stable")
    order = order[~np.isnan(points[order]).any(axis=1)]
    names = [label(printable(column.class_names[k])) for k in order]
    name_points(axes, points[order], names, others)


def color_of(column: Embedded, k: int) -> str:
    """The colour of a class."""
    return next(SHOTS[name] for name in MARKERS if column.groups[name][k])
