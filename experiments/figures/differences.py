"""Differences to the reference row with their intervals."""

from matplotlib.axes import Axes

from ..records.gathering import Section
from .style import Style, clean, value_of


def forest(axes: Axes, section: Section, style: Style) -> None:
    """Differences to the reference, one below the other, about a line at zero."""
    rows = {runs.row.name: runs for runs in section.finished}
    found = section.against_reference
    for y, comparison in enumerate(found):
        runs = rows[comparison.row]
        color = style.color(runs)
        if comparison.low is not None:
            axes.hlines(y, comparison.low, comparison.high, color=color, lw=2)
        axes.plot(comparison.difference, y, style.marker(runs), color=color, ms=7)
    axes.axvline(0, color="black", lw=1)
    names = [c.row for c in found]
    if section.experiment.axis:
        names = [value_of(rows[name]) for name in names]
        axes.set_ylabel(section.experiment.axis)
    axes.set_yticks(range(len(found)), names)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set(xlabel=f"points minus {section.experiment.reference}, 95 % interval")
    clean(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
