"""The picture of a long tail: how many images each class has, and which shot group it is in."""

import pathlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bccl_jax.reporting import drawing, style
from bccl_jax.reporting.lettering import LITERAL, label
from bccl_jax.reporting.name_places import name_points
from bccl_jax.reporting.palette import SHOTS as COLORS
from bccl_jax.system.names import printable

# Up to so many classes each has a bar of its own beside its name.
MOST_NAMED = 40
# Inches: of the picture, of a bar, of all that is not bars.
_WIDE, _BAR, _REST = 9, 0.23, 1.7


@style.styled()
def class_counts(
    counts: np.ndarray, groups: dict[str, np.ndarray], class_names: tuple[str, ...], title: str
) -> Figure:
    """Draws images a class, the largest class first, on a logarithmic scale.

    Args:
      counts: int [K], training images of each class.
      groups: bool [K] of each shot group, of which exactly one holds for a class.
      class_names: K names.
      title: of the picture.

    Returns:
      The figure.
    """
    order = np.argsort(-counts, kind="stable")
    heights, names = counts[order], [label(printable(class_names[k])) for k in order]
    named = len(counts) <= MOST_NAMED
    figure = Figure(figsize=(_WIDE, _REST + max(_BAR * len(counts), 1) if named else 4.6))
    drawing.titled(figure, title)
    axes = figure.subplots()
    scale, across = (axes.xaxis, axes.yaxis) if named else (axes.yaxis, axes.xaxis)
    # An empty class has no place on a logarithmic scale: its bar ends below the others'.
    bottom, most = max(heights[-1], 1) / 2, max(heights[0], 1)
    # The number of its images stands beside a bar.
    high = most * ((most / bottom) ** 0.12 if named else 1.3)
    drawing.log_axis(scale, bottom, max(high, 2 * bottom))
    scale.set_label_text("training images of the class")
    across.grid(False)
    for shot, group in groups.items():
        here = np.flatnonzero(group[order])  # a run of ranks, for a group is a range of counts
        if len(here):
            size = f"{shot}: {_number(len(here), 'class', 'classes')}, "
            size += _number(counts[group].sum(), "image", "images")
            (_bars if named else _steps)(axes, here, heights[here], bottom, COLORS[shot], size)
    if named:
        axes.set_yticks(range(len(names)), names, **LITERAL)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(max(len(names), 4) - 0.4, -0.6)
    else:
        axes.set(xlim=(-0.5, len(counts) - 0.5), xlabel="classes, the largest first")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.legend(loc="outside lower left", ncols=len(groups))
    if not named:
        ends = np.array([0, len(counts) - 1])
        points = np.stack([ends, np.maximum(heights[ends], bottom)], axis=1)
        ranks = np.arange(0, len(counts), max(len(counts) // 400, 1))
        # A name goes above the steps.
        below = [np.geomspace(bottom, max(heights[rank], bottom * 1.01), 12) for rank in ranks]
        drawn = np.stack([np.repeat(ranks, 12), np.concatenate(below)], axis=1)
        told = [f"{names[rank]}: {heights[rank]:,}" for rank in ends]
        name_points(axes, points, told, drawn)
    return figure


def _bars(
    axes: Axes, ranks: np.ndarray, sizes: np.ndarray, least: float, color: str, label: str
) -> None:
    ends = np.maximum(sizes, least)
    look = {"height": 0.8, "color": color, "label": label}
    bars = axes.barh(ranks, ends - least, left=least, **look)
    axes.bar_label(bars, [f"{size:,}" for size in sizes], padding=3, fontsize=8)


def _steps(
    axes: Axes, ranks: np.ndarray, sizes: np.ndarray, least: float, color: str, label: str
) -> None:
    edges = np.append(ranks, ranks[-1] + 1) - 0.5
    look = {"baseline": least, "fill": True, "linewidth": 0, "color": color, "label": label}
    axes.stairs(np.maximum(sizes, least), edges, **look)


def _number(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def save_class_counts(path: pathlib.Path, *args) -> None:
    """Writes `class_counts(*args)` as a PNG file."""
    style.save(class_counts(*args), path)
