"""Embeddings of many dimensions in the plane, by t-SNE."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from .columns import Embedded
from .marks import mark_means, scatter


def tsne(features: np.ndarray) -> np.ndarray:
    """Places unit vectors [N, D] in the plane, float [N, 2], the same ones each time."""
    perplexity = min(30.0, (len(features) - 1) / 3)
    made = TSNE(perplexity=perplexity, metric="cosine", init="pca", random_state=0)
    # Its threads wait for each other at every step, minutes long where other work has the cores.
    with threadpool_limits(1, user_api="openmp"):
        return made.fit_transform(features)


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
