"""Figure 1 with real embeddings: how much room head and tail classes have.

One column a run: the embeddings of its evaluation split by its last checkpoint. On the circle where
they have two dimensions (--config.method.projector_dim=2), by t-SNE otherwise.

    python -m experiments.embedding_picture runs/digits_lt runs/digits_lt_cross_entropy \
        --head=backbone --titles='BCCL;cross-entropy' --output=runs/embeddings.png

t-SNE keeps neighbours and nothing else: how large groups are and how far apart says nothing. The
angle from a class to the nearest other one, below each column, is that of the embeddings themselves
(`bccl_jax.evaluation.feature_space`), the mean over the classes of a shot group.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import matplotlib
import ml_collections
import numpy as np
from absl import logging
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, StrMethodFormatter
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from bccl_jax.config import flatten
from bccl_jax.data.long_tail import shot_groups
from bccl_jax.errors import BcclError, ConfigError
from bccl_jax.evaluation.embed import make_embed
from bccl_jax.evaluation.feature_space import measure, summary
from bccl_jax.reporting.lettering import LITERAL, drawable, label
from bccl_jax.system.names import printable
from bccl_jax.system.output import of_a_command
from bccl_jax.training.assemble import Assembly
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.agreement import FREE_KEYS
from experiments.pictures import save
from experiments.restoring import restore

MARKERS = {"many": "o", "medium": "s", "few": "^"}
# From few images to many; the lightest part would be lost on white.
COLORS = LinearSegmentedColormap.from_list(
    "class_size", matplotlib.colormaps["plasma_r"](np.linspace(0.15, 0.95, 256))
)
# Classes whose names can still be read beside each other.
_NAMED = 20
_SECTORS = 90
# Radii of the circle's picture: names within, points in a ring below the unit circle, the histogram
# above it.
_NAMES, _RING, _HISTOGRAM = (0.76, 0.62, 0.48, 0.34, 0.2), (0.86, 1.0), (1.04, 1.6)


class Embedded(NamedTuple):
    """One column of the picture.

    Attributes:
      title: above it.
      features: float64 [N, D], unit vectors.
      labels: int [N].
      class_counts: int [K], training images of each class.
      class_names: K names.
      groups: bool [K] of "many", "medium" and "few".
    """

    title: str
    features: np.ndarray
    labels: np.ndarray
    class_counts: np.ndarray
    class_names: tuple[str, ...]
    groups: dict[str, np.ndarray]

    @property
    def on_circle(self) -> bool:
        """Whether the embeddings have two dimensions."""
        return self.features.shape[1] == 2

    @property
    def means(self) -> np.ndarray:
        """Of the classes, float64 [K, D]; the shorter, the wider a class is spread."""
        sums = np.zeros((len(self.class_counts), self.features.shape[1]))
        np.add.at(sums, self.labels, self.features)
        return sums / np.bincount(self.labels, minlength=len(sums)).clip(1)[:, None]


def embedded(run: Assembly, state: TrainState, title: str, head: str | None) -> Embedded:
    """Embeds the evaluation split of a run.

    Args:
      run: the run.
      state: of its network.
      title: of its column.
      head: as `make_embed` takes it.

    Returns:
      Its column.

    Raises:
      BcclError: as `make_embed`.
    """
    with jax.set_mesh(run.mesh):
        features, labels = make_embed(run.classifier, head)(state, run.dataset.test)
    features = features.astype(np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    settings = run.config.eval
    return Embedded(
        title,
        features / np.where(lengths > 0, lengths, 1.0),
        labels,
        run.class_counts,
        run.dataset.train.class_names,
        shot_groups(run.class_counts, settings.many_above, settings.few_below),
    )


def default_titles(configs: Sequence[ml_collections.ConfigDict]) -> list[str]:
    """Names runs by their methods and, line by line, by what else is not the same in all of them.

    A setting that only some of the methods have tells nothing that the method's name does not.
    """
    flats = [flatten(config) for config in configs]
    common = set.intersection(*(set(flat) for flat in flats))
    alike = ("method.name", "eval.", *FREE_KEYS)
    differing = [
        key
        for key in sorted(common)
        if not key.startswith(alike) and any(flat[key] != flats[0][key] for flat in flats)
    ]
    lines = [[f"{key.split('.')[-1]}: {flat[key]}" for key in differing] for flat in flats]
    return ["\n".join([flat["method.name"], *own]) for flat, own in zip(flats, lines, strict=True)]


def tsne(features: np.ndarray) -> np.ndarray:
    """Places unit vectors [N, D] in the plane, float [N, 2], the same ones each time."""
    perplexity = min(30.0, (len(features) - 1) / 3)
    made = TSNE(perplexity=perplexity, metric="cosine", init="pca", random_state=0)
    # Its threads wait for each other at every step, minutes long where other work has the cores.
    with threadpool_limits(1, user_api="openmp"):
        return made.fit_transform(features)


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
    peak = max((_sectors(c).sum(axis=0).max() for c in columns if c.on_circle), default=1.0)
    figure = Figure(figsize=(0.9 + 3.1 * len(columns), 4.0), layout="constrained")
    for position, column in enumerate(columns, 1):
        projection = "polar" if column.on_circle else None
        axes = figure.add_subplot(1, len(columns), position, projection=projection)
        chosen = np.random.default_rng(0).permutation(len(column.labels))[:samples]
        if column.on_circle:
            _draw_circle(axes, column, chosen, norm, peak)
        else:
            _draw_plane(axes, column, chosen, norm)
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


def _draw_plane(axes: Axes, column: Embedded, chosen: np.ndarray, norm: LogNorm) -> None:
    """t-SNE; the directions of the class means are placed together with the samples."""
    means = column.means
    there = np.flatnonzero(np.linalg.norm(means, axis=1) > 0)
    directions = means[there] / np.linalg.norm(means[there], axis=1, keepdims=True)
    points = tsne(np.concatenate([column.features[chosen], directions]))
    _scatter(axes, points[: len(chosen)], column.labels[chosen], column, norm)
    _mark_means(axes, points[len(chosen) :], there, column, norm)
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.spines[:].set_color("0.8")


def _draw_circle(
    axes: Axes, column: Embedded, chosen: np.ndarray, norm: LogNorm, peak: float
) -> None:
    """The circle itself: points in a ring, their angles counted outside, class means inside."""
    angles = np.arctan2(column.features[:, 1], column.features[:, 0])
    radii = np.random.default_rng(0).uniform(*_RING, len(angles))
    points = np.stack([angles, radii], axis=1)
    _scatter(axes, points[chosen], column.labels[chosen], column, norm)

    edges = np.linspace(-np.pi, np.pi, _SECTORS + 1)
    sectors = _sectors(column) * (_HISTOGRAM[1] - _HISTOGRAM[0]) / peak
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
    _mark_means(axes, tips, there, column, norm, names_at)
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


def _sectors(column: Embedded) -> np.ndarray:
    """Share of all images by class and sector of the circle, [K, sectors]."""
    angles = np.arctan2(column.features[:, 1], column.features[:, 0])
    shape = (len(column.class_counts), _SECTORS)
    bounds = [(-0.5, shape[0] - 0.5), (-np.pi, np.pi)]
    counts, *_ = np.histogram2d(column.labels, angles, shape, bounds)
    return counts / len(angles)


def _scatter(
    axes: Axes, points: np.ndarray, labels: np.ndarray, column: Embedded, norm: LogNorm
) -> None:
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


def _mark_means(
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


def _angles(column: Embedded) -> str:
    found = measure(column.features, column.labels, len(column.class_counts))
    means = summary(found.nearest_class, column.groups)
    told = ", ".join(f"{n} {means[n]:.0f}°" for n in MARKERS if means[n] is not None)
    return f"nearest class: {told}"


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the flags, draws and writes."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("runs", nargs="+", type=pathlib.Path, help="directories of runs")
    made.add_argument("--output", type=pathlib.Path, required=True, help="FILE.png and FILE.svg")
    made.add_argument("--titles", help="one for each run, separated by ;")
    made.add_argument(
        "--head", choices=("projector", "backbone"), default="projector", help="(%(default)s)"
    )
    made.add_argument("--samples", type=int, default=2000, help="points a run (%(default)s)")
    made.add_argument("--data-dir", help="where the data of the runs lies now")
    options = made.parse_args(argv)
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what is meant
    try:
        restored = [restore(path, options.data_dir) for path in options.runs]
        titles = default_titles([run.config for run, _ in restored])
        if options.titles is not None:
            titles = options.titles.split(";")
        if len(titles) != len(restored):
            raise ConfigError(f"--titles has {len(titles)} titles for {len(restored)} runs")
        head = None if options.head == "backbone" else options.head
        columns = [
            embedded(run, state, title, head)
            for (run, state), title in zip(restored, titles, strict=True)
        ]
    except BcclError as error:
        raise SystemExit(f"error: {error}") from None
    for path, (run, state), column in zip(options.runs, restored, columns, strict=True):
        step = int(state.step)
        print(
            f"{path}: step {step} (epoch {step // run.steps_per_epoch}), {len(column.labels)} "
            f"images in {column.features.shape[1]} dimensions"
        )
    output = options.output
    stem = output.with_suffix("") if output.suffix in (".png", ".svg") else output
    for path in save(draw(columns, options.samples), stem, dpi=200):
        print(f"written to {path}")


if __name__ == "__main__":
    with of_a_command():
        main()
