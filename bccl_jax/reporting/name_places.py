"""Where the names of points go, so that none lies on another name and as few as can be on points.

Each name in its turn takes the nearest free place about its point; from a place that is not beside
it a thin line leads to the point. A name that finds no place is left out.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text

from bccl_jax.reporting.lettering import LITERAL
from bccl_jax.reporting.palette import INK

# Places about a point, beside it first: how many halves of its width and height a name is moved,
# and how many distances.
_PLACES = np.array(
    [
        *((1, 0, 1, 0), (-1, 0, -1, 0), (0, 1, 0, 1), (0, -1, 0, -1)),
        *((1, 1, 0, 1), (-1, 1, 0, 1), (1, -1, 0, -1), (-1, -1, 0, -1)),
        *((1, 1, 1, 1), (-1, 1, -1, 1), (1, -1, 1, -1), (-1, -1, -1, -1)),
    ],
    float,
).reshape(-1, 2, 2)
# Letters' heights.
_DISTANCES = np.array([0.0, 0.4, 0.8, 1.3, 1.9, 2.6, 3.4, 4.3, 5.3, 6.5, 8.0, 10.0])
# What a name has about it: between names, between a name and its point.
_AIR, _BESIDE = 0.12, 0.45
# A name rather goes so many letters' heights farther than onto a point, and than onto many.
_COVERS, _MANY = 2.5, 6
# Letters' heights from a name to its point at which a line joins them.
_FAR = 1.6


def free_places(
    anchors: np.ndarray, sizes: np.ndarray, points: np.ndarray, bounds: Sequence[float]
) -> np.ndarray:
    """Finds places for names.

    Args:
      anchors: float [n, 2], what is named; y goes up. The first ones choose first.
      sizes: float [n, 2], width and height of each name.
      points: float [m, 2], what names should leave to be seen, the anchors among them.
      bounds: left, bottom, right and top of where names may be.

    Returns:
      float [n, 2], the middle of each name; NaN where there is no place.
    """
    places = np.full((len(anchors), 2), np.nan)
    taken, letter = np.empty((0, 4)), np.median(sizes[:, 1])
    reach = (_BESIDE + _DISTANCES[:, None, None]) * letter
    far = np.repeat(_DISTANCES, len(_PLACES))
    for i, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
        moved = _PLACES[:, 0] * size / 2 + _PLACES[:, 1] * reach
        middles = (anchor + moved).reshape(-1, 2)
        half = size / 2 + _AIR * letter
        boxes = np.concatenate([middles - half, middles + half], axis=1)
        left, bottom, right, top = bounds
        free = (boxes[:, 0] >= left) & (boxes[:, 1] >= bottom)
        free &= (boxes[:, 2] <= right) & (boxes[:, 3] <= top)
        free &= ~_overlap(boxes, taken).any(axis=1)
        if not free.any():
            continue
        covered = _overlap(boxes, np.concatenate([points, points], axis=1)).sum(axis=1)
        cost = np.where(free, far + _COVERS * np.minimum(covered, _MANY), np.inf)
        best = cost.argmin()
        places[i] = middles[best]
        taken = np.concatenate([taken, boxes[best : best + 1]])
    return places


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of boxes [b, 4] and others [o, 4] have a point in common, bool [b, o]."""
    a, b = boxes[:, None], others[None]
    return (a[..., :2] < b[..., 2:]).all(axis=-1) & (b[..., :2] < a[..., 2:]).all(axis=-1)


def name_points(
    axes: Axes, points: np.ndarray, names: Sequence[str], others: np.ndarray
) -> list[Annotation]:
    """Writes names beside points, when all else of the figure is there.

    Args:
      axes: of the points.
      points: float [n, 2], in data coordinates, the most important first.
      names: n, each as `lettering.label` gives it.
      others: float [m, 2], what is drawn there too.

    Returns:
      What was written; names without a place are not among it.
    """
    if not len(points):
        return []
    line = {"arrowstyle": "-", "color": "0.6", "lw": 0.7, "shrinkA": 0, "shrinkB": 3}
    halo = [patheffects.withStroke(linewidth=2, foreground="white", alpha=0.85)]
    look = {"fontsize": 8, "color": INK, "zorder": 6, "arrowprops": line, "path_effects": halo}
    middle = {"ha": "center", "va": "center", "annotation_clip": False}
    texts = [
        axes.annotate(name, point, (0, 0), textcoords="offset points", **middle, **look, **LITERAL)
        for name, point in zip(names, points, strict=True)
    ]
    for text in texts:
        # A name within the axes is no reason to make them smaller.
        text.set_in_layout(False)
    axes.figure.draw_without_rendering()
    sizes = np.array([Text.get_window_extent(text).size for text in texts])
    anchors, covered = (axes.transData.transform(each) for each in (points, others))
    places = free_places(anchors, sizes, np.concatenate([anchors, covered]), axes.bbox.extents)
    written = []
    for text, anchor, size, place in zip(texts, anchors, sizes, places, strict=True):
        if np.isnan(place).any():
            text.remove()
            continue
        text.set_position((place - anchor) * 72 / axes.figure.dpi)
        gap = np.maximum(np.abs(place - anchor) - size / 2, 0)
        if np.hypot(*gap) <= _FAR * np.median(sizes[:, 1]):
            text.arrow_patch.set_visible(False)
        written.append(text)
    # Another layout would have other places.
    axes.figure.set_layout_engine("none")
    return written
