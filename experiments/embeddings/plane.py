"""Embeddings of many dimensions in the plane, by t-SNE."""

import numpy as np
from matplotlib.axes import Axes

from bccl_jax.evaluation.in_plane import tsne

from .columns import Embedded
from .marks import mark_means, scatter


def draw_plane(axes: Axes, column: Embedded, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """t-SNE; the directions of the class means are placed together with the samples.

    Args:
      axes: the axes.
      column: what is drawn.
      chosen: int [n], the images that are drawn.

    Returns:
      Where the means of the K classes lie, [K, 2], NaN where there is none, and all that is drawn,
      [n, 2].
    """
    means = column.means
    there = np.flatnonzero(np.linalg.norm(means, axis=1) > 0)
    directions = means[there] / np.linalg.norm(means[there], axis=1, keepdims=True)
    points = tsne(np.concatenate([column.features[chosen], directions]))
    scatter(axes, points[: len(chosen)], column.labels[chosen], column)
    mark_means(axes, points[len(chosen) :], there, column)
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.spines[:].set(visible=True, color="0.8")
    placed = np.full((len(means), 2), np.nan)
    placed[there] = points[len(chosen) :]
    return placed, points
