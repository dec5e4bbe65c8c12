"""The picture of a long tail: how many images each class has, and which shot group it is in."""

import pathlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bccl_jax.reporting.lettering import LITERAL, drawable, label
from bccl_jax.reporting.palette import SHOTS as COLORS
from bccl_jax.system.names import printable

# Up to so many classes each one's name stands below its bar.
MOST_NAMED = 40


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
    # An empty class has no place on a logarithmic scale: its bar ends below the others'.
    smallest = max(heights[-1], 1)
    bottom = smallest / 2
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.subplots()
    draw = _bars if len(counts) <= MOST_NAMED else _steps
    for shot, group in groups.items():
        here = np.flatnonzero(group[order])  # a run of ranks, for a group is a range of counts
        if len(here):
            size = f"{shot}: {len(here):,} classes, {counts[group].sum():,} images"
            draw(axes, here, heights[here], bottom, color=COLORS[shot], label=size)
    if draw is _bars:
        upright = max(map(len, names)) > 3
        axes.set_xticks(
            range(len(names)),
            names,
            rotation=60 if upright else 0,
            ha="right" if upright else "center",
            rotation_mode="anchor",
            **LITERAL,
        )
        axes.tick_params(axis="x", labelsize=8, length=0)
    else:
        _tell(axes, names[0], 0, heights[0], shift=(8, 6))
        _tell(axes, names[-1], len(names) - 1, heights[-1], shift=(-10, 60))
    axes.set(
        yscale="log",
        xlim=(-0.5, len(counts) - 0.5),
        ylim=(bottom, max(heights[0], 1) * 2),
        ylabel="training images of the class",
        xlabel="classes, the largest first",
    )
    axes.yaxis.set_major_formatter(FuncFormatter(_whole_number))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if heights[0] < 10 * smallest:  # powers of ten would label one tick at most
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
        axes.yaxis.set_minor_formatter(FuncFormatter(_whole_number))
    axes.set_title(drawable(title), loc="left", fontsize=11, **LITERAL)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    return figure


def _bars(axes: Axes, ranks: np.ndarray, heights: np.ndarray, bottom: float, **style) -> None:
    tops = np.maximum(heights, bottom)
    bars = axes.bar(ranks, tops - bottom, bottom=bottom, width=0.85, **style)
    axes.bar_label(bars, [f"{height:,}" for height in heights], padding=2, fontsize=7)


def _steps(axes: Axes, ranks: np.ndarray, heights: np.ndarray, bottom: float, **style) -> None:
    edges = np.append(ranks, ranks[-1] + 1) - 0.5
    tops = np.maximum(heights, bottom)
    axes.stairs(tops, edges, baseline=bottom, fill=True, linewidth=0, **style)


def _tell(axes: Axes, name: str, rank: int, height: int, shift: tuple[int, int]) -> None:
    axes.annotate(
        f"{name}: {height:,}",
        (rank, max(height, 1)),
        xytext=shift,
        textcoords="offset points",
        ha="left" if shift[0] > 0 else "right",
        fontsize=9,
        arrowprops={"arrowstyle": "-", "color": "0.5", "shrinkB": 1},
        **LITERAL,
    )


def _whole_number(value: float, _position: int) -> str:
    return f"{value:,.0f}" if value >= 1 and value == round(value) else ""


def save_class_counts(path: pathlib.Path, *args) -> None:
    """Writes `class_counts(*args)` as a PNG file."""
    class_counts(*args).savefig(path, dpi=110)
