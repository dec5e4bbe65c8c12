"""Differences to the reference row with their intervals."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from ..records.gathering import Section
from .style import Style, value_of


def forest(
    axes: Axes, section: Section, style: Style, places: Mapping[str, int] | None = None
) -> None:
    """Differences to the reference, one below the other, about a line at zero.

    Args:
      axes: the axes.
      section: with differences.
      style: of its rows.
      places: where rows stand on the vertical axis, which has their names; None for one below the
        other, and with names.
    """
    rows = {runs.row.name: runs for runs in section.finished}
    found = section.against_reference
    at = {each.row: y for y, each in enumerate(found)} if places is None else places
    for comparison in found:
        y, runs = at[comparison.row], rows[comparison.row]
        # Beside points of shot groups other colours would be taken for theirs.
        color, marker = ("black", "o") if places else (style.color(runs), style.marker(runs))
        if comparison.low is not None:
            axes.hlines(y, comparison.low, comparison.high, color=color, lw=2)
        axes.plot(comparison.difference, y, marker, color=color, ms=6)
    axes.axvline(0, color="black", lw=1)
    axes.set(
        title=f"Difference to {section.experiment.reference}, 95 % interval",
        xlabel="percentage points",
    )
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if places is None:
        names = list(at)
        if section.experiment.axis:
            names = [value_of(rows[name]) for name in names]
            axes.set_ylabel(section.experiment.axis)
        axes.set_yticks(range(len(found)), names)
        axes.set_ylim(len(found) - 0.5, -0.5)
