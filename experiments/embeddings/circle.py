"""Embeddings of two dimensions on their circle."""

import numpy as np
from matplotlib.axes import Axes

from .columns import Embedded
from .marks import color_of, mark_means, scatter

_SECTORS = 90
# Radii of the circle's picture: points in a ring below the unit circle, the histogram above it.
_RING, _HISTOGRAM = (0.86, 1.0), (1.04, 1.6)


def draw_circle(
    axes: Axes, column: Embedded, chosen: np.ndarray, peak: float
) -> tuple[np.ndarray, np.ndarray]:
    """The circle itself: points in a ring, their angles counted outside, class means inside.

    Args:
      axes: polar ones.
      column: what is drawn.
      chosen: int [n], the images that are drawn.
      peak: share of the images that the highest bar of all columns has.

    Returns:
      Where the means of the K classes lie, angle and radius [K, 2], NaN where there is none, and
      all that is drawn, [n, 2].
    """
    angles = np.arctan2(column.features[:, 1], column.features[:, 0])
    radii = np.random.default_rng(0).uniform(*_RING, len(angles))
    points = np.stack([angles, radii], axis=1)
    scatter(axes, points[chosen], column.labels[chosen], column)

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
            color=color_of(column, k),
            # Of classes of one group each is seen.
            edgecolor="white",
            linewidth=0.3,
        )
        bottom += sectors[k]

    means = column.means
    there = np.flatnonzero(np.linalg.norm(means, axis=1) > 0)
    lengths = np.linalg.norm(means[there], axis=1)
    tips = np.stack([np.arctan2(means[there, 1], means[there, 0]), lengths], axis=1)
    for k, (angle, length) in zip(there, tips, strict=True):
        axes.plot([angle, angle], [0, length], color=color_of(column, k), linewidth=1, zorder=1)
    mark_means(axes, tips, there, column)
    around = np.linspace(0, 2 * np.pi, 361)
    axes.plot(around, np.ones_like(around), color="0.3", linewidth=0.8)
    axes.set(xticks=[], yticks=[], ylim=(0, _HISTOGRAM[1]))
    axes.spines["polar"].set_visible(False)
    placed = np.full((len(means), 2), np.nan)
    placed[there] = tips
    rims = np.stack([np.repeat(around, 2), np.tile([1.0, _RING[0]], len(around))], axis=1)
    filled = sectors.sum(axis=0)
    middles = (edges[:-1] + edges[1:]) / 2
    heights = np.linspace(0, _HISTOGRAM[1] - _HISTOGRAM[0], 8)
    sector, height = np.nonzero(filled[:, None] > heights)
    bars = np.stack([middles[sector], _HISTOGRAM[0] + heights[height]], axis=1)
    return placed, np.concatenate([rims, bars])


def sectors_of(column: Embedded) -> np.ndarray:
    """Share of all images by class and sector of the circle, [K, sectors]."""
    angles = np.arctan2(column.features[:, 1], column.features[:, 0])
    shape = (len(column.class_counts), _SECTORS)
    bounds = [(-0.5, shape[0] - 0.5), (-np.pi, np.pi)]
    counts, *_ = np.histogram2d(column.labels, angles, shape, bounds)
    return counts / len(angles)
