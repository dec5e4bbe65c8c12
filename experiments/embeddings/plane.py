"""Embeddings of many dimensions in the plane, by t-SNE."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from bccl_jax.evaluation.in_plane import tsne

from .columns import Embedded
from .marks import mark_means, scatter


def draw_plane(axes: Axes, column: Embedded, chosen: np.ndarray, norm: LogNorm) -> None:
    """t-SNE; the directions of the class means are placed together with the samples."""
    means = column.means
    there = np.flatnonzero(np.linalg.norm(means, axis=1) > 0)
    directions = means[there] / np.linalg.norm(means[there], axis=1, keepdims=True)
    points = tsne(np.concatenate([column.features[chosen], directions]))
    scatter(axes, points[: len(chosen)], column.labels[chosen], column, norm)
    mark_means(axes, points[len(chosen) :], there, column, norm)
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.spines[:].set_color("0.8")
