"""What pictures of matplotlib share: titles, curves, axes of epochs and class sizes, legends."""

import itertools
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, MultipleLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from bccl_jax.reporting.lettering import LITERAL, drawable
from bccl_jax.reporting.scales import log_ticks, marked, plain

# Inches between axes, with their labels, and the legend below them.
_GAP = 0.06
_MOST_COLUMNS = 6
# Letters of an inch of a title and of a note.
_TITLE_LETTERS, _NOTE_LETTERS = 7.5, 12


def titled(figure: Figure, title: str) -> Figure:
    """Writes above a figure what it shows, line by line; the text may hold anything."""
    figure.suptitle(_wrapped(figure, title, _TITLE_LETTERS), x=0.01, ha="left", **LITERAL)
    return figure


def noted(figure: Figure, note: str) -> None:
    """Writes below a figure how it is read, line by line; the text may hold anything."""
    look = {"fontsize": 9, "color": "0.3", **LITERAL}
    figure.supxlabel(_wrapped(figure, note, _NOTE_LETTERS), x=0.01, ha="left", **look)


def _wrapped(figure: Figure, text: str, letters: float) -> str:
    """A text in lines of so many letters an inch at most, as the figure is wide."""
    width = int(figure.get_figwidth() * letters)
    lines = (textwrap.wrap(drawable(line), width) for line in text.split("\n"))
    return "\n".join(itertools.chain(*lines))


def curve(axes: Axes, x: Sequence[float], y: Sequence[float | None], **look: Any) -> None:
    """A line; points of few, and those that stand alone between gaps, are drawn as points."""
    marker = look.pop("marker", "o")
    axes.plot(x, np.asarray(y, np.float64), marker=marker if marked(y) else "", **look)


def over_epochs(axes: Axes, until: int, label: str = "epoch") -> None:
    """Makes the horizontal axis one of whole epochs, from the first step to the last epoch."""
    axes.set(xlabel=label, xlim=(0, 1.03 * max(until, 1)))
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: plain(value))


def log_axis(axis: Axis, low: float, high: float, zero: float | None = None) -> None:
    """Makes an axis logarithmic, with plain numbers at its ticks.

    Args:
      axis: of the axes.
      low: where it begins, more than 0.
      high: where it ends.
      zero: where on it stands what has no place on it, which is labelled 0; None for nothing.
    """
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    least = low if zero is None else 1.5 * zero
    ticks = {tick: plain(tick) for tick in log_ticks(low, high) if tick > least or zero is None}
    if zero is not None:
        ticks[zero] = "0"
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: ticks.get(value, plain(value)))


def over_sizes(axes: Axes, counts: np.ndarray) -> np.ndarray:
    """Makes the horizontal axis one of class sizes.

    Args:
      axes: the axes.
      counts: int [K], training images of each class.

    Returns:
      float [K], where each class stands: at its size, an empty one on the left of all others.
    """
    least = counts[counts > 0].min(initial=max(counts.max(initial=1), 1))
    empty = bool((counts == 0).any())
    zero = least / 2
    low = zero / 1.3 if empty else least / 1.3
    log_axis(axes.xaxis, low, max(counts.max(initial=1), 1) * 1.3, zero if empty else None)
    axes.set_xlabel("training images of the class")
    return np.where(counts > 0, counts, zero)


def percent(axes: Axes, label: str = "accuracy, %") -> None:
    """Makes the vertical axis one of percent, on which 0 and 100 are within."""
    axes.set(ylabel=label, ylim=(-3, 103))
    axes.yaxis.set_major_locator(MultipleLocator(20))


def legends_below(*several: Axes) -> None:
    """Gives axes of one figure, which are complete, their legends in bands of their own below.

    Args:
      *several: axes; those without labelled artists have no legend.
    """
    several[0].figure.draw_without_rendering()
    for axes in several:
        named, labels = axes.get_legend_handles_labels()
        tall = axes.bbox.y0 - axes.get_tightbbox().y0
        down = ScaledTranslation(0, -tall / axes.figure.dpi - _GAP, axes.figure.dpi_scale_trans)
        # As many beside each other as go below the axes.
        for columns in range(min(len(named), _MOST_COLUMNS), 0, -1):
            legend = axes.legend(
                named,
                labels,
                loc="upper left",
                bbox_to_anchor=(0, 0),
                bbox_transform=axes.transAxes + down,
                ncols=columns,
            )
            if legend.get_window_extent().width <= axes.bbox.width:
                break
