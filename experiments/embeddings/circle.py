"""Embeddings of two dimensions on their circle."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from .columns import Embedded
from .marks import COLORS, mark_means, scatter

_SECTORS = 90
# Radii of the circle's picture: names within, points in a ring below the unit circle, the histogram
# above it.
_NAMES, _RING, _HISTOGRAM = (0.76, 0.62, 0.48, 0.34, 0.2), (0.86, 1.0), (1.04, 1.6)


def draw_circle(
    axes: Axes, column: Embedded, chosen: np.ndarray, norm: LogNorm, peak: float
) -> None:
    """The circle itself: points in a ring, their angles counted outside, class means inside."""
    angles = np.arctan2(column.features[:, 1], column.features[:, 0])
    radii = np.random.default_rng(0).uniform(*_RING, len(angles))
    points = np.stack([angles, radii], axis=1)
    scatter(axes, points[chosen], column.labels[chosen], column, norm)

    edges = np.linspace(-np.pi, np.pi, _SECTORS + 1)
    sectors = sectors_of(column) * (_HISTOGRAM[1] - _HISTOGRAM[0]) / peak
    bottom = np.full(_SECTORS, _HISTOGRAM[0])
    for k in np.argsort(-column.class_counts, kind="stable"):
        filled = np.flatnonzero(sectors[k])
        axes.bar(
            edges[filled],
            sectors[k, filled],
            edges[1] - edges[0],
            bottom[filled],
            align="edge",
            color=COLORS(norm(column.class_counts[k])),
            linewidth=0,
        )
        bottom += sectors[k]

    means = column.means
    there = np.flatnonzero(np.linalg.norm(means, axis=1) > 0)
    lengths = np.linalg.norm(means[there], axis=1)
    tips = np.stack([np.arctan2(means[there, 1], means[there, 0]), lengths], axis=1)
    for k, (angle, length) in zip(there, tips, strict=True):
        color = COLORS(norm(column.class_counts[k]))
        axes.plot([angle, angle], [0, length], color=color, linewidth=1, zorder=1)
    names_at = np.stack([tips[:, 0], _staggered(tips[:, 0])], axis=1)
    mark_means(axes, tips, there, column, norm, names_at)
    around = np.linspace(0, 2 * np.pi, 361)
    axes.plot(around, np.ones_like(around), color="0.3", linewidth=0.8)
    axes.set(xticks=[], yticks=[], ylim=(0, _HISTOGRAM[1]))
    axes.spines["polar"].set_visible(False)


def _staggered(angles: np.ndarray) -> np.ndarray:
    """Radii [k] at which the names of spokes at angles [k] do not lie on each other."""
    radii = np.empty(len(angles))
    level, before = 0, -np.inf
    for i in np.argsort(angles):
        crowded = angles[i] - before < np.radians(18)
        level, before = (level + 1) % len(_NAMES) if crowded else 0, angles[i]
        radii[i] = _NAMES[level]
    return radii


def sectors_of(column: Embedded) -> np.ndarray:
    """Share of all images by class and sector of the circle, [K, sectors]."""
    angles = np.arctan2(column.features[:, 1], column.features[:, 0])
    shape = (len(column.class_counts), _SECTORS)
    bounds = [(-0.5, shape[0] - 0.5), (-np.pi, np.pi)]
    counts, *_ = np.histogram2d(column.labels, angles, shape, bounds)
    return counts / len(angles)
